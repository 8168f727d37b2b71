"""Masks for tests: strategies, smooth objects, and PNG files in every encoding."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image


def masks(shape: tuple[int, int] | None = None, side: int = 14) -> st.SearchStrategy[np.ndarray]:
    """Masks of zeros and ones, any of them empty, full, speckled or made of boxes."""

    @st.composite
    def draw(draw_: st.DrawFn) -> np.ndarray:
        height, width = shape or (draw_(st.integers(1, side)), draw_(st.integers(1, side)))
        if draw_(st.booleans()):
            return draw_(hnp.arrays(np.uint8, (height, width), elements=st.integers(0, 1)))
        mask = np.zeros((height, width), np.uint8)
        for _ in range(draw_(st.integers(0, 3))):
            y, x = draw_(st.integers(0, height - 1)), draw_(st.integers(0, width - 1))
            mask[y : y + draw_(st.integers(1, height)), x : x + draw_(st.integers(1, width))] ^= 1
        return mask

    return draw()


def mask_pairs(side: int = 14) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    sizes = st.tuples(st.integers(1, side), st.integers(1, side))
    return sizes.flatmap(lambda shape: st.tuples(masks(shape), masks(shape)))


def star(t: float = 0.0, height: int = 90, width: int = 120, spikes: int = 5, shift: float = 0.0) -> np.ndarray:
    """A smooth object that deforms with t, no two pixels of which touch only at a corner."""
    angle = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    radius = 0.3 * height * (1 + 0.25 * np.sin(spikes * angle + t))
    points = np.stack([width / 2 + shift + 1.2 * radius * np.cos(angle), height / 2 + radius * np.sin(angle)], axis=1)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (1,))
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


def save(path: Path, mask: np.ndarray, encoding: str = "255") -> Path:
    """Write a mask as ``1``, ``255`` (8 bits), ``bit`` (1 bit), ``palette``, ``16`` (bits), ``rgb`` or ``rgba``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = mask.astype(np.uint8)
    if encoding == "palette":
        image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    elif encoding == "bit":
        image = Image.fromarray(mask > 0)
    elif encoding == "16":
        image = Image.fromarray(mask.astype(np.uint16) * 300)
    elif encoding == "rgb":
        image = Image.fromarray(np.stack([0 * mask, 255 * mask, 0 * mask], axis=2))
    elif encoding == "rgba":
        image = Image.fromarray(np.stack([255 * mask, 0 * mask, 0 * mask, 255 + 0 * mask], axis=2))
    else:
        image = Image.fromarray(mask * np.uint8(int(encoding)))
    image.save(path, format="PNG")
    return path


def save_sequence(folder: Path, frames: list[np.ndarray], encoding: str = "255", step: int = 1) -> None:
    for number, mask in enumerate(frames):
        save(folder / f"{number * step:05d}.png", mask, encoding)
