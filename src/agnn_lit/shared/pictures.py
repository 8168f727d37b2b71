"""Overlays: prediction and annotation drawn on a frame."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: What Pillow raises for damaged files: nearly anything, depending on the bytes.
DAMAGED = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
PREDICTION = (213, 40, 140)  # RGB, magenta tint
ANNOTATION = (0, 200, 90)  # RGB, green contour


def colour_of(number: int) -> tuple[int, int, int]:
    """RGB of an object id in the palette of DAVIS and PASCAL VOC: the bits of the id, spread over the channels."""
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (number & 1) << place
        green |= (number >> 1 & 1) << place
        blue |= (number >> 2 & 1) << place
        number >>= 3
    return red, green, blue


def draw_overlay(
    frame: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    annotation: NDArray[np.uint8] | None,
    width: int = 320,
    *,
    objects: bool = False,
) -> NDArray[np.uint8]:
    """Tint the predicted foreground, or each object in its colour, and outline the annotated one.

    Args:
        frame: (H, W, 3) RGB.
        prediction: (H, W), foreground above 0, or object ids.
        annotation: (H, W), foreground above 0, or None.
        width: width W' of the picture in pixels; smaller frames are enlarged without smoothing.
        objects: the prediction holds object ids.

    Returns:
        (H', W', 3) RGB.
    """
    scale = width / frame.shape[1]
    size = (width, max(1, round(frame.shape[0] * scale)))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    predicted = cv2.resize(prediction, size, interpolation=cv2.INTER_NEAREST)
    if not objects:
        predicted = (predicted > 0).astype(np.uint8)
    numbers = [k for k, count in enumerate(np.bincount(predicted.ravel())) if k and count]
    layers = [(predicted == k, colour_of(k) if objects else PREDICTION) for k in numbers]
    for inside, colour in layers:
        tint = np.array(colour, dtype=np.float32)
        table = (0.65 * np.arange(256, dtype=np.uint8)[:, None] + 0.35 * tint).astype(np.uint8)  # (256, 3)
        tinted = cv2.LUT(picture, table[None])
        picture = cv2.copyTo(tinted, inside.view(np.uint8), picture)
    if annotation is not None:
        resized = cv2.resize((annotation > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        layers.append((resized > 0, ANNOTATION))
    for inside, colour in layers:
        contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 2)
    return np.asarray(picture, dtype=np.uint8)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode an (H, W, 3) RGB picture."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode a picture of shape {picture.shape} as JPEG")
    return bytes(data.tobytes())
