"""From folders on disk to lists of videos, and the check that they are whole; pixels are read on demand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from agnn_lit.metrics.mask_files import frame_order, listed_names, read_ids
from agnn_lit.metrics.summary import ScoreError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class DataError(RuntimeError):
    """A data set that is not what its layout promises; the message names every path concerned."""


class Video(Protocol):
    """Anything with frames and, where annotated, masks: on disk or generated."""

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
        """Foreground as (H, W), 0 or 1; None where the frame is not annotated."""
        ...

    def objects(self, index: int) -> NDArray[np.uint8] | None:
        """Object of each pixel (H, W), 0 for none, 255 for void; None where the frame is not annotated."""
        ...


@dataclass(frozen=True)
class DiskVideo:
    """A video as image files.

    Attributes:
        name: of the sequence.
        frames: image files in order.
        masks: annotation file of each frame, or None where there is none.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path | None, ...]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, from the first frame's header."""
        return _header_size(self.frames[0])

    def frame_name(self, index: int) -> str:
        """Return the name of the frame's file, without extension."""
        return self.frames[index].stem

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return frame ``index`` as (H, W, 3) RGB.

        Raises:
            DataError: when the file cannot be decoded.
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
            DataError: when the file cannot be decoded.
        """
        path = self.masks[index]
        return None if path is None else read_mask(path)

    def objects(self, index: int) -> NDArray[np.uint8] | None:
        """Return the object of each pixel of frame ``index``, (H, W): palette indices, or grey values.

        A mask of 0 and 255 alone, as DAVIS-2016 has them, is one object.

        Raises:
            DataError: when the file cannot be decoded, or holds colours.
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
    """Read an annotation, palette, grey or 1-bit, as (H, W): 1 where its value is above 0.

    Raises:
        DataError: when the file cannot be decoded.
    """
    try:
        with Image.open(path) as file:
            values = np.asarray(file)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path}: cannot be read as a mask ({error})") from error
    if values.ndim == 3:
        values = values[..., :3].max(axis=-1)
    return (values > 0).astype(np.uint8)


def _header_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as file:
        return _shown_size(file)


def _shown_size(file: Image.Image) -> tuple[int, int]:
    """Height and width as an image is shown, which is how OpenCV reads it: a camera may have turned it (EXIF)."""
    width, height = file.size
    return (width, height) if file.getexif().get(_ORIENTATION, 1) in _TURNED else (height, width)


