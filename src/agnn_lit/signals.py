"""Signals that ask a process to end: Ctrl-C, and what schedulers send."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def receiving(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Take over SIGINT and SIGTERM; in the main thread, which alone can.

    Args:
        receive: called with the signal's number and the interrupted frame.
    """
    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
