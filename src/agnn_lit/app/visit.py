"""What one visitor of the page has uploaded, and what was made of it; all of it is removed after the visit."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.api import ConfigError, DataError, Model, Segmentation
from agnn_lit.shared.files import write_bytes
from agnn_lit.shared.pictures import draw_overlay, jpeg

#: What is being done, number of steps done, and of all.
Report = Callable[[str, int, int], None]
#: Input scales by the words of the page.
SCALES: dict[str, tuple[float, ...]] = {"one": (1.0,), "three": (0.75, 1.0, 1.5)}


class CancelledError(RuntimeError):
    """The visitor has cancelled the work, or left."""


@dataclass(frozen=True)
class Choices:
    """What a visitor can choose.

    Attributes:
        scales: ``one`` or ``three``.
        threshold: a pixel is foreground above this probability.
        crf: dense CRF, ``none`` or ``band``.
        objects: separate objects instead of one foreground.
    """

    scales: str = "one"
    threshold: float = 0.5
    crf: str = "none"
    objects: bool = False


@dataclass(frozen=True)
class Result:
    """Masks of a film.

    Attributes:
        frames: number of frames.
        files: ``overlay.mp4``, ``masks.zip`` and ``predict.json``.
        summary: a line about the film and its masks.
    """

    frames: int
    files: tuple[Path, Path, Path]
    summary: str


#: Video codecs, as FFmpeg calls them, that all common browsers play.
_PLAYED = ("h264", "vp8", "vp9", "av1", "libdav1d", "theora")


class Visit:
    """The film of a visitor, with its probabilities and masks.

    Args:
        model: the model, shared by all visitors.
        root: folder in which the visit gets one of its own.
        max_frames: maximum length of a film.
    """

    def __init__(self, model: Model, root: Path, max_frames: int) -> None:
        self._model, self._max_frames = model, max_frames
        self._folder = Path(tempfile.mkdtemp(dir=root))
        self._working = threading.Lock()
        self._looking = threading.Lock()  # pictures read the same film
        self._cancelled = threading.Event()
        self._closed = False
        self._made: tuple[Path, str] | None = None  # film and scales of the probabilities
        self._segmentation: Segmentation | None = None
        self._number = 0
        self.uploads: set[Path] = set()
        self.result: Result | None = None

    def segment(self, film: Path, choices: Choices, report: Report) -> Result:
        """Make the masks of a film; the network is not run again if only what follows it has changed.

        Raises:
            ConfigError, DataError: the film cannot be read, or is too long. OSError: the disk is full.
            CancelledError: :meth:`cancel` or :meth:`close` was called.
        """
        with self._working:
            self._cancelled.clear()
            if self._closed:
                raise CancelledError

            def step(what: str, done: int, total: int) -> None:
                if self._cancelled.is_set():
                    raise CancelledError
                report(what, done, total)

            segmentation = self._open(film, choices)
            with self._looking:
                self.result = None
            segmentation.compute(step)
            segmentation.change(
                threshold=choices.threshold, crf=choices.crf, instances="parts" if choices.objects else "none"
            )
            self._number += 1  # a new name, or the browser would show the video that it has
            out = self._folder / f"{film.stem or 'film'}-{self._number}"
            for old in self._folder.iterdir():
                shutil.rmtree(old, ignore_errors=True)
            segmentation.save(out, soft=True, progress=step)
            self.result = self._finish(segmentation, out, choices)
            return self.result

    def _open(self, film: Path, choices: Choices) -> Segmentation:
        if self._segmentation is not None and self._made == (film, choices.scales):
            return self._segmentation
        self._forget()
        # With objects, node features are kept, so that they can be chosen later without running the network again.
        try:
            opened = self._model.segment(film, scales=SCALES[choices.scales], instances="parts", on_error="skip")
        except DataError as error:
            raise DataError(str(error).removeprefix("input=").replace(str(film), film.name)) from error
        if len(opened) > self._max_frames:
            length = len(opened)
            opened.close()
            raise ConfigError(
                f"{film.name} has {length} frames, and this page takes {self._max_frames} at most: cut it, or use "
                f"agnn-predict (the limit is agnn-app's max_frames)"
            )
        self._segmentation, self._made = opened, (film, choices.scales)
        return opened

    def _finish(self, segmentation: Segmentation, out: Path, choices: Choices) -> Result:
        archive = out / "masks.zip"
        with zipfile.ZipFile(archive, "w") as file:  # PNG is compressed already
            for mask in sorted((out / "masks").iterdir()):
                file.write(mask, mask.name)
        height, width = segmentation.size
        parts = [f"{len(segmentation)} frames of {width}×{height}"]
        if choices.objects:
            count = json.loads((out / "predict.json").read_text())["objects"]
            parts.append(f"{count} object{'' if count == 1 else 's'}")
        if segmentation.skipped:
            parts.append(f"{len(segmentation.skipped)} unreadable frames left out")
        files = (out / "overlay.mp4", archive, out / "predict.json")
        return Result(len(segmentation), files, "; ".join((*parts, *segmentation.notes)))

    def pictures(self, index: int, choices: Choices) -> tuple[Path, Path] | None:
        """Draw a frame with its mask, and one with its probability as a heat map; None if there are no masks."""
        with self._looking:
            if self.result is None or self._segmentation is None:
                return None
            out = self.result.files[0].parent
            frame = self._segmentation.frame(index)
            mask, soft = (out / kind / f"{frame.name}.png" for kind in ("masks", "soft"))
            with Image.open(mask) as ids, Image.open(soft) as probability:
                overlay = draw_overlay(frame.image, np.asarray(ids), None, width=960, objects=choices.objects)
                drawn = {"mask": overlay, "probability": heat(frame.image, np.asarray(probability))}
            for name, picture in drawn.items():
                write_bytes(out / f"{name}-{frame.name}.jpg", jpeg(picture))
            return out / f"mask-{frame.name}.jpg", out / f"probability-{frame.name}.jpg"

    def cancel(self) -> None:
        """Stop the work at its next frame."""
        self._cancelled.set()

    def close(self) -> None:
        """Stop the work and remove all files of the visit but the uploads."""
        self._closed = True
        self.cancel()
        with self._working:
            self._forget()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self) -> None:
        with self._looking:
            if self._segmentation is not None:
                self._segmentation.close()
            self._segmentation = self._made = self.result = None


def describe(film: Path) -> str:
    """Return what a film is, as a visitor reads it: size, length, and whether browsers play it."""
    try:
        with av.open(str(film)) as container:
            (stream, *_) = container.streams.video
            codec, size = stream.codec_context.name, f"{stream.codec_context.width}×{stream.codec_context.height}"
            seconds = "" if container.duration is None else f", {container.duration / av.time_base:.1f} s"
    except (av.FFmpegError, ValueError, OSError):
        return f"{film.name} cannot be read as a video."
    unseen = "" if codec in _PLAYED else f". Browsers may not play {codec.upper()}; it can be segmented all the same"
    return f"{film.name}: {size}{seconds}{unseen}."


def heat(frame: NDArray[np.uint8], probability: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw probabilities (H, W), 0 to 255, over the greys of a frame (H, W, 3) RGB: dark blue is 0, dark red is 1."""
    colours = cv2.cvtColor(cv2.applyColorMap(probability, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(grey, 0.4, colours, 0.6, 0), dtype=np.uint8)
