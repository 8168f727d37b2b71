"""How the hot loops are compiled: by numba on first use, and kept on disk where a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function lazily, with the result cached beside the source or in the user's cache folder.

    Where neither can be written (a read-only container), the function is compiled anew in each process.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return cast(Function, numba.njit(nogil=True)(function))
