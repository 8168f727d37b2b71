"""Settings of the commands score, app, report, benchmark, convert, export and dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agnn_lit.config.registry import PLUGINS
from agnn_lit.config.setting import Range, at_least, setting


# fmt: off
@dataclass
class ScoreConfig:
    """The masks and annotations that agnn-score compares, and how."""

    masks: str = setting("???", "folder of the method's masks, SEQUENCE/FRAME.png, or of one sequence, FRAME.png",
        path=True)
    annotations: str = setting("???", "folder of the annotations, in the same way", path=True)
    protocol: str = setting("???", "which frames count, the boundary tolerance, and the averaging", options="protocol")
    out: str = setting("???", "folder for per_frame.csv, per_sequence.csv and summary.json", path=True)
    sequences: Any = setting(None, "names, or a text file with one per line; null: all with masks and annotations",
        path=True)
    threshold: float | None = setting(None, "grey value of soft maps above which a pixel is foreground, such as "
        "127, or below 1 a share of white, such as 0.5; null: masks, where everything above 0 is", within=at_least(0))
    workers: int | None = setting(None, "worker processes; null: one per available CPU", within=at_least(1))
    plugins: list[str] = setting([], PLUGINS)
    progress: bool = setting(True, "show progress")
    wandb: str = setting("disabled", "log the tables to Weights & Biases", choices=("disabled", "offline", "online"))
    project: str = setting("agnn_lit", "W&B project")


@dataclass
class ReportConfig:
    """What agnn-report shows, and where it is written."""

    runs: list[str] = setting([], "run folders, sweep folders, or patterns with *", path=True)
    scores: list[str] = setting([], "folders written by agnn-score or agnn-evaluate, optionally NAME=FOLDER", path=True)
    out: str = setting("report", "folder for index.html, report.md and scores.csv", path=True)
    title: str = setting("AGNN report", "title of the page")
    frames: str | None = setting(None, "folder with <sequence>/<frame>.jpg to draw contours on; null: grey", path=True)
    record: str | None = setting(None, "folder to record a sweep in: results.csv, table.md, figure.svg, runs.json",
        path=True)
    thumbnails: int = setting(4, "worst frames (lowest J) shown per sequence", within=at_least(0))


@dataclass
class AppConfig:
    """The page in the browser: its model, its address and its limits."""

    run: str | None = setting(None, "run folder, whose best checkpoint is used; null: the weights in the package",
        path=True)
    ckpt: str | None = setting(None, "or a checkpoint or weights file", path=True)
    host: str = setting("127.0.0.1", "address that is listened on; 0.0.0.0: also for other machines")
    port: int = setting(7860, "port that is listened on", within=Range(1, 65535))
    browser: bool = setting(False, "open the page in this machine's browser")
    max_frames: int = setting(3600, "maximum length of a film", unit="frames", within=at_least(1))
    max_mb: int = setting(500, "maximum size of an uploaded file", unit="MB", within=at_least(1))
    device: str = setting("auto", "device of the network", choices=("auto", "cpu", "cuda", "mps"))
    dtype: str = setting("auto", "precision of the network; auto: bf16 if the device supports it",
        choices=("auto", "fp32", "bf16", "fp16"))
    threads: int | None = setting(None, "CPU threads of the network; null: torch's default", within=at_least(1))


@dataclass
class BenchmarkConfig:
    """What agnn-benchmark measures, how often, and where the result goes.

    An option of ``topic`` is a callable ``(repeats) -> {rows: [{name, seconds, memory_mb}], ratios: {…}}``.
    """

    topic: str = setting("???", "what to measure", options="topic")
    out: str | None = setting(None, "JSON file; null: only the table is printed", path=True)
    repeats: int = setting(3, "repetitions, of which the fastest counts", within=at_least(1))
    plugins: list[str] = setting([], PLUGINS)


@dataclass
class ConvertConfig:
    """What agnn-convert converts, and where to."""

    official: str | None = setting(None, "file of the released code: trained model or initial encoder weights",
        path=True)
    run: str | None = setting(None, "or a run folder, whose best checkpoint is converted", path=True)
    ckpt: str | None = setting(None, "or a file of agnn-train or agnn-convert", path=True)
    out: str = setting("???", "file to write: from run= or ckpt=, a weights file of half the size if it ends in "
        ".safetensors, else a file of the released code", path=True)
    size: tuple[int, int] | None = setting(None, "network input (height and width) for which a weights file is used; "
        "null: as in training (clips.size)", unit="pixels", within=at_least(1))
    pool: int | None = setting(None, "pooled positions (model.pool) with which a weights file is used; null: as in "
        "training", within=at_least(1))
    note: str | None = setting(None, "text kept in a weights file, such as what the model was trained on")
    licence: str | None = setting(None, "licence of the weights, kept in a weights file")
    overwrite: bool = setting(False, "replace the file if it exists")


@dataclass
class ExportConfig:
    """The model that agnn-export writes, and where to."""

    run: str | None = setting(None, "run folder, whose best checkpoint is exported; null: the weights in the package",
        path=True)
    ckpt: str | None = setting(None, "or a checkpoint or weights file", path=True)
    out: str = setting("???", "file to write: .onnx, or .pt2 for a program of torch.export", path=True)
    size: tuple[int, int] | None = setting(None, "height and width of the example that is traced; null: as in training "
        "(clips.size)", unit="pixels", within=at_least(1))
    any_size: bool = setting(True, "accept frames of any height and width; false: of that size only")
    overwrite: bool = setting(False, "replace the file if it exists")


@dataclass
class DashboardConfig:
    """The sweep that agnn-dashboard shows, and where."""

    sweep: str = setting("???", "folder of the runs, such as runs/rounds", path=True)
    project: str | None = setting(None, "W&B project; null: the project of the runs")
    entity: str | None = setting(None, "W&B user or team; null: as in the runs, or that of the API key")
    mode: str = setting("auto", "online creates the dashboard in W&B; offline only writes and validates it; auto is "
        "online with an API key", choices=("auto", "online", "offline", "disabled"))
    out: str | None = setting(None, "folder for workspace.json and report.json; null: dashboard/ in the sweep's folder",
        path=True)
