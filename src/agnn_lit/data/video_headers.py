"""Whether a video file is as long as its own headers say."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO


def missing_bytes(path: Path) -> int:
    """Return how many bytes a video file is shorter than its own headers say; 0 for formats that do not say.

    Read are the sizes of the parts of MP4 and MOV (ISO 14496-12, section 4.2), of the segment of Matroska and WebM
    (RFC 8794 and 9559), and of the RIFF chunks of AVI.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(0)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            end = _end_of_boxes(file, size)
        elif start[:4] == b"\x1a\x45\xdf\xa3":
            end = _end_of_segment(file)
        elif start[:4] == b"RIFF" and start[8:] == b"AVI ":
            end = _end_of_chunks(file, size)
        else:
            return 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """End of the last box of an MP4 file that holds film; others may be leftovers of an editor."""
    place = end = 0
    while place + 8 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        elif length == 0:  # up to the end of the file
            return end
        if length < 8:
            return end
        place += length
        if kind in (b"moov", b"mdat", b"moof"):
            end = place
    return end


def _end_of_segment(file: BinaryIO) -> int:
    """End of the segment of a Matroska file; 0 if it is not stated, as in a live recording."""
    for _ in range(2):  # the EBML header, then the segment
        _vint(file, keep_marker=True)
        length, bits = _vint(file)
        if length == 2**bits - 1:
            return 0
        file.seek(length, 1)
    return file.tell()


def _vint(file: BinaryIO, *, keep_marker: bool = False) -> tuple[int, int]:
    """Read a number of variable length, and return it and its number of bits; RFC 8794, section 4."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    value = first if keep_marker else first & (0xFF >> (more + 1))
    return value << 8 * more | int.from_bytes(file.read(more), "big"), 7 * (more + 1)


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    """End of the last RIFF chunk of an AVI file; recordings that were interrupted may state 0."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or not length:
            break
        place += 8 + length
    return place
