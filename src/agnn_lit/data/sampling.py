"""Choose the frames of each graph, with pure functions of numbers (AGNN, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Purposes of random numbers in a training run; each has its own stream."""

    hold_out = 1
    clip_order = 2
    clip_frames = 3
    augmentation = 4
    static_order = 5
    dropout = 6
    photo_motion = 7


@dataclass(frozen=True)
class Seed:
    """The seed of a run, with one random stream per purpose.

    Attributes:
        value: ``seed`` of the configuration.
        separate: False reproduces version 0.1, where clip order, held-out videos and clip draws shared a stream.
    """

    value: int
    separate: bool = True

    def key(self, purpose: Purpose, *numbers: int) -> list[int]:
        """Return the entropy of one draw."""
        return [*([int(purpose)] if self.separate else []), self.value, *numbers]

    def generator(self, purpose: Purpose, *numbers: int) -> np.random.Generator:
        """Return the random generator of one draw."""
        return np.random.default_rng(self.key(purpose, *numbers))


@dataclass(frozen=True)
class Subset:
    """Frames that form a graph at test time.

    Attributes:
        frames: indices of the frames that this graph predicts.
        references: indices of further frames of the graph, which other graphs predict.
    """

    frames: tuple[int, ...]
    references: tuple[int, ...] = ()

    @property
    def nodes(self) -> tuple[int, ...]:
        """All indices of the graph, predicted frames first."""
        return self.frames + self.references


def segments(length: int, frames: int) -> list[range]:
    """Split ``length`` frames into ``frames`` consecutive segments whose sizes differ by at most one.

    Raises:
        ValueError: a segment would be empty.
    """
    if not 1 <= frames <= length:
        raise ValueError(f"a video of {length} frames cannot be split into {frames} segments: N' must be 1..{length}")
    edges = [k * length // frames for k in range(frames + 1)]
    return [range(edges[k], edges[k + 1]) for k in range(frames)]


def draw_clip(length: int, frames: int, *, seed: Seed, epoch: int, clip: int) -> tuple[int, ...]:
    """Draw one frame from each of ``frames`` equal segments, in order.

    The draw is a pure function of (seed, epoch, clip): the same for any number of workers or devices,
    and after a resume.

    Raises:
        ValueError: the video has fewer than ``frames`` frames.
    """
    rng = seed.generator(Purpose.clip_frames, epoch, clip)
    return tuple(int(rng.integers(part.start, part.stop)) for part in segments(length, frames))


def clip_order(clips: int, *, seed: Seed, epoch: int, purpose: Purpose = Purpose.clip_order) -> list[int]:
    """Return the order of the clips of an epoch, a permutation of 0..clips-1."""
    return [int(i) for i in seed.generator(purpose, epoch).permutation(clips)]


def plan_epoch(batches: int, every: int = 0, accumulate: int = 1) -> list[bool]:
    """Return whether each batch of an epoch holds static images (True) or clips.

    Every ``every``-th optimiser step uses static images, beginning with the first; all its batches do.

    Args:
        batches: batches of clips in the epoch.
        every: 2 or more; 0: no static images.
        accumulate: batches per optimiser step.
    """
    if every == 0:
        return [False] * batches
    plan: list[bool] = []
    left = batches
    while left > 0:
        static = (len(plan) // accumulate) % every == 0
        plan.append(static)
        left -= not static
    return plan


def hold_out(videos: int, share: float, *, seed: Seed) -> tuple[list[int], list[int]]:
    """Split the indices of training videos into those to train on and those held out for model selection.

    A share above 0 holds out at least one video, and always leaves one to train on.

    Returns:
        Both lists in ascending order.

    Raises:
        ValueError: a share above 0 and fewer than two videos.
    """
    if share <= 0:
        return list(range(videos)), []
    if videos < 2:
        raise ValueError(
            f"clips.val_share={share} holds out validation videos, but there are only {videos}: "
            "add videos, or set clips.val_share=0 to train without validation"
        )
    count = min(max(1, round(share * videos)), videos - 1)
    held = sorted(int(i) for i in seed.generator(Purpose.hold_out, videos).permutation(videos)[:count])
    return [i for i in range(videos) if i not in set(held)], held


def partition(length: int, frames: int) -> list[Subset]:
    """Partition a video for testing: T = ceil(N / N') subsets, subset t holds frames t, t + T, t + 2T, …

    Every frame is predicted exactly once. A short subset is completed with references: other frames of the video,
    preferably of earlier subsets; a video shorter than N' repeats frames.

    Raises:
        ValueError: an empty video, or N' below 1.
    """
    if length < 1 or frames < 1:
        raise ValueError(f"cannot partition {length} frames into graphs of {frames}: both must be 1 or more")
    step = -(-length // frames)  # T
    subsets = []
    for t in range(step):
        kept = tuple(range(t, length, step))
        subsets.append(Subset(kept, _references(kept, length, step, frames - len(kept))))
    return subsets


def _references(kept: tuple[int, ...], length: int, step: int, missing: int) -> tuple[int, ...]:
    if missing <= 0:
        return ()
    covered = [i for i in range(length) if i % step < kept[0] % step]
    others = covered or [i for i in range(length) if i not in kept] or list(kept)
    spread = [others[(2 * k + 1) * len(others) // (2 * missing)] for k in range(missing)]
    return tuple(spread)


def random_references(length: int, frames: int, *, seed: int) -> list[Subset]:
    """Draw N'-1 other frames of the video as references for each frame, as in the released code, but with a seed.

    The draw is a pure function of (seed, frame). A video shorter than N' repeats frames.

    Raises:
        ValueError: an empty video, or N' below 1.
    """
    if length < 1 or frames < 1:
        raise ValueError(f"cannot draw references from {length} frames for graphs of {frames}: both must be 1 or more")
    graphs = []
    for i in range(length):
        others = [int(k) + (k >= i) for k in np.random.default_rng([seed, i]).permutation(length - 1)[: frames - 1]]
        missing = frames - 1 - len(others)
        graphs.append(Subset((i,), (*others, *((others or [i]) * missing)[:missing])))
    return graphs
