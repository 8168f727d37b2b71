"""Compilation works where no cache can be written."""

from __future__ import annotations

from typing import Any

import pytest

from agnn_lit.metrics import compiled as module


def test_compiles_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def njit(**options: Any) -> Any:
        seen.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(module.numba, "njit", njit)

    @module.compiled
    def double(value: int) -> int:
        return 2 * value

    assert double(4) == 8
    assert [bool(options.get("cache")) for options in seen] == [True, False]
