"""Footage to predict: video files, folders of images, single images, frames in memory."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnn_lit.data.array_video import ArrayVideo, open_arrays
from agnn_lit.data.image_files import IMAGE_SUFFIXES, file_size, index_images
from agnn_lit.data.picture_stack import PictureStack, open_stack
from agnn_lit.data.video import DataError, DiskVideo
from agnn_lit.data.video_file import VideoFile

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".webm", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".ogv")
_PART = 1 << 16  # bytes read at the beginning, middle and end of a file for its fingerprint


@dataclass(frozen=True)
class Footage:
    """Frames to segment, including unreadable ones.

    Attributes:
        video: source of the frames.
        unreadable: index of each unreadable frame, with the reason.
        clock: time of each frame, in ascending order, and its unit in seconds.
        faults: problems of the footage as a whole.
        notes: what its user should know.
        pixel_aspect: width of a pixel divided by its height.
    """

    video: DiskVideo | VideoFile | PictureStack | ArrayVideo
    unreadable: dict[int, str]
    clock: tuple[list[int], Fraction]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pixel_aspect: Fraction = Fraction(1)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name of the file or folder."""
        return self.video.name

    @property
    def _files(self) -> tuple[Path, ...]:
        if isinstance(self.video, ArrayVideo):
            return ()
        return self.video.frames if isinstance(self.video, DiskVideo) else (self.video.path,)

    def fingerprint(self) -> str:
        """Return a hash of the files' names, sizes and parts of their content; of frames in memory, all content."""
        if isinstance(self.video, ArrayVideo):
            return self.video.digest()
        files = self._files
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.name}:{file.stat().st_size};".encode("utf-8", "surrogateescape"))
        for file in dict.fromkeys((files[0], files[len(files) // 2], files[-1])):
            size = file.stat().st_size
            with file.open("rb") as raw:
                for start in (0, size // 2, max(0, size - _PART)):
                    raw.seek(start)
                    digest.update(raw.read(_PART))
        return digest.hexdigest()[:16]

    def content(self) -> str:
        """Return a hash of the whole content of all files, which a corrected frame changes."""
        digest = hashlib.blake2b(digest_size=8)
        for file in self._files:
            with suppress(OSError), file.open("rb") as raw:  # an unreadable frame is reported elsewhere
                while part := raw.read(1 << 20):
                    digest.update(part)
            digest.update(b"/")
        return digest.hexdigest()

    def prepare(self, frames: int) -> None:
        """Allow one decoder per frame of a graph, N' = ``frames``, and two more, one of them for the overlay."""
        if isinstance(self.video, VideoFile):
            self.video.decoders = frames + 2

    def close(self) -> None:
        """Close the decoders."""
        if isinstance(self.video, VideoFile):
            self.video.close()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the first readable frame."""
        if not isinstance(self.video, DiskVideo):
            return self.video.size
        whole = next(i for i in range(len(self)) if i not in self.unreadable)
        return DiskVideo(self.name, self.video.frames[whole:], ()).size

    def __len__(self) -> int:
        return len(self.video)

    def frame_name(self, index: int) -> str:
        """Name of a frame's mask, without extension."""
        return self.video.frame_name(index)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return a frame as (H, W, 3) RGB; threads may call it at the same time.

        Raises:
            DataError: the frame cannot be decoded.
        """
        if index in self.unreadable:
            raise DataError(self.unreadable[index])
        with self._lock:
            return self.video.frame(index)

    def mask(self, index: int) -> None:  # noqa: ARG002 - same call as Video
        """Return None: footage has no annotation."""
        return

    def objects(self, index: int) -> None:  # noqa: ARG002 - same call as Video
        """Return None: footage has no annotation."""
        return


def open_footage(source: Any, fps: float = 24.0) -> Footage:
    """Open a video file, a folder of images (shown at ``fps``), one image, or frames in memory.

    Args:
        source: a path, or what :func:`~agnn_lit.data.array_video.open_arrays` takes.
        fps: frames per second of footage without a timing of its own.

    Raises:
        DataError: the path does not exist, or no frame can be read.
    """
    if not isinstance(source, (str, Path)):
        video = open_arrays(source)
        return Footage(video, {}, (list(range(len(video))), 1 / Fraction(fps).limit_denominator(1000)))
    path = Path(source)
    kinds = f"a video file ({', '.join(VIDEO_SUFFIXES)}, …), a folder of images, or one image"
    if not path.exists():
        raise DataError(f"input={path}: no such file or folder; give {kinds}")
    rate = Fraction(fps).limit_denominator(1000)
    stack = open_stack(path) if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES else None
    if stack is not None:
        return Footage(stack, {}, stack.clock(rate))
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return _images(path, rate)
    if path.stat().st_size == 0:
        raise DataError(f"input={path}: the file is empty; give {kinds}")
    try:
        film = VideoFile(path)
    except DataError as error:
        known = path.suffix.lower() in VIDEO_SUFFIXES
        advice = "the file may be damaged, or its copying or recording was broken off" if known else f"give {kinds}"
        raise DataError(f"input={error}; {advice}") from error
    stamps, base = film.clock
    from_zero = [stamp - stamps[0] for stamp in stamps]  # recordings may start at any time
    return Footage(film, film.broken, (from_zero, base), tuple(film.faults), tuple(film.notes), film.pixel_aspect)


def _images(path: Path, fps: Fraction) -> Footage:
    images = index_images(path) if path.is_dir() else [path]
    if not images:
        below = next((p for p in sorted(path.iterdir()) if p.is_dir() and index_images(p)), None)
        hint = f"; there are images in {below}" if below else ""
        raise DataError(f"input={path}: no image in this folder ({', '.join(IMAGE_SUFFIXES)}){hint}")
    twice = next((a for a, b in pairwise(sorted(images, key=lambda p: p.stem)) if a.stem == b.stem), None)
    if twice is not None:
        raise DataError(f"input={path}: two images are called {twice.stem} and would share one mask")
    problems = ((i, file_size(image)[1]) for i, image in enumerate(images))
    unreadable = {i: problem for i, problem in problems if problem}
    name = path.resolve().name if path.is_dir() else path.stem
    if len(unreadable) == len(images):
        raise DataError(f"input={path}: none of the {len(images)} images can be read ({unreadable[0]})")
    return Footage(
        DiskVideo(name, tuple(images), (None,) * len(images)), unreadable, (list(range(len(images))), 1 / fps)
    )
