"""Scores of objects: predicted ids that are given, or proposals that are assigned to objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.mask_image import VOID
from agnn_lit.metrics.protocols import Protocol, ScoreError, UnscorableError, counted, fit
from agnn_lit.metrics.region import Binary, Inside, Mask
from agnn_lit.metrics.summary import SequenceScore

#: More proposals than this in a sequence are refused.
MOST_PROPOSALS = 20

#: Name, prediction and annotation of each frame of a sequence.
Frames = Iterable[tuple[str, Mask | None, Mask | None]]


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


@dataclass
class _Frame:
    """J and F of one frame: for each predicted id that occurs in it, and for None, an empty mask, its pairs.

    Attributes:
        pairs: (2, objects) each: J and F of the mask with each object.
    """

    pairs: dict[int | None, NDArray[np.float64]]

    def scores(self, predicted: int) -> NDArray[np.float64]:
        """J and F (2, objects) of a predicted id, which need not occur in the frame."""
        return self.pairs.get(predicted, self.pairs[None])


def _score_frame(
    prediction: Mask, annotation: Mask, ids: Sequence[int], predicted: Sequence[int], radius: int
) -> _Frame:
    valid = annotation != VOID
    objects = [_part((annotation == number) & valid) for number in ids]
    parts: dict[int | None, _Part] = {number: _part((prediction == number) & valid) for number in predicted}
    parts[None] = _part(np.zeros(annotation.shape, np.bool_))
    return _Frame(
        {k: np.array([_score_pair(part, other, radius) for other in objects]).transpose() for k, part in parts.items()}
    )


def _ids(mask: Mask) -> list[int]:
    """Return the object ids that occur in an annotation (H, W), ascending."""
    return [int(number) for number in np.unique(mask) if number not in (0, VOID)]


@dataclass
class _Seen:
    """Ids of a sequence, gathered frame by frame.

    Attributes:
        name: of the sequence.
        protocol: whether ids are given or assigned.
        first: ids from 1 to the highest in the first annotation. The official evaluation counts them all.
        annotated: the frame in which each id of the annotation occurs first.
        predicted: likewise of the prediction, in counted frames.
    """

    name: str
    protocol: Protocol
    first: list[int] = field(default_factory=list)
    annotated: dict[int, str] = field(default_factory=dict)
    predicted: dict[int, str] = field(default_factory=dict)

    def annotation(self, mask: Mask, frame: str) -> None:
        """Add the ids of an annotation.

        Raises:
            UnscorableError: it is the first, and has no object.
        """
        found = _ids(mask)
        if not self.annotated:
            if not found:
                raise UnscorableError(
                    f"{self.name}/{frame}: no object ids in the first annotation, only the values "
                    f"{np.unique(mask).tolist()} (0 is background, {VOID} is void); for foreground masks choose a "
                    "protocol such as davis2016"
                )
            self.first = list(range(1, found[-1] + 1))
        self.annotated |= {number: frame for number in found if number not in self.annotated}

    def prediction(self, mask: Mask, frame: str) -> list[int]:
        """Add the ids of a prediction, and return them.

        Raises:
            ScoreError: of proposals, an id that is too high.
        """
        found = [int(number) for number in np.unique(mask) if number > 0]
        if self.protocol.objects == "assigned" and found and found[-1] > MOST_PROPOSALS:
            raise ScoreError(
                f"{self.name}/{frame}: id {found[-1]} in the prediction, but there may be at most {MOST_PROPOSALS} "
                "proposals a sequence, numbered from 1"
            )
        self.predicted |= {number: frame for number in found if number not in self.predicted}
        return found

    def objects(self) -> list[int]:
        """Return the ids that count: those of the first annotation, and lower ones that occur later."""
        return [number for number in self.first if number in self.annotated]

    def check_given(self) -> None:
        """Raise ScoreError if a predicted id is no object's."""
        unknown = sorted(self.predicted.keys() - self.annotated.keys())
        if unknown:
            raise ScoreError(
                f"{self.name}/{self.predicted[unknown[0]]}: id {unknown[0]} in the prediction, but the annotation has "
                f"the objects {', '.join(map(str, sorted(self.annotated)))}"
            )

    def later(self) -> tuple[str, ...]:
        """Return the objects that do not count because the first annotation does not have them, as words."""
        late = sorted(number for number in self.annotated if number not in self.first)
        return tuple(f"{self.name}: object {number} (from frame {self.annotated[number]} on)" for number in late)


def score_objects(name: str, total: int, frames: Frames, protocol: Protocol) -> list[SequenceScore]:
    """Score each object of one sequence; see :func:`~agnn_lit.metrics.sequence.score_sequence`.

    The objects are those of the first annotation. As in the official evaluation, lower ids that first occur later
    count, too, but ids that never occur do not.

    Given ids are compared one to one. Proposals are assigned to objects so that the sum over objects of the mean over
    frames of (J+F)/2 is largest; as in the official evaluation, the pairs are then numbered in the order of the
    proposals, so that ``<name>_1`` need not be object 1: see ``object_id`` of the scores.
    """
    seen = _Seen(name, protocol)
    kept: list[str] = []
    scored: list[_Frame] = []
    for index, (frame, prediction, annotation) in enumerate(frames):
        where = f"{name}/{frame}"
        if annotation is None:
            raise ScoreError(f"{where}: no annotation, and protocol {protocol.name} needs one for each frame")
        seen.annotation(annotation, frame)
        if counted(index, total, protocol):
            mask, _ = fit(prediction, annotation, where, protocol)
            predicted = seen.prediction(mask, frame)
            scored.append(_score_frame(mask, annotation, seen.first, predicted, protocol.radius_at(*annotation.shape)))
            kept.append(frame)
    ids = seen.objects()
    columns = [seen.first.index(number) for number in ids]
    assigned = protocol.objects == "assigned"
    if not assigned:
        seen.check_given()
    proposals = list(range(1, max(seen.predicted, default=0) + 1)) if assigned else ids
    if assigned:
        proposals += [MOST_PROPOSALS + 1 + k for k in range(max(0, len(ids) - len(proposals)))]  # empty ones
    # (N, 2, proposals, objects)
    scores = np.stack([np.stack([frame.scores(k)[:, columns] for k in proposals], axis=1) for frame in scored])
    chosen = objects = np.arange(len(ids))
    if assigned:
        from scipy.optimize import linear_sum_assignment  # takes a while to import, and only this protocol needs it

        J, F = scores.mean(axis=0)
        chosen, objects = linear_sum_assignment((J + F) / 2, maximize=True)
    return [
        SequenceScore(
            f"{name}_{k if assigned else ids[at]}",
            tuple(kept),
            scores[:, 0, row, at],
            scores[:, 1, row, at],
            object_id=ids[at],
            later_objects=seen.later() if k == 1 else (),
        )
        for k, (row, at) in enumerate(zip(chosen, objects, strict=True), start=1)
    ]
