"""Reads an offline W&B run back from its file on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agnn_lit.wandb_files import history, records


def read_offline_run(folder: Path) -> dict[str, Any]:
    """Return config, history (a row a step), and the media files of the offline runs below a run folder."""
    found: dict[str, Any] = {"config": {}, "ids": set(), "group": None, "tags": [], "project": None}
    for file in sorted(folder.rglob("*.wandb")):
        for record in records(file):
            if record.WhichOneof("record_type") == "run":
                run = record.run
                found["ids"].add(run.run_id)
                found["group"], found["tags"], found["project"] = run.run_group, list(run.tags), run.project
                found["config"].update({u.key: json.loads(u.value_json) for u in run.config.update})
    found["history"] = history(folder)
    found["media"] = sorted(folder.rglob("files/media/images/**/*.png"))
    return found
