"""Scores of objects: predicted ids that are given, or proposals that are assigned to objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.protocols import Protocol, ScoreError, counted, fit
from agnn_lit.metrics.region import Binary, Inside, Mask
from agnn_lit.metrics.summary import SequenceScore

#: Void: pixels of this value in the annotation are removed from both masks.
VOID = 255
#: More proposals than this in a sequence are refused.
MOST_PROPOSALS = 20

#: Name, prediction and annotation of each frame of a sequence.
Frames = Iterable[tuple[str, Mask | None, Mask | None]]
#: For one frame, J and F of each pair: (2, proposals, objects).
Pairs = NDArray[np.float64]


class _Part(NamedTuple):
    """Pixels of one id in one frame, and their bounding box: left, top, width and height."""

    mask: Binary
    box: Sequence[int]


def _part(inside: Inside) -> _Part:
    mask = inside.view(np.uint8)
    return _Part(mask, cv2.boundingRect(mask))


def _score_pair(prediction: _Part, annotation: _Part, radius: int) -> tuple[float, float]:
    """Return J and F of two parts; pixels are not read if both are empty or far apart."""
    x, y, width, height = prediction.box
    other_x, other_y, other_width, other_height = annotation.box
    if not width and not other_width:
        return 1.0, 1.0
    gap = max(x - other_x - other_width, other_x - x - width, y - other_y - other_height, other_y - y - height)
    if width and other_width and gap > radius + 1:  # boundaries lie up to one pixel outside the box
        return 0.0, 0.0
    return region_and_boundary(prediction.mask, annotation.mask, radius)


def _score_frame(prediction: Mask, annotation: Mask, proposals: int, ids: Sequence[int], radius: int) -> Pairs:
    """J and F (2, proposals + 1, objects) of proposals 1, 2, … of a frame (H, W), and of an empty one after them."""
    valid = annotation != VOID
    objects = [_part((annotation == number) & valid) for number in ids]
    rows = [_part((prediction == number) & valid) for number in range(1, proposals + 1)]
    rows.append(_part(np.zeros(annotation.shape, np.bool_)))
    return np.array([[_score_pair(row, part, radius) for part in objects] for row in rows]).transpose(2, 0, 1)


def _object_ids(annotation: Mask, where: str) -> list[int]:
    """Ids of the objects in the first annotation (H, W) of a sequence: 1 to the highest value that is not void."""
    highest = int(annotation[annotation != VOID].max(initial=0))
    if highest < 1:
        raise ScoreError(
            f"{where}: no object ids in the first annotation, only the values {np.unique(annotation).tolist()} "
            f"(0 is background, {VOID} is void); for foreground masks choose a protocol such as davis2016"
        )
    return list(range(1, highest + 1))


def _highest_id(prediction: Mask, objects: int, protocol: Protocol, where: str) -> int:
    """Return the highest id of a prediction, and refuse more than there may be."""
    limit, what = objects, "objects in this sequence"
    if protocol.objects == "assigned":
        limit, what = MOST_PROPOSALS, "proposals a sequence"
    highest = int(prediction.max(initial=0))
    if highest > limit:
        raise ScoreError(f"{where}: id {highest} in the prediction, but there may be at most {limit} {what}")
    return highest


def score_objects(name: str, total: int, frames: Frames, protocol: Protocol) -> list[SequenceScore]:
    """Score each object of one sequence; see :func:`~agnn_lit.metrics.sequence.score_sequence`.

    Given ids are compared one to one. Proposals are assigned to objects so that the sum over objects of the mean over
    frames of (J+F)/2 is largest; as in the official evaluation, the pairs are then numbered in the order of the
    proposals, so that ``<name>_1`` need not be object 1: see ``object_id`` of the scores.
    """
    ids: list[int] = []
    kept: list[str] = []
    pairs: list[Pairs] = []
    for index, (frame, prediction, annotation) in enumerate(frames):
        where = f"{name}/{frame}"
        if annotation is None:
            raise ScoreError(f"{where}: no annotation, and protocol {protocol.name} needs one for each frame")
        ids = ids or _object_ids(annotation, where)
        if counted(index, total, protocol):
            mask, _ = fit(prediction, annotation, where, protocol)
            highest = _highest_id(mask, len(ids), protocol, where)
            pairs.append(_score_frame(mask, annotation, highest, ids, protocol.radius_at(*annotation.shape)))
            kept.append(frame)
    proposals = np.arange(max(len(ids), *(frame.shape[1] - 1 for frame in pairs)))
    # Proposals that a frame does not have get the scores of its empty one.
    scores = np.stack([frame[:, np.minimum(proposals, frame.shape[1] - 1)] for frame in pairs])  # (N, 2, rows, objects)
    chosen = objects = np.arange(len(ids))
    if protocol.objects == "assigned":
        from scipy.optimize import linear_sum_assignment  # takes a while to import, and only this protocol needs it

        J, F = scores.mean(axis=0)
        chosen, objects = linear_sum_assignment((J + F) / 2, maximize=True)
    return [
        SequenceScore(f"{name}_{k}", tuple(kept), scores[:, 0, row, at], scores[:, 1, row, at], object_id=ids[at])
        for k, (row, at) in enumerate(zip(chosen, objects, strict=True), start=1)
    ]
