"""Scores of one sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.mask_image import without_void
from agnn_lit.metrics.objects import Frames, score_objects
from agnn_lit.metrics.protocols import T_SEQUENCES, Protocol, ScoreError, UnscorableError, counted, fit
from agnn_lit.metrics.region import Mask
from agnn_lit.metrics.stability.temporal import Stability, contour_stability, overlap_stability
from agnn_lit.metrics.summary import SequenceScore


def score_sequence(
    name: str,
    frames: Sequence[str],
    predictions: Iterable[Mask | None],
    annotations: Iterable[Mask | None],
    protocol: Protocol,
) -> list[SequenceScore]:
    """Score one sequence: one score for a foreground, or one for each object. Masks are read one by one and not kept.

    If a protocol of foregrounds drops the first frame, T counts the change from its annotation to the first prediction,
    as the benchmark's published values since 2017 do. For objects see
    :func:`~agnn_lit.metrics.objects.score_objects`.

    Args:
        name: of the sequence.
        frames: names of its N frames, in order.
        predictions: N masks (H, W), foreground = any value > 0, or object ids; None where a frame does not count.
        annotations: N masks likewise; None where a frame has none. Void is removed from both masks: values below 0 of
            a foreground, 255 of objects.
        protocol: which frames count and how, and whether objects are told apart.

    Raises:
        UnscorableError: no frame counts, or there are no objects in the first annotation.
        ScoreError: a counted frame lacks a mask, sizes differ, or there are unknown objects or too many proposals.
        ValueError: not N predictions and N annotations.
    """
    total, needed = len(frames), 3 if protocol.drops_ends else 1
    if total < needed:
        raise UnscorableError(f"sequence {name} has {total} frames: protocol {protocol.name} needs at least {needed}")
    masks = zip(frames, predictions, annotations, strict=True)
    if protocol.objects == "foreground":
        return [_score_foreground(name, total, masks, protocol)]
    return score_objects(name, total, masks, protocol)


def _stability(name: str, protocol: Protocol) -> Stability | None:
    """Return the measure of T for a sequence; None if the protocol does not count T for it."""
    if protocol.stability == "overlap":
        return overlap_stability()
    if protocol.stability == "shape_context" and name in T_SEQUENCES:
        return contour_stability()
    return None


def _score_foreground(name: str, total: int, frames: Frames, protocol: Protocol) -> SequenceScore:
    stability = _stability(name, protocol)
    kept, J, F, resized, left_out = [], [], [], 0, 0
    for index, (frame, prediction, annotation) in enumerate(frames):
        if not counted(index, total, protocol):
            if index == 0 and stability is not None and annotation is not None:
                stability.push(annotation > 0)
            continue
        if annotation is None or (protocol.annotated_only and not (annotation > 0).any()):
            if not protocol.annotated_only:
                raise ScoreError(
                    f"{name}/{frame}: no annotation, and protocol {protocol.name} counts this frame; "
                    "protocol=youtube_objects scores annotated frames only"
                )
            left_out += annotation is not None
            continue
        mask, changed = fit(prediction, annotation, f"{name}/{frame}", protocol)
        mask, annotation = without_void(mask, annotation)
        region, boundary = region_and_boundary(mask, annotation, protocol.radius_at(*annotation.shape))
        J.append(region)
        F.append(boundary)
        if stability is not None:
            stability.push(mask)
        kept.append(frame)
        resized += changed
    T = float("nan") if stability is None else stability.value()
    return SequenceScore(name, tuple(kept), np.array(J, np.float64), np.array(F, np.float64), T, resized, left_out)
