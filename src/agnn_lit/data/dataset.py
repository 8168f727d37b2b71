"""Training clips as a torch data set, and the order in which an epoch visits them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from agnn_lit.data.frame_cache import FrameCache
from agnn_lit.data.sampling import Purpose, Seed, clip_order, draw_clip, plan_epoch
from agnn_lit.data.transforms import ClipTransform
from agnn_lit.data.video import DataError, DiskVideo, Video


class ClipKey(NamedTuple):
    """Identifies a draw by epoch and clip number; for static images, by pass and image number."""

    epoch: int
    clip: int
    static: bool = False


class Clip(NamedTuple):
    """A training example.

    Attributes:
        images: (N', 3, H, W), normalised.
        masks: (N', H, W), 0.0 or 1.0, or -1.0 for void, which the loss leaves out.
    """

    images: Tensor
    masks: Tensor


class StaticClip(Clip):
    """A static image as a clip of one frame."""


class Clips(Dataset[Clip], ABC):
    """Training clips by key."""

    @abstractmethod
    def __getitem__(self, key: ClipKey) -> Clip:
        """Make the clip of a key; a pure function of the key and the seed."""

    @abstractmethod
    def describe(self, key: ClipKey) -> str:
        """Return what a clip is made of: the names of its video and frames, or of its photographs."""


class ClipDataset(Clips):
    """Clips of N' frames, one from each equal segment of a video.

    Args:
        videos: annotated videos; clips are drawn from their annotated frames.
        frames: N'.
        transform: joint augmentation.
        seed: determines every draw, together with epoch and clip number.
        clips_per_video: clips drawn per video and epoch.
        cache: folder for frames at training size, see :class:`FrameCache`; None: they are read anew each time.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        frames: int,
        transform: ClipTransform,
        seed: Seed,
        clips_per_video: int = 1,
        cache: Path | None = None,
    ) -> None:
        self.videos = videos
        self.frames = frames
        self.transform = transform
        self.seed = seed
        self.clips_per_video = clips_per_video
        self.cache = None if cache is None else FrameCache(cache, transform)
        self.annotated = [_annotated(video) for video in videos]

    def __len__(self) -> int:
        return len(self.videos) * self.clips_per_video

    def _draw(self, key: ClipKey) -> tuple[Video, list[int]]:
        """Return the video and the frame indices of a clip."""
        which = key.clip % len(self.videos)
        usable = self.annotated[which]
        drawn = draw_clip(len(usable), self.frames, seed=self.seed, epoch=key.epoch, clip=key.clip)
        return self.videos[which], [usable[i] for i in drawn]

    def describe(self, key: ClipKey) -> str:
        """Return the names of a clip's video and frames."""
        video, chosen = self._draw(key)
        return f"{video.name}: frames {', '.join(video.frame_name(i) for i in chosen)}"

    def __getitem__(self, key: ClipKey) -> Clip:
        """Draw and augment the clip of a key; a pure function of the key and the seed.

        Raises:
            DataError: a frame or mask cannot be read; names the file.
        """
        video, chosen = self._draw(key)
        if self.cache is not None and isinstance(video, DiskVideo):
            reduced = self._cached(self.cache, video, chosen)
        else:
            reduced = self._reduced(video, chosen)
        seed = self.seed.key(Purpose.augmentation, key.epoch, key.clip, 2 if key.static else 1)
        return Clip(*self.transform.draw(reduced, seed))

    def _reduced(self, video: Video, chosen: Sequence[int]) -> Tensor:
        """Return frames and masks of a video as bytes (N', 4 or 5, H, W); see :meth:`ClipTransform.reduce`."""
        frames, masks = read_clip(video, chosen)
        return self.transform.reduce(torch.from_numpy(frames).permute(0, 3, 1, 2), torch.from_numpy(masks))

    def _cached(self, cache: FrameCache, video: DiskVideo, chosen: Sequence[int]) -> Tensor:
        """As :meth:`_reduced`, from the cache, which keeps what it lacks."""
        found = []
        for index in chosen:
            reduced = cache.load(video, index)
            if reduced is None:
                reduced = self._reduced(video, [index])
                cache.keep(video, index, reduced)
            found.append(reduced)
        channels = max(reduced.shape[1] for reduced in found)  # a frame without void has no channel of it
        return torch.cat([F.pad(r, (0, 0, 0, 0, 0, channels - r.shape[1])) for r in found])


def read_clip(video: Video, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Read frames (N', H, W, 3) and masks (N', H, W), int8 0 or 1 or -1 for void, of a video by their indices.

    Raises:
        DataError: a frame or mask cannot be read, or a frame is not annotated.
    """
    frames = np.stack([video.frame(i) for i in chosen])
    return frames, np.stack([_mask(video, i, frames.shape[1:3]) for i in chosen])


def _annotated(video: Video) -> list[int]:
    masks = getattr(video, "masks", None)
    return list(range(len(video))) if masks is None else [i for i, path in enumerate(masks) if path is not None]


def _mask(video: Video, index: int, size: tuple[int, ...]) -> np.ndarray:
    mask = video.mask(index)
    if mask is None:
        raise DataError(f"{video.name}: frame {video.frame_name(index)} has no annotation to train on")
    mask = mask.astype(np.int8, copy=False)
    if mask.shape != size:  # occurs in YouTube-Objects
        return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    return mask


class StaticImages(ClipDataset):
    """Static images as clips of one frame, which train the encoder alone."""

    def __getitem__(self, key: ClipKey) -> StaticClip:
        """Draw and augment the image of a key."""
        return StaticClip(*super().__getitem__(key))


class MixedClips(Clips):
    """Clips of videos, mixed with static images.

    Args:
        clips: clips of videos.
        static: :class:`StaticImages`, or photographs as clips of N' frames like those of videos.
    """

    def __init__(self, clips: Clips, static: Clips) -> None:
        self.clips = clips
        self.static = static

    def describe(self, key: ClipKey) -> str:
        """Return the names of a clip's video (or image) and frames."""
        return (self.static if key.static else self.clips).describe(key)

    def __getitem__(self, key: ClipKey) -> Clip:
        """Return the clip of a key."""
        return (self.static if key.static else self.clips)[key]


@dataclass(frozen=True)
class EpochPlan:
    """The batches of each epoch, as a function of epoch and seed that is the same in every process.

    Each epoch visits the clips once, in a new order. Static images have their own order that continues across epochs,
    so that all are seen before one is repeated. They come in batches of their own (``every``), or as the last ``mixed``
    clips of every batch. The clips of a step are divided among the processes.

    Attributes:
        clips: clips of videos per epoch.
        batch_size: clips per batch and process, ``mixed`` included.
        seed: seed of the orders.
        static: number of static images.
        static_batch: static images per batch and process.
        every: see :func:`agnn_lit.data.sampling.plan_epoch`.
        accumulate: batches per optimiser step.
        processes: number of training processes.
        mixed: clips of a batch that are made of static images.
        limit: largest number of batches in an epoch.
        same: every epoch has the batches of the first.
    """

    clips: int
    batch_size: int
    seed: Seed
    static: int = 0
    static_batch: int = 1
    every: int = 0
    accumulate: int = 1
    processes: int = 1
    mixed: int = 0
    limit: int | None = None
    same: bool = False

    @property
    def available(self) -> int:
        """Number of batches of clips in an epoch."""
        whole = max(1, self.clips // ((self.batch_size - self.mixed) * self.processes))
        return whole if self.limit is None else min(whole, self.limit)

    @cached_property
    def kinds(self) -> list[bool]:
        """Whether each batch of an epoch holds static images."""
        whole = self.available - self.available % self.accumulate  # no incomplete step
        return plan_epoch(whole, self.every, self.accumulate)

    @cached_property
    def step_kinds(self) -> list[bool]:
        """Whether each optimiser step of an epoch uses static images."""
        return self.kinds[:: self.accumulate]

    def batches(self, epoch: int, process: int = 0) -> list[list[ClipKey]]:
        """Return the keys of one process's batches of an epoch."""
        epoch = 0 if self.same else epoch
        order = clip_order(self.clips, seed=self.seed, epoch=epoch)
        found, static_seen, seen = [], epoch * sum(self.kinds), 0  # batches of static images and of clips so far
        for static in self.kinds:
            if static:
                places = self._places(static_seen, process, self.static_batch)
                found.append([self._static(k) for k in places])
                static_seen += 1
                continue
            places = self._places(seen, process, self.batch_size - self.mixed)
            batch = [ClipKey(epoch, order[k]) for k in places if k < self.clips]
            mixed = self._places(epoch * len(self.kinds) + seen, process, self.mixed)
            found.append(batch + [self._static(k) for k in mixed])
            seen += 1
        return found

    def _places(self, batches: int, process: int, size: int) -> range:
        """Return the places, in an order, of a process's share of a batch; ``batches``: the number of earlier ones."""
        start = (batches * self.processes + process) * size
        return range(start, start + size)

    def _static(self, place: int) -> ClipKey:
        """Return the key of the static image at a place in the continuing order."""
        passes, k = divmod(place, self.static)
        return ClipKey(passes, _static_order(self.static, self.seed, passes)[k], static=True)


@lru_cache(maxsize=4)
def _static_order(images: int, seed: Seed, passes: int) -> list[int]:
    return clip_order(images, seed=seed, epoch=passes, purpose=Purpose.static_order)


class EpochBatches(Sampler[list[ClipKey]]):
    """Batches of an epoch, from the current position of training.

    The epoch is part of the keys, so that persistent loader processes need not be told. It is queried when an iteration
    starts: after a resume ``set_epoch`` would come too late, since loader processes already prefetch.

    Args:
        plan: the batches of each epoch.
        process: rank of this process.
        position: returns the current epoch and the number of its batches that are done, which is above 0 only for a
            run that resumes within an epoch.
    """

    def __init__(self, plan: EpochPlan, process: int, position: Callable[[], tuple[int, int]]) -> None:
        self.plan = plan
        self.process = process
        self.position = position

    def __len__(self) -> int:
        return len(self.plan.kinds)

    def __iter__(self) -> Iterator[list[ClipKey]]:
        epoch, done = self.position()
        return iter(self.plan.batches(epoch, self.process)[done:])
