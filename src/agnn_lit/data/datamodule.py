"""The LightningDataModule: clips to train on, whole videos to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from agnn_lit.data.dataset import Clip, ClipDataset, EpochBatches, EpochPlan, MixedClips
from agnn_lit.data.video import Video


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
        clips: the training clips, perhaps with static images.
        held_out: videos for model selection; may be empty.
        plan: what the batches of an epoch hold.
        workers: loader processes; 0 loads in the training process.
    """

    def __init__(
        self, clips: ClipDataset | MixedClips, held_out: Sequence[Video], plan: EpochPlan, workers: int
    ) -> None:
        super().__init__()
        self.clips = clips
        self.held_out = held_out
        self.plan = plan
        self.workers = workers

    def _process(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _place(self) -> tuple[int, int]:
        """Epoch, and batches of it that are done."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        # trainer.current_epoch still counts the finished epoch when a resumed run starts
        epoch: int = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        # Batches are counted anew in each epoch, but only once it has begun; a count of the one before is complete.
        done = loop.epoch_loop.batch_progress.current.ready if loop.restarting else 0
        return epoch, done if done < len(self.plan.kinds) else 0

    def describe(self, epoch: int, batch: int) -> list[str]:
        """Names of the videos, and numbers of the frames, of the clips of a batch."""
        return [self.clips.describe(key) for key in self.plan.batches(epoch, self._process())[batch]]

    def train_dataloader(self) -> DataLoader[Clip]:
        """Batches of clips: images (B, N', 3, H, W) and masks (B, N', H, W)."""
        return _PlacedLoader(
            self.clips,
            batch_sampler=EpochBatches(self.plan, self._process(), self._place),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Video | None]:
        """Whole videos, one at a time; their frames are read as the network asks for them.

        Each process has its share of the videos, each video is in one share, and None makes the shares equally long.
        """
        held: list[Video | None] = list(self.held_out)
        held += [None] * (-len(held) % self.plan.processes)
        mine = held[self._process() :: self.plan.processes]
        return DataLoader(mine, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Clips go to the device; a whole video stays where it is, :mod:`agnn_lit.inference.video` sends its frames."""
        if isinstance(batch, Clip):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch
