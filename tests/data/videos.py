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
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version 0: flags 4, times and id 20, 16 reserved and volume
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
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
