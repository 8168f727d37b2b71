"""Reads run folders (agnn-train) and score folders (agnn-score, agnn-evaluate)."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

MEASURES = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "T")
UNFINISHED = ("failed", "interrupted", "running", "unknown", "waiting")


class ReportError(ValueError):
    """A folder cannot be read; names the file and the command that writes it."""


@dataclass(frozen=True)
class Curve:
    """A logged metric: optimiser steps and values of equal length."""

    steps: list[float]
    values: list[float]


@dataclass(frozen=True)
class FrameScore:
    """J and F of one frame."""

    frame: str
    J: float
    F: float


@dataclass(frozen=True)
class Overlay:
    """A picture drawn by agnn-evaluate; ``kind`` is best, median or worst."""

    file: Path
    kind: str
    sequence: str
    frame: str
    J: float
    F: float


@dataclass(frozen=True)
class Scores:
    """A score folder; values are fractions, NaN for null and empty cells."""

    path: Path
    name: str
    summary: dict[str, Any]
    sequences: dict[str, dict[str, float]]
    frames: dict[str, list[FrameScore]]
    overlays: tuple[Overlay, ...] = ()
    run: str | None = None  # name of its run

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return str(self.summary.get("protocol", "unknown"))

    @property
    def data(self) -> str | None:
        """Name of the data set, if known: ``davis2016`` for data ``davis2016-test-simple``."""
        data = self.summary.get("data")
        if isinstance(data, dict):
            data = data.get("name")
        return None if data is None else str(data).split("-")[0]

    def mean(self, key: str) -> float:
        """Value in ``summary.json``; NaN for null or a missing key."""
        return number(self.summary.get(key))

    def value(self, sequence: str, key: str) -> float:
        """Value in ``per_sequence.csv``; NaN if the sequence or the value is missing."""
        return self.sequences.get(sequence, {}).get(key, math.nan)


@dataclass(frozen=True)
class RunRecord:
    """A run folder; ``problems`` say in sentences what is missing."""

    path: Path
    name: str
    config: dict[str, Any]
    status: dict[str, Any]
    curves: dict[str, Curve]
    scores: tuple[Scores, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """State in ``status.json``, such as done or failed; ``unknown`` without that file."""
        return str(self.status.get("state", "unknown"))


def number(value: Any) -> float:
    """Convert to float; NaN for None, an empty cell or other text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def finite(values: Iterable[float]) -> list[float]:
    """The values that are not NaN."""
    return [v for v in values if not math.isnan(v)]


