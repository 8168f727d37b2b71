"""Several films at once: by a pattern, in a folder, or in a list."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agnn_lit.data.footage import VIDEO_SUFFIXES
from agnn_lit.data.image_files import index_images
from agnn_lit.data.video import DataError


@dataclass(frozen=True)
class Film:
    """A film of several.

    Attributes:
        path: video file, or folder of images.
        name: its folder in the output, such as ``holiday`` or ``2026/holiday``.
    """

    path: Path
    name: str


def find_films(given: str) -> list[Film] | None:
    """Return the films that ``given`` stands for; None if it is one film, or nothing that exists.

    It may be

    * a pattern such as ``clips/*.mp4`` (``**``: folders of any depth),
    * a folder of films, each a video file or a folder of images,
    * a text file, ``.txt``, with the path of a film in each line; empty lines and those that begin with # are skipped.

    Films are in order of their paths, or of the list. A film is named by its path below the folder, below the part of
    the pattern before the first wildcard, or below the deepest folder that holds all films of a list; without suffix,
    unless two films differ only in that.

    Raises:
        DataError: no film; a list that cannot be read, or names a film twice.
    """
    path = Path(given)
    if path.is_dir():
        if index_images(path):
            return None
        found = [p for p in sorted(path.iterdir()) if _is_film(p)]
        return _named(found, path) if found else None
    if path.is_file():
        return _listed(path) if path.suffix.lower() == ".txt" else None
    if not glob.has_magic(given):
        return None
    number = next(k for k, part in enumerate(path.parts) if glob.has_magic(part))
    fixed, pattern = Path(*path.parts[:number]), "/".join(path.parts[number:])
    found = [p for p in sorted(fixed.glob(pattern)) if not p.name.startswith(".")]
    if not found:
        raise DataError(f"input={given}: no file matches this pattern")
    return _named(found, fixed)


def _is_film(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return bool(index_images(path)) if path.is_dir() else path.suffix.lower() in VIDEO_SUFFIXES


def _listed(file: Path) -> list[Film]:
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"input={file}: cannot be read as a list of films ({error})") from error
    paths = [Path(line).expanduser() for line in lines if line and not line.startswith("#")]
    if not paths:
        raise DataError(f"input={file}: this list names no film; write one path per line")
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"input={file}: {twice} is listed twice")
    if not any(path.exists() for path in paths):
        raise DataError(
            f"input={file}: a text file is a list of films, one path in each line, but none of its {len(paths)} lines "
            f"is a file or folder; the first is {str(paths[0])!r}"
        )
    above = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    return _named(paths, above)


def _named(paths: Sequence[Path], above: Path) -> list[Film]:
    """Name films by their paths below a folder."""
    below = [Path(os.path.relpath(path.absolute(), above.absolute())) for path in paths]
    short = [part if path.is_dir() else part.with_suffix("") for path, part in zip(paths, below, strict=True)]
    counts = Counter(short)
    names = [long if counts[name] > 1 else name for long, name in zip(below, short, strict=True)]
    return [Film(path, name.as_posix()) for path, name in zip(paths, names, strict=True)]
