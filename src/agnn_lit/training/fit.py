"""``agnn-train``: train a model, or continue an interrupted run."""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnn_lit.config import EvaluateConfig, TrainConfig, check_train, plain
from agnn_lit.data.open import open_static_images, open_training_videos, open_videos
from agnn_lit.shared.processes import is_first_process, peak_memory_mb
from agnn_lit.shared.runs import Run
from agnn_lit.training.errors import check_last_checkpoint, readable_error
from agnn_lit.training.warm_start import start_from

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger


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
    from agnn_lit.training.build import plan_epochs  # imports torch, which takes seconds

    videos, held_out = open_training_videos(cfg)
    static = open_static_images(cfg.static)
    if cfg.test:  # find errors in the test videos now, not after training
        open_videos(cfg.data, "test", 1)
    plan_epochs(cfg, len(videos), len(static))
    resumed = run.last.is_file() and (is_first_process() or not cfg.overwrite)  # the first process clears the folder
    if resumed:
        check_last_checkpoint(run)
    run.begin(cfg)
    try:
        metrics = _fit(cfg, run, (videos, held_out, static), resumed)
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


def _fit(cfg: TrainConfig, run: Run, data: tuple[list[Any], ...], resumed: bool) -> dict[str, float]:
    import pytorch_lightning as pl
    import torch

    from agnn_lit.shared.processes import keep_freed_memory
    from agnn_lit.training.build import build_datamodule, build_module, plan_epochs
    from agnn_lit.training.callbacks import AveragedWeights, Overlays, ValidatedEnd, progress
    from agnn_lit.training.checkpoints import AtomicCheckpointIO, Interruption, checkpoints
    from agnn_lit.training.distributed import trainer_options
    from agnn_lit.training.loggers import build_loggers, log_checkpoint
    from agnn_lit.training.module import describe_groups

    _silence_lightning()
    keep_freed_memory()
    t = cfg.trainer
    # Sums depend on the number of threads in their last digits; a resumed run must reproduce an uninterrupted one.
    threads = t.threads or run.status.get("threads") or torch.get_num_threads()
    torch.set_num_threads(threads)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    videos, held_out, static = data
    plan = plan_epochs(cfg, len(videos), len(static))
    module = build_module(cfg, plan, pretrained=not resumed and cfg.model.weights is None)
    if cfg.model.weights is not None and not resumed:
        _print(start_from(module.model, cfg, Path(cfg.model.weights).expanduser()))
    parameters = sum(p.numel() for p in module.model.parameters())
    groups = describe_groups(module.model, cfg.optim)
    provenance = {k: run.status.get(k) for k in ("git", "versions", "command")}
    extra = {**provenance, "parameters": parameters, "groups": groups}
    name = f"{cfg.name}/{run.folder.name}"
    csv, wandb = build_loggers(cfg.logger, run.folder, name, {**plain(cfg), **extra}, run.status.get("wandb_id"))
    run.update(
        threads=threads, parameters=parameters, groups=groups, wandb_id=None if wandb is None else wandb.experiment.id
    )
    _print(
        f"{run.folder}: {parameters:,} parameters, {len(videos)} training and {len(held_out)} held-out videos"
        + (f", {len(static)} static images" if static else "")
        + (f", continued from {run.last}" if resumed else "")
    )
    for name, group in groups.items():
        size = f"{group['parameters']:,} trained parameters in {group['tensors']} tensors"
        _print(f"  {name}: {size}, lr {group['lr']:.3g}")
    interruption = Interruption(run.last)
    options = trainer_options(cfg)
    trainer = pl.Trainer(
        precision=t.precision,  # type: ignore[arg-type]
        max_epochs=t.max_epochs,
        max_time=None if t.max_minutes is None else timedelta(minutes=t.max_minutes),
        gradient_clip_val=t.gradient_clip,
        accumulate_grad_batches=t.accumulate,
        check_val_every_n_epoch=t.check_val_every,
        log_every_n_steps=t.log_every,
        deterministic="warn" if t.deterministic else None,
        limit_val_batches=None if held_out else 0,
        num_sanity_val_steps=0,
        logger=[csv] if wandb is None else [wandb, csv],
        callbacks=[
            *([] if t.ema is None else [AveragedWeights(t.ema)]),  # first: a checkpoint holds the average of its step
            *checkpoints(run.folder / "checkpoints", validated=bool(held_out), minutes=t.checkpoint_minutes),
            interruption,
            ValidatedEnd(),
            Overlays(run.folder / "overlays"),
            *([progress()] if t.progress else []),
        ],
        enable_progress_bar=t.progress and sys.stdout.isatty(),
        enable_model_summary=False,
        default_root_dir=run.folder,
        plugins=[AtomicCheckpointIO(), *options.pop("plugins")],
        **options,
    )
    datamodule = build_datamodule(cfg, videos, held_out, static)
    try:
        trained = run.status.get("trained")
        if trained is None or trained["max_epochs"] != t.max_epochs:  # else the run was stopped during its test
            begun, earlier = time.monotonic(), run.status.get("fit_seconds", 0.0)
            try:
                with interruption.listening(trainer):
                    trainer.fit(module, datamodule, ckpt_path=str(run.last) if resumed else None)
            finally:
                run.update(fit_seconds=round(earlier + time.monotonic() - begun, 1))
            values = {key: float(value) for key, value in trainer.callback_metrics.items()}
            trained = {"max_epochs": t.max_epochs, "metrics": values}
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
