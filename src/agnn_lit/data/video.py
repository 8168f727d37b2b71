"""Videos with frames and masks; those on disk are image files, read on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agnn_lit.data.image_files import IMAGE_SUFFIXES, decode_image, header_size
from agnn_lit.metrics.mask_files import match_masks
from agnn_lit.metrics.mask_image import Annotations
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

    def mask(self, index: int) -> NDArray[Any] | None:
        """Foreground as (H, W), 0 or 1, or -1 for void; None if the frame is not annotated."""
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
            image = decode_image(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read as an image ({error})") from error
        if image is None:
            raise DataError(f"{path}: cannot be read as an image")
        return image

    @cached_property
    def _annotations(self) -> Annotations:
        return Annotations(self.masks)

    def mask(self, index: int) -> NDArray[np.int8] | None:
        """Return the foreground of frame ``index``, (H, W): 1 where the annotation's value is above 0.

        Beside object ids, 255 is void: -1.

        Raises:
            DataError: the file cannot be decoded.
        """
        return self._read(self._annotations.foreground, index)

    def objects(self, index: int) -> NDArray[np.uint8] | None:
        """Return the object ids of frame ``index``, (H, W), from palette indices or grey values; 255: void.

        A video whose masks have only 0 and 255, as in DAVIS-2016, has one object.

        Raises:
            DataError: the file cannot be decoded, or holds colours.
        """
        return self._read(self._annotations.ids, index)

    def _read(self, read: Callable[[Path], NDArray[Any]], index: int) -> NDArray[Any] | None:
        path = self.masks[index]
        if path is None:
            return None
        try:
            return read(path)
        except ScoreError as error:
            raise DataError(str(error)) from error


def need_folder(path: Path, what: str) -> Path:
    """Return a folder, or raise DataError with ``what`` it should hold if it does not exist."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected {what}")
    return path


def pair_by_name(name: str, frames: Sequence[Path], masks: Path, *, every: bool) -> DiskVideo:
    """Match frames and masks by file name.

    Args:
        name: of the video.
        frames: image files.
        masks: folder of masks; see :func:`~agnn_lit.metrics.mask_files.match_masks`.
        every: list masks that do not exist, too.

    Raises:
        DataError: masks are numbered differently from frames; or, without ``every``, masks belong to no frame.
    """
    try:
        found, extra = match_masks(name, [frame.stem for frame in frames], masks, suffixes=IMAGE_SUFFIXES)
    except ScoreError as error:
        raise DataError(str(error)) from None
    if extra and not every:
        raise DataError(
            f"{masks}: {', '.join(path.name for path in extra[:3])}{', …' if len(extra) > 3 else ''} "
            f"belong{'s' if len(extra) == 1 else ''} to no frame; frames of {name} are called "
            f"{frames[0].stem} … {frames[-1].stem}"
        )
    missing = {frame.stem: masks / f"{frame.stem}.png" for frame in frames} if every else {}
    paths = {**missing, **found}
    return DiskVideo(name, tuple(frames), tuple(paths.get(frame.stem) for frame in frames))


def cut(video: DiskVideo, start: float, end: float) -> DiskVideo:
    """Keep frame i of N if start <= i/N < end; adjacent ranges, such as 0..0.67 and 0.67..1, are disjoint."""
    first, last = (math.ceil(share * len(video)) for share in (start, end))
    return DiskVideo(video.name, video.frames[first:last], video.masks[first:last])
