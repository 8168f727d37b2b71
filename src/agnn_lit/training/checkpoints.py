"""Checkpoints of a run, and stopping it on SIGINT and SIGTERM."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from agnn_lit.shared.files import atomic_path
from agnn_lit.shared.processes import receiving


class _Movable(ModelCheckpoint):
    """A checkpoint whose best score is remembered when the run's folder was moved, or is reached by another path.

    Lightning forgets the score then, and replaces the best checkpoint at the next validation, however bad.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, with all paths in this folder; a best checkpoint that is no longer there is forgotten."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        state = {**state_dict, "dirpath": self.dirpath}
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[key] = here(state.get(key, ""))
        state["best_k_models"] = {here(path): score for path, score in state.get("best_k_models", {}).items()}
        if self.monitor is not None and not Path(state["best_model_path"]).is_file():
            state |= {"best_model_path": "", "kth_best_model_path": "", "best_k_models": {}}
            state |= {"best_model_score": None, "kth_value": self.kth_value}
        super().load_state_dict(state)


class BestCheckpoint(_Movable):
    """``best.ckpt``."""

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint: that of Lightning's class, as in earlier runs."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)


class LastCheckpoint(_Movable):
    """``last.ckpt``; a separate class, because Lightning stores the state of callbacks by class."""


class WithinEpochs(_Movable):
    """Writes ``last.ckpt`` within an epoch; :class:`LastCheckpoint` does at its end, after validation."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Save after a step if it is time to, and not after the last step of an epoch."""
        if may_stop_here(trainer):
            super().on_train_batch_end(trainer, *args)


def may_stop_here(trainer: pl.Trainer) -> bool:
    """Whether a run can resume exactly after this batch: it ends a step, and is not the last of the epoch."""
    loop = trainer.fit_loop.epoch_loop
    return not (loop.batch_progress.is_last_batch or loop._should_accumulate())


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: a half-written one never replaces a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write ``checkpoint`` to ``path``.

        Raises:
            OSError: the disk is full; the earlier file is still there.
        """
        with atomic_path(Path(path), sync=True) as temporary, temporary.open("wb") as stream:
            torch.save(checkpoint, stream)


def checkpoints(folder: Path, *, validated: bool, minutes: float | None = None) -> list[ModelCheckpoint]:
    """Keep ``best.ckpt`` (highest val/J; the latest without validation) and ``last.ckpt`` in a folder.

    Args:
        folder: folder of the checkpoints.
        validated: whether the run has val/J.
        minutes: interval of writing ``last.ckpt`` within an epoch; None writes it only at the end of epochs.
    """
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_top_k": 1}
    monitored: dict[str, Any] = (
        {"monitor": "val/J", "mode": "max"} if validated else {"monitor": None, "save_on_train_epoch_end": True}
    )
    found: list[ModelCheckpoint] = [
        BestCheckpoint(filename="best", **monitored, **common),
        LastCheckpoint(filename="last", save_on_train_epoch_end=True, every_n_epochs=1, **common),
    ]
    if minutes is not None:
        found.append(WithinEpochs(filename="last", train_time_interval=timedelta(minutes=minutes), **common))
    return found


class Interruption(Callback):
    """Ends training after the current step on SIGINT (Ctrl-C) and SIGTERM (schedulers), with a checkpoint of that step.

    A second signal ends it at once, with an earlier checkpoint; a run resumed from it has the same result.

    Args:
        last: checkpoint to write.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.received: int | None = None
        self._written = False
        self._process = os.getpid()

    @contextmanager
    def listening(self, trainer: pl.Trainer) -> Iterator[None]:
        """Handle both signals, if this is the main thread; no other thread can.

        Lightning's own handling of SIGTERM is turned off: it communicates with the other processes inside the signal
        handler, so that two processes can wait for each other forever. Here they agree after a step. This turns off
        Lightning's requeueing of SLURM jobs, too; a continued run does not need it.
        """
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with receiving(self._receive):
            yield

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - called by the interpreter
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        if os.getpid() == self._process:  # Ctrl-C reaches the loader's processes, too, which inherit this handler
            print("stopping after this step; a second signal stops at once", file=sys.stderr, flush=True)

    def _asked(self, trainer: pl.Trainer) -> bool:
        """Whether any process has received a signal."""
        return trainer.strategy.reduce_boolean_decision(self.received is not None, all=False)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Write the checkpoint; the metrics of the step are logged after this."""
        if self._asked(trainer) and may_stop_here(trainer):
            trainer.save_checkpoint(self.last)
            self._written = True

    def on_train_batch_start(self, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Stop before the next step."""
        if self._written:
            raise KeyboardInterrupt

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Stop between two videos; a continued run validates the epoch again."""
        if self._asked(trainer):
            raise KeyboardInterrupt

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:  # noqa: ARG002 - Lightning's call
        """Stop between two epochs, after the checkpoint of the first."""
        if self._asked(trainer):
            raise KeyboardInterrupt
