"""T, temporal stability: how steady the predicted masks are from one frame to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.region import Mask, jaccard
from agnn_lit.metrics.stability.polygon import outline
from agnn_lit.metrics.stability.shape_context import matching_cost, shape_contexts

#: Brings DAVIS's T to the range of the other scores.
FACTOR = 5.0


class Stability(Protocol):
    """A measure of T that takes the masks of a sequence one by one and keeps only the last."""

    def push(self, mask: Mask) -> None:
        """Add the mask (H, W) of the next frame."""
        ...

    def value(self) -> float:
        """T of the masks so far; NaN when no pair of them can be compared."""
        ...


class OverlapStability:
    """Mean IoU of successive masks; higher is steadier."""

    def __init__(self) -> None:
        self._last: Mask | None = None
        self._sum, self._pairs = 0.0, 0

    def push(self, mask: Mask) -> None:
        """Add the mask (H, W) of the next frame."""
        if self._last is not None:
            self._sum += jaccard(mask, self._last)
            self._pairs += 1
        self._last = mask

    def value(self) -> float:
        """T so far; NaN for fewer than two masks."""
        return self._sum / self._pairs if self._pairs else float("nan")


class ShapeContextStability:
    """DAVIS-2016: five times the mean cost of matching the outlines of successive masks; lower is steadier.

    For each pair, :func:`~agnn_lit.metrics.stability.polygon.outline` of both masks,
    :func:`~agnn_lit.metrics.stability.shape_context.shape_contexts` of both outlines, and their
    :func:`~agnn_lit.metrics.stability.shape_context.matching_cost`. Pairs in which a mask has no outline are left out.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.float64] | None = None
        self._sum, self._pairs = 0.0, 0

    def push(self, mask: Mask) -> None:
        """Add the mask (H, W) of the next frame."""
        points = outline(mask)
        contexts = None if points is None else shape_contexts(points)
        if contexts is not None and self._last is not None:
            self._sum += FACTOR * matching_cost(self._last, contexts)
            self._pairs += 1
        self._last = contexts

    def value(self) -> float:
        """T so far; NaN when no two successive masks have an outline."""
        return self._sum / self._pairs if self._pairs else float("nan")


def shape_context_stability(masks: Iterable[Mask]) -> float:
    """T of DAVIS-2016 over a sequence of masks (H, W), see :class:`ShapeContextStability`."""
    measure = ShapeContextStability()
    for mask in masks:
        measure.push(mask)
    return measure.value()
