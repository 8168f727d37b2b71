"""Predict one probability map per frame of a whole video; each frame is encoded once per scale and flip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agnn_lit.data.sampling import Subset, partition, random_references
from agnn_lit.data.transforms import to_input
from agnn_lit.data.video import DataError, Video
from agnn_lit.inference.schedule import Nodes, Step, plan

Item = TypeVar("Item")
Result = TypeVar("Result")
Frame = NDArray[np.uint8]
Values = NDArray[np.float32]


class Network(Protocol):
    """What prediction asks of a network; see :class:`~agnn_lit.model.agnn.AGNN`."""

    def parameters(self) -> Iterator[Tensor]:
        """Its weights, or a tensor of the device and the precision of its input."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Map images (B, N, 3, H, W) to nodes."""
        ...

    def propagate(self, h: Tensor) -> Tensor:
        """Map nodes to nodes."""
        ...

    def read_out(self, last: Tensor, first: Tensor, size: tuple[int, int]) -> Tensor:
        """Map nodes to logits (B, N, *size)."""
        ...


@dataclass(frozen=True)
class PredictionSettings:
    """Settings of :func:`predict_video`.

    Attributes:
        frames: N', frames per graph.
        size: height and width of the network's input at scale 1.
        batch_size: graphs per batch.
        scales: input scales; probabilities are averaged over them.
        flip: also average over horizontally flipped frames.
        random: use N'-1 random references for each frame instead of a partition into subsets.
        seed: seed of random references.
        skip_unreadable: leave out frames that cannot be decoded instead of raising.
        preprocessing: input normalisation, as in training.
        align_corners: how maps are resized to the frame; see :func:`torch.nn.functional.interpolate`.
        features: predictions include the node of the first view.
    """

    frames: int
    size: tuple[int, int]
    batch_size: int = 1
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    random: bool = False
    seed: int = 0
    skip_unreadable: bool = False
    preprocessing: str = "imagenet"
    align_corners: bool = False
    features: bool = False

    def input_size(self, scale: float) -> tuple[int, int]:
        """Height and width of the input at a scale, rounded down."""
        return max(1, int(scale * self.size[0])), max(1, int(scale * self.size[1]))

    @property
    def views(self) -> list[tuple[float, bool]]:
        """Scale and flip of each view, unflipped views first."""
        return [(scale, flip) for flip in ((False, True) if self.flip else (False,)) for scale in self.scales]

    @property
    def stages(self) -> dict[str, int]:
        """Number of the view that ends each stage, in order; ``raw`` is scale 1 if it is one of the scales, else the
        first."""
        found = {"raw": self.scales.index(1.0) if 1.0 in self.scales else 0}
        if len(self.scales) > 1:
            found["scales"] = len(self.scales) - 1
        if self.flip:
            found["flip"] = len(self.views) - 1
        return found

    def graphs(self, length: int) -> list[Subset]:
        """Return all graphs of a video of ``length`` frames; exactly one predicts the mask of each frame."""
        if self.random:
            return random_references(length, self.frames, seed=self.seed)
        return partition(length, self.frames)


@dataclass(frozen=True)
class Prediction:
    """Prediction for one frame.

    Attributes:
        index: index of the frame in its video.
        frame: (H, W, 3) RGB.
        maps: foreground probability of each view, in the order of ``settings.views``, at the size of its input.
        settings: views, and how maps are resized to the frame.
        node: features h^0 of the frame (C, h, w), if enabled.
    """

    index: int
    frame: Frame
    maps: tuple[Values, ...]
    settings: PredictionSettings
    node: Values | None = None

    @cached_property
    def stages(self) -> dict[str, Values]:
        """Foreground probability (H, W) at the frame's own size by stage: ``raw`` (scale 1), and if enabled ``scales``
        (all scales) and ``flip`` (all scales, flipped and not)."""
        own = [_resize(map_, self.frame.shape[:2], self.settings.align_corners) for map_ in self.maps]
        sums = list(accumulate(own, np.add))
        return {
            stage: own[last] if stage == "raw" else sums[last] / np.float32(last + 1)
            for stage, last in self.settings.stages.items()
        }

    @property
    def probability(self) -> Values:
        """The last stage: the mean over all views."""
        return list(self.stages.values())[-1]


@dataclass
class _Loaded:
    """Decoded frames of a step by index; unreadable frames are replaced, and listed with the reason."""

    step: Step
    frames: dict[int, Frame]
    unreadable: dict[int, str] = field(default_factory=dict)


