"""Scores of one sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.objects import score_objects
from agnn_lit.metrics.protocols import T_SEQUENCES, Protocol, ScoreError, check_length, counted, fit
from agnn_lit.metrics.region import Mask
from agnn_lit.metrics.stability.temporal import OverlapStability, ShapeContextStability, Stability
from agnn_lit.metrics.summary import SequenceScore


def stability_of(name: str, protocol: Protocol) -> Stability | None:
    """Return the measure of T for a sequence; None if the protocol does not count T for it."""
    if protocol.stability == "overlap":
        return OverlapStability()
    if protocol.stability == "shape_context" and name in T_SEQUENCES:
        return ShapeContextStability()
    return None


def score_sequence(
    name: str,
    frames: Sequence[str],
    predictions: Iterable[Mask | None],
    annotations: Iterable[Mask | None],
    protocol: Protocol,
) -> SequenceScore:
    """Score the foreground of one sequence; each mask is read once, and only the last one is kept.

    If a protocol drops the first frame, T counts the change from its annotation to the first prediction, as the
    benchmark's published values since 2017 do.

    Args:
        name: of the sequence.
        frames: names of its N frames, in order.
        predictions: N masks (H, W), foreground = any value > 0; None where a frame does not count.
        annotations: N masks likewise; None where a frame has none.
        protocol: one that merges all objects to foreground.

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


def score_video(
    name: str,
    frames: Sequence[str],
    predictions: Iterable[Mask | None],
    annotations: Iterable[Mask | None],
    protocol: Protocol,
) -> list[SequenceScore]:
    """Score one sequence by any protocol: one score for a foreground, or one for each object.

    Arguments and errors are those of :func:`score_sequence` and :func:`~agnn_lit.metrics.objects.score_objects`.
    """
    if protocol.objects == "foreground":
        return [score_sequence(name, frames, predictions, annotations, protocol)]
    return score_objects(name, frames, predictions, annotations, protocol)
