"""Protocols: which frames count, with which tolerance, and what is averaged over what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from agnn_lit.metrics.boundary import davis_radius, region_and_boundary
from agnn_lit.metrics.region import Mask
from agnn_lit.metrics.summary import ScoreError, SequenceScore, notes, summarise, write_scores
from agnn_lit.metrics.temporal import OverlapStability, ShapeContextStability, Stability

__all__ = [
    "PROTOCOLS", "T_SEQUENCES", "Protocol", "ScoreError", "SequenceScore",
    "notes", "score_sequence", "summarise", "write_scores",
]  # fmt: skip

#: The sequences of DAVIS-2016 over which T is counted: those without fast motion or occlusion.
T_SEQUENCES = frozenset(
    [
        "blackswan",
        "camel",
        "car-roundabout",
        "car-shadow",
        "cows",
        "drift-straight",
        "kite-surf",
        "paragliding-launch",
        "scooter-black",
        "soapbox",
    ]
)


@dataclass(frozen=True)
class Protocol:
    """What a protocol counts.

    Attributes:
        name: as given on the command line.
        drops_ends: the first and last frame are not counted, and need no prediction.
        radius: tolerance of F in pixels; None for DAVIS's share of the image diagonal.
        stability: T as ``overlap``, as ``shape_context`` over :data:`T_SEQUENCES`, or ``none``.
        objects: masks are one ``foreground``, objects whose ids are ``given``, or proposals that are ``assigned``.
        annotated_only: frames without annotation, or with an empty one, are left out.
        resizes: predictions of another size are resized to the annotation instead of refused.
        by_class: the summary also has frame, video and class means.
    """

    name: str
    drops_ends: bool = False
    radius: int | None = None
    stability: str = "none"
    objects: str = "foreground"
    annotated_only: bool = False
    resizes: bool = False
    by_class: bool = False

    def radius_at(self, height: int, width: int) -> int:
        """Tolerance of F in pixels at a frame size."""
        return davis_radius(height, width) if self.radius is None else self.radius

    def describe(self) -> str:
        """Say in sentences what is counted: frames, tolerance, T, averaging."""
        frames = {
            (True, False): "first and last frame of each sequence dropped",
            (False, False): "all frames",
            (False, True): "annotated frames only, those with an empty annotation left out",
        }[self.drops_ends, self.annotated_only]
        tolerance = "ceil(0.008 × image diagonal) px" if self.radius is None else f"{self.radius} px"
        stability = {
            "overlap": "IoU of successive predictions, higher is steadier",
            "shape_context": "shape contexts of successive predictions, the first compared with the annotation before "
            f"it; lower is steadier; over {len(T_SEQUENCES)} flagged sequences of DAVIS-2016",
            "none": "not counted",
        }[self.stability]
        unit = {
            "foreground": "sequences, unweighted; all objects merged to foreground",
            "given": "objects, unweighted; object ids are given",
            "assigned": "objects, unweighted; up to 20 proposals a sequence, assigned to the objects of the first "
            "annotation by the largest mean of (J+F)/2 and numbered in the order of the proposals",
        }[self.objects]
        if self.by_class:
            unit = "over frames, over videos, and over classes (each the mean of its videos), side by side"
        sizes = "resized to the annotation (nearest)" if self.resizes else "an error"
        return (
            f"protocol {self.name}\n  frames: {frames}\n  F tolerance: {tolerance}\n  T: {stability}\n"
            f"  averaged over: {unit}\n  predictions of another size: {sizes}"
        )


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("simple", radius=2, stability="overlap"),
        Protocol("davis2016", drops_ends=True, stability="shape_context"),
        Protocol("davis2017_unsupervised", objects="assigned"),
        Protocol("davis2017_semisupervised", drops_ends=True, objects="given"),
        Protocol("youtube_objects", annotated_only=True, resizes=True, by_class=True),
    )
}


def stability_of(name: str, protocol: Protocol) -> Stability | None:
    """Measure of T for a sequence, None where the protocol counts none."""
    if protocol.stability == "overlap":
        return OverlapStability()
    if protocol.stability == "shape_context" and name in T_SEQUENCES:
        return ShapeContextStability()
    return None


def counted(index: int, total: int, protocol: Protocol) -> bool:
    """Whether frame ``index`` of ``total`` counts."""
    return not protocol.drops_ends or 0 < index < total - 1


def check_length(name: str, total: int, protocol: Protocol) -> None:
    """Refuse a sequence of which no frame would count.

    Raises:
        ScoreError: says how many frames there are and how many are needed.
    """
    needed = 3 if protocol.drops_ends else 1
    if total < needed:
        raise ScoreError(f"sequence {name} has {total} frames: protocol {protocol.name} needs at least {needed}")


def fit(prediction: Mask | None, annotation: Mask, where: str, protocol: Protocol) -> tuple[Mask, bool]:
    """Return the prediction at the annotation's size, and whether it had to be resized.

    Raises:
        ScoreError: no prediction, or another size where the protocol does not resize.
    """
    if prediction is None:
        raise ScoreError(f"{where}: no prediction, and protocol {protocol.name} counts this frame")
    if prediction.shape == annotation.shape:
        return prediction, False
    if not protocol.resizes:
        raise ScoreError(
            f"{where}: prediction is {_size(prediction)}, annotation {_size(annotation)}: "
            f"protocol {protocol.name} needs the same size"
        )
    height, width = annotation.shape
    return cv2.resize((prediction > 0).view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), True


def _size(mask: Mask) -> str:
    return "×".join(str(side) for side in reversed(mask.shape))


def score_sequence(
    name: str,
    frames: Sequence[str],
    predictions: Iterable[Mask | None],
    annotations: Iterable[Mask | None],
    protocol: Protocol,
) -> SequenceScore:
    """Score the foreground of one sequence; each mask is read once, and none but the last is kept.

    Where a protocol drops the first frame, its annotation stands before the first prediction for T: the change from
    it is counted. That is how the benchmark's published values since 2017 come about.

    Args:
        name: of the sequence.
        frames: names of its N frames, in order.
        predictions: N masks (H, W), foreground = any value > 0; None where a frame does not count.
        annotations: N masks likewise; None where a frame has none.
        protocol: one of :data:`PROTOCOLS` that merges objects to foreground.

    Raises:
        ScoreError: a counted frame lacks a mask, sizes differ, no frame counts, or the protocol tells objects apart.
        ValueError: not N predictions and N annotations.
    """
    if protocol.objects != "foreground":
        raise ScoreError(f"protocol {protocol.name} scores objects: use score_objects, or a protocol of foregrounds")
    total = len(frames)
    check_length(name, total, protocol)
    stability = stability_of(name, protocol)
    kept, J, F, resized, left_out = [], [], [], 0, 0
    for index, (frame, prediction, annotation) in enumerate(zip(frames, predictions, annotations, strict=True)):
        if not counted(index, total, protocol):
            if index == 0 and stability is not None and annotation is not None:
                stability.push(annotation)
            continue
        if annotation is None or (protocol.annotated_only and not np.any(annotation)):
            if not protocol.annotated_only:
                raise ScoreError(f"{name}/{frame}: no annotation, and protocol {protocol.name} counts this frame")
            left_out += annotation is not None
            continue
        mask, changed = fit(prediction, annotation, f"{name}/{frame}", protocol)
        region, boundary = region_and_boundary(mask, annotation, protocol.radius_at(*annotation.shape))
        J.append(region)
        F.append(boundary)
        if stability is not None:
            stability.push(mask)
        kept.append(frame)
        resized += changed
    T = float("nan") if stability is None else stability.value()
    return SequenceScore(name, tuple(kept), np.array(J, np.float64), np.array(F, np.float64), T, resized, left_out)
