"""Evaluation of one run, or of all runs of a sweep one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agnn_lit.config import ConfigError, EvaluateConfig, check_evaluate
from agnn_lit.data.video import DataError
from agnn_lit.inference.evaluation import evaluate
from agnn_lit.inference.evaluation_name import describe
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.report.collect import find_folders
from agnn_lit.shared.runs import Run


def evaluate_runs(cfg: EvaluateConfig) -> None:
    """Evaluate the run, the checkpoint, or all runs of the sweep that the settings name."""
    members = sweep_members(cfg.run)
    if members:
        evaluate_all(cfg, members)
    else:
        evaluate_run(cfg)


def evaluate_run(cfg: EvaluateConfig) -> None:
    """Evaluate, and log the scores to W&B where the training was; see :func:`evaluate`."""
    _, out = evaluate(cfg)
    if cfg.wandb and cfg.run is not None:
        from agnn_lit.training.loggers import log_evaluation

        log_evaluation(Run(Path(cfg.run)), out)


def sweep_members(entry: str | None) -> list[Path]:
    """Runs of a sweep's folder or of a pattern; none where the entry is a run itself, or nothing."""
    folder = Path(entry or "").expanduser()
    if entry is None or (folder / "config.yaml").is_file():
        return []
    several = any(c in entry for c in "*?[") or any(folder.glob("*/config.yaml"))
    return find_folders(entry, "config.yaml") if several else []


def evaluate_all(cfg: EvaluateConfig, folders: Sequence[Path]) -> None:
    """Evaluate the runs of a sweep one after another, but for those that have been and those that are not done.

    Raises:
        ConfigError: settings that no run can follow; or, once the others are evaluated, the runs that could not be.
    """
    if cfg.out is not None:
        raise ConfigError(f"out={cfg.out}: several runs are evaluated, each into its own folder; leave it out")
    check_evaluate(cfg)
    problems = []
    for number, folder in enumerate(folders, 1):
        run = Run(folder)
        state = run.status.get("state")
        if state != "done":
            problems.append(f"{folder}: {state}, not trained to its end")
            continue
        written = folder / "evaluations" / describe(cfg, run.load_config())[2] / "summary.json"
        if written.is_file() and written.stat().st_mtime > run.best.stat().st_mtime:
            print(f"{number}/{len(folders)} {folder.name}: evaluated before, {written.parent.name}", flush=True)
            continue
        print(f"{number}/{len(folders)} {folder.name}", flush=True)
        try:
            evaluate_run(replace(cfg, run=str(folder)))
        except (ConfigError, DataError, ScoreError, OSError) as error:
            problems.append(f"{folder}: {error}")
    if problems:
        raise ConfigError("not evaluated:\n  " + "\n  ".join(problems))
