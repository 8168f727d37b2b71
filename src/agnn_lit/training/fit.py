"""``agnn-train``: train a model, or continue an interrupted run."""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnn_lit.config import EvaluateConfig, TrainConfig, check_train, plain, uses_photographs
from agnn_lit.data.open import open_static_images, open_training_videos, open_videos
from agnn_lit.shared.processes import is_first_process, peak_memory_mb
from agnn_lit.shared.runs import Run
from agnn_lit.training.errors import check_last_checkpoint, readable_error
from agnn_lit.training.warm_start import start_from

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger

    from agnn_lit.training.loggers import CsvLogger
    from agnn_lit.training.module import AGNNModule


def train(cfg: TrainConfig, run: Run) -> dict[str, float]:
    """Train in a run folder, from ``last.ckpt`` if there is one.

    Returns:
        The last values of the logged metrics.

    Raises:
        ConfigError, DataError: wrong settings or data; raised before training starts.
        RunError: training failed for a known reason.
        KeyboardInterrupt: training was stopped by a signal, whose number is its argument.
    """
    check_train(cfg)
    from pytorch_lightning.callbacks import Callback  # imports torch, which takes seconds

    from agnn_lit.training.build import plan_epochs
    from agnn_lit.training.parts import make_parts
    from agnn_lit.training.trainer import check_accelerator

    videos, held_out = open_training_videos(cfg)
    static = [] if uses_photographs(cfg.data) else open_static_images(cfg.static)
    if cfg.test:  # find errors in the test videos now, not after training
        open_videos(cfg.data, "test", 1)
    plan_epochs(cfg, len(videos), len(static))
    resumed = run.last.is_file() and (is_first_process() or not cfg.overwrite)  # the first process clears the folder
    if resumed:
        check_last_checkpoint(run)
    check_accelerator(cfg.trainer.accelerator)
    callbacks = make_parts("callbacks", cfg.callbacks, run.folder, Callback)
    run.begin(cfg)
    try:
        metrics = _fit(cfg, run, (videos, held_out, static), callbacks, resumed)
    except KeyboardInterrupt:
        run.update(state="interrupted")
        raise
    except BaseException as error:
        run.update(state="failed", error=traceback.format_exc())
        raise readable_error(error, cfg) from error
    run.update(state="done", metrics=metrics, memory_mb=_peak_memory())
    return metrics


def _peak_memory() -> float:
    """Peak memory so far in MB: of the GPU if it is used, else of this process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return round(peak_memory_mb(), 1)


def _silence_lightning() -> None:
    """Hide Lightning's tips and the warnings that do not apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*treespec, LeafSpec.*",  # Lightning calls a deprecated torch function
        ".*does not have many workers.*",  # validation reads video by video, see VideoDataModule
        ".*Checkpoint directory .* exists and is not empty.*",  # expected on resume
        ".*`srun` command is available.*",  # one process needs no srun
    ):
        warnings.filterwarnings("ignore", message)


def _fit(
    cfg: TrainConfig, run: Run, data: tuple[list[Any], ...], callbacks: list[Any], resumed: bool
) -> dict[str, float]:
    """Train (unless a continued run was stopped during its test) and test; return the last metrics."""
    from pytorch_lightning.loggers import Logger

    from agnn_lit.training.build import build_datamodule
    from agnn_lit.training.checkpoints import Interruption
    from agnn_lit.training.loggers import log_checkpoint
    from agnn_lit.training.parts import make_parts
    from agnn_lit.training.trainer import make_trainer, prepare_process

    _silence_lightning()
    precision = prepare_process(cfg, run)
    videos, held_out, static = data
    module = _make_module(cfg, len(videos), len(static), resumed)
    csv, wandb = _open_loggers(cfg, run, module)
    images = f", {len(static)} static images" if static else ""
    _print(f"  {len(videos)} training and {len(held_out)} held-out videos{images}, precision {precision}")
    if resumed:
        _print(f"  continued from {run.last}")
    interruption = Interruption(run.last)
    others = make_parts("logger.others", cfg.logger.others, run.folder, Logger)
    loggers = [*([] if wandb is None else [wandb]), csv, *others]
    trainer = make_trainer(cfg, run, precision, loggers, [interruption, *callbacks], validated=bool(held_out))
    datamodule = build_datamodule(cfg, videos, held_out, static)
    try:
        trained = run.status.get("trained")
        if trained is None or trained["max_epochs"] != cfg.trainer.max_epochs:
            with _timed(run), interruption.listening(trainer):
                trainer.fit(module, datamodule, ckpt_path=str(run.last) if resumed else None)
            values = {key: float(value) for key, value in trainer.callback_metrics.items()}
            trained = {"max_epochs": cfg.trainer.max_epochs, "metrics": values}
            run.update(trained=trained)
        metrics = dict(trained["metrics"])
        if cfg.test and is_first_process():
            metrics |= _test(cfg, run, wandb)
        if wandb is not None and cfg.logger.checkpoint:
            log_checkpoint(wandb.experiment, run.best, metrics)
        return metrics
    except SystemExit:  # raised by Lightning on Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt(interruption.received or signal.SIGINT) from None
        raise
    finally:
        if wandb is not None:
            wandb.experiment.finish()


