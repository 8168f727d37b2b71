"""Published numbers that a report puts beside its own (``published.json``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Other spellings of YouTube-Objects categories.
CATEGORY_ALIASES = {"aeroplane": "airplane", "plane": "airplane"}


@dataclass(frozen=True)
class PublishedColumn:
    """A column: a key of ``summary.json``, or a category, or with neither the mean over categories."""

    title: str
    key: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A table as its source prints it.

    ``row_kind`` is ``method`` or ``sequence``. ``sequences`` are the names that a score folder must share
    to be compared at all, ``split`` their number when they are the whole data set.
    """

    id: str
    title: str
    source: str
    note: str
    protocols: tuple[str, ...]
    data: tuple[str, ...]
    unit: str
    row_kind: str
    columns: tuple[PublishedColumn, ...]
    sequences: tuple[str, ...] | None
    split: int | None
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]

    @property
    def factor(self) -> float:
        """Multiplier from fractions to the table's unit."""
        return 100.0 if self.unit == "per cent" else 1.0


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """Return every published table, in the order in which a report shows them."""
    entries = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return tuple(
        PublishedTable(
            id=e["id"],
            title=e["title"],
            source=e["source"],
            note=e["note"],
            protocols=tuple(e["protocols"]),
            data=tuple(e["data"]),
            unit=e["unit"],
            row_kind=e["row_kind"],
            columns=tuple(PublishedColumn(c["title"], c.get("key"), c.get("category")) for c in e["columns"]),
            sequences=None if e["sequences"] is None else tuple(e["sequences"]),
            split=e["split"],
            rows=tuple((row["name"], tuple(row["values"])) for row in e["rows"]),
        )
        for e in entries
    )
