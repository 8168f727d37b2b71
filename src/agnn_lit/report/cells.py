"""Tables as data, and the same table as Markdown; the page's template renders them as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what is shown.
        sort: number or text that the column is sorted by; None sorts last.
        mark: style: ``best``, ``published``, ``state-failed`` and so on; empty for none.
        heat: 0 to 1, tint of a heat map's cell; None for no tint.
        colour: colour number of a method, shown as a dot before the text.
        tag: small word behind the text.
    """

    text: str
    sort: float | str | None = None
    mark: str = ""
    heat: float | None = None
    colour: int | None = None
    tag: str = ""


@dataclass(frozen=True)
class Column:
    """A column; ``group`` is a heading over neighbouring columns, ``hint`` explains on hover."""

    title: str
    numeric: bool = True
    hint: str = ""
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``footer`` rows stay below when it is sorted, ``kind`` is a style such as ``heat``."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[tuple[Cell, ...], ...] = ()
    kind: str = ""

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over columns with the number of columns below each; empty when there are none."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans if any(group for group, _ in spans) else []

    @property
    def empty(self) -> bool:
        """Whether no cell beside the first column holds a value."""
        return all(cell.text == MISSING for row in self.rows for cell in row[1:])


def value_cell(value: float, digits: int = 3, *, mark: str = "", heat: float | None = None) -> Cell:
    """Cell of a number; NaN is shown as a dash and sorts last."""
    if math.isnan(value):
        return Cell(MISSING)
    return Cell(f"{value:.{digits}f}".replace("-", "−"), value, mark, heat)


def text_cell(text: str, *, mark: str = "", colour: int | None = None, tag: str = "") -> Cell:
    """Cell of a text."""
    return Cell(text, text.casefold(), mark, colour=colour, tag=tag)


def mark_best(cells: Sequence[Cell], direction: int) -> list[Cell]:
    """Mark the largest (``direction`` 1) or smallest (-1) of several numbers; ties share it.

    None is marked when ``direction`` is 0 or all are equal.
    """
    numbers = [cell.sort for cell in cells if isinstance(cell.sort, float)]
    if direction == 0 or len(set(numbers)) < 2:
        return list(cells)
    best = max(numbers) if direction > 0 else min(numbers)
    return [replace(c, mark="best") if isinstance(c.sort, float) and c.sort == best else c for c in cells]


def _markdown_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def markdown_table(table: Table) -> str:
    """Return a table as GitHub Markdown; the best values are bold, footers are the last rows."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_markdown_text(c) for c in cells) + " |"

    def shown(cell: Cell) -> str:
        text = f"{cell.text} ({cell.tag})" if cell.tag else cell.text
        return f"**{text}**" if cell.mark == "best" else text

    titles = [f"{c.group} {c.title}".strip() for c in table.columns]
    rule = ["---:" if c.numeric else "---" for c in table.columns]
    rows = [line([shown(c) for c in row]) for row in (*table.rows, *table.footer)]
    return "\n".join([line(titles), line(rule), *rows])
