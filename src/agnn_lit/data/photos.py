"""Clips made of photographs: a network learns from them what the frames of a video share, without a video.

The idea is the pretraining of STCN (Cheng et al., NeurIPS 2021, section 5.2), whose clips are affine copies of a static
image, with objects of other images added that only some of the frames show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from agnn_lit.data.dataset import Clip, ClipKey, Clips, read_clip
from agnn_lit.data.sampling import Purpose, Seed
from agnn_lit.data.transforms import ClipTransform
from agnn_lit.data.video import Video

Array = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.int8]

_SHARED = 1 / 3  # share of the pasted objects that all frames show


@dataclass(frozen=True)
class PhotoMotion:
    """How a photograph becomes the frames of a clip.

    Attributes:
        motion: largest shift of a frame relative to the frame's size, change of its zoom (as a logarithm), and rotation
            in radians.
        deformation: standard deviation of the elastic displacement, relative to the frame's size.
        passers_by: largest number of objects of other photographs in a clip. Two in three are shown by some of the
            frames only and are background; the others are shown by all frames and are primary objects, so that being
            pasted in says nothing about an object.
        onlookers: largest number of smaller objects of other photographs that stand around the photograph's own in all
            frames of half of the clips, move with what is behind it, and are background.
        crowd: largest number of places in a row of onlookers behind the photograph's own objects; half of the clips
            with onlookers have one.
        zoom: range of the zoom of the whole clip; at 1 photograph and frame have about the same area.
        flip: probability of a horizontal flip of the whole clip.
    """

    motion: float = 0.1
    deformation: float = 0.02
    passers_by: int = 0
    onlookers: int = 0
    crowd: int = 0
    zoom: tuple[float, float] = (0.7, 1.3)
    flip: float = 0.5


def moved(
    size: tuple[int, int], motion: PhotoMotion, rng: np.random.Generator, shift: float = 1.0
) -> tuple[Array, Array]:
    """Draw the motion of one frame.

    Args:
        size: height and width of the frame.
        motion: its extent.
        rng: source of the draw.
        shift: factor on the largest shift.

    Returns:
        For each pixel the place (x, y), each (H, W), that it shows, relative to the centre of the frame.
    """
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    coarse = rng.normal(0, motion.deformation * np.sqrt(height * width), (2, 4, 4)).astype(np.float32)
    dx, dy = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in coarse)
    limit = shift * motion.motion
    x = x + dx - (width - 1) / 2 - rng.uniform(-limit, limit) * width
    y = y + dy - (height - 1) / 2 - rng.uniform(-limit, limit) * height
    scale, angle = np.exp(rng.uniform(-motion.motion, motion.motion)), rng.uniform(-motion.motion, motion.motion)
    cos, sin = np.float32(scale * np.cos(angle)), np.float32(scale * np.sin(angle))
    return cos * x - sin * y, sin * x + cos * y


def photo_clip(
    photo: tuple[Image, Mask],
    others: Sequence[tuple[Image, Mask]],
    frames: int,
    size: tuple[int, int],
    motion: PhotoMotion,
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """Make a clip of a photograph.

    Args:
        photo: image (H, W, 3) and mask (H, W), 0 or 1, or -1 for void.
        others: images and masks whose objects are pasted in.
        frames: N'.
        size: height and width of the frames.
        motion: motion, deformation and zoom.
        rng: source of all draws.

    Returns:
        Frames (N', *size, 3), and masks (N', *size) of the same values.
    """
    height, width = photo[0].shape[:2]
    step = float(np.sqrt(height * width / (size[0] * size[1]))) / rng.uniform(*motion.zoom)  # its pixels per pixel
    stretch = np.exp(rng.uniform(-0.1, 0.1))
    steps = (step * stretch, step / stretch)  # in x and y
    centre = [
        (full - 1) / 2 + rng.uniform(-0.5, 0.5) * (full - s * shown)
        for full, s, shown in zip((width, height), steps, size[::-1], strict=True)
    ]
    mirror = -1 if rng.random() < motion.flip else 1
    images, masks = [], []
    has_void = bool((photo[1] < 0).any())
    for _ in range(frames):
        x, y = moved(size, motion, rng)
        place = (centre[0] + mirror * steps[0] * x, centre[1] + steps[1] * y)
        images.append(_sample(photo[0], place, step, cv2.BORDER_REFLECT_101))
        mask = _inside(photo[1] > 0, place, step).astype(np.int8)
        if has_void:
            mask[_inside(photo[1] < 0, place, step)] = -1
        masks.append(mask)
    for other in others:
        _paste(images, masks, other, size, motion, rng)
    return np.stack(images), np.stack(masks)


def largest_object(mask: Mask) -> Mask:
    """Keep the largest connected part of a mask (H, W); the other parts become void (-1)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0).astype(np.uint8))
    if count <= 2:
        return mask
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    return np.where((labels > 0) & (labels != largest), -1, mask).astype(np.int8)


