"""From a whole video to one probability map a frame, each frame encoded once per scale and flip."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agnn_lit.data.index import DataError, Video
from agnn_lit.data.sampling import Subset, partition, random_references
from agnn_lit.data.transforms import to_input
from agnn_lit.model import AGNN

Item = TypeVar("Item")
Result = TypeVar("Result")
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Inference:
    """How a video is predicted.

    Attributes:
        frames: N', frames of a graph.
        size: height and width of the network's input at scale 1.
        batch_size: graphs at a time.
        scales: of the input; probabilities are averaged over them.
        flip: average over the mirrored frames, too.
        random: each frame with N'-1 others drawn by ``seed``, instead of the partition into subsets.
        seed: of random references.
        skip_unreadable: leave frames out that cannot be decoded, instead of raising.
    """

    frames: int
    size: tuple[int, int]
    batch_size: int = 1
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    random: bool = False
    seed: int = 0
    skip_unreadable: bool = False

    @property
    def views(self) -> list[tuple[float, bool]]:
        """Scale and flip of each view, the ones as seen first."""
        return [(scale, flip) for flip in ((False, True) if self.flip else (False,)) for scale in self.scales]

    def graphs(self, length: int) -> list[Subset]:
        """All graphs of a video of ``length`` frames; each frame is kept in exactly one."""
        if self.random:
            return random_references(length, self.frames, seed=self.seed)
        return partition(length, self.frames)


@dataclass(frozen=True)
class Prediction:
    """What the network says of one frame.

    Attributes:
        index: of the frame in its video.
        frame: (H, W, 3) RGB.
        stages: probability of being foreground, (H, W) at the frame's own size, by stage: ``raw`` (scale 1, as
            seen), ``scales`` (all scales, as seen) and ``flip`` (all views), those that are asked for.
    """

    index: int
    frame: Frame
    stages: dict[str, NDArray[np.float32]]

    @property
    def probability(self) -> NDArray[np.float32]:
        """The last stage: the mean over all views."""
        return list(self.stages.values())[-1]


@dataclass(frozen=True)
class _Step:
    """Groups of frames to encode, then graphs to run; nodes whose last use this is are forgotten after it."""

    encode: tuple[tuple[int, ...], ...]
    graphs: tuple[Subset, ...]
    forget: tuple[int, ...]


@dataclass
class _Loaded:
    """Frames of a step by index, and those that could not be decoded with what stands in for them."""

    step: _Step
    frames: dict[int, Frame]
    unreadable: dict[int, str] = field(default_factory=dict)


def _temporary(folder: Path | None) -> BinaryIO:
    """A file without a name, gone when it is closed."""
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))


class _Nodes:
    """h^0 of the frames that later graphs need, for each view.

    A subset's missing references are kept in memory, N'-1 frames at most; random references need any frame at
    any time, and lie in unnamed temporary files, one a view.
    """

    def __init__(self, views: int, *, on_disk: bool, folder: Path | None) -> None:
        self._kept: list[dict[int, Tensor]] = [{} for _ in range(views)]
        self._files: list[BinaryIO | None] = [_temporary(folder) if on_disk else None for _ in range(views)]
        self._shape: list[tuple[torch.Size, torch.dtype, torch.device] | None] = [None] * views

    def put(self, view: int, index: int, node: Tensor) -> None:
        file = self._files[view]
        if file is None:
            self._kept[view][index] = node
            return
        self._shape[view] = (node.shape, node.dtype, node.device)
        raw = node.contiguous().view(torch.uint8).cpu().numpy().tobytes()
        file.seek(index * len(raw))
        file.write(raw)

    def get(self, view: int, index: int) -> Tensor:
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
        for kept in self._kept:
            for index in indices:
                kept.pop(index, None)

    def close(self) -> None:
        for file in self._files:
            if file is not None:
                file.close()


def predict_video(
    model: AGNN,
    video: Video,
    how: Inference,
    *,
    done: Container[int] = (),
    unreadable: Callable[[int, str], None] | None = None,
    scratch: Path | None = None,
) -> Iterator[Prediction]:
    """Segment every frame of a video exactly once (AGNN, section 4.1).

    A frame goes through the encoder once per view, whichever graphs it is part of. Frames are decoded as they are
    needed, in a thread of their own one step ahead of the network, and predictions come graph by graph, so that
    memory does not grow with the video.

    Args:
        model: in evaluation mode, on the device and in the precision to use.
        video: where the frames come from.
        how: graphs, views and batches.
        done: frames whose predictions are at hand; a batch of graphs that are all done is not computed again.
            Batches stay the same whatever is done, and so does every prediction.
        unreadable: told the index of a frame that is skipped, and why.
        scratch: folder for the nodes of random references, 2 MB a frame and view at 473×473 and bf16; None:
            the system's.

    Yields:
        One :class:`Prediction` a frame, those left out that are done or unreadable.

    Raises:
        DataError: a frame that cannot be decoded, unless they are skipped.
    """
    graphs = how.graphs(len(video))
    batches = [tuple(graphs[k : k + how.batch_size]) for k in range(0, len(graphs), how.batch_size)]
    left = [batch for batch in batches if not all(i in done for graph in batch for i in graph.frames)]
    nodes = _Nodes(len(how.views), on_disk=how.random, folder=scratch)
    try:
        for loaded in ahead(_steps(batches, left, how), lambda step: _load(video, step, how.skip_unreadable)):
            for index, reason in loaded.unreadable.items():
                if unreadable is not None:
                    unreadable(index, reason)
            predictions = _run(model, loaded, how, nodes)
            yield from (p for p in predictions if p.index not in loaded.unreadable)
    finally:
        nodes.close()


def ahead(items: Iterable[Item], load: Callable[[Item], Result], depth: int = 1) -> Iterator[Result]:
    """Map items in a thread, ``depth`` of them ahead of whoever takes the results."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(load, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _steps(batches: Sequence[tuple[Subset, ...]], left: Sequence[tuple[Subset, ...]], how: Inference) -> list[_Step]:
    """Plan what is encoded when, so that each frame is encoded once and its node kept as long as it is needed.

    Frames are always encoded in the groups of an uninterrupted run: the last digits of a convolution depend on what
    else is in its batch.
    """
    groups = _groups(batches, how)
    last = {i: number for number, batch in enumerate(left) for graph in batch for i in graph.nodes}
    encoded: set[int] = set()
    steps: list[_Step] = []
    if how.random:  # any frame may be asked for: all are encoded first, in the order in which they are decoded
        steps = [_Step((group,), (), ()) for group in dict.fromkeys(groups[i] for i in sorted(last))]
        encoded = set(groups)
    for number, batch in enumerate(left):
        used = dict.fromkeys(i for graph in batch for i in graph.nodes)
        encode = tuple(dict.fromkeys(groups[i] for i in used if i not in encoded))
        encoded.update(i for group in encode for i in group)
        held = {*used, *(i for group in encode for i in group)}
        steps.append(_Step(encode, batch, tuple(i for i in held if last.get(i, number) <= number)))
    return steps


