"""The LightningDataModule: clips to train on, whole videos to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from agnn_lit.data.dataset import Clip, Clips, EpochBatches, EpochPlan
from agnn_lit.data.video import Video


class _ResumableLoader(DataLoader[Clip]):
    """A loader that resumes within an epoch: its sampler asks the trainer for the position.

    Lightning only resumes loaders with these two methods; there is no state to store.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Ignore the empty state."""


class VideoDataModule(pl.LightningDataModule):
    """Training clips in a reproducible order, and held-out videos one at a time.

    Args:
        clips: training clips, with or without static images.
        held_out: videos for model selection; may be empty.
        plan: the batches of each epoch.
        workers: loader processes; 0 loads in the training process.
    """

    def __init__(self, clips: Clips, held_out: Sequence[Video], plan: EpochPlan, workers: int) -> None:
        super().__init__()
        self.clips = clips
        self.held_out = held_out
        self.plan = plan
        self.workers = workers

    def _process(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _position(self) -> tuple[int, int]:
        """Return the epoch, and the number of its batches that are done."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        # trainer.current_epoch still counts the finished epoch when a resumed run starts
        epoch: int = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        # The count restarts only once an epoch has begun; before, it is that of the complete previous epoch.
        done = loop.epoch_loop.batch_progress.current.ready if loop.restarting else 0
        return epoch, done if done < len(self.plan.kinds) else 0

    def describe(self, epoch: int, batch: int) -> list[str]:
        """Return the video and the frames of each clip of a batch, as text."""
        return [self.clips.describe(key) for key in self.plan.batches(epoch, self._process())[batch]]

    def train_dataloader(self) -> DataLoader[Clip]:
        """Batches of clips: images (B, N', 3, H, W) and masks (B, N', H, W)."""
        return _ResumableLoader(
            self.clips,
            batch_sampler=EpochBatches(self.plan, self._process(), self._position),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Video | None]:
        """Whole videos, one at a time; their frames are read on demand.

        The videos are divided among the processes; None pads the shares to equal length.
        """
        held: list[Video | None] = list(self.held_out)
        held += [None] * (-len(held) % self.plan.processes)
        mine = held[self._process() :: self.plan.processes]
        return DataLoader(mine, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move clips to the device; of whole videos, :mod:`agnn_lit.inference.video` moves the frames."""
        if isinstance(batch, Clip):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch
