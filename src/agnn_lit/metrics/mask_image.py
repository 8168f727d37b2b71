"""One mask file, and the annotations of one sequence: what the values of their pixels mean.

All masks that the project reads, to score, to train or to show, are read here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.metrics.region import Mask
from agnn_lit.shared.pictures import DAMAGED

#: Beside object ids: pixels of this value in an annotation count for nothing.
VOID = 255
#: File formats (by their content, whatever the name says) that keep every value as it was.
_LOSSLESS = ("PNG", "BMP", "GIF", "TIFF", "PPM", "TGA")
#: A grey file with more values than this is a soft map, unless all are object ids of at most HIGHEST_GREY_ID.
_MOST_GREY_VALUES = 12
_HIGHEST_GREY_ID = 20


class _Pixels(NamedTuple):
    """Pixels of a file: palette indices or grey values (H, W), or colours (H, W, C) without transparency.

    Attributes:
        values: of the pixels.
        mode: of the image, as PIL names it.
        coloured: whether there is a palette with colours, so that values are indices and no shades of grey.
        shades: of a palette of greys, the grey value of each pixel; index 0 need not be black.
    """

    values: Mask
    mode: str
    coloured: bool
    shades: Mask | None

    @property
    def one_value(self) -> Mask:
        """One value per pixel (H, W); of a colour, its largest channel."""
        if self.shades is not None:
            return self.shades
        return self.values if self.values.ndim == 2 else self.values.max(axis=2)

    @property
    def white(self) -> float:
        """Largest value that the file's type has; 1 for floating-point files."""
        kind = self.values.dtype
        if kind == np.bool_ or kind.kind == "f":
            return 1.0
        return 255.0 if kind == np.uint8 else 65535.0

    @property
    def soft(self) -> int:
        """Number of grey values, if they are so many that this is a soft map and no mask; else 0."""
        if self.coloured or self.values.dtype == np.bool_:
            return 0
        values = _occurring(self.one_value)
        few = len(values) <= _MOST_GREY_VALUES or (values[-1] <= _HIGHEST_GREY_ID and np.all(values % 1 == 0))
        return 0 if few else len(values)


def _occurring(values: Mask) -> Mask:
    """Return the values that occur, ascending."""
    if values.dtype == np.uint8:
        return np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return np.unique(values)


