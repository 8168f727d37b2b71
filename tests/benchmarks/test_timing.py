"""Timing of code that gives the same values."""

from __future__ import annotations

import pytest

from agnn_lit.benchmarks.timing import fastest


def test_code_with_other_values_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="differ"):
        fastest([lambda: [1.0, 2.0], lambda: [1.0, 2.1]], 1)
