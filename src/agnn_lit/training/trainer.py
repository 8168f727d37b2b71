"""Lightning's Trainer for a run, and what it needs of this machine: precision and threads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from agnn_lit.config import ConfigError, TrainConfig, TrainerConfig
from agnn_lit.inference.prepare import has_bf16
from agnn_lit.shared.processes import keep_freed_memory
from agnn_lit.shared.runs import Run
from agnn_lit.training.callbacks import AveragedWeights, Overlays, Profile, ValidatedEnd, progress
from agnn_lit.training.checkpoints import AtomicCheckpointIO, checkpoints
from agnn_lit.training.distributed import trainer_options


def check_accelerator(accelerator: str) -> None:
    """Raise ConfigError if this machine has no such device."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if (accelerator == "gpu" and not (cuda or mps)) or (accelerator == "mps" and not mps):
        what = "Apple GPU" if accelerator == "mps" else "GPU"
        raise ConfigError(
            f"trainer.accelerator={accelerator}: no {what} is available; use trainer.accelerator=cpu or auto"
        )


def choose_precision(asked: str, accelerator: str) -> str:
    """Return Lightning's name of a precision; ``auto`` is the fastest that the device supports natively.

    Emulated bf16 is no choice: on a CPU without AMX or AVX-512-BF16, a step takes ten times as long as in fp32.

    Args:
        asked: trainer.precision.
        accelerator: trainer.accelerator; as in Lightning, ``auto`` and ``gpu`` prefer CUDA to an Apple GPU.

    Returns:
        ``bf16-mixed``, ``16-mixed`` or ``32-true``.
    """
    if asked != "auto":
        return asked
    if accelerator in ("auto", "gpu") and torch.cuda.is_available():
        return "bf16-mixed" if has_bf16(torch.device("cuda")) else "16-mixed"
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return "32-true"
    return "bf16-mixed" if has_bf16(torch.device("cpu")) else "32-true"


def prepare_process(cfg: TrainConfig, run: Run) -> str:
    """Set the seed and the CPU threads of this process, and return the precision of the run.

    A continued run keeps the threads and the precision of its beginning, also on another machine, where they are not
    set: sums depend on the number of threads in their last digits, and it must reproduce an uninterrupted run.
    """
    t, begun = cfg.trainer, run.status
    keep_freed_memory()
    threads = t.threads or begun.get("threads") or torch.get_num_threads()
    torch.set_num_threads(threads)
    # With deterministic algorithms torch fills each new tensor with NaN, against reads before writes: 12 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    kept = begun.get("precision") if t.precision == "auto" else None
    precision: str = kept or choose_precision(t.precision, t.accelerator)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    run.update(threads=threads, precision=precision)
    return precision


def make_trainer(
    cfg: TrainConfig,
    run: Run,
    precision: str,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
    *,
    validated: bool,
) -> pl.Trainer:
    """Return the Trainer of a run.

    Args:
        cfg: configuration of the run.
        run: folder of the run.
        precision: Lightning's name of a precision.
        loggers: loggers that are open.
        callbacks: beside the run's own.
        validated: whether there are held-out videos.
    """
    t = cfg.trainer
    options = trainer_options(cfg)
    return pl.Trainer(
        precision=precision,  # type: ignore[arg-type]
        max_epochs=t.max_epochs,
        max_time=None if t.max_minutes is None else timedelta(minutes=t.max_minutes),
        gradient_clip_val=t.gradient_clip,
        accumulate_grad_batches=t.accumulate,
        check_val_every_n_epoch=t.check_val_every,
        log_every_n_steps=t.log_every,
        deterministic="warn" if t.deterministic else None,
        limit_val_batches=None if validated else 0,
        num_sanity_val_steps=0,
        logger=list(loggers),
        callbacks=_callbacks(t, run, callbacks, validated=validated),
        enable_progress_bar=t.progress and sys.stdout.isatty(),
        enable_model_summary=False,
        default_root_dir=run.folder,
        plugins=[AtomicCheckpointIO(), *options.pop("plugins")],
        **options,
    )


def _callbacks(t: TrainerConfig, run: Run, others: Sequence[Callback], *, validated: bool) -> list[Callback]:
    """Callbacks in the order of their calls; Lightning moves those of ``checkpoints()`` to the end."""
    return [
        *([] if t.ema is None else [AveragedWeights(t.ema)]),  # first: a checkpoint holds the average of its step
        *checkpoints(run.folder / "checkpoints", validated=validated, minutes=t.checkpoint_minutes),
        *others,
        ValidatedEnd(),
        Overlays(run.folder / "overlays"),
        *([Profile(run.folder / "profile")] if t.profile else []),
        *([progress()] if t.progress else []),
    ]
