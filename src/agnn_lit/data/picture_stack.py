"""The pictures of one file as frames: TIFF stacks, and animated PNG, WebP and GIF."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from agnn_lit.data.image_files import pages_of
from agnn_lit.data.video import DataError
from agnn_lit.shared.pictures import DAMAGED


@dataclass(frozen=True)
class PictureStack:
    """A file of several pictures.

    Attributes:
        path: of the file.
        pages: place in the file of each picture; thumbnails are left out.
    """

    path: Path
    pages: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the first picture."""
        height, width = self.frame(0).shape[:2]
        return height, width

    def __len__(self) -> int:
        return len(self.pages)

    def frame_name(self, index: int) -> str:
        """Return the number of a picture, five digits or more."""
        return f"{index:05d}"

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return picture ``index`` as (H, W, 3) RGB, 16 bits reduced to 8.

        Raises:
            DataError: it cannot be decoded.
        """
        try:
            with Image.open(self.path) as file:
                file.seek(self.pages[index])
                picture = ImageOps.exif_transpose(file)
                if picture.mode.startswith("I"):
                    grey = np.asarray(picture).clip(0, 65535) >> 8
                    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
                return np.array(picture.convert("RGB"))  # a copy, which may be written to
        except DAMAGED as error:
            raise DataError(f"{self.path}: picture {index} cannot be read ({error})") from error

    def clock(self, fps: Fraction) -> tuple[list[int], Fraction]:
        """Return the time of each picture and its unit in seconds: as the animation states, or ``fps`` a second."""
        lasts: list[float] = []
        with Image.open(self.path) as file:
            for page in self.pages:
                file.seek(page)
                if file.format == "WEBP":  # knows it once the picture is decoded
                    file.load()
                lasts.append(float(file.info.get("duration", 0) or 0))
        if not all(lasts):
            return list(range(len(self))), 1 / fps
        starts = np.concatenate([[0], np.cumsum(np.round(lasts))[:-1]])
        return [int(start) for start in starts], Fraction(1, 1000)


def open_stack(path: Path) -> PictureStack | None:
    """Open a file of several pictures; None if it holds one, or is no image."""
    try:
        with Image.open(path) as file:
            pages = pages_of(file)
        return PictureStack(path, pages) if len(pages) > 1 else None
    except DAMAGED:
        return None
