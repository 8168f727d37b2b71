"""Transform the frames and masks of a clip to input tensors, all with the same geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

#: Mean and standard deviation of the channels (RGB, 0..1) that pretrained weights expect: ``imagenet`` those of
#: torchvision and most of timm, ``lite`` (x − 127) / 128 for efficientnet-lite0, …, the others some of timm.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lite": ((127 / 255,) * 3, (128 / 255,) * 3),
    "half": ((0.5,) * 3, (0.5,) * 3),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    "satellite": ((0.43, 0.411, 0.296), (0.213, 0.156, 0.143)),
}
MEAN, STD = STATISTICS["imagenet"]
#: Mean colour (BGR, 0..255) of the training data of the Caffe models.
BGR_MEAN = (104.00698793, 116.66876762, 122.67891434)


def normalise(frames: Tensor, kind: str = "imagenet") -> Tensor:
    """Normalise RGB frames (..., 3, H, W) for a backbone.

    Args:
        frames: bytes, or floats in 0..255.
        kind: ``caffe``: BGR in 0..255 minus the mean; else zero mean and unit variance by :data:`STATISTICS`.

    Returns:
        Floats (..., 3, H, W).
    """
    if kind == "caffe":
        return frames.float().flip(-3) - torch.tensor(BGR_MEAN, device=frames.device).view(3, 1, 1)
    mean, std = (torch.tensor(v, device=frames.device).view(3, 1, 1) for v in STATISTICS[kind])
    return (frames.float() / 255 - mean) / std


def mean_colour(kind: str) -> list[int]:
    """Return the RGB colour in 0..255 that :func:`normalise` maps to about zero."""
    return [round(m) for m in (BGR_MEAN[::-1] if kind == "caffe" else [255 * m for m in STATISTICS[kind][0]])]


def to_input(frames: list[NDArray[np.uint8]], size: tuple[int, int], kind: str = "imagenet") -> Tensor:
    """Resize RGB frames (H, W, 3), which may differ in size, to one normalised clip (N, 3, *size).

    All kinds resize bilinearly, with antialiasing except ``caffe``, as the released code does.
    """
    if kind == "caffe":
        sampled = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for frame in frames]
        resized = [torch.from_numpy(frame).permute(2, 0, 1) for frame in sampled]
    else:
        resized = [v2.functional.resize(torch.from_numpy(f).permute(2, 0, 1), list(size)) for f in frames]
    return normalise(torch.stack(resized), kind)


class _Zoom(v2.Transform):  # type: ignore[misc]
    """Resize by a random factor, the same for all frames of a clip.

    (torchvision's ScaleJitter compares heights with widths, and shrinks frames that are not square.)
    """

    def __init__(self, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size."""
        low, high = self.scale
        height, width = flat_inputs[0].shape[-2:]
        factor = low + (high - low) * float(torch.rand(()))
        return {"size": [max(1, round(factor * height)), max(1, round(factor * width))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize one input."""
        return v2.functional.resize(inpt, params["size"])


class _Window(v2.RandomCrop):  # type: ignore[misc]
    """Crop a random window with a side relative to the frame's, the same for all frames of a clip."""

    def __init__(self, side: float) -> None:
        super().__init__(1)
        self.side = side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the place."""
        height, width = flat_inputs[0].shape[-2:]
        self.size = [max(1, round(self.side * height)), max(1, round(self.side * width))]
        params: dict[str, Any] = super().make_params(flat_inputs)
        return params


class Appearance:
    """Random colour jitter, Gaussian blur and JPEG compression.

    Args:
        jitter: strength of the changes of brightness, contrast, saturation (0.4 at 1) and hue (0.05 at 1); 0: none.
        blur: probability of a blur with a standard deviation of 0.1 to 1.5 pixels.
        jpeg: probability of a compression with a quality of 30 to 90.
        per_frame: draw anew for each frame, instead of once for all frames of a clip.
    """

    def __init__(self, jitter: float = 0.0, blur: float = 0.0, jpeg: float = 0.0, *, per_frame: bool = False) -> None:
        self.per_frame = per_frame
        self.jpeg = jpeg
        steps: list[torch.nn.Module] = []
        if jitter:
            steps.append(v2.ColorJitter(*[min(1.0, 0.4 * jitter)] * 3, hue=0.05 * jitter))
        if blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(7, (0.1, 1.5))], blur))
        self._steps = v2.Compose(steps) if steps else None

    def __call__(self, frames: Tensor) -> Tensor:
        """Change RGB bytes (N, 3, H, W), with torch's global random numbers."""
        if self._steps is None and not self.jpeg:
            return frames
        return torch.cat([self._change(part) for part in (torch.split(frames, 1) if self.per_frame else [frames])])

    def _change(self, frames: Tensor) -> Tensor:
        changed: Tensor = frames if self._steps is None else self._steps(frames)
        if not self.jpeg or float(torch.rand(())) >= self.jpeg:
            return changed
        quality = int(torch.randint(30, 91, ()))
        return torch.stack([_compressed(frame, quality) for frame in changed])


def _compressed(frame: Tensor, quality: int) -> Tensor:
    """Compress RGB bytes (3, H, W) as JPEG and decode them. (torchvision's needs its compiled operators.)"""
    done, data = cv2.imencode(".jpg", frame.permute(1, 2, 0).numpy(), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return torch.from_numpy(cv2.imdecode(data, cv2.IMREAD_COLOR)).permute(2, 0, 1)


class ClipTransform:
    """Joint augmentation of a clip: crop, flip, zoom, crop to size, change of appearance, normalise.

    All frames share one draw of the geometry. The first resize is the same in every draw, so that
    :class:`~agnn_lit.data.frame_cache.FrameCache` can keep what it gives.

    The mask is resampled as a fourth channel of its frame, on the same grid; a pixel is foreground if the object covers
    more than half of it. (torchvision's nearest-neighbour resize takes the upper left pixel of each cell, which at a
    quarter of the size shifts a mask by 1.5 of its original pixels.)

    Args:
        size: height and width of the result.
        flip: probability of a horizontal flip.
        scale: range of the zoom relative to ``size``; smaller results are padded with the mean colour and background,
            larger ones cropped at a random place.
        crop: side of the random crop that is taken first, relative to the frame's; 1: no crop.
        preprocessing: see :func:`normalise`.
        appearance: changes the frames after their geometry; None: nothing does.
    """

    def __init__(
        self,
        size: tuple[int, int],
        flip: float = 0.5,
        scale: tuple[float, float] = (0.7, 1.3),
        preprocessing: str = "imagenet",
        crop: float = 1.0,
        appearance: Appearance | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self.appearance = appearance or Appearance()
        resize = v2.Resize(list(size))
        self.reduced_to = size if crop == 1.0 else None
        self._reduce = resize if self.reduced_to else v2.Identity()

        def draws(channels: int) -> v2.Compose:
            steps: list[torch.nn.Module] = [_Window(crop), resize] if crop != 1.0 else []
            steps.append(v2.RandomHorizontalFlip(flip))
            if tuple(scale) != (1.0, 1.0):
                fill = {tv_tensors.Image: [*mean_colour(preprocessing), *[0] * (channels - 3)]}
                steps += [_Zoom(scale), v2.RandomCrop(list(size), pad_if_needed=True, fill=fill)]
            return v2.Compose(steps)

        self._geometry = {channels: draws(channels) for channels in (4, 5)}

    def __call__(self, frames: Tensor, masks: Tensor, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augment a clip; :meth:`reduce`, then :meth:`draw`."""
        return self.draw(self.reduce(frames, masks), seed)

    def reduce(self, frames: Tensor, masks: Tensor) -> Tensor:
        """Do what is the same in every draw: the resize to ``size``, unless a random crop comes first.

        Args:
            frames: (N, 3, H, W) RGB bytes.
            masks: (N, H, W), 0 or 1, or -1 for void.

        Returns:
            Bytes (N, 4, *size) or (N, 4, H, W): RGB and the foreground, 0 to 255; with void, that is a fifth channel.
        """
        marked = [masks > 0, masks < 0] if (masks < 0).any() else [masks > 0]
        channels = [frames, *(255 * inside[:, None].to(torch.uint8) for inside in marked)]
        reduced: Tensor = self._reduce(tv_tensors.Image(torch.cat(channels, dim=1)))
        return reduced.as_subclass(Tensor)

    def draw(self, reduced: Tensor, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augment a clip of which :meth:`reduce` is done.

        Args:
            reduced: bytes (N, 4 or 5, H, W).
            seed: determines every random choice; the global random state does not change.

        Returns:
            Normalised frames (N, 3, *size) and masks (N, *size), 0, 1 or -1 for void, both floats.
        """
        entropy = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(entropy)
            moved = self._geometry[reduced.shape[1]](tv_tensors.Image(reduced)).as_subclass(Tensor)
            shown = self.appearance(moved[:, :3])
        inside = moved[:, 3:] > 127  # (N, 1 or 2, *size)
        targets = inside[:, 0].float()
        if inside.shape[1] > 1:
            targets = torch.where(inside[:, 1] & ~inside[:, 0], -1.0, targets)
        # Always contiguous: a loader process would copy anyway, and the last digits of a convolution depend on it.
        images = normalise(shown, self.preprocessing)
        return images.contiguous(), targets.contiguous()
