"""Videos in memory: frames as NumPy arrays or torch tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agnn_lit.data.video import DataError

_EXPECTED = "(N, H, W, 3) or (N, 3, H, W), 8-bit RGB or floats from 0 to 1"


@dataclass(frozen=True)
class ArrayVideo:
    """Frames in memory, converted one at a time.

    Attributes:
        frames: an array or tensor each, (H, W, 3) or (3, H, W), 8-bit RGB or floats from 0 to 1.
        name: of the video.
    """

    frames: Sequence[Any]
    name: str = "frames"

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the first frame."""
        height, width = self.frame(0).shape[:2]
        return height, width

    def frame_name(self, index: int) -> str:
        """Return the number of a frame, five digits or more."""
        return f"{index:05d}"

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return frame ``index`` as (H, W, 3) RGB.

        Raises:
            DataError: it is no picture of such a form.
        """
        found = _as_array(self.frames[index])
        if found.ndim == 3 and found.shape[-1] != 3 and found.shape[0] == 3:
            found = found.transpose(1, 2, 0)
        if found.ndim != 3 or found.shape[-1] != 3 or not found.size:
            raise DataError(f"frame {index} is of shape {found.shape}; expected (H, W, 3) or (3, H, W)")
        if found.dtype == np.uint8:
            return np.ascontiguousarray(found)
        if not np.issubdtype(found.dtype, np.floating):
            raise DataError(f"frame {index} is of type {found.dtype}; expected uint8, or floats from 0 to 1")
        low, high = float(found.min()), float(found.max())
        if not (low >= 0 and high <= 1):  # NaN, too
            raise DataError(f"frame {index} has values from {low:g} to {high:g}; floats must be from 0 to 1")
        return np.round(255 * found.astype(np.float32)).astype(np.uint8)

    def digest(self) -> str:
        """Return a hash of all frames."""
        digest = hashlib.blake2b(digest_size=8)
        for index in range(len(self)):
            frame = self.frame(index)
            digest.update(str(frame.shape).encode() + frame.tobytes())
        return digest.hexdigest()


def _as_array(frame: Any) -> NDArray[Any]:
    """Return an array, which shares memory with a tensor on the CPU."""
    if hasattr(frame, "detach"):  # a torch tensor; torch need not be imported to tell
        frame = frame.detach().cpu()
        frame = (frame if str(frame.dtype) != "torch.bfloat16" else frame.float()).numpy()
    return np.asarray(frame)


def open_arrays(frames: Any) -> ArrayVideo:
    """Return frames in memory as a video.

    Args:
        frames: a sequence of frames, see :class:`ArrayVideo`; an array or tensor of them; or a single frame.

    Raises:
        DataError: there are no frames, or the first is no picture.
    """
    shape = getattr(frames, "shape", None)
    if shape is not None and len(shape) == 3:
        frames = [frames]  # a single frame
    elif shape is not None and len(shape) != 4:
        raise DataError(f"frames are of shape {tuple(shape)}; expected {_EXPECTED}")
    if not isinstance(frames, Sequence) and shape is None:
        raise DataError(
            f"frames are given as {type(frames).__name__}; expected a path, or {_EXPECTED}, as an array, a tensor or a "
            "list; a generator must become a list first, since frames are read several times and in another order"
        )
    if len(frames) == 0:
        raise DataError("there are no frames: at least one is needed")
    video = ArrayVideo(frames)
    video.frame(0)
    return video
