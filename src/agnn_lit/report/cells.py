"""Tables as data, and their Markdown; the template of the page renders them as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    sort: float | str | None = None  # sort key; None sorts last
    mark: str = ""  # CSS class such as ``best``, ``published`` or ``state-failed``
    heat: float | None = None  # tint in a heat map, 0 to 1; None for no tint
    colour: int | None = None  # colour number of a method, shown as a dot before the text
    tag: str = ""  # note in small print after the text


@dataclass(frozen=True)
class Column:
    """A column; ``group`` is a heading above neighbouring columns, ``hint`` a tooltip."""

    title: str
    numeric: bool = True
    hint: str = ""
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``footer`` rows are not sorted, ``kind`` is a CSS class such as ``heat``."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[tuple[Cell, ...], ...] = ()
    kind: str = ""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above columns, each with its number of columns; empty without any."""
        neighbours = groupby(column.group for column in self.columns)
        spans = [(group, len(list(members))) for group, members in neighbours]
        return spans if any(group for group, _ in spans) else []

    @property
    def empty(self) -> bool:
        """Whether no cell after the first column has a value."""
        return all(cell.text == MISSING for row in self.rows for cell in row[1:])


def value_cell(value: float, digits: int = 3, *, mark: str = "", heat: float | None = None) -> Cell:
    """Cell of a number; NaN is shown as a dash and sorts last."""
    if math.isnan(value):
        return Cell(MISSING)
    return Cell(f"{value:.{digits}f}".replace("-", "−"), value, mark, heat)


def count_cell(value: float) -> Cell:
    """Cell of a large count, with thin spaces between groups of three digits."""
    return Cell(MISSING) if math.isnan(value) else Cell(f"{value:,.0f}".replace(",", "\u2009"), value)


def text_cell(text: str, *, mark: str = "", colour: int | None = None, tag: str = "") -> Cell:
    """Cell of a text."""
    return Cell(text, text.casefold(), mark, colour=colour, tag=tag)


def mark_best(cells: Sequence[Cell], direction: int) -> list[Cell]:
    """Mark all cells with the largest (``direction`` 1) or smallest (-1) number.

    No cell is marked if ``direction`` is 0 or all numbers are equal.
    """
    numbers = [cell.sort for cell in cells if isinstance(cell.sort, float)]
    if direction == 0 or len(set(numbers)) < 2:
        return list(cells)
    best = max(numbers) if direction > 0 else min(numbers)
    return [replace(c, mark="best") if isinstance(c.sort, float) and c.sort == best else c for c in cells]


def _markdown_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def markdown_table(table: Table) -> str:
    """Return a table as GitHub Markdown, with the best values in bold and the footer as last rows."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_markdown_text(c) for c in cells) + " |"

    def shown(cell: Cell) -> str:
        text = f"{cell.text} ({cell.tag})" if cell.tag else cell.text
        return f"**{text}**" if cell.mark == "best" else text

    titles = [f"{c.group} {c.title}".strip() for c in table.columns]
    rule = ["---:" if c.numeric else "---" for c in table.columns]
    rows = [line([shown(c) for c in row]) for row in (*table.rows, *table.footer)]
    return "\n".join([line(titles), line(rule), *rows])
