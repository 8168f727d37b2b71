"""Tables of scores: ranking, heat maps, and all values per sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from agnn_lit.report.cells import MISSING, Cell, Column, Table, mark_best, text_cell, value_cell
from agnn_lit.report.collect import Scores, finite, number
from agnn_lit.report.groups import Group, t_direction
from agnn_lit.report.published import PublishedTable

#: Heading, title and tooltip of the column of each key of the summary.
_COLUMNS = {
    "JF_mean": ("", "J&F", "mean of J and F"),
    "J_mean": (
        "J",
        "mean",
        "region similarity: intersection over union of prediction and annotation, mean over frames",
    ),
    "J_recall": ("J", "recall", "share of frames with J above 0.5"),
    "J_decay": ("J", "decay", "J of the first quarter of a sequence minus J of the last; lower is better"),
    "F_mean": ("F", "mean", "contour accuracy: F-measure of the contours within the tolerance, mean over frames"),
    "F_recall": ("F", "recall", "share of frames with F above 0.5"),
    "F_decay": ("F", "decay", "F of the first quarter of a sequence minus F of the last; lower is better"),
    "T": ("", "T", ""),
}
_T_HINTS = {
    1: "overlap of successive masks; higher is more stable",
    -1: "cost of matched shape contexts; lower is more stable",
    0: "temporal stability",
}
#: Averages of ``youtube_objects``; all are shown, because publications differ in which they use.
_AVERAGES = {
    f"{letter}_{unit}_mean": (letter, f"{unit} mean", "") for letter in "JF" for unit in ("frame", "video", "class")
}


def _measure_column(key: str, protocol: str) -> tuple[Column, int]:
    """Column of a key of the summary, and +1 if higher is better or -1 if lower is."""
    group, title, hint = (_COLUMNS | _AVERAGES)[key]
    if key == "T":
        direction = t_direction(protocol)
        arrow = {1: " ↑", -1: " ↓", 0: ""}[direction]
        return Column(title + arrow, hint=_T_HINTS[direction], group=group), direction
    return Column(title, hint=hint, group=group), -1 if key.endswith("decay") else 1


def _has_values(cells: list[Cell]) -> bool:
    return any(cell.text != MISSING for cell in cells)


def ranking_table(group: Group, colours: Mapping[str, int]) -> Table:
    """Methods of a group, best J&F first."""
    methods = group.methods
    columns = [Column("#", hint="rank by J&F"), Column("method", numeric=False)]
    body: list[list[Cell]] = [
        [Cell(str(rank), float(rank)) for rank in range(1, len(methods) + 1)],
        [text_cell(m.name, colour=colours.get(m.name)) for m in methods],
    ]
    if not group.uniform:
        columns.append(Column("J&F, common", hint=f"over the {len(group.common)} sequences that all methods have"))
        body.append(mark_best([value_cell(group.score(m)) for m in methods], 1))
    for key in (*_COLUMNS, *_AVERAGES):
        column, direction = _measure_column(key, group.protocol)
        values = [value_cell(m.mean(key)) for m in methods]
        if key in _COLUMNS or _has_values(values):
            columns.append(column)
            body.append(mark_best(values, direction if group.uniform else 0))
    for key, digits in (("threshold", 2), ("sequences", 0), ("frames", 0)):
        values = [value_cell(m.mean(key), digits) for m in methods]
        if _has_values(values):
            columns.append(Column(key))
            body.append(values)
    stages = [text_cell(str(m.summary.get("stage", MISSING))) for m in methods]
    if _has_values(stages):
        columns.append(Column("stage", numeric=False, hint="postprocessing of the probabilities before the threshold"))
        body.append(stages)
    return Table(f"Ranking, {group.title}", tuple(columns), tuple(zip(*body, strict=True)))


def heat_of(protocol: str, measure: str, largest: float) -> Callable[[float], float]:
    """Return the function from a value to the tint of its cell, 0 to 1; a stronger tint is better.

    J, F and an overlap are their own tint; a cost is scaled from ``largest`` (0) to 0 (1).
    """
    if measure == "T" and t_direction(protocol) < 0:
        return lambda value: max(0.0, 1.0 - value / largest) if largest > 0 else 1.0
    return lambda value: min(max(value, 0.0), 1.0)


def heat_table(group: Group, measure: str, colours: Mapping[str, int]) -> Table:
    """Heat map of ``J_mean``, ``F_mean`` or ``T``, methods by sequences."""
    names = [s for s in group.sequences if finite(m.value(s, measure) for m in group.methods)]
    largest = max(finite(m.value(s, measure) for m in group.methods for s in names), default=0.0)
    heat = heat_of(group.protocol, measure, largest)

    def cell(value: float, digits: int = 2) -> Cell:
        return value_cell(value, digits, heat=None if math.isnan(value) else heat(value))

    labels = (text_cell(m.name, colour=colours.get(m.name)) for m in group.methods)
    values = ((cell(m.mean(measure), 3), *(cell(m.value(s, measure)) for s in names)) for m in group.methods)
    rows = tuple((label, *cells) for label, cells in zip(labels, values, strict=True))
    letter = measure[0]
    columns = (Column("method", numeric=False), Column("mean"), *(Column(s) for s in names))
    arrow = " (lower is more stable)" if letter == "T" and t_direction(group.protocol) < 0 else ""
    return Table(f"{letter} per sequence{arrow}, {group.title}", columns, rows, kind="heat")


def _published_cells(table: PublishedTable, name: str) -> list[Cell]:
    values = table.rows.get(name, [None] * len(table.columns))
    return [value_cell(number(v), mark="published") for v in values]


def sequence_table(group: Group, published: PublishedTable | None) -> Table:
    """J, F and T of every sequence and method, beside published values per sequence."""
    measures = [k for k in ("J_mean", "F_mean", "T") if finite(m.mean(k) for m in group.methods)]
    columns = [Column("sequence", numeric=False)]
    columns += [Column(k[0], group=m.name) for m in group.methods for k in measures]
    if published is not None:
        columns += [Column(c.title, group="published", hint=published.title) for c in published.columns]

    def own(value_of: Callable[[Scores, str], float]) -> list[Cell]:
        cells = {}
        for key in measures:
            direction = _measure_column(key, group.protocol)[1]
            cells[key] = mark_best([value_cell(value_of(m, key)) for m in group.methods], direction)
        return [cells[k][i] for i in range(len(group.methods)) for k in measures]

    def row(title: str, name: str, value_of: Callable[[Scores, str], float]) -> tuple[Cell, ...]:
        beside = [] if published is None else _published_cells(published, name)
        return (text_cell(title), *own(value_of), *beside)

    rows = tuple(row(s, s, lambda m, k, s=s: m.value(s, k)) for s in group.sequences)  # type: ignore[misc]
    footer = (row("mean as scored", "mean", lambda m, k: m.mean(k)),)
    return Table(f"Every sequence, {group.title}", tuple(columns), rows, footer)
