"""Scores of objects: predicted ids that are given, or proposals that are assigned to objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.protocols import Protocol, ScoreError, check_length, counted, fit
from agnn_lit.metrics.region import Mask
from agnn_lit.metrics.summary import SequenceScore

#: Void: pixels of this value in the annotation are removed from both masks.
VOID = 255
#: More proposals than this in a sequence are refused.
MOST_PROPOSALS = 20

Box = tuple[int, int, int, int]
#: For one frame, J and F of each pair: (2, proposals, objects).
Pairs = NDArray[np.float64]


class _Part:
    """Pixels of one id in one frame, with their bounding box."""

    def __init__(self, inside: NDArray[np.bool_]) -> None:
        self.mask = inside.view(np.uint8)
        x, y, width, height = cv2.boundingRect(self.mask)
        self.box: Box = (x, y, width, height)
        self.empty = width == 0

    def away_from(self, other: _Part, distance: int) -> bool:
        """Whether no boundary pixel of one lies within ``distance`` of a boundary pixel of the other."""
        (x, y, width, height), (other_x, other_y, other_width, other_height) = self.box, other.box
        gap = distance + 1  # boundaries lie up to one pixel outside the box
        return (
            x > other_x + other_width + gap
            or other_x > x + width + gap
            or y > other_y + other_height + gap
            or other_y > y + height + gap
        )


def _score_pair(prediction: _Part, annotation: _Part, radius: int) -> tuple[float, float]:
    """Return J and F of two parts; pixels are not read if both are empty or far apart."""
    if prediction.empty and annotation.empty:
        return 1.0, 1.0
    if not prediction.empty and not annotation.empty and prediction.away_from(annotation, radius):
        return 0.0, 0.0
    return region_and_boundary(prediction.mask, annotation.mask, radius)


def _score_frame(prediction: Mask, annotation: Mask, proposals: int, ids: Sequence[int], radius: int) -> Pairs:
    """Score every proposal of a frame, and an empty one after them, against every object.

    Args:
        prediction: proposal of each pixel (H, W), 0 for none.
        annotation: object of each pixel (H, W), 0 for none, 255 for void.
        proposals: highest id in the prediction.
        ids: of the objects.
        radius: tolerance of F in pixels.

    Returns:
        J and F (2, proposals + 1, objects).
    """
    valid = annotation != VOID
    objects = [_Part((annotation == number) & valid) for number in ids]
    rows = [_Part((prediction == number) & valid) for number in range(1, proposals + 1)]
    rows.append(_Part(np.zeros(annotation.shape, np.bool_)))
    return np.array([[_score_pair(row, part, radius) for part in objects] for row in rows]).transpose(2, 0, 1)


def _same_rows(pairs: Sequence[Pairs], rows: int) -> NDArray[np.float64]:
    """Stack frames, giving proposals that a frame does not have the scores of its empty one: (N, 2, rows, objects)."""
    return np.stack([frame[:, np.minimum(np.arange(rows), frame.shape[1] - 1)] for frame in pairs])


def object_ids(annotation: Mask, where: str) -> list[int]:
    """Ids of the objects in the first annotation (H, W) of a sequence: 1 to the highest value that is not void.

    Raises:
        ScoreError: no object.
    """
    values = annotation[annotation != VOID]
    highest = int(values.max()) if values.size else 0
    if highest < 1:
        raise ScoreError(
            f"{where}: no object ids in the first annotation, only the values {np.unique(annotation).tolist()} "
            f"(0 is background, {VOID} is void); for foreground masks choose a protocol such as davis2016"
        )
    return list(range(1, highest + 1))


def _check_ids(prediction: Mask, limit: int, protocol: Protocol, where: str) -> int:
    """Return the highest id of a prediction.

    Raises:
        ScoreError: above the limit.
    """
    highest = int(prediction.max()) if prediction.size else 0
    if highest > limit:
        what = "proposals a sequence" if protocol.objects == "assigned" else "objects in this sequence"
        raise ScoreError(f"{where}: id {highest} in the prediction, but there may be at most {limit} {what}")
    return highest


def _gather(
    name: str,
    frames: Sequence[str],
    kept: Sequence[int],
    ids: Sequence[int],
    pairs: Sequence[Pairs],
    protocol: Protocol,
) -> list[SequenceScore]:
    """Choose a proposal for each object and name the pairs."""
    rows = max(len(ids), *(frame.shape[1] - 1 for frame in pairs))
    scores = _same_rows(pairs, rows)
    chosen = objects = np.arange(len(ids))
    if protocol.objects == "assigned":
        from scipy.optimize import linear_sum_assignment  # takes a while to import, and only this protocol needs it

        J, F = scores.mean(axis=0)
        chosen, objects = linear_sum_assignment((J + F) / 2, maximize=True)
    names = tuple(frames[index] for index in kept)
    return [
        SequenceScore(f"{name}_{k}", names, scores[:, 0, row, at], scores[:, 1, row, at], object_id=ids[int(at)])
        for k, (row, at) in enumerate(zip(chosen, objects, strict=True), start=1)
    ]


def score_objects(
    name: str,
    frames: Sequence[str],
    predictions: Iterable[Mask | None],
    annotations: Iterable[Mask | None],
    protocol: Protocol,
) -> list[SequenceScore]:
    """Score each object of one sequence; each mask is read once and not kept.

    Given ids are compared one to one. Proposals are assigned to objects so that the sum over objects of the mean over
    frames of (J+F)/2 is largest; as in the official evaluation, the pairs are then numbered in the order of the
    proposals, so that ``<name>_1`` need not be object 1: see ``object_id`` of the scores.

    Args:
        name: of the sequence.
        frames: names of its N frames, in order.
        predictions: N masks (H, W) of ids, 0 for background; None where a frame does not count.
        annotations: N masks likewise, 255 for void; the first decides which objects there are.
        protocol: one that tells objects apart.

    Raises:
        ScoreError: a mask is missing, sizes differ, there are no objects or too many proposals, no frame counts, or
            the protocol merges objects.
        ValueError: not N predictions and N annotations.
    """
    if protocol.objects == "foreground":
        raise ScoreError(f"protocol {protocol.name} merges objects: use score_sequence, or a protocol of objects")
    total = len(frames)
    check_length(name, total, protocol)
    ids: list[int] = []
    kept: list[int] = []
    pairs: list[Pairs] = []
    for index, (frame, prediction, annotation) in enumerate(zip(frames, predictions, annotations, strict=True)):
        where = f"{name}/{frame}"
        if annotation is None:
            raise ScoreError(f"{where}: no annotation, and protocol {protocol.name} needs one for each frame")
        ids = ids or object_ids(annotation, where)
        if counted(index, total, protocol):
            mask, _ = fit(prediction, annotation, where, protocol)
            highest = _check_ids(mask, MOST_PROPOSALS if protocol.objects == "assigned" else len(ids), protocol, where)
            pairs.append(_score_frame(mask, annotation, highest, ids, protocol.radius_at(*annotation.shape)))
            kept.append(index)
    return _gather(name, frames, kept, ids, pairs, protocol)
