"""Which frames are encoded when, each once, and where their nodes wait until they are needed."""

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
    """Groups of frames to encode, then graphs to run; nodes whose last use this is are forgotten after it."""

    encode: tuple[tuple[int, ...], ...]
    graphs: tuple[Subset, ...]
    forget: tuple[int, ...]


def plan(batches: Sequence[tuple[Subset, ...]], left: Sequence[tuple[Subset, ...]], ahead: int | None) -> list[Step]:
    """Plan what is encoded when, so that each frame is encoded once and its node kept as long as it is needed.

    Frames are always encoded in the groups of an uninterrupted run: the last digits of a convolution depend on what
    else is in its batch.

    Args:
        batches: of graphs, as an uninterrupted run has them.
        left: those that are still to be run.
        ahead: encode the whole video first, in groups of so many frames, since any frame may be asked for at any time;
            None: encode the frames of a batch with it.
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
    """Frames that are encoded together with each frame: those that its batch of graphs is the first to use."""
    found: dict[int, tuple[int, ...]] = {}
    if ahead is not None:
        length = len([graph for batch in batches for graph in batch])
        chunks = [tuple(range(k, min(k + ahead, length))) for k in range(0, length, ahead)]
    else:
        seen: set[int] = set()
        chunks = []
        for batch in batches:
            new = tuple(dict.fromkeys(i for graph in batch for i in graph.nodes if i not in seen))
            seen.update(new)
            chunks.append(new)
    for chunk in chunks:
        found.update(dict.fromkeys(chunk, chunk))
    return found


def _temporary(folder: Path | None) -> BinaryIO:
    """A file without a name, gone when it is closed."""
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))


class Nodes:
    """h^0 of the frames that later graphs need, for each view.

    A subset's missing references are kept in memory, N'-1 frames at most; random references need any frame at
    any time, and lie in unnamed temporary files, one a view.
    """

    def __init__(self, views: int, *, on_disk: bool, folder: Path | None) -> None:
        self._kept: list[dict[int, Tensor]] = [{} for _ in range(views)]
        self._files: list[BinaryIO | None] = [_temporary(folder) if on_disk else None for _ in range(views)]
        self._shape: list[tuple[torch.Size, torch.dtype, torch.device] | None] = [None] * views

    def put(self, view: int, index: int, node: Tensor) -> None:
        """Keep the node (C, H', W') of a frame in a view."""
        file = self._files[view]
        if file is None:
            self._kept[view][index] = node
            return
        self._shape[view] = (node.shape, node.dtype, node.device)
        raw = node.contiguous().view(torch.uint8).cpu().numpy().tobytes()
        file.seek(index * len(raw))
        file.write(raw)

    def get(self, view: int, index: int) -> Tensor:
        """Return a node that was kept."""
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
        """Drop nodes from memory; files stay as they are."""
        for kept in self._kept:
            for index in indices:
                kept.pop(index, None)

    def close(self) -> None:
        """Remove the files."""
        for file in self._files:
            if file is not None:
                file.close()
