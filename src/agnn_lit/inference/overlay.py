"""Draw masks on footage and encode them as ``overlay.mp4``, in a thread beside the network."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.data.footage import Footage
from agnn_lit.inference.overlay_video import OverlayVideo
from agnn_lit.shared.pictures import draw_overlay

_ROOM = 2  # frames that may wait to be drawn


class Overlay:
    """The overlay of footage, to be used in a ``with`` block; after an error, no file is left.

    A frame is drawn when its mask is made. Frames that an earlier call has segmented are decoded again.

    Args:
        path: MP4 file.
        footage: the frames.
        parts: index of the first frame of each part of the footage in which masks are made in order of time.
        mask_file: file of a frame's mask by its index.
        objects: masks hold object ids.
        advance: called with the number of frames that have been drawn since the last call.

    Raises:
        OSError: the file cannot be written. DataError: a frame cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        footage: Footage,
        parts: Sequence[int],
        mask_file: Callable[[int], Path],
        advance: Callable[[int], None],
        *,
        objects: bool = False,
    ) -> None:
        self._footage, self._mask_file, self._advance, self._objects = footage, mask_file, advance, objects
        self._video = OverlayVideo(path, parts, footage.clock, _rate(footage), footage.pixel_aspect)
        self._starts = list(parts)
        self._next = list(parts)  # of each part, the first frame that is not drawn
        self._ends = [*parts[1:], len(footage)]
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def add(self, index: int, frame: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Draw a frame (H, W, 3) with its mask (H, W), and before it those of its part that have a mask file."""
        part = bisect_right(self._starts, index) - 1
        self._draw_until(part, index)
        self._submit(self._draw, index, frame, mask)
        self._next[part] = index + 1

    def finish(self) -> None:
        """Draw the frames that are left and have a mask file."""
        for part, end in enumerate(self._ends):
            self._draw_until(part, end)
        self._collect(0)

    def _draw_until(self, part: int, end: int) -> None:
        for index in range(self._next[part], end):
            if self._mask_file(index).is_file():
                self._submit(self._draw_again, index)
        self._next[part] = max(self._next[part], end)

    def _submit(self, draw: Callable[..., None], *args: Any) -> None:
        self._waiting.append(self._thread.submit(draw, *args))
        self._collect(_ROOM)

    def _collect(self, room: int) -> None:
        done = 0
        while self._waiting and (len(self._waiting) > room or self._waiting[0].done()):
            self._waiting.popleft().result()
            done += 1
        if done:
            self._advance(done)

    def _draw_again(self, index: int) -> None:
        with Image.open(self._mask_file(index)) as image:
            mask = np.asarray(image)
        self._draw(index, self._footage.frame(index), mask)

    def _draw(self, index: int, frame: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        self._video.add(index, draw_overlay(frame, mask, None, width=frame.shape[1], objects=self._objects))

    def __enter__(self) -> Overlay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._video.__exit__(kind, error, trace)


def _rate(footage: Footage) -> Fraction:
    stamps, base = footage.clock
    if len(stamps) < 2:
        return Fraction(24)
    return ((len(stamps) - 1) / ((stamps[-1] - stamps[0]) * base)).limit_denominator(1000)
