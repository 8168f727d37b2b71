"""Atomic writing of files, through which the whole package writes, and their digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.shared.pictures import colour_of


@contextmanager
def atomic_path(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; it replaces ``path`` when the ``with`` block ends.

    On an error the temporary file is removed. Then, and if nothing was written, ``path`` stays as it was.

    Args:
        path: final path of the file; its folder is made if needed.
        sync: flush the content to the disk first, so that it survives a power failure.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        if temporary.exists():
            if sync:
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; bytes of file names that are not UTF-8 become escapes such as ``\\udcb9``."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_image(path: Path, image: Image.Image, level: int = 6) -> None:
    """Write a PNG atomically; ``level`` of compression from 0, fast, to 9, small."""
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", compress_level=level)


def write_mask(path: Path, mask: NDArray[np.uint8], level: int = 6) -> None:
    """Write a mask (H, W) of foreground or object ids as a palette PNG in DAVIS's colours."""
    image = Image.fromarray(mask, mode="P")
    image.putpalette([part for number in range(max(2, int(mask.max()) + 1)) for part in colour_of(number)])
    write_image(path, image, level)
