"""Published tables together with the results of this report, and warnings about what is not comparable."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agnn_lit.report.cells import Cell, Column, Table, text_cell, value_cell
from agnn_lit.report.collect import Scores, mean_of, number
from agnn_lit.report.groups import Group
from agnn_lit.report.published import CATEGORY_ALIASES, PublishedColumn, PublishedTable, published_tables


@dataclass(frozen=True)
class Comparison:
    """A published table as shown; ``relevant`` if it has methods of this report."""

    published: PublishedTable
    table: Table
    relevant: bool
    warnings: tuple[str, ...]


def is_relevant(published: PublishedTable, group: Group) -> bool:
    """Whether a group has the protocol and data set of a table, as far as known."""
    if group.protocol not in published.protocols or group.data not in (None, "folder", *published.data):
        return False
    return published.sequences is None or bool(set(published.sequences) & set(group.sequences))


def category_means(scores: Scores) -> dict[str, float]:
    """Mean of J over the videos of each category; sequences are named ``category/video``."""
    videos: dict[str, list[float]] = {}
    for name, values in scores.sequences.items():
        category = re.split(r"[/\\]", name)[0].lower()
        if not math.isnan(values["J_mean"]):
            videos.setdefault(CATEGORY_ALIASES.get(category, category), []).append(values["J_mean"])
    return {category: mean_of(values) for category, values in videos.items()}


def _own_value(column: PublishedColumn, scores: Scores, categories: Mapping[str, float]) -> float:
    if column.key is not None:
        return scores.mean(column.key)
    if column.category is not None:
        return categories.get(column.category, math.nan)
    return mean_of(categories.values())


def _method_rows(published: PublishedTable, groups: Sequence[Group], colours: Mapping[str, int]) -> Table:
    """Table of methods, those of this report and the published ones, best first."""
    digits = 1 if published.unit == "per cent" else 3
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        for m in group.methods:
            categories = category_means(m) if any(c.key is None for c in published.columns) else {}
            values = [_own_value(c, m, categories) * published.factor for c in published.columns]
            name = text_cell(m.name, mark="own", colour=colours.get(m.name), tag="this report")
            rows.append((name, *(value_cell(v, digits, mark="own") for v in values)))
    for printed_name, printed in published.rows.items():
        rows.append((text_cell(printed_name), *(value_cell(number(v), digits) for v in printed)))
    rows.sort(key=lambda row: -row[1].sort if isinstance(row[1].sort, float) else math.inf)
    columns = (Column("method", numeric=False), *(Column(c.title) for c in published.columns))
    return Table(published.title, columns, tuple(rows))


def _sequence_rows(published: PublishedTable, groups: Sequence[Group]) -> Table:
    """Table of sequences: the published columns, then the same columns of each method of this report."""
    methods = [m for group in groups for m in group.methods]
    columns = [Column("sequence", numeric=False)]
    columns += [Column(c.title, group="published" if methods else "") for c in published.columns]
    columns += [Column(c.title, group=m.name) for m in methods for c in published.columns]
    body: list[tuple[Cell, ...]] = []
    footer: list[tuple[Cell, ...]] = []
    for name, printed in published.rows.items():
        cells = [text_cell(name), *(value_cell(number(v)) for v in printed)]
        for m in methods:
            for column in published.columns:
                key = column.key or "J_mean"
                own = m.mean(key) if name == "mean" else m.value(name, key)
                cells.append(value_cell(own, mark="own"))
        (footer if name == "mean" else body).append(tuple(cells))
    return Table(published.title, tuple(columns), tuple(body), tuple(footer))


def _warnings(published: PublishedTable, groups: Sequence[Group]) -> tuple[str, ...]:
    """Reasons why results of this report are not comparable with a table."""
    found = []
    for m in (m for group in groups for m in group.methods):
        have = set(m.sequences)
        if published.split is not None and have != set(published.sequences or ()):
            count = len(have & set(published.sequences or ()))
            found.append(
                f"{m.name} was scored on {count} of the {published.split} sequences"
                + (f" and {len(have) - count} more" if len(have) > count else "")
                + ": its means do not compare with the published ones."
            )
    if published.row_kind == "sequence" and groups:
        found.append("Compare sequence by sequence: the means cover different sets of sequences.")
        if any(g.data == "davis2016" for g in groups):
            found.append("Published on DAVIS-2017, scored here on DAVIS-2016: annotations may differ.")
    if groups and published.split is None and all(g.data in (None, "folder") for g in groups):
        found.append("The score folders do not name their data set; it was recognised by protocol and sequences.")
    return tuple(found)


def compare(groups: Sequence[Group], colours: Mapping[str, int]) -> list[Comparison]:
    """Every published table; the relevant ones come first and include this report's results."""
    comparisons = []
    for published in published_tables():
        fitting = [g for g in groups if is_relevant(published, g)]
        by_method = published.row_kind == "method"
        table = _method_rows(published, fitting, colours) if by_method else _sequence_rows(published, fitting)
        comparisons.append(Comparison(published, table, bool(fitting), _warnings(published, fitting)))
    return sorted(comparisons, key=lambda c: not c.relevant)


def beside_sequences(group: Group) -> PublishedTable | None:
    """The relevant published table with values per sequence, if there is one."""
    return next((t for t in published_tables() if t.row_kind == "sequence" and is_relevant(t, group)), None)