def index_images(folder: Path) -> list[Path]:
    """List the images of a folder in the order of their numbers."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(found, key=frame_order)


def _folder(path: Path, what: str) -> Path:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected {what}")
    return path


def split_names(root: Path, year: str, split: str) -> list[str]:
    """Read the list of a DAVIS split, ``ImageSets/<year>/<split>.txt``.

    Raises:
        DataError: no such list; the message names those that are there.
    """
    _folder(root, "DAVIS, with ImageSets, JPEGImages and Annotations")
    file = root / "ImageSets" / year / f"{split}.txt"
    official = root / "ImageSets" / "480p" / f"{split}.txt"  # where the DAVIS-2016 archive has it
    if year == "2016" and not file.is_file() and official.is_file():
        file = official
    if not file.is_file():
        found = sorted(p.stem for p in file.parent.glob("*.txt")) if file.parent.is_dir() else []
        other = {"2016": "2017", "2017": "2016"}[year]
        there = (root / "ImageSets" / other).is_dir()
        hint = f"; for {root / 'ImageSets' / other} take data=davis{other}" if there else ""
        raise DataError(f"{file}: no such split; found there: {', '.join(found) or 'nothing'}{hint}")
    return listed_names(file)


def index_davis(root: Path, names: Iterable[str]) -> list[DiskVideo]:
    """List sequences of DAVIS (https://davischallenge.org), 2016, or 2017 with its objects merged.

    Layout: ``JPEGImages/480p/<name>/*.jpg``, ``Annotations/480p/<name>/*.png`` (a DAVIS-2017 archive's
    annotation holds object indices).

    Raises:
        DataError: no such folder.
    """
    _folder(root, "DAVIS, with ImageSets, JPEGImages and Annotations")
    images, masks = root / "JPEGImages" / "480p", root / "Annotations" / "480p"
    return [_paired(name, index_images(images / name), masks / name, every=True) for name in names]


def _paired(name: str, frames: Sequence[Path], masks: Path, *, every: bool) -> DiskVideo:
    """Join frames and masks by file name; with ``every``, a frame must have a mask, there or not."""
    wanted = [masks / f"{frame.stem}.png" for frame in frames]
    return DiskVideo(name, tuple(frames), tuple(m if every or m.is_file() else None for m in wanted))


def index_youtube_objects(root: Path, classes: Iterable[str] | None = None) -> list[DiskVideo]:
    """List YouTube-Objects: ``JPEGImages/<class>/<video>/*.jpg``, ``Annotations/<class>/<video>/*.png``.

    Only some frames (one in ten) are annotated. Names are ``<class>/<video>``.

    Raises:
        DataError: folders missing.
    """
    images = _folder(root / "JPEGImages", "YouTube-Objects: JPEGImages/<class>/<video>/*.jpg")
    wanted = set(classes) if classes is not None else None
    return [
        _paired(
            f"{kind.name}/{video.name}",
            index_images(video),
            root / "Annotations" / kind.name / video.name,
            every=False,
        )
        for kind in sorted(p for p in images.iterdir() if p.is_dir())
        if wanted is None or kind.name in wanted
        for video in sorted(p for p in kind.iterdir() if p.is_dir())
    ]


def index_folder(root: Path) -> list[DiskVideo]:
    """List frames in a plain folder, or in one folder a video; masks are taken from a ``masks`` folder beside.

    Layout: ``<root>/*.jpg``, or ``<root>/<video>/*.jpg``, or ``<root>/images/[<video>/]*.jpg`` with
    ``<root>/masks/[<video>/]*.png``.

    Raises:
        DataError: no such folder, or no image in it.
    """
    _folder(root, "images, or one folder of images a video")
    images = root / "images" if (root / "images").is_dir() else root
    masks = root / "masks"
    folders = [p for p in sorted(images.iterdir()) if p.is_dir() and p != masks and index_images(p)]
    if folders:
        return [_paired(p.name, index_images(p), masks / p.name, every=masks.is_dir()) for p in folders]
    if not index_images(images):
        raise DataError(f"{images}: holds no image ({', '.join(IMAGE_SUFFIXES)}) and no folder of images")
    return [_paired(root.name, index_images(images), masks, every=masks.is_dir())]


#: Folders of images and of masks in the saliency data sets, as their archives have them.
_STATIC_LAYOUTS = (
    ("images", "masks"),
    ("Imgs", "Imgs"),  # MSRA10K, https://mmcheng.net/msra10k
    ("DUTS-TR-Image", "DUTS-TR-Mask"),  # DUTS, http://saliencydetection.net/duts
    ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),  # DUT-OMRON, http://saliencydetection.net/dut-omron
)


def index_static(root: Path) -> list[DiskVideo]:
    """List the images of a saliency data set, each as a video of one frame.

    Layouts: MSRA10K (``Imgs/*.jpg`` and ``Imgs/*.png``), DUTS (``DUTS-TR-Image``, ``DUTS-TR-Mask``), DUT-OMRON
    (``DUT-OMRON-image``, ``pixelwiseGT-new-PNG``), or ``images`` and ``masks``; in ``root`` or a folder in it.

    Raises:
        DataError: no such folder, or none of these layouts in it.
    """
    _folder(root, "a saliency data set")
    for base in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        for images, masks in _STATIC_LAYOUTS:
            if not ((base / images).is_dir() and (base / masks).is_dir()):
                continue
            found = index_images(base / images)
            if images == masks:  # both in one folder, told apart by their type
                found = [file for file in found if file.suffix.lower() != ".png"]
            return [DiskVideo(f"{root.name}/{f.stem}", (f,), (base / masks / f"{f.stem}.png",)) for f in found]
    wanted = ", ".join(images if images == masks else f"{images} + {masks}" for images, masks in _STATIC_LAYOUTS)
    raise DataError(f"static.roots: {root} holds none of the layouts known ({wanted})")


def select(videos: Sequence[DiskVideo], sequences: Iterable[str] | None) -> list[DiskVideo]:
    """Keep the named sequences, in the order of ``videos``.

    Raises:
        DataError: a name that is not there.
    """
    if sequences is None:
        return list(videos)
    wanted = list(sequences)
    unknown = sorted(set(wanted) - {v.name for v in videos})
    if unknown:
        raise DataError(f"data.sequences: no {', '.join(unknown)} here; there are {', '.join(v.name for v in videos)}")
    return [v for v in videos if v.name in wanted]


def cut(video: DiskVideo, start: float, end: float) -> DiskVideo:
    """Keep the frames from one share of a video to another: frame i of N where start <= i/N < end.

    Ranges that meet, such as 0 to 0.67 and 0.67 to 1, have no frame in common and leave none out.
    """
    first, last = (math.ceil(share * len(video)) for share in (start, end))
    return DiskVideo(video.name, video.frames[first:last], video.masks[first:last])


def check(videos: Sequence[DiskVideo], frames: int, *, one_size: bool = True) -> None:
    """Check that videos are whole, all at once: headers and file ends are read, no pixels.

    Args:
        videos: what an index function returned.
        frames: N'; a video must have as many.
        one_size: a mask must have the size of its frame.

    Raises:
        DataError: listing every missing, unreadable or truncated file, size mismatch, and empty or too
            short video.
    """
    problems = [f"{v.name}: no frames" for v in videos if not len(v)]
    problems += [f"{v.name}: {len(v)} frames, fewer than model.frames={frames}" for v in videos if 0 < len(v) < frames]
    with ThreadPoolExecutor() as pool:
        for found in pool.map(partial(_problems, one_size=one_size), videos):
            problems += found
    if not videos:
        problems.append("no videos")
    if problems:
        shown = problems[:50] + ([f"… and {len(problems) - 50} more"] if len(problems) > 50 else [])
        raise DataError(f"{len(problems)} problem(s) in the data set:\n  " + "\n  ".join(shown))


def _problems(video: DiskVideo, *, one_size: bool) -> list[str]:
    found: list[str] = []
    expected: tuple[int, int] | None = None
    for frame, mask in zip(video.frames, video.masks, strict=True):
        size, problem = file_size(frame)
        if problem:
            found.append(problem)
        elif size != expected and expected is not None:
            found.append(f"{frame}: size {size}, but the video began with {expected}")
        expected = expected or size
        if mask is None:
            continue
        mask_size, problem = file_size(mask)
        if problem:
            found.append(problem)
        elif one_size and size is not None and mask_size != size:
            found.append(f"{mask}: size {mask_size} (height, width), but its frame has {size}")
    return found


_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values for a quarter turn
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # closing bytes; some writers pad after them


def file_size(path: Path) -> tuple[tuple[int, int] | None, str | None]:
    """Return (height, width) of an image file, or what is wrong with it."""
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
