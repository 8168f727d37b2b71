"""From a whole video to one probability map a frame, by the test partition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from agnn_lit.data.index import Video
from agnn_lit.data.sampling import Subset, partition
from agnn_lit.data.transforms import to_input
from agnn_lit.model import AGNN


@dataclass(frozen=True)
class Prediction:
    """What the network says of one frame.

    Attributes:
        index: of the frame in its video.
        probability: of being foreground, (H, W) at the frame's own size.
    """

    index: int
    probability: NDArray[np.float32]


@torch.inference_mode()
def predict_video(
    model: AGNN, video: Video, *, frames: int, size: tuple[int, int], batch_size: int = 1
) -> Iterator[Prediction]:
    """Segment every frame of a video exactly once (AGNN, section 4.1: T = N / N' subsets).

    Frames are read as they are needed and predictions come in the order of the subsets, so that memory
    does not grow with the video. The caller sets autocast and evaluation mode.

    Args:
        model: on the device to use.
        video: where the frames come from.
        frames: N', frames of a graph.
        size: height and width of the network's input; predictions come at the frames' own size.
        batch_size: graphs at a time.

    Yields:
        One :class:`Prediction` a frame.
    """
    device = next(model.parameters()).device
    subsets = iter(partition(len(video), frames))
    while batch := list(islice(subsets, batch_size)):
        yield from _predict_batch(model, video, batch, size, device)


def _predict_batch(
    model: AGNN, video: Video, batch: list[Subset], size: tuple[int, int], device: torch.device
) -> Iterator[Prediction]:
    pictures = [[video.frame(i) for i in subset.nodes] for subset in batch]
    images = torch.stack([to_input(nodes, size) for nodes in pictures]).to(device)  # (B, N', 3, h, w)
    probabilities = torch.sigmoid(model(images).float())  # (B, N', h, w)
    for subset, nodes, maps in zip(batch, pictures, probabilities, strict=True):
        for position, index in enumerate(subset.frames):
            height, width = nodes[position].shape[:2]
            own = maps[position]
            if own.shape != (height, width):
                own = F.interpolate(own[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
            yield Prediction(index, own.cpu().numpy())
