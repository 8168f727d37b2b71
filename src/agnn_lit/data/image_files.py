"""Image files: list a folder, and check size and completeness without reading pixels."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from agnn_lit.metrics.mask_files import frame_order

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values for a quarter turn
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # final bytes; some writers pad after them


def index_images(folder: Path) -> list[Path]:
    """List the images of a folder in numerical order."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(found, key=frame_order)


def header_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image as displayed, from its header."""
    with Image.open(path) as file:
        return _shown_size(file)


def _shown_size(file: Image.Image) -> tuple[int, int]:
    """Height and width as displayed and as OpenCV reads it, with EXIF rotation applied."""
    width, height = file.size
    return (width, height) if file.getexif().get(_ORIENTATION, 1) in _TURNED else (height, width)


def file_size(path: Path) -> tuple[tuple[int, int] | None, str | None]:
    """Return (height, width) of an image file, and None or the problem with it."""
    if not path.is_file():
        return None, f"{path}: missing"
    try:
        with Image.open(path) as file:
            kind, size = file.format or "", _shown_size(file)
        with path.open("rb") as raw:
            raw.seek(max(0, path.stat().st_size - 64))
            tail = raw.read()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        return None, f"{path}: unreadable ({error})"
    if kind in _ENDS and _ENDS[kind] not in tail:
        return None, f"{path}: truncated (no end of {kind} data)"
    return size, None
