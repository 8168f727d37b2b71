"""What commands print: words as they are, whatever brackets names and settings have in them."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn


def open_console() -> Console:
    """Return a console that takes no word for markup, in lines and in tables."""
    return Console(markup=False)


def progress_bar(console: Console, *columns: ProgressColumn, shown: bool) -> Progress:
    """Return a bar of what is done of how much, to be entered as a context.

    Args:
        console: that it is drawn on.
        columns: behind the count.
        shown: False for none.
    """
    words = TextColumn("{task.description}", markup=False)
    return Progress(words, BarColumn(), MofNCompleteColumn(), *columns, console=console, disable=not shown)
