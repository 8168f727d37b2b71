"""Compiled code: it works where no cache can be written, and gives what its source says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agnn_lit.metrics import compiled as module
from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.stability.polygon import outline
from agnn_lit.metrics.stability.shape_context import shape_contexts
from agnn_lit.metrics.stability.temporal import shape_context_stability

from .masks import star


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


def test_compiled_code_gives_what_its_source_says() -> None:
    """The same values from the same functions run by the interpreter, in a process without the compiler."""
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.metrics.test_compiled import values\n"
        "import agnn_lit.metrics.stability.shape_context as s\n"
        "assert not hasattr(s.shape_contexts, 'py_func')\n"
        "print(json.dumps(values()))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert values() == pytest.approx(json.loads(done.stdout), abs=1e-12)


def values() -> list[float]:
    """J, F and T of small masks, one of them with pixels that touch only at a corner."""
    masks = [star(0.3 * t, 40, 50, spikes=6) for t in range(3)]
    masks[1][0, 0] = masks[1][1, 1] = masks[1][2, 2] = 1
    pairs = [value for a, b in pairwise(masks) for value in region_and_boundary(a, b, 3)]
    return [*pairs, shape_context_stability(masks), *(float(value) for value in shape_contexts(outline(masks[1]))[0])]
