"""``metrics.csv``: a row for each logged step, appended during training."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from agnn_lit.shared.files import atomic_path

Row = Mapping[str, Any]


class MetricsFile:
    """Metrics by step in a CSV file, sorted by step.

    The columns are ``step``, ``epoch`` and the metrics in the order in which they first appear. A metric that was not
    logged at a step leaves its cell empty. Writing the next step appends one line, however long the file is, and no
    rows are kept in memory. The whole file is rewritten (atomically) only when a new metric appears or a row before the
    last one changes. An unfinished last line, left by a killed process, is dropped.

    Args:
        path: path of the file, which is continued if it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns = ["step", "epoch"]
        self._first = self._end = 0  # bytes of the header, and of all whole lines; 0 before the file is written
        self._last = -1  # step of the last row
        if path.is_file():
            self._continue()

    def _continue(self) -> None:
        with self.path.open("rb") as stream:
            header = stream.readline()
            if not header.endswith(b"\n"):
                return
            self._columns = _cells(header)
            self._first = self._end = len(header)
            for line in stream:
                row = self._parse(line)
                if row is None:
                    return
                self._last = int(row["step"])
                self._end += len(line)

    def write(self, rows: Mapping[int, Row]) -> None:
        """Write the metrics of steps; a step that has a row keeps its other metrics there.

        Raises:
            OSError: the disk is full. The rows in the file are still readable, and the same rows can be written again.
        """
        new = dict.fromkeys(name for row in rows.values() for name in row if name not in self._columns)
        if new or not self._end:
            self._rewrite([*self._columns, *new], rows)
            return
        for step in sorted(rows):
            if step > self._last:
                line = _line(self._columns, {**rows[step], "step": step})
                with self.path.open("r+b") as stream:
                    stream.seek(self._end)
                    stream.write(line)
                    stream.truncate()  # of an unfinished line
                self._last, self._end = step, self._end + len(line)
            elif not self._replace(step, rows[step]):
                self._rewrite(self._columns, {s: row for s, row in rows.items() if s >= step})
                return

    def _replace(self, step: int, row: Row) -> bool:
        """Change a row in place; False if the file must be rewritten."""
        with self.path.open("r+b") as stream:
            start = self._find(stream, step)
            stream.seek(start)
            line = stream.readline()
            old = self._parse(line)
            if old is None or int(old["step"]) != step:
                return False
            changed = _line(self._columns, {**old, **row})
            if changed == line:
                return True
            if step != self._last or len(changed) < len(line):  # a shorter line would leave the end of the old one
                return False
            stream.seek(start)
            stream.write(changed)
        self._end = start + len(changed)
        return True

    def _find(self, stream: BinaryIO, step: int) -> int:
        """Find the first row of this step or a later one by bisection; return its offset in bytes."""
        low, high = self._first, self._end
        while low < high:
            middle = (low + high) // 2
            stream.seek(middle - 1)
            stream.readline()  # to the first line that begins at or after the middle
            line = stream.readline() if stream.tell() < self._end else b""
            if not line or int(line.partition(b",")[0]) >= step:
                high = middle
            else:
                low = stream.tell()
        return low

    def _rewrite(self, columns: list[str], rows: Mapping[int, Row]) -> None:
        step = -1
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            first = stream.write(_line(columns, dict(zip(columns, columns, strict=True))))
            for step, row in self._merged(rows):
                stream.write(_line(columns, {**row, "step": step}))
            end = stream.tell()
        self._columns, self._first, self._end, self._last = columns, first, end, step

    def _merged(self, rows: Mapping[int, Row]) -> Iterator[tuple[int, Row]]:
        """Rows of the file merged with ``rows``."""
        left = sorted(rows, reverse=True)
        for old in self._rows():
            step = int(old["step"])
            while left and left[-1] < step:
                yield left[-1], rows[left.pop()]
            if left and left[-1] == step:
                left.pop()
            yield step, {**old, **rows.get(step, {})}
        yield from ((step, rows[step]) for step in reversed(left))

    def _rows(self) -> Iterator[dict[str, str]]:
        if self._end:
            with self.path.open("rb") as stream:
                stream.seek(self._first)
                while stream.tell() < self._end:
                    row = self._parse(stream.readline())
                    assert row is not None  # was whole when the file was opened
                    yield row

    def _parse(self, line: bytes) -> dict[str, str] | None:
        """Return the cells of a line that are not empty; None for an incomplete line."""
        cells = _cells(line) if line.endswith(b"\n") else []
        if len(cells) != len(self._columns) or not cells[0].isdigit():
            return None
        return {name: cell for name, cell in zip(self._columns, cells, strict=True) if cell != ""}


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode()]), [])


def _line(columns: Iterable[str], row: Row) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row.get(name, "") for name in columns)
    return text.getvalue().encode()
