"""The file of metrics: what it holds, after any kill, and what writing it costs."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.training.metrics_file import MetricsFile

IO = Path("/proc/self/io")


def as_if_whole(calls: list[dict[int, dict[str, float]]]) -> str:
    """The file as it would be if all rows were kept and written at once."""
    rows: dict[int, dict[str, float]] = {}
    columns = ["step", "epoch"]
    for call in calls:
        for step, row in call.items():
            rows.setdefault(step, {}).update(row)
            columns += [name for name in row if name not in columns]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**rows[step], "step": step} for step in sorted(rows))
    return text.getvalue()


names = st.sampled_from(["epoch", "train/loss", "val/J", 'a "quoted", name', "lr/graph"])
logged = st.dictionaries(names, st.floats(-1e6, 1e6) | st.integers(0, 9), max_size=4)
calls = st.lists(st.dictionaries(st.integers(0, 30), logged, max_size=3), max_size=12)


@settings(deadline=None, max_examples=200)
@given(calls, st.sets(st.integers(0, 11)))
def test_any_order_of_steps_gives_the_file_of_all_rows(
    tmp_path_factory: pytest.TempPathFactory, calls: list[dict[int, dict[str, float]]], restarts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("file") / "metrics.csv"
    file = MetricsFile(path)
    file.write({})
    for number, call in enumerate(calls):
        if number in restarts:
            file = MetricsFile(path)
        file.write(call)
        assert path.read_text() == as_if_whole(calls[: number + 1])
    assert [p.name for p in path.parent.iterdir()] == ["metrics.csv"]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 200))
def test_a_file_cut_anywhere_is_continued_from_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("file") / "metrics.csv"
    calls = [{step: {"epoch": 0, "train/loss": 1 / (step + 3)}} for step in range(6)]
    file = MetricsFile(path)
    for call in calls:
        file.write(call)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    again = MetricsFile(path)
    again.write({9: {"epoch": 1, "train/loss": 0.5}})
    kept = calls[: max(0, lines - 1)]
    assert path.read_text() == as_if_whole([*kept, {9: {"epoch": 1, "train/loss": 0.5}}])


def test_what_is_trained_again_to_the_same_values_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    for step in range(50):
        file.write({step: {"epoch": step // 10, "train/loss": 1 / (step + 3)}})
    before = path.stat()
    again = MetricsFile(path)
    for step in range(20, 50):
        again.write({step: {"epoch": step // 10, "train/loss": 1 / (step + 3)}})
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ino, before.st_size) == (after.st_mtime_ns, after.st_ino, after.st_size)


def test_rows_that_could_not_be_written_can_be_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full in the middle of a line, and later it is not."""
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.write({0: {"train/loss": 0.5}})
    with monkeypatch.context() as full:
        real = Path.open

        def opened(self: Path, mode: str = "r", **how: object) -> io.IOBase:
            stream = real(self, mode, **how)  # type: ignore[arg-type]
            if mode == "r+b":
                stream.seek(0, io.SEEK_END)
                stream.write(b"1,,0.")
                stream.close()
                raise OSError(28, "No space left on device")
            return stream

        full.setattr(Path, "open", opened)
        with pytest.raises(OSError, match="No space left"):
            file.write({1: {"train/loss": 0.25}})
    assert path.read_text().endswith("1,,0.")
    file.write({1: {"train/loss": 0.25}})
    assert path.read_text() == as_if_whole([{0: {"train/loss": 0.5}, 1: {"train/loss": 0.25}}])


def row(step: int) -> dict[str, float]:
    """Of the same length at all steps of the test below, but for the step's number."""
    return {"epoch": 0, "train/loss": 0.123456789, "lr/backbone": 0.001, "lr/graph": 0.001}


def written_bytes() -> int:
    """Bytes that this process has handed to the system so far."""
    return int(next(line for line in IO.read_text().splitlines() if line.startswith("wchar")).split()[1])


@pytest.mark.skipif(not IO.is_file(), reason="counts bytes in /proc/self/io")
def test_a_step_costs_as_much_after_20_000_steps_as_at_first(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")

    def write(steps: range) -> float:
        """Bytes a step beside those of its own line."""
        before, size = written_bytes(), sum(len(f"{step}") for step in steps)
        for step in steps:
            file.write({step: row(step)})
        return (written_bytes() - before - size) / len(steps)

    write(range(10))  # the header, and the first rows
    first = write(range(10, 210))
    tracemalloc.start()
    write(range(210, 20_000))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    last = write(range(20_000, 20_200))
    line = len("," + ",".join(str(value) for value in row(0).values()) + "\n")
    assert first == pytest.approx(line, abs=1)
    assert last == first
    assert grown < 20_000  # bytes: less than one a row


def test_metrics_of_a_step_in_several_calls_cost_their_line(tmp_path: Path) -> None:
    """As an epoch's end logs them: the last row grows in place, and the rows before it are left alone."""
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.write({0: {**row(0), "val/J": 0.5}})
    for step in range(1, 2000):
        file.write({step: row(step)})
    inode = path.stat().st_ino
    for step in range(2000, 2100):
        file.write({step: row(step)})
        file.write({step: {"val/J": 0.25, "epoch": 0}})
    assert path.stat().st_ino == inode  # never written anew
    expected = {step: {**row(step), **({"val/J": 0.25} if step >= 2000 else {})} for step in range(1, 2100)}
    assert path.read_text() == as_if_whole([{0: {**row(0), "val/J": 0.5}}, expected])
