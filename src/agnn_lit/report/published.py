"""Published numbers (``published.json``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Other spellings of YouTube-Objects categories.
CATEGORY_ALIASES = {"aeroplane": "airplane", "plane": "airplane"}


@dataclass(frozen=True)
class PublishedColumn:
    """A column: a key of ``summary.json``, or a category, or (without both) the mean over categories."""

    title: str
    key: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A table as published.

    ``row_kind`` is ``method`` or ``sequence``. A score folder is compared if it has one of ``sequences``; ``split`` is
    their number if they are the whole data set.
    """

    id: str
    title: str
    source: str
    note: str
    protocols: list[str]
    data: list[str]
    unit: str
    row_kind: str
    columns: list[PublishedColumn]
    sequences: list[str] | None
    split: int | None
    rows: dict[str, list[float | None]]

    @property
    def factor(self) -> float:
        """Multiplier from fractions to the unit of the table."""
        return 100.0 if self.unit == "per cent" else 1.0

    @property
    def caption(self) -> str:
        """Source, unit and note."""
        return f"{self.source}. In {'per cent' if self.unit == 'per cent' else 'fractions of 1'}. {self.note}"


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """Return all published tables, in the order of the report."""
    tables = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    for table in tables:
        table["columns"] = [PublishedColumn(**column) for column in table["columns"]]
        table["rows"] = {row["name"]: row["values"] for row in table["rows"]}
    return tuple(PublishedTable(**table) for table in tables)
