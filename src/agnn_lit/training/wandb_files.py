"""What a W&B run has in its files on disk; W&B's package writes them and has no reader of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32768


def records(file: Path) -> Iterator[Any]:
    """Records of a ``.wandb`` file, ``wandb_internal_pb2.Record``; a torn end is left out.

    The file is LevelDB's log after a header of 7 bytes: blocks of 32 KiB hold fragments, each with a checksum
    (4 bytes), its length (2) and its type (1): whole, first, middle, last.
    """
    from wandb.proto import wandb_internal_pb2

    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if _BLOCK - at % _BLOCK < 7:
            at += _BLOCK - at % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0 or at + 7 + length > len(data):
            return
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            yield record
            parts = b""


def history(folder: Path) -> list[dict[str, Any]]:
    """Rows that the W&B runs below a folder have logged, the earliest file first."""
    rows = []
    for file in sorted(folder.rglob("run-*.wandb")):
        for record in records(file):
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows
