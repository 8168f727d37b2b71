"""Evaluation of a run or of all runs of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agnn_lit.config import ConfigError, EvaluateConfig, check_evaluate
from agnn_lit.data.video import DataError
from agnn_lit.inference.evaluation import evaluate
from agnn_lit.inference.evaluation_name import resolve_evaluation
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.report.collect import find_folders
from agnn_lit.shared.runs import Run


def evaluate_runs(cfg: EvaluateConfig) -> None:
    """Evaluate the run, the checkpoint, or all runs of the sweep given in the settings."""
    members = sweep_members(cfg.run)
    if members:
        evaluate_all(cfg, members)
    else:
        evaluate_run(cfg)


def evaluate_run(cfg: EvaluateConfig) -> None:
    """Evaluate, and log the scores to the W&B run of the training, if it has one; see :func:`evaluate`."""
    _, out = evaluate(cfg)
    if cfg.wandb and cfg.run is not None:
        from agnn_lit.training.loggers import log_evaluation

        log_evaluation(Run(Path(cfg.run)), out)


def sweep_members(entry: str | None) -> list[Path]:
    """Run folders of a sweep folder or a pattern; empty if the entry is a run or None."""
    folder = Path(entry or "").expanduser()
    if entry is None or (folder / "config.yaml").is_file():
        return []
    several = any(c in entry for c in "*?[") or any(folder.glob("*/config.yaml"))
    return find_folders(entry, "config.yaml") if several else []


def evaluate_all(cfg: EvaluateConfig, folders: Sequence[Path]) -> None:
    """Evaluate the finished runs of a sweep that have not been evaluated yet.

    Raises:
        ConfigError: wrong settings; or, after all other runs are evaluated, the runs that could not be.
    """
    if cfg.out is not None:
        raise ConfigError(f"out={cfg.out}: not allowed for several runs; each is evaluated into its own folder")
    check_evaluate(cfg)
    problems = []
    for number, folder in enumerate(folders, 1):
        run = Run(folder)
        state = run.status.get("state")
        if state != "done":
            problems.append(f"{folder}: {state}, training is not done")
            continue
        written = folder / "evaluations" / resolve_evaluation(cfg, run.load_config())[2] / "summary.json"
        if written.is_file() and written.stat().st_mtime > run.best.stat().st_mtime:
            print(f"{number}/{len(folders)} {folder.name}: already evaluated, {written.parent.name}", flush=True)
            continue
        print(f"{number}/{len(folders)} {folder.name}", flush=True)
        try:
            evaluate_run(replace(cfg, run=str(folder)))
        except (ConfigError, DataError, ScoreError, OSError) as error:
            problems.append(f"{folder}: {error}")
    if problems:
        raise ConfigError("not evaluated:\n  " + "\n  ".join(problems))
