"""Whether an object keeps its identity through a video."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from agnn_lit.metrics.mask_image import VOID
from agnn_lit.metrics.region import Mask

_MATCH = 0.5  # least IoU with which a predicted object stands for an annotated one


def identity_switches(predictions: Iterable[Mask], annotations: Iterable[Mask | None]) -> int:
    """Count how often an annotated object is matched by another predicted id than when it was matched last.

    The IDSW of multi-object tracking (Bernardin and Stiefelhagen, CLEAR MOT, 2008), with masks: in a frame, an object
    is matched by the id of largest IoU, where that is 0.5 or more.

    Args:
        predictions: masks of ids (H, W), 0 for none.
        annotations: likewise, 255 for void; None where there is none.
    """
    last: dict[int, int] = {}
    count = 0
    for prediction, annotation in zip(predictions, annotations, strict=True):
        if annotation is None:
            continue
        valid = annotation != VOID
        for number in np.unique(annotation[valid]):
            if number == 0:
                continue
            inside = annotation == number
            ids, common = np.unique(prediction[inside], return_counts=True)
            shares = {
                int(k): n / np.count_nonzero(((prediction == k) & valid) | inside)
                for k, n in zip(ids, common, strict=True)
                if k
            }
            best = max(shares, key=lambda k: shares[k], default=0)
            if not best or shares[best] < _MATCH:
                continue
            count += last.get(int(number), best) != best
            last[int(number)] = best
    return count
