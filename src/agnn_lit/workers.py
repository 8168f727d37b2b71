"""How worker processes behave, whoever starts them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait

import cv2


def begin_worker() -> None:
    """Leave interruptions to the main process and other processors to the other workers; end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Keep SIGINT and SIGTERM back until the end of the ``with`` block, in which processes are forked.

    Python runs hooks around a fork and drops whatever is raised in them: an interruption at that moment would be lost.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread is interrupted
        yield
        return
    main = os.getpid()
    received: list[int] = []

    def defer(signum: int, frame: object) -> None:  # noqa: ARG001 - called by the interpreter
        if os.getpid() != main:  # a forked process that is stopped before it has begun
            os._exit(128 + signum)
        received.append(signum)

    handlers = {signum: signal.signal(signum, defer) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def stopped_on_error(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Wait for a pool's processes at the end of the ``with`` block, and stop them at once when anything is raised."""
    others = multiprocessing.active_children()
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    pool.shutdown()


def _end_with_parent() -> None:
    """A main process that is killed cannot stop its workers: they would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
