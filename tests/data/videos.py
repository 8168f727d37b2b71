"""Video files of a few frames, as cameras and programs write them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def picture(t: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A block that moves, and a mark in the upper left corner."""
    frame = np.full((height, width, 3), 40, np.uint8)
    x = (2 * t) % (width - 24)
    frame[height // 4 : height // 2 + 6, x : x + 16] = (200, 60 + 2 * (t % 90), 30)
    frame[:6, :20] = (0, 200, 0)
    return frame


def write_video(
    path: Path,
    codec: str = "libx264",
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    pix_fmt: str = "yuv420p",
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """Encode ``frames`` pictures; ``times`` in milliseconds make the rate variable."""
    base = Fraction(1, 25) if times is None else Fraction(1, 1000)
    flags = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(str(path), "w", options=flags) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "5", **options})
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = base
        for t in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(t, *size), format="rgb24")
            frame.pts, frame.time_base = t if times is None else times[t], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(path: Path, degrees: int) -> Path:
    """Set the rotation flag of an MP4 file, as phones do: turn by so many degrees clockwise to show it."""
    return set_matrix(path, *{90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees])


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Set the display matrix of an MP4 file, which shows (x, y) at (a·x + c·y, b·x + d·y)."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: flags 4, times and id 20, 16 reserved and volume
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def set_edit(path: Path, start: int, frames: int) -> Path:
    """Show so many frames from a frame on, as trimming in a phone's gallery does: write an edit list into an MP4 file.

    The file has one, for all frames, as FFmpeg writes it for H.264 with B frames.
    """
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    version, count = struct.unpack(">II", data[at : at + 8])
    assert (version, count) == (0, 1)
    movie = data.index(b"mvhd") + 4 + 12
    (scale,) = struct.unpack(">I", data[movie : movie + 4])
    _, first = struct.unpack(">Ii", data[at + 8 : at + 16])
    data[at + 8 : at + 16] = struct.pack(">Ii", frames * scale // 25, first + round(start / 25 / base))
    path.write_bytes(data)
    return path


def damage(path: Path, frame: int) -> Path:
    """Overwrite the packet of a frame with zeros."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        packet = sorted(packets, key=lambda p: p.pts)[frame]
        raw = bytes(packet)
    data = path.read_bytes()
    at = data.index(raw)
    path.write_bytes(data[:at] + bytes(len(raw)) + data[at + len(raw) :])
    return path
