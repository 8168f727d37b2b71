"""Image files: list a folder, and check size and completeness without reading pixels."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.metrics.mask_files import frame_files
from agnn_lit.shared.pictures import DAMAGED

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values for a quarter turn
_TIFF_KIND, _TIFF_WIDTH, _TIFF_HEIGHT = 254, 256, 257
_JPEG_END = b"\xff\xd9"
_TAIL = 64  # bytes at the end of a JPEG file in which its end is sought first


def index_images(folder: Path) -> list[Path]:
    """List the images of a folder in numerical order."""
    return frame_files(folder, IMAGE_SUFFIXES) if folder.is_dir() else []


def header_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image as displayed, from its header."""
    with Image.open(path) as file:
        return _shown_size(file)


def _shown_size(file: Image.Image) -> tuple[int, int]:
    """Height and width as displayed and as OpenCV reads it, with EXIF rotation applied."""
    width, height = file.size
    if file.format == "TIFF":  # PIL swaps the sides of turned ones itself, in some versions
        tags = file.tag_v2  # type: ignore[attr-defined]
        width, height = tags.get(_TIFF_WIDTH, width), tags.get(_TIFF_HEIGHT, height)
    return (width, height) if file.getexif().get(_ORIENTATION, 1) in _TURNED else (height, width)


def pages_of(file: Image.Image) -> tuple[int, ...]:
    """Return the places of the pictures in an open TIFF stack or animation; the first one of other formats.

    Thumbnails, which some programs put into a TIFF file as further pages, are left out.
    """
    count = int(getattr(file, "n_frames", 1)) if file.format in ("TIFF", "PNG", "WEBP", "GIF") else 1
    if file.format != "TIFF" or count == 1:
        return tuple(range(count))
    whole = []
    for page in range(count):
        file.seek(page)
        if not file.tag_v2.get(_TIFF_KIND, 0) & 1:  # type: ignore[attr-defined]
            whole.append(page)
    file.seek(0)
    return tuple(whole)


def decode_image(path: Path) -> NDArray[np.uint8] | None:
    """Read an image as (H, W, 3) RGB, with EXIF rotation applied; None if it cannot be decoded.

    Raises:
        OSError: the file cannot be read.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)  # OpenCV itself opens no name that is not UTF-8
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:
        return None
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def file_size(path: Path) -> tuple[tuple[int, int] | None, str | None]:
    """Return (height, width) of an image file, and None or the problem with it; several pictures in it are one."""
    if not path.is_file():
        return None, f"{path}: missing"
    try:
        with Image.open(path) as file:
            kind, size, pages = file.format or "", _shown_size(file), len(pages_of(file))
        with path.open("rb") as raw:
            whole = _COMPLETE[kind](raw, path.stat().st_size) if kind in _COMPLETE else True
    except DAMAGED as error:
        return None, f"{path}: unreadable ({error})"
    if not whole:
        return None, f"{path}: truncated (no end of {kind} data)"
    if pages > 1:
        return None, f"{path}: holds {pages} pictures, where one is expected; agnn-predict input={path} takes all"
    return size, None


def _png_is_complete(file: BinaryIO, size: int) -> bool:
    """Whether the chunks of a PNG file go on to its last one; https://www.w3.org/TR/png-3/#5Chunk-layout."""
    place = 8
    while place + 12 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        place += 12 + length
        if name == b"IEND":
            return bool(place <= size)
    return False


def _jpeg_is_complete(file: BinaryIO, size: int) -> bool:
    """Whether the segments and scans of a JPEG file go on to its end marker; ITU-T T.81, section B.1.

    An end marker of a thumbnail inside a segment does not count, and data after the end does not matter.
    """
    place = 2
    while place + 4 <= size:  # segments up to the first scan
        file.seek(place)
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF:
            return False
        if kind == 0xFF:  # fill byte
            place += 1
            continue
        place += 2 + length
        if kind == 0xDA:
            break
    file.seek(max(place, size - _TAIL))
    if _JPEG_END in file.read():
        return True
    file.seek(min(place, size))
    return _scans_end(file.read())


def _scans_end(data: bytes) -> bool:
    """Whether compressed data, and segments and scans that follow it, have an end marker."""
    place = data.find(b"\xff")
    while 0 <= place < len(data) - 1:
        kind = data[place + 1]
        if kind == 0xD9:
            return True
        if kind in (0x00, 0xFF, 0x01) or 0xD0 <= kind <= 0xD7:  # a byte of the data, fill, or a restart marker
            step = 1 if kind == 0xFF else 2
        else:  # a segment
            step = 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        place = data.find(b"\xff", place + step)
    return False


def _webp_is_complete(file: BinaryIO, size: int) -> bool:
    """Whether a WebP file is as long as its header says."""
    file.seek(4)
    return int.from_bytes(file.read(4), "little") + 8 <= size + 1  # the last byte may be padding


_COMPLETE = {"PNG": _png_is_complete, "JPEG": _jpeg_is_complete, "MPO": _jpeg_is_complete, "WEBP": _webp_is_complete}
