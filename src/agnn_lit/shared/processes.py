"""Processes: signals, workers that end with their parent, and memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

import cv2

from agnn_lit.config import import_plugins
from agnn_lit.config.registry import imported_plugins

_STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB (10^6 bytes)."""
    if _STATUS.is_file():  # getrusage would include the parent's memory at the fork
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


@contextmanager
def receiving(receive: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM with ``receive(number, frame)`` during the ``with`` block; main thread only."""
    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    """Raise KeyboardInterrupt; with :func:`receiving`, SIGTERM then has the effect of Ctrl-C."""
    raise KeyboardInterrupt


def _begin_worker(plugins: Sequence[str]) -> None:
    """Set up a worker: it imports the plugins, ignores Ctrl-C, uses one OpenCV thread and ends with its parent."""
    import_plugins(list(plugins))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of a ``with`` block that forks processes.

    Python drops exceptions raised in the hooks around a fork, so a signal at that moment would be lost.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield
        return
    main = os.getpid()
    received: list[int] = []

    def defer(signum: int, frame: object) -> None:  # noqa: ARG001 - called by the interpreter
        if os.getpid() != main:  # a forked process that is stopped before it starts
            os._exit(128 + signum)
        received.append(signum)

    try:
        with receiving(defer):
            yield
    finally:
        if received:
            signal.raise_signal(received[0])


@contextmanager
def open_pool(workers: int, start: str) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes that have the plugins of this one; on an exception, terminate them at once.

    Args:
        workers: number of processes.
        start: how they start, ``spawn`` or ``fork``.
    """
    context = multiprocessing.get_context(start)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(imported_plugins(),))
    others = multiprocessing.active_children()
    try:
        yield pool
    except BaseException:
        tasks = getattr(pool, "_call_queue", None)
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
                child.join()
        # Python before 3.11.5 waits forever at its end for a task that it is writing to a process that is gone
        # (gh-94777): without a reader, writing fails.
        with suppress(AttributeError, OSError):
            tasks._reader.close()  # type: ignore[union-attr]
        raise
    pool.shutdown()


def _end_with_parent() -> None:
    """Exit once the main process is gone; a killed one cannot stop its workers, which would wait for tasks forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks instead of returning them to the system.

    A network on the CPU frees and allocates the same score matrices again and again; returned to the system, each
    costs a page fault every 4 KiB. Without glibc this does nothing.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no block gets a mapping of its own
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: keep the top of the heap


def is_first_process() -> bool:
    """Whether this is rank 0, the process that writes; read from the variables that launchers set."""
    for key in ("RANK", "SLURM_PROCID"):
        if key in os.environ:
            return os.environ[key] == "0"
    return os.environ.get("NODE_RANK", "0") == "0" and os.environ.get("LOCAL_RANK", "0") == "0"


def usable_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
