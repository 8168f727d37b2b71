"""T, temporal stability: how steady the predicted masks are from one frame to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.region import Mask, jaccard
from agnn_lit.metrics.stability.polygon import outline
from agnn_lit.metrics.stability.shape_context import matching_cost, shape_contexts

#: Brings DAVIS's T to the range of the other scores.
FACTOR = 5.0


class Stability:
    """Mean of a comparison of successive masks, which are taken one by one; only the last is kept.

    Args:
        describe: what is compared of a mask (H, W); None leaves out its pairs.
        compare: value of a pair, given what was described of the earlier and of the later mask.
    """

    def __init__(self, describe: Callable[[Mask], Any], compare: Callable[[Any, Any], float]) -> None:
        self._describe, self._compare = describe, compare
        self._last: Any = None
        self._sum, self._pairs = 0.0, 0

    def push(self, mask: Mask) -> None:
        """Add the mask (H, W) of the next frame."""
        described = self._describe(mask)
        if described is not None and self._last is not None:
            self._sum += self._compare(self._last, described)
            self._pairs += 1
        self._last = described

    def value(self) -> float:
        """T of the masks so far; NaN when no pair of them can be compared."""
        return self._sum / self._pairs if self._pairs else float("nan")


def overlap_stability() -> Stability:
    """Mean IoU of successive masks; higher is steadier."""
    return Stability(lambda mask: mask, jaccard)


def contour_stability() -> Stability:
    """DAVIS-2016: five times the mean cost of matching the outlines of successive masks; lower is steadier.

    For each pair, :func:`~agnn_lit.metrics.stability.polygon.outline` of both masks,
    :func:`~agnn_lit.metrics.stability.shape_context.shape_contexts` of both outlines, and their
    :func:`~agnn_lit.metrics.stability.shape_context.matching_cost`. Pairs in which a mask has no outline are left out.
    """
    return Stability(_contexts, lambda last, now: FACTOR * matching_cost(last, now))


def _contexts(mask: Mask) -> NDArray[np.float64] | None:
    points = outline(mask)
    return None if points is None else shape_contexts(points)


def shape_context_stability(masks: Iterable[Mask]) -> float:
    """T of DAVIS-2016 over a sequence of masks (H, W), see :func:`contour_stability`."""
    measure = contour_stability()
    for mask in masks:
        measure.push(mask)
    return measure.value()
