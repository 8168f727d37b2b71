"""Settings of the commands that need no model: score, report, benchmark, convert and dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agnn_lit.config.setting import at_least, setting


# fmt: off
@dataclass
class ScoreConfig:
    """What agnn-score scores, and how."""

    masks: str = setting("???", "folder of the method's masks", path=True)
    annotations: str = setting("???", "folder of the annotations", path=True)
    protocol: str = setting("???", "which frames count, with which tolerance, averaged over what", options="protocol")
    out: str = setting("???", "folder for per_frame.csv, per_sequence.csv and summary.json", path=True)
    sequences: Any = setting(None, "names, or a text file with one a line; null: all that have masks and annotations",
        path=True)
    workers: int | None = setting(None, "processes; null: one for each processor that may be used", within=at_least(1))
    plugins: list[str] = setting([], "modules of your own, imported first, that register parts of yours")
    progress: bool = setting(True, "show progress")
    wandb: str = setting("disabled", "log the tables to Weights & Biases", choices=("disabled", "offline", "online"))
    project: str = setting("agnn_lit", "of the W&B run")


@dataclass
class ReportConfig:
    """What agnn-report shows, and where it is written."""

    runs: list[str] = setting([], "folders of agnn-train, sweep folders, or patterns with *", path=True)
    scores: list[str] = setting([], "folders of agnn-score or agnn-evaluate, optionally NAME=FOLDER", path=True)
    out: str = setting("report", "folder for index.html, report.md and scores.csv", path=True)
    title: str = setting("AGNN report", "of the page")
    frames: str | None = setting(None, "folder with <sequence>/<frame>.jpg, drawn behind the contours; null: grey",
        path=True)
    record: str | None = setting(None, "folder to record a sweep in: results.csv, table.md, figure.svg, runs.json",
        path=True)
    thumbnails: int = setting(4, "pictures of lowest J under each sequence; 0: none", within=at_least(0))


@dataclass
class BenchmarkConfig:
    """What agnn-benchmark measures, how often, and where the result goes.

    An option of ``topic`` is a callable ``(repeats) -> {rows: [{name, seconds, memory_mb}], ratios: {…}}``.
    """

    topic: str = setting("???", "what is measured", options="topic")
    out: str | None = setting(None, "JSON file; null: only the table is printed", path=True)
    repeats: int = setting(3, "rounds, in which the sides take turns; the fastest of each counts", within=at_least(1))
    plugins: list[str] = setting([], "modules of your own, imported first, that register parts of yours")


@dataclass
class ConvertConfig:
    """What agnn-convert converts, and where to."""

    official: str | None = setting(None, "file of the released code: the trained model, or the encoder's start values",
        path=True)
    ckpt: str | None = setting(None, "or a file of agnn-train or agnn-convert, to be written as one of the released "
        "code", path=True)
    out: str = setting("???", "file to write", path=True)
    overwrite: bool = setting(False, "replace out")


@dataclass
class DashboardConfig:
    """Which sweep agnn-dashboard shows, and where."""

    sweep: str = setting("???", "folder of the runs, such as runs/rounds", path=True)
    project: str | None = setting(None, "W&B project; null: that of the runs")
    entity: str | None = setting(None, "W&B user or team; null: that of the runs, or of the API key")
    mode: str = setting("auto", "auto: created in W&B with an API key; without one, and with offline, only written and "
        "validated", choices=("auto", "online", "offline", "disabled"))
    out: str | None = setting(None, "folder for workspace.json and report.json; null: dashboard/ in the sweep's folder",
        path=True)
