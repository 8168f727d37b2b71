"""Reads an offline W&B run back from its file on disk."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32768


def read_offline_run(folder: Path) -> dict[str, Any]:
    """Return what the offline runs below a folder hold: config, summary, history, tables, media, artifacts, machine."""
    _wait_for_end(max(folder.rglob("*.wandb")))
    found: dict[str, Any] = {"config": {}, "summary": {}, "ids": set(), "artifacts": [], "machine": set()}
    for file in sorted(folder.rglob("*.wandb")):
        for record in records(file):
            if record.WhichOneof("record_type") == "run":
                run = record.run
                found["ids"].add(run.run_id)
                found["group"], found["tags"], found["project"] = run.run_group, list(run.tags), run.project
                found["job_type"] = run.job_type
                found["config"].update({u.key: json.loads(u.value_json) for u in run.config.update})
            if record.WhichOneof("record_type") == "config":
                found["config"].update({u.key: json.loads(u.value_json) for u in record.config.update if u.key})
            if record.WhichOneof("record_type") == "summary":
                for item in record.summary.update:
                    found["summary"][item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
            if record.WhichOneof("record_type") == "stats":
                found["machine"].update(item.key for item in record.stats.item)
            if record.WhichOneof("record_type") == "request" and record.request.HasField("log_artifact"):
                found["artifacts"].append(record.request.log_artifact.artifact)
            if record.WhichOneof("record_type") == "artifact":
                found["artifacts"].append(record.artifact)
    found["history"] = history(folder)
    found["tables"] = [json.loads(f.read_text()) for f in sorted(folder.rglob("files/media/table/**/*.table.json"))]
    found["media"] = sorted(folder.rglob("files/media/images/**/*.png"))
    return found


def _wait_for_end(file: Path) -> None:
    """Wait for the last record of the latest part: on a busy machine W&B's own process writes on after finish()."""
    end = time.monotonic() + 30
    while not any(record.WhichOneof("record_type") == "exit" for record in records(file)):
        assert time.monotonic() < end, f"{file}: W&B has not ended the run"
        time.sleep(0.1)


def records(file: Path) -> Iterator[Any]:
    """Records of a ``.wandb`` file, ``wandb_internal_pb2.Record``, up to an unfinished one at its end.

    W&B's package writes these files and has no public reader of them. The file is LevelDB's log after a header of 7
    bytes: blocks of 32 KiB hold fragments, each with a checksum (4 bytes), its length (2) and its type (1): whole,
    first, middle, last.
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
            record = wandb_internal_pb2.Record()
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
