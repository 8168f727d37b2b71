"""Generated videos in which one frame is not enough to tell the primary object.

Every frame shows ``1 + distractors`` objects with colour, texture, outline, size and place drawn from one distribution,
in random depth order. One of them, the primary, returns in every frame with the same look while it moves and deforms;
the others are new in each frame. A single frame does not show which object is the primary, so a frame-only model
(K = 0) can only guess, but a graph over frames can tell.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnn_lit.config import DataConfig, register

_HARMONICS = np.arange(2, 5)  # of the outline: 2 gives an ellipse, 3 and 4 give corners
_KEPT_BYTES = 2**18  # videos up to this size keep their frames in memory


@dataclass(frozen=True)
class Look:
    """Appearance of an object, which the primaries keep in all frames."""

    colour: NDArray[np.float64]  # (3,), RGB in [0, 1]
    stripe_colour: NDArray[np.float64]  # (3,)
    stripe_angle: float  # radians
    stripe_period: float  # pixels
    radius: float  # pixels, mean over the outline
    amplitudes: NDArray[np.float64]  # (3,), of the outline's harmonics, relative to the radius
    phases: NDArray[np.float64]  # (3,), radians


@dataclass(frozen=True)
class SyntheticVideo:
    """A generated :class:`agnn_lit.data.video.Video`, a pure function of its fields.

    ``key`` is the entropy of all random draws; see :class:`agnn_lit.config.SyntheticConfig` for the others.
    """

    name: str
    key: tuple[int, ...]
    length: int
    size: tuple[int, int]
    primaries: int = 1
    distractors: int = 2
    texture: float = 0.0
    deformation: float = 0.2
    speed: float = 4.0

    def __len__(self) -> int:
        return self.length

    def frame_name(self, index: int) -> str:
        """Return the number of the frame as its name."""
        return f"{index:05d}"

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return frame ``index`` as (H, W, 3) RGB."""
        return self._drawn(index)[0].copy()

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """Return the visible part of the primaries in frame ``index``, (H, W), 0 or 1."""
        return np.minimum(self._drawn(index)[1], 1)

    def objects(self, index: int) -> NDArray[np.uint8] | None:
        """Return the primaries' ids in frame ``index``, (H, W), from 1; 0: none."""
        return self._drawn(index)[1].copy()

    def _drawn(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return frame and mask; small videos keep them."""
        if 4 * self.length * math.prod(self.size) > _KEPT_BYTES:
            return _render(self, index)
        if index not in self._kept:
            self._kept[index] = self._render(index)
        return self._kept[index]

    @cached_property
    def _kept(self) -> dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        return {}

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([*self.key, *stream])

    def _draw_look(self, rng: np.random.Generator) -> Look:
        def colour() -> NDArray[np.float64]:
            return np.array(colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0)))

        side = min(self.size)
        return Look(
            colour=colour(),
            stripe_colour=colour(),
            stripe_angle=float(rng.uniform(0, np.pi)),
            stripe_period=float(rng.uniform(0.06, 0.16) * side),
            radius=float(rng.uniform(0.13, 0.22) * side),
            amplitudes=rng.uniform(0, 0.16, size=len(_HARMONICS)),
            phases=rng.uniform(0, 2 * np.pi, size=len(_HARMONICS)),
        )

    @cached_property
    def _looks(self) -> list[Look]:
        return [self._draw_look(self._stream(0, number)) for number in range(self.primaries)]

    def _stream(self, kind: int, number: int) -> np.random.Generator:
        """Return the random generator of a primary, which does not depend on the number of primaries."""
        return self._rng(kind) if number == 0 else self._rng(4, kind, number)

    @cached_property
    def _paths(self) -> list[NDArray[np.float64]]:
        return [self._path(number) for number in range(self.primaries)]

    def _path(self, number: int) -> NDArray[np.float64]:
        """Centres of a primary, (length, 2) as y, x, on a straight line that is reflected at the borders.

        Reflection keeps the uniform distribution of the start, from which the distractors' places are drawn, too.
        """
        rng = self._stream(1, number)
        extent = np.array(self.size, dtype=np.float64)
        start, angle = rng.uniform(0, extent), rng.uniform(0, 2 * np.pi)
        step = self.speed * np.array([np.sin(angle), np.cos(angle)])
        straight = start + step * np.arange(self.length)[:, None]
        return np.abs((straight + extent) % (2 * extent) - extent)

    @cached_property
    def _background(self) -> NDArray[np.float64]:
        """A dull colour field (H, W, 3), the same in every frame."""
        rng = self._rng(2)
        height, width = self.size
        y, x = np.mgrid[:height, :width] / max(self.size)
        field = np.zeros(self.size)
        for _ in range(4):
            fy, fx, phase = rng.uniform(-3, 3), rng.uniform(-3, 3), rng.uniform(0, 2 * np.pi)
            field += np.sin(2 * np.pi * (fy * y + fx * x) + phase) / 4
        level, tint = rng.uniform(0.2, 0.6), rng.uniform(-0.08, 0.08, size=3)
        return np.asarray(np.clip(level + 0.12 * field[..., None] + tint, 0, 1))

    def _paint(
        self,
        image: NDArray[np.float64],
        owner: NDArray[np.int64],
        which: int,
        look: Look,
        centre: NDArray[np.float64],
        wobble: NDArray[np.float64],
    ) -> None:
        """Draw an object on ``image`` (H, W, 3) and write its number to ``owner`` (H, W), within its bounding box."""
        amplitudes = look.amplitudes + wobble
        reach = look.radius * (1 + np.abs(amplitudes).sum())
        top, left = np.maximum(np.floor(centre - reach), 0).astype(int)
        bottom, right = np.minimum(np.ceil(centre + reach) + 1, self.size).astype(int)
        dy = np.arange(top, bottom)[:, None] - centre[0]
        dx = np.arange(left, right)[None, :] - centre[1]
        angle = np.arctan2(dy, dx)[..., None]
        waves = amplitudes * np.cos(_HARMONICS * angle + look.phases)
        area = np.hypot(dy, dx) < look.radius * (1 + waves.sum(-1))
        along = dy * np.sin(look.stripe_angle) + dx * np.cos(look.stripe_angle)
        stripes = self.texture * (np.sin(2 * np.pi * along / look.stripe_period) > 0)[..., None]
        painted = look.colour * (1 - stripes) + look.stripe_colour * stripes  # (h, w, 3)
        image[top:bottom, left:right][area] = painted[area]
        owner[top:bottom, left:right][area] = which

    def _render(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if not 0 <= index < self.length:
            raise IndexError(f"frame {index} of {self.name}: must lie in 0..{self.length - 1}")
        rng = self._rng(3, index)
        looks = [*self._looks, *(self._draw_look(rng) for _ in range(self.distractors))]
        places = rng.uniform(0, self.size, size=(self.distractors, 2))
        centres = [*(path[index] for path in self._paths), *places]
        image = self._background.copy()
        owner = np.full(self.size, -1)
        for which in rng.permutation(len(looks)):
            look = looks[which]
            wobble = self.deformation * rng.uniform(-0.5, 0.5, size=len(_HARMONICS))
            self._paint(image, owner, int(which), look, centres[which], wobble)
        image += 0.02 * rng.standard_normal(size=image.shape, dtype=np.float32)
        ids = np.where(owner < self.primaries, owner + 1, 0).astype(np.uint8)
        return (np.clip(image, 0, 1) * 255).astype(np.uint8), ids


@lru_cache(maxsize=16)
def _render(video: SyntheticVideo, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return frame and mask, cached since both are usually requested one after the other."""
    return video._render(index)


def synthetic_videos(split: str, count: int, *, seed: int = 0, **fields: Any) -> list[SyntheticVideo]:
    """Return ``count`` videos of a split; the videos of "train" and "test" never share a random draw.

    Args:
        split: "train" or "test".
        count: number of videos.
        seed: seed of all videos.
        fields: ``length``, ``size`` and others of :class:`SyntheticVideo`.

    Raises:
        ValueError: another split.
    """
    streams = {"train": 0, "test": 1}
    if split not in streams:
        raise ValueError(f"split {split!r}: the synthetic videos have the splits {' and '.join(streams)}")
    keys = [(seed, streams[split], number) for number in range(count)]
    return [SyntheticVideo(f"{split}-{key[2]:04d}", key, **fields) for key in keys]


@register("data.name", "synthetic")
def synthetic(cfg: DataConfig, split: str) -> list[SyntheticVideo]:
    """Return the generated videos of a split."""
    fields = asdict(cfg.synthetic)
    counts = {"train": fields.pop("train_videos"), "test": fields.pop("test_videos")}
    return synthetic_videos(split, counts.get(split, 0), **fields)
