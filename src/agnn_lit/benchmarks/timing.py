"""Time and memory of code under comparison, called in turns so that a busy machine slows all of it alike."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from agnn_lit.shared.processes import peak_memory_mb

_SPAWN = multiprocessing.get_context("spawn")
#: In the process of a side: what it times.
_READY: list[Callable[[], Any]] = []


def _peak(function: Callable[..., object], args: tuple[object, ...]) -> float:
    function(*args)
    return peak_memory_mb()


def peak_mb(function: Callable[..., object], *args: object) -> float:
    """Peak memory in MB of a new process that calls a function."""
    with ProcessPoolExecutor(1, _SPAWN) as pool:
        return pool.submit(_peak, function, args).result()


def fastest(calls: list[Callable[[], Any]], repeats: int, atol: float | None = 1e-6) -> list[float]:
    """Least seconds of each call in this process.

    Args:
        calls: functions to time; each returns its result as numbers.
        repeats: how often each is timed.
        atol: allowed difference of the results; None if the caller compares them.

    Raises:
        RuntimeError: the results differ.
    """
    values = [np.asarray(call()) for call in calls]  # also compiles
    if atol is not None and not all(np.allclose(value, values[0], atol=atol) for value in values):
        raise RuntimeError(f"the sides of a benchmark differ: {[value.ravel()[:4].tolist() for value in values]}")
    seconds = [math.inf] * len(calls)
    for _ in range(repeats):
        for n, call in enumerate(calls):
            seconds[n] = min(seconds[n], elapsed(call))
    return seconds


def elapsed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def time_and_peak(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a call, and peak memory of this process in MB."""
    return elapsed(call), peak_memory_mb()


def _begin(prepare: Callable[[], Callable[[], Any]]) -> None:
    _READY.append(prepare())


def _measure(measure: Callable[[Callable[[], Any]], tuple[float, float]]) -> tuple[float, float]:
    return measure(_READY[0])


def in_own_processes(
    sides: Mapping[str, Callable[[], Callable[[], Any]]],
    repeats: int,
    measure: Callable[[Callable[[], Any]], tuple[float, float]],
) -> dict[str, list[tuple[float, float]]]:
    """Measure each side in its own process; what one asks of the memory allocator would change the others.

    Args:
        sides: functions, called in the new process, that return what is timed.
        repeats: how often each is measured after a first, warm-up call.
        measure: measures one call.

    Returns:
        For each side ``repeats + 1`` measurements, the first of the warm-up.
    """
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, _SPAWN, _begin, (prepare,)))
            for name, prepare in sides.items()
        }
        turns = [
            {name: pool.submit(_measure, measure).result() for name, pool in pools.items()} for _ in range(repeats + 1)
        ]
    return {name: [turn[name] for turn in turns] for name in sides}