def among_onlookers(
    photo: tuple[Image, Mask], others: Sequence[tuple[Image, Mask]], rng: np.random.Generator, crowd: int = 0
) -> tuple[Image, Mask]:
    """Put the objects of a photograph among smaller ones of others, which are background.

    With a crowd, half of the time the others' objects are pasted side by side in a row behind the photograph's own.
    Else, half of the time, they are pasted behind them, each at a place and of a size of its own; or the photograph's
    own are pasted into the first of the others, before and larger than what that one shows, so that being pasted in
    says nothing about an object.

    Args:
        photo: image (H, W, 3) and mask (H, W), 0 or 1, or -1 for void.
        others: images and masks of the others, at least one.
        rng: source of all draws.
        crowd: largest number of places in a row; 0: no rows.

    Returns:
        Image and mask of the primary objects, of the size of the photograph or of the first of the others; the
        photograph as it is, if one of the two shows nothing or the other's objects fill more than 3/10 of it.
    """
    image, mask = photo
    area = int((mask > 0).sum())
    if not area:
        return photo
    if crowd and rng.random() < 0.5:
        shown = image.copy()
        _line_up(shown, mask, others, int(rng.integers(min(4, crowd), crowd + 1)), rng)
        return shown, mask
    if rng.random() < 0.5:
        shown = image.copy()
        for other in others:
            _scatter(shown, other, rng.uniform(0.1, 0.6) * area, rng, behind=mask > 0)
        return shown, mask
    shown = others[0][0].copy()
    beside = float((others[0][1] > 0).mean())
    if not 0 < beside < 0.3:
        return photo
    largest = max(0.5, 2 * beside)
    return shown, _scatter(shown, photo, rng.uniform(max(0.08, 1.5 * beside), largest) * shown[..., 0].size, rng)


def _scatter(
    image: Image,
    other: tuple[Image, Mask],
    area: float,
    rng: np.random.Generator,
    behind: NDArray[np.bool_] | None = None,
) -> Mask:
    """Paste the objects of a photograph, scaled to an area in pixels, somewhere into an image in place; return their
    mask.
    """
    cut = _cut_out(other)
    if cut is None:
        return np.zeros(image.shape[:2], np.int8)
    mirror = rng.choice([-1, 1])
    at = rng.uniform(0, image.shape[1]), rng.uniform(0.1, 0.9) * image.shape[0]
    return _stamp(image, cut, at, mirror * float(np.sqrt((other[1] > 0).sum() / area)), behind)


def _line_up(
    image: Image, mask: Mask, others: Sequence[tuple[Image, Mask]], places: int, rng: np.random.Generator
) -> None:
    """Paste the objects of others side by side into an image in place, behind and smaller than its own objects."""
    rows = np.flatnonzero((mask > 0).any(axis=1))
    height = float(rows[-1] + 1 - rows[0]) * rng.uniform(0.3, 0.8)
    feet = rows[-1] - height * rng.uniform(0.0, 0.5)  # at the lower end of its own objects, or above
    cuts = [cut for cut in map(_cut_out, others) if cut is not None]
    for place in rng.permutation(places) if cuts else ():
        cut = cuts[rng.integers(len(cuts))]
        own = height * rng.uniform(0.8, 1.2)
        x = (place + rng.uniform(0.2, 0.8)) * image.shape[1] / places
        _stamp(image, cut, (x, feet - own / 2), rng.choice([-1, 1]) * cut[1].shape[0] / own, mask > 0)


def _stamp(
    image: Image,
    cut: tuple[Image, Image],
    at: tuple[float, float],
    step: float,
    behind: NDArray[np.bool_] | None = None,
) -> Mask:
    """Paste objects into an image in place, their centre at (x, y); return their mask.

    ``step`` is in pixels of theirs per pixel, negative where they are mirrored.
    """
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    pasted, alpha = _placed(cut, np.sign(step) * (x - at[0]), y - at[1], abs(step))
    if behind is not None:
        alpha = np.where(behind[..., None], np.float32(0), alpha)
    image[:] = np.round(alpha * pasted + (1 - alpha) * image)
    return (alpha[..., 0] > 0.5).astype(np.int8)


def _cut_out(photo: tuple[Image, Mask]) -> tuple[Image, Image] | None:
    """Return the part of a photograph with its objects, and how far each pixel is covered by them (0..255)."""
    inside = photo[1] > 0
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return None
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return photo[0][box], np.asarray(
        cv2.GaussianBlur(255 * inside[box].astype(np.uint8), (3, 3), 0), np.uint8
    )  # softens the cut


def _placed(cut: tuple[Image, Image], x: Array, y: Array, step: float) -> tuple[Image, Array]:
    """Return colours (H, W, 3) and opacity (H, W, 1) of objects at places (x, y) in pixels from their centre."""
    colours, cover = cut
    place = (step * x + (colours.shape[1] - 1) / 2, step * y + (colours.shape[0] - 1) / 2)
    alpha = _sample(cover, place, step, cv2.BORDER_CONSTANT)[..., None] / np.float32(255)
    return _sample(colours, place, step, cv2.BORDER_REPLICATE), alpha.astype(np.float32, copy=False)


