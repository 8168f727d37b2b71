"""Frames and masks at training size, kept as files so that they are decoded and resized once."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agnn_lit.data.transforms import ClipTransform
from agnn_lit.data.video import DataError, DiskVideo
from agnn_lit.shared.files import write_bytes

#: Raised when the content of a file changes its meaning.
_FORMAT = 1


class FrameCache:
    """What :meth:`ClipTransform.reduce` gives for each frame, in a file that is written when it is first needed.

    Several processes and runs may use one folder. A file is found by the paths, sizes and times of its frame and mask,
    and by the training size: other data, or another size, has files of its own, and nothing is ever out of date.

    Args:
        folder: where the files are; made if needed.
        transform: the augmentation that goes on from them.
    """

    def __init__(self, folder: Path, transform: ClipTransform) -> None:
        self.folder = folder
        self.transform = transform

    def file(self, video: DiskVideo, index: int) -> Path:
        """Return the file of a frame, which need not exist."""
        parts = [f"{_FORMAT} {self.transform.reduced_to}"]
        for path in (video.frames[index], video.masks[index]):
            if path is not None:
                facts = path.stat()
                parts.append(f"{path.absolute()} {facts.st_size} {facts.st_mtime_ns}")
        name = hashlib.blake2b("\n".join(parts).encode(errors="surrogateescape"), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.npy"

    def load(self, video: DiskVideo, index: int) -> Tensor | None:
        """Return bytes (1, 4 or 5, H, W) of a frame, or None if they are not kept, or damaged."""
        with suppress(OSError, ValueError, EOFError):
            kept = np.load(self.file(video, index), allow_pickle=False)
            if kept.dtype == np.uint8 and kept.ndim == 4:
                return torch.from_numpy(kept)
        return None

    def keep(self, video: DiskVideo, index: int, reduced: Tensor) -> None:
        """Write bytes (1, 4 or 5, H, W) of a frame.

        Raises:
            DataError: they cannot be written.
        """
        content = io.BytesIO()
        np.save(content, np.ascontiguousarray(reduced.numpy()))
        try:
            write_bytes(self.file(video, index), content.getvalue())
        except OSError as error:
            raise DataError(f"clips.cache={self.folder}: {error.strerror}; give another folder, or null") from error
