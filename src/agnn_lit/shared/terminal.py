"""Terminal output by rich, without markup: names and settings may contain brackets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn


def open_console() -> Console:
    """Return a console without markup, in lines and in tables."""
    return Console(markup=False)


def progress_bar(console: Console, *columns: ProgressColumn, shown: bool) -> Progress:
    """Return a progress bar with a count and further columns after it, to be used in a ``with`` block."""
    words = TextColumn("{task.description}", markup=False)
    return Progress(words, BarColumn(), MofNCompleteColumn(), *columns, console=console, disable=not shown)


class Reports(Progress):
    """A progress bar that is not drawn; it calls a function instead.

    Args:
        report: called with what is being done, and the number of steps that are done and of all. It may raise an
            exception to stop the work.
    """

    def __init__(self, report: Callable[[str, int, int], None]) -> None:
        super().__init__(disable=True)
        self._report = report

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count steps of a task, and report it."""
        super().advance(task_id, advance)
        task = self._tasks[task_id]
        if advance:
            self._report(task.description, int(task.completed), int(task.total or 0))


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print what the user of a result should know, a line each."""
    for note in notes:
        console.print(f"note: {note}", style="yellow", highlight=False, soft_wrap=True)
