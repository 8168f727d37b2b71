"""The output folder of agnn-predict: file names, checks before writing, and frames that are already done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from agnn_lit.config import ConfigError
from agnn_lit.instances.candidates import candidates_file
from agnn_lit.shared.files import write_text
from agnn_lit.shared.runs import differences


class Output:
    """A folder of masks, optional soft maps, and ``predict.json``, which records how they were made."""

    _TEMPORARIES = ("masks/.*.png.*", "soft/.*.png.*", ".overlay.mp4.*", ".predict.json.*")

    def __init__(self, folder: Path, *, soft: bool) -> None:
        self.folder = folder
        self._soft = soft
        self.overlay = folder / "overlay.mp4"
        self.record = folder / "predict.json"

    def mask(self, name: str) -> Path:
        """File of a frame's mask."""
        return self.folder / "masks" / f"{name}.png"

    def soft(self, name: str) -> Path | None:
        """File of a frame's soft map, if soft maps are written."""
        return self.folder / "soft" / f"{name}.png" if self._soft else None

    @property
    def candidates(self) -> Path:
        """Folder of the frames' candidates, kept until objects are tracked through the video."""
        return self.folder / ".candidates"

    @property
    def objects(self) -> int | None:
        """Number of objects found by an earlier call, if any."""
        return json.loads(self.record.read_text()).get("objects") if self.record.is_file() else None

    def has(self, name: str) -> bool:
        """Return whether a frame is done."""
        soft = self.soft(name)
        found = candidates_file(self.candidates, name) if self.candidates.is_dir() else self.mask(name)
        return found.is_file() and (soft is None or soft.is_file())

    def begin(self, identity: dict[str, Any], *, overwrite: bool) -> None:
        """Claim the folder for this prediction, or resume it.

        Raises:
            ConfigError: it holds masks of other settings, or files that agnn-predict has not written.
        """
        if self.record.is_file():
            before = json.loads(self.record.read_text())["identity"]
            before = {"files": identity.get("files"), **before}  # version 0.1 does not store it
            changed = differences(before, identity)
            if before.get("input") != identity["input"]:
                changed = [f"input: {before.get('input')} -> {identity['input']}"]
            if not changed:
                for pattern in self._TEMPORARIES:  # left by a killed process
                    for left in self.folder.glob(pattern):
                        left.unlink()
                return
            if not overwrite:
                raise ConfigError(
                    f"out={self.folder} holds masks of other settings:\n  " + "\n  ".join(changed) + "\n"
                    "choose another folder, or replace them with overwrite=true"
                )
            for old in filter(Path.is_dir, (self.folder / "masks", self.folder / "soft", self.candidates)):
                shutil.rmtree(old)
            self.overlay.unlink(missing_ok=True)
        for part in ("masks", "soft", "overlay.mp4"):
            there = self.folder / part
            if there.is_file() or (there.is_dir() and any(there.iterdir())):
                raise ConfigError(
                    f"out={self.folder}: {there} exists and no agnn-predict has written it; give another folder"
                )
        self.write(identity, state="running")

    def write(self, identity: dict[str, Any], **about: Any) -> None:
        """Write ``predict.json``."""
        write_text(self.record, json.dumps({**about, "identity": identity}, indent=2) + "\n")
