"""The LightningDataModule: clips to train on, whole videos to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import agnn_lit.torchvision_ops  # noqa: F401 - before pytorch_lightning imports torchvision

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from agnn_lit.data.dataset import Clip, ClipDataset, EpochSampler
from agnn_lit.data.index import Video


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

    def _epoch(self) -> int:
        # trainer.current_epoch still counts the finished epoch when a resumed run starts
        return 0 if self.trainer is None else self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]

    def train_dataloader(self) -> DataLoader[Clip]:
        """Batches of clips: images (B, N', 3, H, W) and masks (B, N', H, W)."""
        return DataLoader(
            self.clips,
            batch_size=self.batch_size,
            sampler=EpochSampler(len(self.clips), self.clips.seed, self._epoch),
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