def _read(path: Path) -> _Pixels:
    """Read a file.

    Raises:
        ScoreError: no such file, not an image, or of a format that may change values.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
        with Image.open(io.BytesIO(data)) as image:
            problem = _lossy(path, image, data[:64])
            if problem:
                raise ScoreError(problem)
            kind = image.format
            values, mode = np.asarray(image), image.mode
            colours = np.array(image.getpalette() or []).reshape(-1, 3)
            bits = data[24] if kind == "PNG" else 8
    except FileNotFoundError:
        raise ScoreError(f"{path}: no such file") from None
    except ScoreError:
        raise
    except DAMAGED as error:
        raise ScoreError(f"{path}: cannot be read as a PNG image ({error})") from error
    if values.ndim == 3 and mode in ("RGBA", "LA", "La", "PA", "RGBa"):
        values = values[..., 0] if mode[0] in "LP" else values[..., :-1]
    if mode == "L" and bits < 8:  # grey values were stretched to 0..255
        values = values // (255 // (2**bits - 1))
    coloured, shades = bool((colours != colours[:, :1]).any()), None
    if mode == "P" and not coloured:
        used = _occurring(values)
        if used[-1] < len(colours) and len(np.unique(colours[used, 0])) == len(used):
            shades = colours[:, 0].astype(np.uint8)[values]
            if kind == "GIF":  # whose writers number the values that occur anew
                values = shades
    return _Pixels(values, mode, coloured, shades)


def _lossy(path: Path, image: Image.Image, start: bytes) -> str:
    """Return the problem of a format that may change values, by the open image and the first bytes of its file."""
    kind = image.format or ""
    if "jpeg" in str(image.info.get("compression", "")).lower():
        kind += " with JPEG compression"
    if kind in _LOSSLESS or (kind == "WEBP" and b"VP8L" in start):
        return ""
    return (
        f"{path}: a {kind} image, which is lossy: values next to an object's outline are not those of the mask that "
        "was saved; write masks as PNG"
    )


def lossy(path: Path) -> str:
    """Return the problem of a mask file of a lossy format, from its header; empty for others and unreadable ones."""
    with suppress(*DAMAGED), path.open("rb") as file, Image.open(file) as image:
        file.seek(0)
        start = file.read(64)
        return _lossy(path, image, start)
    return ""


def read_foreground(path: Path, threshold: float | None = None) -> Mask:
    """Read a mask file as foreground and background.

    1-bit, 8-bit, 16-bit and palette files are taken as they are, any value or palette index > 0 being foreground; of
    colour files any channel but transparency.

    Args:
        path: PNG, or another lossless format, by its content.
        threshold: grey value above which a pixel is foreground; below 1 a share of the largest value of the file's
            type, such as 0.5 of 255. None for a mask.

    Returns:
        mask (H, W), bool or a number type, foreground > 0.

    Raises:
        ScoreError: the file is missing, not readable, of a lossy format, or a soft map though there is no threshold.
    """
    pixels = _read(path)
    if threshold is not None:
        return np.asarray(pixels.one_value > (threshold * pixels.white if threshold < 1 else threshold))
    if pixels.soft:
        raise ScoreError(
            f"{path}: {pixels.soft} grey values: a soft map, not a mask; give threshold=127 (a grey value) or "
            "threshold=0.5 (a share of white), above which a pixel is foreground"
        )
    return pixels.one_value


def read_ids(path: Path) -> Mask:
    """Read a mask file as object ids: palette indices, or grey values.

    Returns:
        ids (H, W), uint8.

    Raises:
        ScoreError: the file is missing, not readable, of a lossy format, or in colour without a palette.
    """
    pixels = _read(path)
    if pixels.values.ndim == 3 or pixels.values.dtype not in (np.uint8, np.bool_):
        raise ScoreError(f"{path}: image mode {pixels.mode}: object ids need a palette or 8-bit grey PNG")
    return pixels.values.astype(np.uint8, copy=False)


class Annotations:
    """The annotation files of one sequence.

    Where any of them has object ids, 255 is void in all of them: those pixels count neither as foreground nor as
    background. Where they have only 0 and 255, as in DAVIS-2016, 255 is the foreground.

    Args:
        files: of the sequence, in any order; None for frames without annotation.
    """

    def __init__(self, files: Sequence[Path | None]) -> None:
        self._files = files

    @cached_property
    def have_void(self) -> bool:
        """Whether 255 is void. Reads files until one has an object id."""
        return any(_has_ids(file) for file in self._files if file is not None)

    def foreground(self, path: Path) -> Mask:
        """Read one of the files as foreground.

        A soft map, as of softened outlines, is foreground where it is more than half of white.

        Returns:
            mask (H, W), int8: 1 foreground, 0 background, −1 void.

        Raises:
            ScoreError: the file is missing, not readable, or of a lossy format.
        """
        pixels = _read(path)
        if pixels.soft:
            return (pixels.one_value > pixels.white / 2).astype(np.int8)
        inside = (pixels.one_value > 0).astype(np.int8)
        void = pixels.values == VOID
        if void.ndim == 2 and void.any() and self.have_void:
            inside[void] = -1
        return inside

    def ids(self, path: Path) -> Mask:
        """Read one of the files as object ids; of a sequence that has none, its foreground is object 1.

        Returns:
            ids (H, W), uint8: 0 background, 255 void.

        Raises:
            ScoreError: see :func:`read_ids`.
        """
        ids = read_ids(path)
        return ids if not (ids == VOID).any() or self.have_void else np.minimum(ids, 1)


def _has_ids(path: Path) -> bool:
    """Whether a file has a value other than 0 and 255 that may be an object's; an unreadable one does not."""
    with suppress(ScoreError):
        pixels = _read(path)
        if pixels.values.ndim == 2 and pixels.values.dtype == np.uint8 and not pixels.soft:
            return bool(((pixels.values > 0) & (pixels.values < VOID)).any())
    return False


def without_void(prediction: Mask, annotation: Mask) -> tuple[Mask, Mask]:
    """Take the void pixels (below 0) of an annotation (H, W) out of it and of a prediction of its size."""
    if annotation.dtype.kind not in "if" or not (void := annotation < 0).any():
        return prediction, annotation
    return np.where(void, 0, prediction), np.where(void, 0, annotation)
