"""Tables of scores: ranking, heat maps, every value per sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from agnn_lit.report.cells import Cell, Column, MISSING, Table, mark_best, text_cell, value_cell
from agnn_lit.report.collect import Scores, number
from agnn_lit.report.groups import Group, t_direction
from agnn_lit.report.published import PublishedTable

_HINTS = {
    "J_mean": "region similarity: intersection over union of prediction and annotation, mean over frames",
    "J_recall": "share of frames with J above 0.5",
    "J_decay": "J of the first quarter of a sequence minus J of the last; lower is better",
    "F_mean": "boundary accuracy: precision and recall of the contour within the tolerance, mean over frames",
    "F_recall": "share of frames with F above 0.5",
    "F_decay": "F of the first quarter of a sequence minus F of the last; lower is better",
    "JF_mean": "mean of J and F",
}
_T_HINTS = {
    1: "overlap of successive masks; higher is steadier",
    -1: "cost of matched shape contexts; lower is steadier",
    0: "temporal stability",
}
_TITLES = {
    "JF_mean": ("", "J&F"),
    "J_mean": ("J", "mean"),
    "J_recall": ("J", "recall"),
    "J_decay": ("J", "decay"),
    "F_mean": ("F", "mean"),
    "F_recall": ("F", "recall"),
    "F_decay": ("F", "decay"),
    "T": ("", "T"),
}
#: Averages that only ``youtube_objects`` has, side by side because none of them is agreed upon.
_AVERAGES = {
    f"{letter}_{unit}_mean": (letter, f"{unit} mean") for letter in "JF" for unit in ("frame", "video", "class")
}


def _measure_column(key: str, protocol: str) -> tuple[Column, int]:
    """Column of a key of the summary, and +1 or -1 for the direction that is better."""
    group, title = {**_TITLES, **_AVERAGES}[key]
    if key == "T":
        direction = t_direction(protocol)
        arrow = {1: " ↑", -1: " ↓", 0: ""}[direction]
        return Column(title + arrow, hint=_T_HINTS[direction], group=group), direction
    return Column(title, hint=_HINTS.get(key, ""), group=group), -1 if key.endswith("decay") else 1


def _column_of(values: list[Cell]) -> bool:
    return any(cell.text != MISSING for cell in values)


def ranking_table(group: Group, colours: Mapping[str, int]) -> Table:
    """Methods of a group side by side, best mean of J and F first."""
    methods = group.methods
    columns = [Column("#", hint="rank by J&F"), Column("method", numeric=False)]
    body: list[list[Cell]] = [
        [Cell(str(rank), float(rank)) for rank in range(1, len(methods) + 1)],
        [text_cell(m.name, colour=colours.get(m.name)) for m in methods],
    ]
    if not group.uniform:
        columns.append(Column("J&F, common", hint=f"over the {len(group.common)} sequences that all methods have"))
        body.append(mark_best([value_cell(group.score(m)) for m in methods], 1))
    for key in (*_TITLES, *_AVERAGES):
        column, direction = _measure_column(key, group.protocol)
        values = [value_cell(m.mean(key)) for m in methods]
        if key in _TITLES or _column_of(values):
            columns.append(column)
            body.append(mark_best(values, direction if group.uniform else 0))
    for key, digits in (("threshold", 2), ("sequences", 0), ("frames", 0)):
        values = [value_cell(m.mean(key), digits) for m in methods]
        if _column_of(values):
            columns.append(Column(key))
            body.append(values)
    stages = [text_cell(str(m.summary.get("stage", MISSING))) for m in methods]
    if _column_of(stages):
        columns.append(Column("stage", numeric=False, hint="what was done to the probabilities before the threshold"))
        body.append(stages)
    return Table(f"Ranking, {group.title}", tuple(columns), tuple(zip(*body, strict=True)))


def heat_of(protocol: str, measure: str, largest: float) -> Callable[[float], float]:
    """Return the map from a value to the tint of its cell, 0 to 1, where more is better.

    J, F and an overlap are tinted on the scale 0 to 1, a cost from ``largest`` down to 0.
    """
    if measure == "T" and t_direction(protocol) < 0:
        return lambda value: max(0.0, 1.0 - value / largest) if largest > 0 else 1.0
    return lambda value: min(max(value, 0.0), 1.0)


def heat_table(group: Group, measure: str, colours: Mapping[str, int]) -> Table:
    """Heat map of ``J_mean``, ``F_mean`` or ``T``, methods by sequences; a stronger tint is better."""
    names = [
        s
        for s in group.sequences
        if any(not math.isnan(m.sequences.get(s, {}).get(measure, math.nan)) for m in group.methods)
    ]
    values = {(m.name, s): m.sequences.get(s, {}).get(measure, math.nan) for m in group.methods for s in names}
    heat = heat_of(group.protocol, measure, max((v for v in values.values() if not math.isnan(v)), default=0.0))

    def cell(value: float, digits: int = 2) -> Cell:
        return value_cell(value, digits, heat=None if math.isnan(value) else heat(value))

    rows = tuple(
        (
            text_cell(m.name, colour=colours.get(m.name)),
            cell(m.mean(measure), 3),
            *(cell(values[m.name, s]) for s in names),
        )
        for m in group.methods
    )
    letter = measure[0]
    columns = (Column("method", numeric=False), Column("mean"), *(Column(s) for s in names))
    arrow = " (lower is steadier)" if letter == "T" and t_direction(group.protocol) < 0 else ""
    return Table(f"{letter} per sequence{arrow}, {group.title}", columns, rows, kind="heat")


def _published_cells(table: PublishedTable, name: str) -> list[Cell]:
    values = dict(table.rows).get(name, (None,) * len(table.columns))
    return [value_cell(number(v), mark="published") for v in values]


def sequence_table(group: Group, published: PublishedTable | None) -> Table:
    """J, F and T of every sequence and method, beside a published table whose rows are sequences."""
    measures = [k for k in ("J_mean", "F_mean", "T") if any(not math.isnan(m.mean(k)) for m in group.methods)]
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

    rows = tuple(
        row(s, s, lambda m, k, s=s: m.sequences.get(s, {}).get(k, math.nan))  # type: ignore[misc]
        for s in group.sequences
    )
    return Table(
        f"Every sequence, {group.title}",
        tuple(columns),
        rows,
        (row("mean as scored", "mean", lambda m, k: m.mean(k)),),
    )