def mean_of(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN without any."""
    kept = finite(values)
    return sum(kept) / len(kept) if kept else math.nan


def _read_rows(path: Path, columns: Sequence[str], maker: str) -> list[dict[str, str]]:
    """Rows of a CSV file that must have ``columns``."""
    if not path.is_file():
        raise ReportError(f"{path} is missing: it is written by {maker}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            header = reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path} is not a CSV file ({error}): it is written by {maker}") from error
    lacking = [c for c in columns if c not in header]
    if lacking:
        raise ReportError(f"{path} has no column {', '.join(lacking)}, only {', '.join(header)}; {maker} writes it")
    return rows


def _read_json(path: Path, maker: str) -> Any:
    if not path.is_file():
        raise ReportError(f"{path} is missing: it is written by {maker}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReportError(f"{path} is not valid JSON ({error}): it is written by {maker}") from error


def _read_overlays(folder: Path) -> tuple[Overlay, ...]:
    index = folder / "overlays.json"
    if not index.is_file():
        return ()
    entries = _read_json(index, "agnn-evaluate")
    return tuple(
        Overlay(folder / e["file"], e["kind"], e["sequence"], str(e["frame"]), number(e["J"]), number(e["F"]))
        for e in entries
        if (folder / e["file"]).is_file()
    )


def read_scores(path: Path, name: str | None = None, run: str | None = None) -> Scores:
    """Read a folder of agnn-score or agnn-evaluate with ``summary.json``, ``per_sequence.csv`` and ``per_frame.csv``.

    The method has the name of the folder if ``name`` is None; ``run`` is the name of the run of an evaluation.

    Raises:
        ReportError: a file is missing or unreadable.
    """
    maker = "agnn-score or agnn-evaluate"
    if not path.is_dir():
        raise ReportError(f"{path} is not a folder; expected one written by {maker}")
    if not (path / "summary.json").is_file() and (path / "config.yaml").is_file():
        raise ReportError(f"{path} has config.yaml and no summary.json: it is a run folder, give it as runs=[{path}]")
    summary = _read_json(path / "summary.json", maker)
    if not isinstance(summary, dict):
        raise ReportError(f"{path / 'summary.json'} holds a {type(summary).__name__}, not an object")
    sequences = {
        row["sequence"]: {key: number(row.get(key)) for key in MEASURES}
        for row in _read_rows(path / "per_sequence.csv", ("sequence", "J_mean", "F_mean"), maker)
    }
    frames: dict[str, list[FrameScore]] = {}
    for row in _read_rows(path / "per_frame.csv", ("sequence", "frame", "J", "F"), maker):
        score = FrameScore(row["frame"], number(row["J"]), number(row["F"]))
        frames.setdefault(row["sequence"], []).append(score)
    overlays = _read_overlays(path / "overlays")
    return Scores(path, name or path.resolve().name, summary, sequences, frames, overlays, run)


def _read_curves(path: Path) -> dict[str, Curve]:
    """Curves of ``metrics.csv``, each with the steps at which its metric was logged."""
    curves: dict[str, Curve] = {}
    for index, row in enumerate(_read_rows(path, ("step",), "agnn-train")):
        step = number(row["step"])
        for key, text in row.items():
            if key in ("step", "epoch", None) or not text:
                continue
            curve = curves.setdefault(key, Curve([], []))
            curve.steps.append(float(index) if math.isnan(step) else step)
            curve.values.append(number(text))
    return curves


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ReportError(f"{path} is not valid YAML ({error}): it is written by agnn-train") from error
    return {str(key): value for key, value in config.items()} if isinstance(config, dict) else {}


def read_run(path: Path, name: str | None = None) -> RunRecord:
    """Read a folder of agnn-train with all its evaluations.

    A run that is not done may lack ``metrics.csv`` and evaluations.

    Raises:
        ReportError: ``config.yaml`` is missing, or a finished run has no ``metrics.csv``.
    """
    config_file = path / "config.yaml"
    if not config_file.is_file():
        is_scores = (path / "summary.json").is_file()
        hint = f"; it is a score folder, give it as scores=[{path}]" if is_scores else ""
        raise ReportError(f"{config_file} is missing: a run folder is written by agnn-train{hint}")
    config = _read_config(config_file)
    if not config:
        raise ReportError(f"{config_file} holds no settings: it is written by agnn-train")
    status_file = path / "status.json"
    status = _read_json(status_file, "agnn-train") if status_file.is_file() else {}
    run = RunRecord(path, name or path.resolve().name, config, status, {})
    problems: list[str] = []
    if not status:
        problems.append("status.json is missing: the state of the run is unknown.")
    curves = {}
    if (path / "metrics.csv").is_file() or run.state not in UNFINISHED:
        curves = _read_curves(path / "metrics.csv")
    else:
        problems.append("metrics.csv is missing: the run ended before its first log entry.")
    scores = []
    for folder in sorted(p for p in (path / "evaluations").glob("*") if p.is_dir()):
        if (folder / "summary.json").is_file():
            scores.append(read_scores(folder, run=run.name))
            stages = sorted(file.parent for file in (folder / "stages").glob("*/summary.json"))
            scores += [read_scores(stage, f"{folder.name} {stage.name}", run.name) for stage in stages]
        else:
            problems.append(f"evaluations/{folder.name} has no summary.json: agnn-evaluate did not finish.")
    return replace(run, curves=curves, scores=tuple(scores), problems=tuple(problems))


def find_folders(entry: str, marker: str) -> list[Path]:
    """Folders of an entry of ``runs`` or ``scores``: the folder itself, the matches of a pattern, or a sweep's runs.

    Args:
        entry: a path, or a pattern with ``*``.
        marker: name of a file that each run or score folder has.
    """
    path = Path(entry).expanduser()
    if any(c in entry for c in "*?["):
        root = Path(path.anchor or ".")
        matches = sorted(p for p in root.glob(str(path.relative_to(root))) if p.is_dir())
        if not matches:
            raise ReportError(f"{entry} matches no folder")
        return matches
    if not path.is_dir():
        raise ReportError(f"{entry} is not a folder")
    if (path / marker).is_file():
        return [path]
    return sorted(p.parent for p in path.glob(f"*/{marker}")) or [path]
