"""Random access to the frames of a video file."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from numpy.typing import NDArray

from agnn_lit.data.video import DataError
from agnn_lit.data.video_headers import missing_bytes

#: Threads of a decoder; each holds frames in memory.
_THREADS = min(4, os.cpu_count() or 1)

_Matrix = tuple[int, int, int, int]
_UPRIGHT: _Matrix = (1, 0, 0, 1)


@dataclass(frozen=True)
class FrameTime:
    """Presentation time of a frame in the stream's time base, if the file has times; and its problem, or None."""

    pts: int | None
    broken: str | None = None


class VideoFile:
    """A video file as a sequence of frames, in order of presentation.

    The file is decoded once to find its frames, because headers do not state their number reliably. Frames are turned
    and mirrored as the file specifies; those that it hides (an edited beginning or end) are left out. Cover pictures
    are no film. Frames are named ``00000``, ``00001``, … as in DAVIS.

    Args:
        path: any file that FFmpeg decodes.

    Attributes:
        decoders: maximum number of open decoders; the frames of a graph are far apart, and each decoder reads on.
        faults: problems of the file as a whole.
        notes: what its user should know.

    Raises:
        DataError: the file holds no video, or no frame can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self.decoders = 8
        self.times, self.faults, self._matrix = _find_frames(path)
        stamps = [t.pts for t in self.times]
        #: Without ascending times, frames are counted from the start of the file.
        self._timed = _ascending(stamps)
        self._index = {t: i for i, t in enumerate(stamps)} if self._timed else {}
        self._cursors: list[_Cursor] = []
        with _open(path) as container:
            stream = _film(container, path)
            self.notes = _notes(stream)
            #: Width of a pixel divided by its height.
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            self.pixel_aspect = 1 / aspect if _swaps_sides(self._matrix) else aspect
            base, rate = stream.time_base or Fraction(1, 1000), stream.average_rate or Fraction(24)
        #: Presentation time of each frame, and its unit in seconds.
        self.clock = ([t.pts or 0 for t in self.times], base) if self._timed else (list(range(len(self))), 1 / rate)
        self.size = next(self.frame(i) for i, t in enumerate(self.times) if t.broken is None).shape[:2]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def broken(self) -> dict[int, str]:
        """Frames that cannot be decoded, with the reason."""
        return {i: f"{self._where(i)}: {t.broken}" for i, t in enumerate(self.times) if t.broken is not None}

    def _where(self, index: int) -> str:
        pts = self.clock[0][index]
        return f"{self.path}: frame {index} at {float(pts * self.clock[1]):.3f} s"

    def frame_name(self, index: int) -> str:
        """Return the number of a frame, five digits or more."""
        return f"{index:05d}"

    def mask(self, index: int) -> None:  # noqa: ARG002 - same call as Video
        """Return None: a video file has no annotation."""
        return

    def objects(self, index: int) -> None:  # noqa: ARG002 - same call as Video
        """Return None: a video file has no annotation."""
        return

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return frame ``index`` as (H, W, 3) RGB.

        Raises:
            DataError: the frame cannot be decoded; states its time.
        """
        if self.times[index].broken is not None:
            raise DataError(self.broken[index])
        cursor = self._cursor(index)
        found = cursor.advance(index)
        if found is None:
            self._close(cursor)
            cursor = self._open(0)
            found = cursor.advance(index)
        if found is None:
            raise DataError(f"{self._where(index)}: cannot be decoded")
        return _upright(found, self._matrix)

    def _cursor(self, index: int) -> _Cursor:
        """Return a decoder at a frame or up to 8 frames before; open one if there is none."""
        near = [c for c in self._cursors if c.next <= index < c.next + 8]
        if near:
            best = max(near, key=lambda c: c.next)
            self._cursors.remove(best)
            self._cursors.append(best)
            return best
        return self._open(index)

    def _open(self, index: int) -> _Cursor:
        while len(self._cursors) >= self.decoders:
            self._close(self._cursors[0])
        pts = self.times[index].pts
        cursor = _Cursor(self.path, self._index, pts if self._timed and index else None)
        self._cursors.append(cursor)
        return cursor

    def _close(self, cursor: _Cursor) -> None:
        self._cursors.remove(cursor)
        cursor.close()

    def close(self) -> None:
        """Close the decoders."""
        for cursor in list(self._cursors):
            self._close(cursor)


