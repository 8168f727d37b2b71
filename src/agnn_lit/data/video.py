"""Videos with frames and masks; those on disk are image files, read on demand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from agnn_lit.data.image_files import header_size
from agnn_lit.metrics.mask_files import read_ids
from agnn_lit.metrics.protocols import ScoreError


class DataError(RuntimeError):
    """Missing or broken data; the message names the paths."""


class Video(Protocol):
    """A video on disk or generated, with masks for its annotated frames."""

    @property
    def name(self) -> str:
        """Name of the sequence."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def __len__(self) -> int: ...

    def frame_name(self, index: int) -> str:
        """Name of a frame's files, without extension."""
        ...

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame as (H, W, 3) RGB."""
        ...

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """Foreground as (H, W), 0 or 1; None if the frame is not annotated."""
        ...

    def objects(self, index: int) -> NDArray[np.uint8] | None:
        """Object ids (H, W), 0: background, 255: void; None if the frame is not annotated."""
        ...


@dataclass(frozen=True)
class DiskVideo:
    """A video as image files.

    Attributes:
        name: name of the sequence.
        frames: image files in order.
        masks: annotation file of each frame, or None.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path | None, ...]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, from the first frame's header."""
        return header_size(self.frames[0])

    def frame_name(self, index: int) -> str:
        """Return the name of the frame's file, without extension."""
        return self.frames[index].stem

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return frame ``index`` as (H, W, 3) RGB.

        Raises:
            DataError: the file cannot be decoded.
        """
        path = self.frames[index]
        try:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        except cv2.error as error:
            raise DataError(f"{path}: cannot be read as an image ({error})") from error
        if image is None:
            raise DataError(f"{path}: cannot be read as an image")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """Return the foreground of frame ``index``, (H, W): 1 where the annotation's value is above 0.

        Raises:
            DataError: the file cannot be decoded.
        """
        path = self.masks[index]
        return None if path is None else read_mask(path)

    def objects(self, index: int) -> NDArray[np.uint8] | None:
        """Return the object ids of frame ``index``, (H, W), from palette indices or grey values.

        A mask of only 0 and 255, as in DAVIS-2016, is one object.

        Raises:
            DataError: the file cannot be decoded, or holds colours.
        """
        path = self.masks[index]
        if path is None:
            return None
        try:
            ids = read_ids(path)
        except ScoreError as error:
            raise DataError(str(error)) from error
        return np.minimum(ids, 1) if set(np.unique(ids)) <= {0, 255} else ids


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read an annotation (palette, grey or 1-bit) as (H, W): 1 where its value is above 0.

    Raises:
        DataError: the file cannot be decoded.
    """
    try:
        with Image.open(path) as file:
            values = np.asarray(file)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path}: cannot be read as a mask ({error})") from error
    if values.ndim == 3:
        values = values[..., :3].max(axis=-1)
    return (values > 0).astype(np.uint8)


def need_folder(path: Path, what: str) -> Path:
    """Return a folder, or raise DataError with ``what`` it should hold if it does not exist."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected {what}")
    return path


def pair_by_name(name: str, frames: Sequence[Path], masks: Path, *, every: bool) -> DiskVideo:
    """Match frames and masks by file name; ``every``: list masks that do not exist, too."""
    wanted = [masks / f"{frame.stem}.png" for frame in frames]
    return DiskVideo(name, tuple(frames), tuple(m if every or m.is_file() else None for m in wanted))


def cut(video: DiskVideo, start: float, end: float) -> DiskVideo:
    """Keep frame i of N if start <= i/N < end; adjacent ranges, such as 0..0.67 and 0.67..1, are disjoint."""
    first, last = (math.ceil(share * len(video)) for share in (start, end))
    return DiskVideo(video.name, video.frames[first:last], video.masks[first:last])