def _sample(image: Image, place: tuple[Array, Array], step: float, border: int) -> Image:
    """Sample an image at places (x, y); one that is more than 1.5 times as fine is shrunk first, against aliasing."""
    if step > 1.5:
        height, width = image.shape[:2]
        image = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        ratios = image.shape[1] / width, image.shape[0] / height
        place = ((place[0] + 0.5) * ratios[0] - 0.5, (place[1] + 0.5) * ratios[1] - 0.5)
    x, y = (part.astype(np.float32) for part in place)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def _inside(part: NDArray[np.bool_], place: tuple[Array, Array], step: float) -> NDArray[np.bool_]:
    """Sample a part of an image at places (x, y)."""
    return _sample(255 * part.astype(np.uint8), place, step, cv2.BORDER_REFLECT_101) > 127


def _paste(
    images: list[Image],
    masks: list[Mask],
    other: tuple[Image, Mask],
    size: tuple[int, int],
    motion: PhotoMotion,
    rng: np.random.Generator,
) -> None:
    """Paste the objects of a photograph into some or all frames, in place."""
    frames = len(images)
    shared = frames == 1 or rng.random() < _SHARED
    shown = range(frames) if shared else sorted(rng.permutation(frames)[: rng.integers(1, frames)])
    cut = _cut_out(other)
    if cut is None:
        return
    side = rng.uniform(0.2, 0.6) * np.sqrt(size[0] * size[1])
    step = float(np.sqrt(cut[1].size)) / side
    at = [rng.uniform(-0.4, 0.4) * extent for extent in size[::-1]]  # from the centre of the frame, x and y
    mirror = rng.choice([-1, 1])
    for i in shown:
        x, y = moved(size, motion, rng, shift=2.0)
        pasted, alpha = _placed(cut, mirror * (x - at[0]), y - at[1], step)
        images[i] = np.round(alpha * pasted + (1 - alpha) * images[i]).astype(np.uint8)
        masks[i] = np.where(alpha[..., 0] > 0.5, int(shared), masks[i]).astype(np.int8)


class PhotoClips(Clips):
    """Photographs as clips of N' frames.

    Args:
        photos: photographs, each as an annotated video of one frame; one may be listed several times.
        frames: N'.
        size: height and width of the clips.
        motion: see :class:`PhotoMotion`.
        finish: transform of the clips after motion and pasting; its geometry should change nothing.
        seed: determines every draw, together with the key.
        largest_only: see :func:`largest_object`.
    """

    def __init__(
        self,
        photos: Sequence[Video],
        frames: int,
        size: tuple[int, int],
        motion: PhotoMotion,
        finish: ClipTransform,
        seed: Seed,
        largest_only: bool = False,
    ) -> None:
        self.photos = photos
        self.frames = frames
        self.size = size
        self.motion = motion
        self.finish = finish
        self.seed = seed
        self.largest_only = largest_only

    def __len__(self) -> int:
        return len(self.photos)

    def _draw(self, key: ClipKey) -> tuple[list[Video], int, np.random.Generator]:
        """Return a clip's photograph, followed by those of passers-by and onlookers, the number of the latter, and the
        source of further draws.
        """
        rng = self.seed.generator(Purpose.photo_motion, key.epoch, key.clip)
        passers_by = rng.integers(len(self.photos), size=rng.integers(self.motion.passers_by + 1))
        crowd = rng.integers(1, self.motion.onlookers + 1) if self.motion.onlookers and rng.random() < 0.5 else 0
        onlookers = rng.integers(len(self.photos), size=crowd)
        return [self.photos[k] for k in (key.clip % len(self.photos), *passers_by, *onlookers)], int(crowd), rng

    def describe(self, key: ClipKey) -> str:
        """Return the names of the clip's photographs."""
        photo, *others = (video.name for video in self._draw(key)[0])
        return photo + (f" with objects of {', '.join(others)}" if others else "")

    def __getitem__(self, key: ClipKey) -> Clip:
        """Make the clip of a key; a pure function of the key and the seed.

        Raises:
            DataError: an image or mask cannot be read; names the file.
        """
        videos, crowd, rng = self._draw(key)
        pairs = [(frames[0], masks[0]) for frames, masks in (read_clip(video, [0]) for video in videos)]
        if self.largest_only:
            pairs[0] = pairs[0][0], largest_object(pairs[0][1])
        others, onlookers = pairs[1 : len(pairs) - crowd], pairs[len(pairs) - crowd :]
        photo = among_onlookers(pairs[0], onlookers, rng, self.motion.crowd) if crowd else pairs[0]
        frames, masks = photo_clip(photo, others, self.frames, self.size, self.motion, rng)
        return Clip(
            *self.finish(
                torch.from_numpy(frames).permute(0, 3, 1, 2),
                torch.from_numpy(masks),
                seed=self.seed.key(Purpose.augmentation, key.epoch, key.clip, 2),
            )
        )
