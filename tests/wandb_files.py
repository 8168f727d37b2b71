"""Reads an offline W&B run back from its file on disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK = 32768


def _records(file: Path) -> Iterator[bytes]:
    """Records of a .wandb file: LevelDB's log format after a header of 7 bytes.

    Blocks of 32 KiB hold fragments, each with checksum (4 bytes), length (2), type (1): whole, first, middle, last.
    """
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if _BLOCK - at % _BLOCK < 7:
            at += _BLOCK - at % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def read_offline_run(folder: Path) -> dict[str, Any]:
    """Return config, history (a row a step), and the media files of the offline runs below a run folder."""
    found: dict[str, Any] = {"config": {}, "history": [], "ids": set(), "group": None, "tags": [], "project": None}
    for file in sorted(folder.rglob("*.wandb")):
        for data in _records(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run = record.run
                found["ids"].add(run.run_id)
                found["group"], found["tags"], found["project"] = run.run_group, list(run.tags), run.project
                found["config"].update({u.key: json.loads(u.value_json) for u in run.config.update})
            elif kind == "history":
                found["history"].append(
                    {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
                )
    found["media"] = sorted(folder.rglob("files/media/images/**/*.png"))
    return found
