"""The LightningDataModule: clips to train on, whole videos to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import agnn_lit.torchvision_ops  # noqa: F401 - before pytorch_lightning imports torchvision

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from agnn_lit.data.dataset import Clip, ClipDataset, ClipKey, EpochSampler
from agnn_lit.data.index import Video
from agnn_lit.data.sampling import clip_order


class _PlacedLoader(DataLoader[Clip]):
    """A loader that continues within an epoch: its sampler asks the trainer how far it is.

    Lightning takes a loader with these two methods for one that can; there is nothing of its own to keep.
    """

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""


class VideoDataModule(pl.LightningDataModule):
    """Training clips in a reproducible order, and held-out videos one at a time.

    Args:
        clips: the training clips.
        held_out: videos for model selection; may be empty.
        batch_size: clips a step.
        workers: loader processes; 0 loads in the training process.
    """

    def __init__(self, clips: ClipDataset, held_out: Sequence[Video], batch_size: int, workers: int) -> None:
        super().__init__()
        self.clips = clips
        self.held_out = held_out
        self.batch_size = batch_size
        self.workers = workers

    def _place(self) -> tuple[int, int]:
        """Epoch, and clips of it that are done."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        # trainer.current_epoch still counts the finished epoch when a resumed run starts
        epoch: int = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        # Batches are counted anew in each epoch, but only once it has begun; a count of the one before is complete.
        batches = loop.epoch_loop.batch_progress.current.ready if loop.restarting else 0
        done = batches * self.batch_size
        return epoch, done if done + self.batch_size <= len(self.clips) else 0

    def describe(self, epoch: int, batch: int) -> list[str]:
        """Names of the videos, and numbers of the frames, of the clips of a batch."""
        order = clip_order(len(self.clips), seed=self.clips.seed, epoch=epoch)
        return [
            self.clips.describe(ClipKey(epoch, clip))
            for clip in order[batch * self.batch_size : (batch + 1) * self.batch_size]
        ]

    def train_dataloader(self) -> DataLoader[Clip]:
        """Batches of clips: images (B, N', 3, H, W) and masks (B, N', H, W)."""
        return _PlacedLoader(
            self.clips,
            batch_size=self.batch_size,
            sampler=EpochSampler(len(self.clips), self.clips.seed, self._place),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            drop_last=len(self.clips) >= self.batch_size,
        )

    def val_dataloader(self) -> DataLoader[Video]:
        """Whole videos, one at a time; their frames are read as the network asks for them."""
        return DataLoader(self.held_out, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Clips go to the device; a whole video stays where it is, :mod:`agnn_lit.inference` sends its frames."""
        if isinstance(batch, Clip):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch
