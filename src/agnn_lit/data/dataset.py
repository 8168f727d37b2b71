"""Training clips as a torch data set, and the order in which an epoch visits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from agnn_lit.data.index import DataError, Video
from agnn_lit.data.sampling import clip_order, draw_clip
from agnn_lit.data.transforms import ClipTransform


class ClipKey(NamedTuple):
    """Names one draw: the clip's number in the epoch, and the epoch."""

    epoch: int
    clip: int


class Clip(NamedTuple):
    """A training example.

    Attributes:
        images: (N', 3, H, W), normalised.
        masks: (N', H, W), 0.0 or 1.0.
    """

    images: Tensor
    masks: Tensor


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
        seed: int,
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
            seed=(self.seed, key.epoch, key.clip, 1),
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


class EpochSampler(Sampler[ClipKey]):
    """Visits every clip of an epoch once, in an order that is a function of (seed, epoch).

    The epoch travels inside the key, so loader processes that live on need no telling. It is asked for when
    an iteration starts: told beforehand, as by ``set_epoch``, it would come too late after a resume, when
    loader processes already fetch ahead.

    Args:
        clips: number of clips in an epoch.
        seed: of the order.
        place: returns the current epoch, and the clips of it that are trained on already: 0 but for a run that
            continues in the middle of an epoch.
    """

    def __init__(self, clips: int, seed: int, place: Callable[[], tuple[int, int]]) -> None:
        self.clips = clips
        self.seed = seed
        self.place = place

    def __len__(self) -> int:
        return self.clips

    def __iter__(self) -> Iterator[ClipKey]:
        epoch, done = self.place()
        return iter([ClipKey(epoch, i) for i in clip_order(self.clips, seed=self.seed, epoch=epoch)[done:]])
