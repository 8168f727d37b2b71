"""Evaluation of a run or of all runs of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agnn_lit.config import ConfigError, EvaluateConfig, check_evaluate
from agnn_lit.data.video import DataError
from agnn_lit.inference.evaluation import DIGEST, evaluate, open_evaluated
from agnn_lit.inference.evaluation_name import evaluation_digest, resolve_evaluation
from agnn_lit.inference.load import find_checkpoint
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
        try:
            one = replace(cfg, run=str(folder))
            label = _already_evaluated(one, run)
            print(
                f"{number}/{len(folders)} {folder.name}" + (f": already evaluated, {label}" if label else ""),
                flush=True,
            )
            if not label:
                evaluate_run(one)
        except (ConfigError, DataError, ScoreError, OSError) as error:
            problems.append(f"{folder}: {error}")
    if problems:
        raise ConfigError("not evaluated:\n  " + "\n  ".join(problems))


def _already_evaluated(cfg: EvaluateConfig, run: Run) -> str:
    """Return the name of an evaluation of the same checkpoint, data and settings; empty if there is none."""
    trained = run.load_config()
    data, _, label = resolve_evaluation(cfg, trained)
    written = run.folder / "evaluations" / label / DIGEST
    if not written.is_file():
        return ""
    digest = evaluation_digest(cfg, trained, open_evaluated(cfg, trained, data), find_checkpoint(cfg))
    return label if written.read_text().strip() == digest else ""