def _make_module(cfg: TrainConfig, videos: int, static: int, resumed: bool) -> AGNNModule:
    """Build the LightningModule with its initial weights; a continued run reads its own from the checkpoint later."""
    from agnn_lit.training.build import build_module, plan_epochs

    plan = plan_epochs(cfg, videos, static)
    module = build_module(cfg, plan, pretrained=not resumed and cfg.model.weights is None)
    if cfg.model.weights is not None and not resumed:
        _print(start_from(module.model, cfg, Path(cfg.model.weights).expanduser()))
    return module


def _open_loggers(cfg: TrainConfig, run: Run, module: AGNNModule) -> tuple[CsvLogger, WandbLogger | None]:
    """Open metrics.csv and the W&B run; record and print the number of parameters of each optimiser group."""
    from agnn_lit.training.loggers import build_loggers
    from agnn_lit.training.module import describe_groups

    parameters = sum(p.numel() for p in module.model.parameters())
    groups = describe_groups(module.model, cfg.optim)
    provenance = {k: run.status.get(k) for k in ("git", "versions", "command")}
    extra = {**provenance, "parameters": parameters, "groups": groups}
    name = f"{cfg.name}/{run.folder.name}"
    csv, wandb = build_loggers(cfg.logger, run.folder, name, {**plain(cfg), **extra}, run.status.get("wandb_id"))
    run.update(parameters=parameters, groups=groups, wandb_id=None if wandb is None else wandb.experiment.id)
    _print(f"{run.folder}: {parameters:,} parameters")
    for name, group in groups.items():
        size = f"{group['parameters']:,} trained parameters in {group['tensors']} tensors"
        _print(f"  {name}: {size}, lr {group['lr']:.3g}")
    return csv, wandb


@contextmanager
def _timed(run: Run) -> Iterator[None]:
    """Add the time of the ``with`` block to ``fit_seconds`` of the run, however it ends."""
    begun, earlier = time.monotonic(), run.status.get("fit_seconds", 0.0)
    try:
        yield
    finally:
        run.update(fit_seconds=round(earlier + time.monotonic() - begun, 1))


def _test(cfg: TrainConfig, run: Run, wandb: WandbLogger | None) -> dict[str, float]:
    """Score the test videos with the best checkpoint, and log the scores to W&B.

    Returns:
        ``test/J``, ``test/F`` and, where the protocol has it, ``test/T``.
    """
    from agnn_lit.inference.evaluation import evaluate
    from agnn_lit.training.loggers import log_scores

    t = cfg.trainer
    summary, out = evaluate(
        EvaluateConfig(
            run=str(run.folder),
            accelerator="cpu" if t.accelerator == "cpu" else "auto",
            threads=t.threads,
            batch_size=cfg.clips.batch_size,
            workers=0,
            progress=t.progress and sys.stdout.isatty(),
        )
    )
    if wandb is not None:
        log_scores(wandb.experiment, out, f"test/{summary['protocol']}")
    keys = {"test/J": "J_mean", "test/F": "F_mean", "test/T": "T"}
    return {name: summary[key] for name, key in keys.items() if summary[key] is not None}


def _print(text: str) -> None:
    if is_first_process():
        print(text, flush=True)
