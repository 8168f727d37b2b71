"""Sides of a benchmark measured in turns, and their memory."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from agnn_lit.shared.processes import peak_memory_mb


def _peak(function: Callable[..., object], args: tuple[object, ...]) -> float:
    function(*args)
    return peak_memory_mb()


def peak_mb(function: Callable[..., object], *args: object) -> float:
    """Peak memory in MB of a fresh process that calls a function."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, function, args).result()


def fastest(calls: list[Callable[[], Any]], repeats: int, atol: float | None = 1e-6) -> list[float]:
    """Least seconds of each call, all called in turn so that a busy machine slows each of them alike.

    Args:
        calls: the sides; each returns its result as numbers.
        repeats: rounds.
        atol: by which results may differ; None where the caller compares them.

    Raises:
        RuntimeError: the calls do not give the same values.
    """
    values = [np.asarray(call()) for call in calls]  # also compiles
    if atol is not None and not all(np.allclose(value, values[0], atol=atol) for value in values):
        raise RuntimeError(f"the sides of a benchmark differ: {[value.ravel()[:4].tolist() for value in values]}")
    seconds = [math.inf] * len(calls)
    for _ in range(repeats):
        for n, call in enumerate(calls):
            start = time.perf_counter()
            call()
            seconds[n] = min(seconds[n], time.perf_counter() - start)
    return seconds
