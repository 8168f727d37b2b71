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


def foreground_window(mask: Binary) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around the foreground of a mask, one pixel wider where there is room.

    Outside this box the mask is empty, and so is its boundary map.
    """
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return slice(0, 0), slice(0, 0)
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def cropped(prediction: Mask, annotation: Mask) -> tuple[Inside, Inside]:
    """Foregrounds of two masks (H, W), cut to the :func:`foreground_window` of both together.

    Raises:
        ValueError: the masks differ in size or are not two-dimensional.
    """
    if prediction.shape != annotation.shape:
        raise ValueError(f"prediction of shape {prediction.shape}: must be {annotation.shape}, that of the annotation")
    p, g = binary(prediction), binary(annotation)
    window = foreground_window(p | g)
    return p[window] != 0, g[window] != 0


def overlap(inside_p: Inside, inside_g: Inside) -> float:
    """|P∩G| / |P∪G| of two foregrounds (H, W); 1 when both are empty."""
    shared = np.count_nonzero(inside_p & inside_g)
    union = np.count_nonzero(inside_p) + np.count_nonzero(inside_g) - shared
    return float(shared / union) if union else 1.0


def jaccard(prediction: Mask, annotation: Mask) -> float:
    """Region similarity J = |P∩G| / |P∪G| of two masks (H, W), foreground = any value > 0; 1 when both are empty.

    Raises:
        ValueError: the masks differ in size or are not two-dimensional.
    """
    return overlap(*cropped(prediction, annotation))
