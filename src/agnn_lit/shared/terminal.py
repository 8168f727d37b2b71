"""Terminal output by rich, without markup: names and settings may contain brackets."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn


def open_console() -> Console:
    """Return a console without markup, in lines and in tables."""
    return Console(markup=False)


def progress_bar(console: Console, *columns: ProgressColumn, shown: bool) -> Progress:
    """Return a progress bar with a count and further columns after it, to be used in a ``with`` block."""
    words = TextColumn("{task.description}", markup=False)
    return Progress(words, BarColumn(), MofNCompleteColumn(), *columns, console=console, disable=not shown)


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print what the user of a result should know, a line each."""
    for note in notes:
        console.print(f"note: {note}", style="yellow", highlight=False, soft_wrap=True)
