"""Compilation of hot loops by numba, on first use and cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function lazily, with the result cached beside the source or in the user's cache folder.

    If neither can be written (a read-only container), each process compiles the function again.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return cast(Function, numba.njit(nogil=True)(function))