def _groups(batches: Sequence[tuple[Subset, ...]], how: Inference) -> dict[int, tuple[int, ...]]:
    """Frames that are encoded together with each frame: those that its batch of graphs is the first to use."""
    found: dict[int, tuple[int, ...]] = {}
    if how.random:
        length, width = len([g for batch in batches for g in batch]), how.frames * how.batch_size
        chunks = [tuple(range(k, min(k + width, length))) for k in range(0, length, width)]
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


def _load(video: Video, step: _Step, skip: bool) -> _Loaded:
    """Decode the frames of a step: those to encode, and those whose masks it gives."""
    loaded = _Loaded(step, {})
    kept = (graph.frames for graph in step.graphs)
    for index in dict.fromkeys(i for group in (*step.encode, *kept) for i in group):
        try:
            loaded.frames[index] = video.frame(index)
        except DataError as error:
            if not skip:
                raise
            loaded.unreadable[index] = str(error)
            loaded.frames[index] = _stand_in(video, index)
    return loaded


def _stand_in(video: Video, index: int) -> Frame:
    """Nearest frame that can be decoded, to complete the graph of one that cannot."""
    for distance in range(1, len(video)):
        for other in (index - distance, index + distance):
            if 0 <= other < len(video):
                try:
                    return video.frame(other)
                except DataError:
                    continue
    raise DataError(f"{video.name}: no frame of it can be decoded")


@torch.inference_mode()
def _run(model: AGNN, loaded: _Loaded, how: Inference, nodes: _Nodes) -> list[Prediction]:
    step = loaded.step
    kept = [i for graph in step.graphs for i in graph.frames]
    stages: list[dict[str, Tensor]] = [{} for _ in kept]
    sums: list[Tensor] = []
    for number, (scale, flip) in enumerate(how.views):
        size = (max(1, round(scale * how.size[0])), max(1, round(scale * how.size[1])))
        _encode(model, loaded, size, flip, number, nodes)
        if not kept:
            continue
        maps = _probabilities(model, step.graphs, size, flip, number, nodes)
        own = [_resize(m, loaded.frames[i].shape[:2]) for i, m in zip(kept, maps, strict=True)]
        sums = [a + b for a, b in zip(sums, own, strict=True)] if sums else own
        for stage in _stages_after(how, number):
            for entry, total, probability in zip(stages, sums, own, strict=True):
                entry[stage] = probability if stage == "raw" else total / (number + 1)
    nodes.forget(step.forget)
    return [
        Prediction(i, loaded.frames[i], {k: entry[k].cpu().numpy() for k in ("raw", "scales", "flip") if k in entry})
        for i, entry in zip(kept, stages, strict=True)
    ]


def _stages_after(how: Inference, view: int) -> list[str]:
    """Stages that are complete with a view: ``raw`` is scale 1 where that is asked for, else the first scale."""
    raw = how.scales.index(1.0) if 1.0 in how.scales else 0
    found = ["raw"] if view == raw else []
    if len(how.scales) > 1 and view == len(how.scales) - 1:
        found.append("scales")
    if how.flip and view == len(how.views) - 1:
        found.append("flip")
    return found


def _encode(model: AGNN, loaded: _Loaded, size: tuple[int, int], flip: bool, view: int, nodes: _Nodes) -> None:
    like = next(model.parameters())
    for group in loaded.step.encode:
        images = to_input([loaded.frames[i] for i in group], size)[None].to(like.device, like.dtype)
        if flip:
            images = images.flip(-1)
        for index, node in zip(group, model.encode(images)[0].unbind(), strict=True):  # (C, H', W') each
            nodes.put(view, index, node)


def _probabilities(
    model: AGNN, graphs: Sequence[Subset], size: tuple[int, int], flip: bool, view: int, nodes: _Nodes
) -> list[Tensor]:
    """Probability maps (h, w) of the kept frames of some graphs at the size of the input."""
    first = torch.stack([torch.stack([nodes.get(view, i) for i in graph.nodes]) for graph in graphs])
    logits = model.read_out(model.propagate(first), first, size)  # (B, N', h, w)
    maps = torch.sigmoid(logits.float())
    if flip:
        maps = maps.flip(-1)
    return [maps[b, n] for b, graph in enumerate(graphs) for n in range(len(graph.frames))]


def _resize(own: Tensor, size: tuple[int, ...]) -> Tensor:
    if own.shape == size:
        return own
    return F.interpolate(own[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
