"""Plan when each frame is encoded, exactly once, and keep its node until no later graph needs it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor

from agnn_lit.data.sampling import Subset


@dataclass(frozen=True)
class Step:
    """Groups of frames to encode, graphs to run then, and nodes that no later step needs."""

    encode: tuple[tuple[int, ...], ...]
    graphs: tuple[Subset, ...]
    forget: tuple[int, ...]


def plan(batches: Sequence[tuple[Subset, ...]], left: Sequence[tuple[Subset, ...]], ahead: int | None) -> list[Step]:
    """Plan the steps so that each frame is encoded once and its node is kept as long as it is needed.

    Frames are encoded in the groups of an uninterrupted run, because the last digits of a convolution depend on the
    rest of its batch.

    Args:
        batches: all batches of graphs.
        left: the batches that are still to be run.
        ahead: encode the whole video first, in groups of this many frames (random references may need any frame);
            None: encode the frames of a batch just before it.
    """
    groups = _groups(batches, ahead)
    last = {i: number for number, batch in enumerate(left) for graph in batch for i in graph.nodes}
    encoded: set[int] = set()
    steps: list[Step] = []
    if ahead is not None:  # in the order in which they are decoded
        steps = [Step((group,), (), ()) for group in dict.fromkeys(groups[i] for i in sorted(last))]
        encoded = set(groups)
    for number, batch in enumerate(left):
        used = dict.fromkeys(i for graph in batch for i in graph.nodes)
        encode = tuple(dict.fromkeys(groups[i] for i in used if i not in encoded))
        encoded.update(i for group in encode for i in group)
        held = {*used, *(i for group in encode for i in group)}
        steps.append(Step(encode, batch, tuple(i for i in held if last.get(i, number) <= number)))
    return steps


def _groups(batches: Sequence[tuple[Subset, ...]], ahead: int | None) -> dict[int, tuple[int, ...]]:
    """Return the group of frames that each frame is encoded with: those first used by the same batch."""
    if ahead is not None:
        length = sum(len(batch) for batch in batches)  # each frame has a graph of its own
        chunks = [tuple(range(k, min(k + ahead, length))) for k in range(0, length, ahead)]
        return {i: chunk for chunk in chunks for i in chunk}
    found: dict[int, tuple[int, ...]] = {}
    for batch in batches:
        new = tuple(dict.fromkeys(i for graph in batch for i in graph.nodes if i not in found))
        found |= dict.fromkeys(new, new)
    return found


class Nodes:
    """Nodes h^0 of the frames that later graphs need, for each view.

    References of a partition are kept in memory, N'-1 frames at most. Random references may be any frame, so nodes
    are kept ``on_disk``, in one unnamed temporary file per view in ``folder``.
    """

    def __init__(self, views: int, *, on_disk: bool, folder: Path | None) -> None:
        self._kept: list[dict[int, Tensor]] = [{} for _ in range(views)]
        self._files: list[BinaryIO | None] = [
            cast(BinaryIO, tempfile.TemporaryFile(dir=folder)) if on_disk else None  # noqa: SIM115 - see close
            for _ in range(views)
        ]
        self._shape: list[tuple[torch.Size, torch.dtype, torch.device] | None] = [None] * views

    def put(self, view: int, index: int, node: Tensor) -> None:
        """Store the node (C, H', W') of a frame in a view."""
        file = self._files[view]
        if file is None:
            self._kept[view][index] = node
            return
        self._shape[view] = (node.shape, node.dtype, node.device)
        raw = node.contiguous().view(torch.uint8).cpu().numpy().tobytes()
        file.seek(index * len(raw))
        file.write(raw)

    def get(self, view: int, index: int) -> Tensor:
        """Return a stored node (C, H', W')."""
        file = self._files[view]
        if file is None:
            return self._kept[view][index]
        known = self._shape[view]
        assert known is not None
        shape, dtype, device = known
        size = shape.numel() * dtype.itemsize
        file.seek(index * size)
        return torch.frombuffer(bytearray(file.read(size)), dtype=dtype).reshape(shape).to(device)

    def forget(self, indices: Iterable[int]) -> None:
        """Drop nodes from memory."""
        for kept in self._kept:
            for index in indices:
                kept.pop(index, None)

    def close(self) -> None:
        """Remove the files."""
        for file in self._files:
            if file is not None:
                file.close()
