"""Training clips as a torch data set, and the order in which an epoch visits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from agnn_lit.data.sampling import Purpose, Seed, clip_order, draw_clip, plan_epoch
from agnn_lit.data.transforms import ClipTransform
from agnn_lit.data.video import DataError, Video


class ClipKey(NamedTuple):
    """Names one draw: the clip's number in the epoch, and the epoch; of static images, in a pass over them."""

    epoch: int
    clip: int
    static: bool = False


class Clip(NamedTuple):
    """A training example.

    Attributes:
        images: (N', 3, H, W), normalised.
        masks: (N', H, W), 0.0 or 1.0.
    """

    images: Tensor
    masks: Tensor


class StaticClip(Clip):
    """A static image as a clip of one frame."""


class ClipDataset(Dataset[Clip]):
    """Clips of N' frames, one from each equal segment of a video.

    Args:
        videos: fully annotated videos.
        frames: N'.
        transform: joint augmentation.
        seed: with epoch and clip number it decides every draw.
        clips_per_video: clips drawn from each video in an epoch.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        frames: int,
        transform: ClipTransform,
        seed: Seed,
        clips_per_video: int = 1,
    ) -> None:
        self.videos = videos
        self.frames = frames
        self.transform = transform
        self.seed = seed
        self.clips_per_video = clips_per_video
        # Where only some frames are annotated, clips are drawn from those.
        self.annotated = [_annotated(video) for video in videos]

    def __len__(self) -> int:
        return len(self.videos) * self.clips_per_video

    def _draw(self, key: ClipKey) -> tuple[Video, list[int]]:
        """Video and frames of a clip."""
        which = key.clip % len(self.videos)
        usable = self.annotated[which]
        drawn = draw_clip(len(usable), self.frames, seed=self.seed, epoch=key.epoch, clip=key.clip)
        return self.videos[which], [usable[i] for i in drawn]

    def describe(self, key: ClipKey) -> str:
        """Name of a clip's video, and of its frames."""
        video, chosen = self._draw(key)
        return f"{video.name}: frames {', '.join(video.frame_name(i) for i in chosen)}"

    def __getitem__(self, key: ClipKey) -> Clip:
        """Draw and augment the clip of a key; a pure function of the key and the seed.

        Raises:
            DataError: a frame or mask that cannot be read, naming its file.
        """
        video, chosen = self._draw(key)
        frames = np.stack([video.frame(i) for i in chosen])  # (N', H, W, 3)
        masks = np.stack([_mask(video, i, frames.shape[1:3]) for i in chosen])  # (N', H, W)
        images, targets = self.transform(
            torch.from_numpy(frames).permute(0, 3, 1, 2),  # (N', 3, H, W)
            torch.from_numpy(masks),
            seed=self.seed.key(Purpose.augmentation, key.epoch, key.clip, 2 if key.static else 1),
        )
        return Clip(images, targets)


def _annotated(video: Video) -> list[int]:
    masks = getattr(video, "masks", None)
    return list(range(len(video))) if masks is None else [i for i, path in enumerate(masks) if path is not None]


def _mask(video: Video, index: int, size: tuple[int, ...]) -> np.ndarray:
    mask = video.mask(index)
    if mask is None:
        raise DataError(f"{video.name}: frame {video.frame_name(index)} has no annotation to train on")
    if mask.shape != size:  # as YouTube-Objects has them
        return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    return mask


class MixedClips(Dataset[Clip]):
    """Clips of videos, and static images among them.

    Args:
        clips: of videos.
        static: of one frame.
    """

    def __init__(self, clips: ClipDataset, static: ClipDataset) -> None:
        self.clips = clips
        self.static = static

    def describe(self, key: ClipKey) -> str:
        """Name of a clip's video or image, and of its frames."""
        return self.static.describe(key) if key.static else self.clips.describe(key)

    def __getitem__(self, key: ClipKey) -> Clip:
        """Clip of a key."""
        return StaticClip(*self.static[key]) if key.static else self.clips[key]


@dataclass(frozen=True)
class EpochPlan:
    """What the batches of an epoch hold, a function of the epoch and the seed, whichever process asks.

    Clips come once an epoch in a new order. Static images come in an order of their own that runs on from epoch to
    epoch, so that all are seen before one is seen again. Of the clips of a step each process takes its share.

    Attributes:
        clips: of videos in an epoch.
        batch_size: clips a batch and process.
        seed: of the orders.
        static: number of static images; 0: none.
        static_batch: of them a batch and process.
        every: see :func:`agnn_lit.data.sampling.plan_epoch`.
        accumulate: likewise.
        processes: that train together.
    """

    clips: int
    batch_size: int
    seed: Seed
    static: int = 0
    static_batch: int = 1
    every: int = 0
    accumulate: int = 1
    processes: int = 1

    @property
    def available(self) -> int:
        """Batches that the clips of an epoch are enough for."""
        return max(1, self.clips // (self.batch_size * self.processes))

    @cached_property
    def kinds(self) -> list[bool]:
        """For each batch of an epoch whether it is of static images."""
        whole = self.available - self.available % self.accumulate  # a step of fewer batches would be smaller
        return plan_epoch(whole, self.every, self.accumulate)

    @cached_property
    def step_kinds(self) -> list[bool]:
        """The same for each optimiser step."""
        return self.kinds[:: self.accumulate]

    def batches(self, epoch: int, process: int = 0) -> list[list[ClipKey]]:
        """Keys of the batches of an epoch, of one process."""
        order = clip_order(self.clips, seed=self.seed, epoch=epoch)
        found, seen = [], [epoch * sum(self.kinds), 0]  # batches of static images so far, and of clips
        for static in self.kinds:
            size = self.static_batch if static else self.batch_size
            start = (seen[not static] * self.processes + process) * size
            places = range(start, start + size)
            found.append(
                [self._static(k) for k in places]
                if static
                else [ClipKey(epoch, order[k]) for k in places if k < self.clips]
            )
            seen[not static] += 1
        return found

    def _static(self, place: int) -> ClipKey:
        """Key of the static image at a place in the order that runs on."""
        passes, k = divmod(place, self.static)
        return ClipKey(passes, _static_order(self.static, self.seed, passes)[k], static=True)


@lru_cache(maxsize=4)
def _static_order(images: int, seed: Seed, passes: int) -> list[int]:
    return clip_order(images, seed=seed, epoch=passes, purpose=Purpose.static_order)


class EpochBatches(Sampler[list[ClipKey]]):
    """Batches of an epoch, from where training is.

    The epoch travels inside the keys, so loader processes that live on need no telling. It is asked for when
    an iteration starts: told beforehand, as by ``set_epoch``, it would come too late after a resume, when
    loader processes already fetch ahead.

    Args:
        plan: of the epochs.
        process: number of this one.
        place: returns the current epoch, and the batches of it that are trained on already: 0 but for a run that
            continues in the middle of an epoch.
    """

    def __init__(self, plan: EpochPlan, process: int, place: Callable[[], tuple[int, int]]) -> None:
        self.plan = plan
        self.process = process
        self.place = place

    def __len__(self) -> int:
        return len(self.plan.kinds)

    def __iter__(self) -> Iterator[list[ClipKey]]:
        epoch, done = self.place()
        return iter(self.plan.batches(epoch, self.process)[done:])