class _Cursor:
    """A decoder that reads forward through a file.

    Args:
        path: video file.
        index: frame number by presentation time; empty if frames are counted.
        pts: time to start at or before; None: start of the file.
    """

    def __init__(self, path: Path, index: dict[int | None, int], pts: int | None) -> None:
        self._index = index
        self._container = _open(path)
        stream = _film(self._container, path)
        _thread(stream)
        if pts is not None:
            self._container.seek(pts, stream=stream, backward=True)
        self._frames = _decoded(self._container, stream)
        self.next = 0  # first frame that may still come

    def advance(self, index: int) -> NDArray[np.uint8] | None:
        """Decode up to a frame and return it, or None if it does not come."""
        for frame in self._frames:
            if frame is None:
                continue
            number = self._index.get(frame.pts, -1) if self._index else self.next
            if number < 0:
                continue
            self.next = number + 1
            if number == index:
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if number > index:
                return None
        return None

    def close(self) -> None:
        self._frames.close()
        self._container.close()


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Generator[av.VideoFrame | None]:
    """Yield frames in order of presentation, and None for a packet that FFmpeg rejects."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            yield None


def _thread(stream: av.VideoStream) -> None:
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = _THREADS


def _find_frames(path: Path) -> tuple[list[FrameTime], list[str], _Matrix]:
    """Decode a file once.

    Returns:
        The times of its frames, the problems of the file as a whole, and how its frames are turned and mirrored.
    """
    try:
        container = _open(path)
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path}: cannot be opened as a video ({error})") from error
    with container:
        if container.format.name == "tty":  # FFmpeg draws any text file as a film
            raise DataError(f"{path}: is a text file")
        stream = _film(container, path)
        _thread(stream)
        found: list[FrameTime] = []
        faults: list[str] = []
        announced: set[int | None] = set()
        matrix: _Matrix | None = None
        packets = rejected = 0
        try:
            for packet in container.demux(stream):
                if packet.size:  # the last, empty one flushes the decoder
                    packets += 1
                    if not packet.is_discard:
                        announced.add(packet.pts)
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    rejected += 1
                    continue
                if frames and matrix is None:
                    matrix = _display_matrix(frames[0])
                found += [FrameTime(f.pts, "its data is damaged" if f.is_corrupt else None) for f in frames]
        except (av.error.FFmpegError, OSError) as error:
            faults.append(f"{path}: cannot be read to its end ({error})")
        missing = missing_bytes(path)
        if missing:
            faults.append(f"{path}: the last {missing} bytes are missing: it has been cut short")
        elif packets < stream.frames and container.format.name == "avi":  # other formats may hide frames
            faults.append(f"{path}: announces {stream.frames} frames but holds {packets}: it has been cut short")
    if all(t.broken is not None for t in found):
        raise DataError(f"{path}: no frame can be decoded ({rejected} packets rejected)")
    if rejected:
        found, fault = _with_gaps(found, announced)
        faults += [f"{path}: {rejected} packets cannot be decoded, {fault}"] if fault else []
    return found, faults, matrix or _UPRIGHT


def _with_gaps(found: list[FrameTime], announced: set[int | None]) -> tuple[list[FrameTime], str]:
    """Add the frames of rejected packets: those with times that no decoded frame has.

    (Without rejected packets such times are normal: hidden frames, second fields, edited beginnings.)

    Returns:
        The frames, and a message if their times do not tell which are missing.
    """
    stamps = [t.pts for t in found]
    if not _ascending(stamps) or None in announced:
        return found, "and its times do not say which frames are missing, so later frames have smaller numbers"
    gaps = [FrameTime(pts, "cannot be decoded") for pts in announced - set(stamps)]
    return sorted(found + gaps, key=lambda t: t.pts or 0), ""


def _ascending(stamps: list[int | None]) -> bool:
    """Return whether times are strictly ascending, so that they identify frames."""
    return None not in stamps and all(a < b for a, b in pairwise(stamps))  # type: ignore[operator]


def _open(path: Path) -> av.container.InputContainer:
    """Open a file, also one whose name is no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            return av.open(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), "r")
    return av.open(str(path), "r")


def _film(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Return the first video stream that is not a cover picture.

    Raises:
        DataError: there is none.
    """
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        cover = ", only a cover picture" if container.streams.video else ""
        raise DataError(f"{path}: holds no video stream{cover}")
    return streams[0]


#: Transfer functions of HDR by their numbers in ITU-T H.273: PQ and HLG.
_HDR = {16: "PQ", 18: "HLG"}


def _notes(stream: av.VideoStream) -> list[str]:
    transfer = _HDR.get(int(stream.codec_context.color_trc or 0))
    if transfer is None:
        return []
    return [f"HDR footage ({transfer}): its colours are paler here than a player shows them; masks may be worse"]


def _display_matrix(frame: av.VideoFrame) -> _Matrix:
    """Return a, b, c and d of the display matrix, which maps (x, y) to (a·x + c·y, b·x + d·y); ISO 14496-12, 8.2.2."""
    parts: Any = frame.side_data
    matrix = next((part for part in parts if part.type == SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return _UPRIGHT
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return a, b, c, d


def _swaps_sides(matrix: _Matrix) -> bool:
    """Whether a display matrix turns frames by a quarter."""
    a, b, c, d = matrix
    return abs(a) + abs(d) < abs(b) + abs(c)


def _upright(picture: NDArray[np.uint8], matrix: _Matrix) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) as a display matrix turns and mirrors it, by quarter turns."""
    a, b, c, d = matrix
    if _swaps_sides(matrix):
        picture, across, down = picture.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
