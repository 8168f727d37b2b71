"""J, the region score: intersection over union (IoU) of two masks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[Any]
Binary = NDArray[np.uint8]
Inside = NDArray[np.bool_]


def binary(mask: Mask) -> Binary:
    """View a mask (H, W) of any number type as uint8 that is non-zero exactly on the foreground.

    Raises:
        ValueError: not two-dimensional.
    """
    if mask.ndim != 2:
        raise ValueError(f"mask of shape {mask.shape}: must be two-dimensional, (height, width)")
    if mask.dtype == np.bool_:
        return np.ascontiguousarray(mask).view(np.uint8)
    if mask.dtype == np.uint8:
        return np.ascontiguousarray(mask)
    return (mask > 0).view(np.uint8)


def check_shapes(prediction: Mask, annotation: Mask) -> None:
    """Refuse masks of different sizes.

    Raises:
        ValueError: names the sizes.
    """
    if prediction.shape != annotation.shape:
        raise ValueError(f"prediction of shape {prediction.shape}: must be {annotation.shape}, that of the annotation")


def foreground_window(first: Binary, second: Binary) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around the foregrounds of both masks, one pixel wider where there is room.

    Outside this box both masks are empty, and so are their boundary maps.
    """
    boxes = [cv2.boundingRect(mask) for mask in (first, second)]
    boxes = [box for box in boxes if box[2] > 0]
    if not boxes:
        return slice(0, 0), slice(0, 0)
    height, width = first.shape
    top, left = min(box[1] for box in boxes), min(box[0] for box in boxes)
    bottom, right = max(box[1] + box[3] for box in boxes), max(box[0] + box[2] for box in boxes)
    return slice(max(top - 1, 0), min(bottom + 1, height)), slice(max(left - 1, 0), min(right + 1, width))


def cropped(prediction: Mask, annotation: Mask) -> tuple[Inside, Inside]:
    """Foregrounds of two masks (H, W), cut to :func:`foreground_window`.

    Raises:
        ValueError: the masks differ in size or are not two-dimensional.
    """
    check_shapes(prediction, annotation)
    p, g = binary(prediction), binary(annotation)
    window = foreground_window(p, g)
    return p[window] != 0, g[window] != 0


def overlap(inside_p: Inside, inside_g: Inside) -> float:
    """|P∩G| / |P∪G| of two foregrounds (H, W); 1 when both are empty."""
    shared = np.count_nonzero(inside_p & inside_g)
    union = np.count_nonzero(inside_p) + np.count_nonzero(inside_g) - shared
    return float(shared / union) if union else 1.0


def jaccard(prediction: Mask, annotation: Mask) -> float:
    """Region similarity J = |P∩G| / |P∪G|; 1 when both are empty.

    Args:
        prediction: mask (H, W), foreground = any value > 0.
        annotation: mask (H, W), likewise.

    Raises:
        ValueError: the masks differ in size or are not two-dimensional.
    """
    return overlap(*cropped(prediction, annotation))
