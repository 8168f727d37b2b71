"""Candidates for objects in one frame: masks, scores and appearance.

Worker processes find the candidates of each frame and save them in a file per frame, which
:mod:`agnn_lit.instances.video` reads in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.config import InstancesConfig
from agnn_lit.instances.parts import find_parts
from agnn_lit.shared.files import atomic_path

#: Bins of a colour histogram along L, a and b.
_BINS = (6, 10, 10)

Frame = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Proposal:
    """A mask (H, W) that may be an object, and its confidence in [0, 1]."""

    mask: Mask
    score: float = 1.0


@dataclass(frozen=True)
class Candidates:
    """Candidates of a frame, best first.

    Attributes:
        masks: (n, H, W).
        scores: (n,), mean foreground probability within the mask times the proposal's score.
        nodes: (n, C), node features h^0 averaged over the mask; C is 0 without features.
        ground: (C,), node features averaged over the frame.
        colours: (n, bins), square root of the colour histogram of the mask.
    """

    masks: Mask
    scores: Values
    nodes: Values
    ground: Values
    colours: Values

    def __len__(self) -> int:
        return len(self.masks)

    def save(self, path: Path) -> None:
        """Save to a file, atomically."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                bits=np.packbits(self.masks, axis=-1),
                width=self.masks.shape[-1],
                scores=self.scores,
                nodes=self.nodes,
                ground=self.ground,
                colours=self.colours,
            )

    @classmethod
    def load(cls, path: Path) -> Candidates:
        """Load a file written by :meth:`save`."""
        with np.load(path) as file:
            masks = np.unpackbits(file["bits"], axis=-1, count=int(file["width"])).astype(np.bool_)
            return cls(masks, file["scores"], file["nodes"], file["ground"], file["colours"])


def candidates_file(folder: Path, name: str) -> Path:
    """File of a frame's candidates."""
    return folder / f"{name}.npz"


def describe_colours(frame: Frame, mask: Mask) -> Values:
    """Square root of the colour histogram (bins,) of a frame (H, W, 3) RGB within a mask (H, W)."""
    lab = cv2.cvtColor(frame[mask][None], cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, _BINS, [0, 256] * 3).ravel()
    return np.asarray(np.sqrt(counts.astype(np.float64) / lab.shape[1]), dtype=np.float32)


def describe_nodes(node: Values, masks: Mask) -> Values:
    """Average node features (C, h, w) over each of n masks (n, H, W): (n, C)."""
    height, width = node.shape[1:]
    shares = [cv2.resize(m.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for m in masks]
    weights = np.stack(shares).reshape(len(masks), -1)
    return np.asarray(weights @ node.reshape(len(node), -1).T / weights.sum(1, keepdims=True), dtype=np.float32)


def find_candidates(
    frame: Frame,
    probability: Values,
    node: Values | None,
    given: Sequence[Proposal] | None,
    threshold: float,
    cfg: InstancesConfig,
) -> Candidates:
    """Select at most ``cfg.candidates`` proposals of a frame that agree with the foreground.

    Args:
        frame: (H, W, 3) RGB.
        probability: foreground probability (H, W).
        node: features h^0 of the frame (C, h, w), or None.
        given: proposals; None: connected parts of the foreground.
        threshold: a pixel is foreground above this probability.
        cfg: thresholds; see :class:`agnn_lit.config.InstancesConfig`.
    """
    features = None if node is None else node.astype(np.float32)
    if given is None:
        given = [Proposal(part) for part in find_parts(probability > threshold, features, cfg)]
    least = cfg.min_area * probability.size
    found: list[tuple[float, Mask]] = []
    for proposal in given:
        area = int(np.count_nonzero(proposal.mask))
        if area < max(1.0, least):
            continue
        share = float(probability[proposal.mask].mean()) if cfg.agreement > 0 else 1.0
        if share >= cfg.agreement:
            found.append((share * proposal.score, proposal.mask))
    found.sort(key=lambda entry: (-entry[0], -int(np.count_nonzero(entry[1]))))
    found = found[: cfg.candidates]
    masks = np.stack([mask for _, mask in found]) if found else np.zeros((0, *probability.shape), np.bool_)
    nodes = np.zeros((len(found), 0 if features is None else len(features)), np.float32)
    if features is not None and found:
        nodes = describe_nodes(features, masks)
    colours = [describe_colours(frame, mask) for mask in masks]
    return Candidates(
        masks,
        np.array([score for score, _ in found], dtype=np.float32),
        nodes,
        np.zeros(0, np.float32) if features is None else features.mean(axis=(1, 2)),
        np.stack(colours) if colours else np.zeros((0, int(np.prod(_BINS))), np.float32),
    )
