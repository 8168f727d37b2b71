"""``overlay.mp4``: masks drawn on the footage, with its timing, as H.264 for any browser."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.shared.files import atomic_path

#: crf: constant quality, 0 lossless, 51 worst. Without pictures that refer to later ones (bf=0) parts can be joined;
#: without lookahead the encoder holds no frames. Without cpu-independent, encoding the same pictures twice sometimes
#: gave different files.
_X264 = {"crf": "20", "preset": "superfast", "bf": "0", "x264-params": "cpu-independent=1:rc-lookahead=0:mbtree=0"}


class OverlayVideo:
    """Encodes the frames of a video in any order in which each of its parts is in order of time.

    The network segments frames of distant places together. Each part of the video has an encoder of its own, so that
    no frame has to be kept, or decoded again; at the end the encoded parts are joined. Use it in a ``with`` block:
    after an error, no file is left.

    Args:
        path: MP4 file.
        parts: index of the first frame of each part, in ascending order.
        clock: time of each frame, and its unit in seconds.
        rate: typical frames per second, as a hint to players.
        pixel_aspect: width of a pixel divided by its height, which players stretch the pictures by.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        parts: Sequence[int],
        clock: tuple[Sequence[int], Fraction],
        rate: Fraction | int,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self.path, self._starts, self._rate, self._pixel_aspect = path, list(parts), rate, pixel_aspect
        self._stamps, self._unit = clock
        self._parts: dict[int, _Part] = {}
        self._size: tuple[int, int] | None = None

    def add(self, index: int, picture: NDArray[np.uint8]) -> None:
        """Encode the picture (H, W, 3), RGB, of a frame; all get the size of the first one, made even.

        Raises:
            ValueError: a later frame of the same part is there already. OSError: the file cannot be written.
        """
        number = bisect_right(self._starts, index) - 1
        if self._size is None:
            height, width = picture.shape[:2]
            self._size = height + height % 2, width + width % 2
        try:
            part = self._parts.get(number)
            if part is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                file = self.path.with_name(f".{self.path.name}.{os.getpid()}.{number}")
                part = self._parts[number] = _Part(file, self._size, self._unit, self._rate, self._pixel_aspect)
            part.add(self._stamps[index], _fitted(picture, *self._size))
        except av.error.FFmpegError as error:
            raise OSError(error.errno, str(error.strerror), str(self.path)) from error

    def _finish(self) -> None:
        """Join the parts; without any picture, no file is written."""
        if not self._parts:
            return
        with atomic_path(self.path) as temporary:
            for part in self._parts.values():
                part.finish()
            with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as film:
                stream = None
                for number in sorted(self._parts):
                    with av.open(str(self._parts[number].file), "r") as read:
                        if stream is None:
                            stream = film.add_stream_from_template(read.streams.video[0])
                            stream.time_base = self._unit
                        for packet in read.demux(read.streams.video[0]):
                            if packet.size:
                                packet.stream = stream
                                film.mux(packet)

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except av.error.FFmpegError as failure:
            raise OSError(failure.errno, str(failure.strerror), str(self.path)) from failure
        finally:
            for part in self._parts.values():
                part.remove()


class _Part:
    """The encoder of a part of the video, and its temporary file (NUT, which keeps times as they are)."""

    def __init__(
        self, file: Path, size: tuple[int, int], unit: Fraction, rate: Fraction | int, pixel_aspect: Fraction
    ) -> None:
        self.file, self._unit, self._last = file, unit, -1
        self._container = av.open(str(file), "w", format="nut")
        self._stream = self._container.add_stream("libx264", rate=rate, options=_X264)
        self._stream.pix_fmt = "yuv420p"
        self._stream.height, self._stream.width = size
        self._stream.codec_context.time_base = unit
        if pixel_aspect != 1:
            self._stream.codec_context.sample_aspect_ratio = pixel_aspect
        self._stream.codec_context.thread_count = 1  # the parts are encoded beside the network, and beside each other

    def add(self, time: int, picture: NDArray[np.uint8]) -> None:
        if time <= self._last:
            raise ValueError(f"the frame at {time} is not later than the one before it, at {self._last}")
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base, self._last = time, self._unit, time
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def remove(self) -> None:
        with suppress(OSError, av.error.FFmpegError):
            self._container.close()
        with suppress(OSError):
            self.file.unlink(missing_ok=True)


def _fitted(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Pad odd sides by repeating the last row or column; resize pictures of another size."""
    h, w = picture.shape[:2]
    if (h + h % 2, w + w % 2) != (height, width):
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return picture if (h, w) == (height, width) else np.pad(picture, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
