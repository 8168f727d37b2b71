"""Pictures for looking at: prediction and annotation drawn on a frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

PREDICTION = (213, 40, 140)  # RGB, magenta tint
ANNOTATION = (0, 200, 90)  # RGB, green contour


def draw_overlay(
    frame: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    annotation: NDArray[np.uint8] | None,
    width: int = 320,
) -> NDArray[np.uint8]:
    """Tint the predicted foreground and outline the annotated one.

    Args:
        frame: (H, W, 3) RGB.
        prediction: (H, W), foreground above 0.
        annotation: (H, W), foreground above 0, or None.
        width: of the picture in pixels; smaller frames are enlarged without smoothing.

    Returns:
        (H', W', 3) RGB.
    """
    scale = width / frame.shape[1]
    size = (width, max(1, round(frame.shape[0] * scale)))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    predicted = cv2.resize((prediction > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    tint = np.array(PREDICTION, dtype=np.float32)
    picture[predicted] = (0.65 * picture[predicted] + 0.35 * tint).astype(np.uint8)
    for mask, colour in ((predicted.astype(np.uint8), PREDICTION), (annotation, ANNOTATION)):
        if mask is not None:
            resized = cv2.resize((mask > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(resized, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, colour, 2)
    return np.asarray(picture, dtype=np.uint8)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode an (H, W, 3) RGB picture."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode a picture of shape {picture.shape} as JPEG")
    return bytes(data.tobytes())