def predict_video(
    model: Network,
    video: Video,
    settings: PredictionSettings,
    *,
    done: Container[int] = (),
    unreadable: Callable[[int, str], None] | None = None,
    scratch: Path | None = None,
) -> Generator[Prediction, None, None]:
    """Segment every frame of a video exactly once (AGNN, section 4.1).

    A frame is encoded once per view, no matter how many graphs use it. A separate thread decodes frames one step ahead
    of the network, and predictions are yielded graph by graph, so memory does not grow with the video.

    Args:
        model: in evaluation mode, on the device and in the precision to use.
        video: the video.
        settings: graphs, views and batches.
        done: frames that have been predicted before. Batches of which all frames are done are skipped; the others
            keep their composition, so that predictions do not change.
        unreadable: called with the index of a skipped frame and the reason.
        scratch: folder for the nodes of random references, 2 MB per frame and view at 473×473 and bf16; None:
            the system's temporary folder.

    Yields:
        One :class:`Prediction` per readable frame of the batches that are not skipped.

    Raises:
        DataError: a frame cannot be decoded, unless such frames are skipped.
    """
    graphs = settings.graphs(len(video))
    batches = [tuple(graphs[k : k + settings.batch_size]) for k in range(0, len(graphs), settings.batch_size)]
    left = [batch for batch in batches if not all(i in done for graph in batch for i in graph.frames)]
    nodes = Nodes(len(settings.views), on_disk=settings.random, folder=scratch)
    try:
        for loaded in ahead(
            plan(batches, left, settings.frames * settings.batch_size if settings.random else None),
            lambda step: _load(video, step, settings.skip_unreadable),
        ):
            for index, reason in loaded.unreadable.items():
                if unreadable is not None:
                    unreadable(index, reason)
            predictions = _run(model, loaded, settings, nodes)
            yield from (p for p in predictions if p.index not in loaded.unreadable)
    finally:
        nodes.close()


def ahead(items: Iterable[Item], load: Callable[[Item], Result]) -> Iterator[Result]:
    """Apply ``load`` to items in a thread, one item ahead of the consumer."""
    pool = ThreadPoolExecutor(1)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(video: Video, step: Step, skip: bool) -> _Loaded:
    """Decode the frames that a step encodes, and those that it predicts."""
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
    """Return the nearest readable frame, to replace an unreadable one in its graph."""
    for distance in range(1, len(video)):
        for other in (index - distance, index + distance):
            if 0 <= other < len(video):
                try:
                    return video.frame(other)
                except DataError:
                    continue
    raise DataError(f"{video.name}: no frame of it can be decoded")


@torch.inference_mode()
def _run(model: Network, loaded: _Loaded, settings: PredictionSettings, nodes: Nodes) -> list[Prediction]:
    step = loaded.step
    kept = [i for graph in step.graphs for i in graph.frames]
    views: list[list[Values]] = []
    for number, (scale, flip) in enumerate(settings.views):
        _encode(model, loaded, settings, number, nodes)
        if kept:
            views.append(_probabilities(model, step.graphs, settings.input_size(scale), flip, number, nodes))
    features = [nodes.get(0, i).float().cpu().numpy() if settings.features else None for i in kept]
    nodes.forget(step.forget)
    maps = zip(*views, strict=True)
    return [
        Prediction(i, loaded.frames[i], own, settings, node) for i, own, node in zip(kept, maps, features, strict=True)
    ]


def _encode(model: Network, loaded: _Loaded, settings: PredictionSettings, view: int, nodes: Nodes) -> None:
    like = next(model.parameters())
    scale, flip = settings.views[view]
    for group in loaded.step.encode:
        frames = [loaded.frames[i] for i in group]
        images = to_input(frames, settings.input_size(scale), settings.preprocessing)[None].to(like.device, like.dtype)
        if flip:
            images = images.flip(-1)
        for index, node in zip(group, model.encode(images)[0].unbind(), strict=True):  # (C, H', W') each
            nodes.put(view, index, node)


def _probabilities(
    model: Network, graphs: Sequence[Subset], size: tuple[int, int], flip: bool, view: int, nodes: Nodes
) -> list[Values]:
    """Return probability maps (h, w), at the size of the input, of the frames that the graphs predict."""
    first = torch.stack([torch.stack([nodes.get(view, i) for i in graph.nodes]) for graph in graphs])
    logits = model.read_out(model.propagate(first), first, size)  # (B, N', h, w)
    maps = torch.sigmoid(logits.float())
    if flip:
        maps = maps.flip(-1)
    found = maps.cpu().numpy()
    return [found[b, n] for b, graph in enumerate(graphs) for n in range(len(graph.frames))]


def _resize(own: Values, size: tuple[int, ...], align_corners: bool) -> Values:
    if own.shape == size:
        return own
    maps = torch.from_numpy(own)[None, None]
    resized: Values = F.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)[0, 0].numpy()
    return resized
