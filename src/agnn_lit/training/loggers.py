"""Loggers of a run: always a CSV file, and Weights & Biases unless it is disabled."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal, cast

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from agnn_lit.config import LoggerConfig, plain
from agnn_lit.shared.processes import is_first_process
from agnn_lit.shared.runs import Run
from agnn_lit.training.metrics_file import MetricsFile

_HEADER = 7  # bytes of an offline W&B file that holds nothing else


class CsvLogger(Logger):
    """Writes all metrics to ``metrics.csv`` in the run folder, a row for each step.

    A resumed run appends to the file; the rows of steps that it repeats are replaced.

    Args:
        folder: run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / "metrics.csv"
        self._written: MetricsFile | None = None  # opened when first needed, by the process that writes
        self._noted: dict[int, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        """Required by Lightning; not used here."""
        return "csv"

    @property
    def version(self) -> str:
        """Required by Lightning; not used here."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration is in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep the metrics of a step until :meth:`save`; several calls for one step make one row."""
        self._noted.setdefault(int(step or 0), {}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the kept metrics."""
        self._written = self._written or MetricsFile(self.file)
        self._written.write(self._noted)
        self._noted = {}

    @rank_zero_only
    def finalize(self, status: str) -> None:  # noqa: ARG002 - Lightning's call
        """Write the kept metrics at the end of training."""
        self.save()


_Mode = Literal["online", "offline", "disabled"]


def wandb_mode(mode: str) -> _Mode:
    """Return online, offline or disabled, for the setting logger.mode; never ask the user.

    ``auto`` follows W&B's own variables, WANDB_DISABLED and WANDB_MODE; without them it is online if an API key is
    found, else offline.
    """
    if mode != "auto":
        return cast("_Mode", mode)
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on"):
        return "disabled"
    if given := os.environ.get("WANDB_MODE"):
        known: dict[str, _Mode] = {"online": "online", "run": "online", "disabled": "disabled"}
        return known.get(given, "offline")
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    import requests  # a dependency of wandb

    netrc = os.environ.get("NETRC") or "~/.netrc"
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    found = Path(netrc).expanduser().is_file() and requests.utils.get_netrc_auth(host) is not None
    return "online" if found else "offline"


def build_loggers(
    cfg: LoggerConfig, folder: Path, name: str, config: dict[str, Any], wandb_id: str | None
) -> tuple[CsvLogger, WandbLogger | None]:
    """Return the CSV logger, and the W&B one unless it is disabled.

    Args:
        cfg: W&B settings.
        folder: run folder; W&B's files go into ``wandb/`` there.
        name: name of the run.
        config: resolved configuration, stored with the W&B run.
        wandb_id: id of the W&B run to continue; None starts one.
    """
    csv_logger = CsvLogger(folder)
    if wandb_mode(cfg.mode) == "disabled":
        return csv_logger, None
    os.environ.setdefault("WANDB_SILENT", "true")
    if not is_first_process():  # only the first process writes
        return csv_logger, None
    if wandb_id is not None:
        _drop_empty(folder / "wandb")
    # WandbLogger would pass W&B an option that is deprecated, with a warning.
    experiment = _begin(cfg, "train", name=name, dir=folder, id=wandb_id, config=config, resume="allow")
    return csv_logger, WandbLogger(experiment=experiment)


def _begin(cfg: LoggerConfig, job_type: str, **about: Any) -> Any:
    """Begin or continue a W&B run."""
    # A W&B service inherited from the process that started this command resolves relative paths against another
    # folder, and keeps a run in use after this process is killed, so that it could not be continued.
    os.environ.pop("WANDB_SERVICE", None)
    import wandb

    return wandb.init(
        mode=wandb_mode(cfg.mode),
        project=cfg.project,
        entity=cfg.entity,
        group=cfg.group,
        job_type=job_type,
        tags=cfg.tags or None,
        **about,
    )


def _drop_empty(folder: Path) -> None:
    """Remove offline files of a process that was killed before W&B wrote to them; `wandb sync` fails on them."""
    for file in folder.glob("offline-run-*/run-*.wandb"):
        if file.stat().st_size <= _HEADER:
            shutil.rmtree(file.parent)


def log_evaluation(run: Run, folder: Path) -> None:
    """Log an evaluation of a trained run as a separate W&B run of job type ``evaluate`` in the same group.

    Nothing is logged if the training was not logged to W&B.

    Args:
        run: the trained run.
        folder: of agnn-evaluate.
    """
    cfg = run.load_config()
    if wandb_mode(cfg.logger.mode) == "disabled" or run.status.get("wandb_id") is None:
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    summary = json.loads((folder / "summary.json").read_text())
    config = {**plain(cfg), "evaluation": summary["data"], "trained_in": run.status["wandb_id"]}
    experiment = _begin(
        cfg.logger, "evaluate", name=f"{cfg.name}/{run.folder.name}/{folder.name}", dir=folder, config=config
    )
    log_scores(experiment, folder, str(summary["data"]))
    experiment.finish()


def log_scores(experiment: Any, folder: Path, name: str) -> None:
    """Log the scores, tables and pictures of agnn-evaluate to a W&B run.

    The summary gets ``<name>/<stage>/J``, F, JF and T; tables hold the sequences and, where there are several, the
    stages (raw, +scales, +flip, +CRF); pictures are the best, median and worst frames.

    Args:
        experiment: a W&B run.
        folder: of agnn-evaluate.
        name: ``test/<protocol>`` for the test at the end of training, else the name of the evaluation, so that W&B
            does not average the two over a group.
    """
    import wandb

    found: dict[str, Any] = {}
    tables = {"sequences": _read_table(folder / "per_sequence.csv"), "stages": _read_table(folder / "stages.csv")}
    for row in tables["stages"]:
        scores = {k.removesuffix("_mean"): v for k, v in row.items() if k not in ("stage", "threshold")}
        found |= {f"{name}/{row['stage']}/{key}": value for key, value in scores.items() if value is not None}
    experiment.summary.update(found)
    shown: dict[str, Any] = {
        f"{name}/{key}": wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        for key, rows in tables.items()
        if rows
    }
    index = folder / "overlays" / "overlays.json"
    pictures = [e for e in json.loads(index.read_text()) if e["kind"] != "lowest"] if index.is_file() else []
    if pictures:
        shown[f"{name}/overlays"] = [
            wandb.Image(
                str(folder / "overlays" / e["file"]),
                caption=f"{e['kind']}: {e['sequence']} {e['frame']}, J {e['J']:.3f}, F {e['F']:.3f}",
            )
            for e in pictures
        ]
    experiment.log(shown)


def _read_table(file: Path) -> list[dict[str, Any]]:
    """Read the rows of a CSV file, numbers as floats and empty cells as None."""

    def value(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text or None

    with file.open(newline="") as stream:
        return [{k: value(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def log_checkpoint(experiment: Any, file: Path, metrics: dict[str, float]) -> None:
    """Store a checkpoint as an artifact of a W&B run, named by the run's id, with its scores as metadata.

    Args:
        experiment: a W&B run.
        file: the checkpoint, which must not change afterwards.
        metrics: of the run.
    """
    import wandb

    artifact = wandb.Artifact(f"agnn-{experiment.id}", type="model", metadata=metrics)
    artifact.add_file(str(file), name=file.name, policy="immutable", skip_cache=True)
    experiment.log_artifact(artifact, aliases=["best"])
