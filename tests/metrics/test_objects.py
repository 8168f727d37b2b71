"""Protocols that tell objects apart, against loops over ids, proposals and permutations."""

from __future__ import annotations

from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agnn_lit.metrics.boundary import region_and_boundary
from agnn_lit.metrics.protocols import Protocol, ScoreError, davis_radius, get_protocol
from agnn_lit.metrics.sequence import score_sequence
from agnn_lit.metrics.summary import notes

from .masks import mask_pairs, star
from .test_boundary import slow_f, slow_j

UNSUPERVISED, SEMISUPERVISED = get_protocol("davis2017_unsupervised"), get_protocol("davis2017_semisupervised")


def names(count: int) -> list[str]:
    return [f"{i:05d}" for i in range(count)]


def videos(highest: int, frames: int = 2, shape: tuple[int, int] = (6, 7)) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.uint8, (frames, *shape), elements=st.integers(0, highest))


def slow_pair(prediction: np.ndarray, annotation: np.ndarray, number: int, object_id: int) -> tuple[float, float]:
    """J and F of a proposal and an object, void taken out of both."""
    valid = annotation != 255
    p, g = (prediction == number) & valid, (annotation == object_id) & valid
    return region_and_boundary(p, g, davis_radius(*p.shape))


@settings(deadline=None, max_examples=60)
@given(videos(3), videos(2), st.booleans())
def test_assignment_is_the_best_of_all(predictions: np.ndarray, annotations: np.ndarray, void: bool) -> None:
    annotations[0, 0, 0], annotations[0, -1, -1] = 1, 2
    if void:
        annotations[:, 2, :3] = 255
    scores = score_sequence("v", names(2), predictions, annotations, UNSUPERVISED)
    table = np.array(
        [
            [np.mean([slow_pair(p, g, n, k) for p, g in zip(predictions, annotations, strict=True)]) for k in (1, 2)]
            for n in range(1, max(2, predictions.max()) + 1)  # empty proposals only where objects outnumber them
        ]
    )
    best = max(table[a, 0] + table[b, 1] for a, b in permutations(range(len(table)), 2))
    assert sum((s.J_mean + s.F_mean) / 2 for s in scores) == pytest.approx(best)
    assert [s.name for s in scores] == ["v_1", "v_2"]
    assert sorted(s.object_id for s in scores if s.object_id is not None) == [1, 2]


@settings(deadline=None, max_examples=40)
@given(videos(2, frames=4), videos(2, frames=4))
def test_given_ids_are_compared_one_to_one(predictions: np.ndarray, annotations: np.ndarray) -> None:
    annotations[0, 0, :2] = 1, 2
    scores = score_sequence("v", names(4), [None, *predictions[1:3], None], annotations, SEMISUPERVISED)
    for s in scores:
        assert s.frames == ("00001", "00002")
        expected = [slow_pair(predictions[t], annotations[t], s.object_id, s.object_id) for t in (1, 2)]  # type: ignore[arg-type]
        np.testing.assert_allclose(np.stack([s.J, s.F], axis=1), expected)


@settings(deadline=None, max_examples=60)
@given(mask_pairs(), st.randoms(use_true_random=False))
def test_void_pixels_are_removed_from_both(pair: tuple[np.ndarray, np.ndarray], random: Random) -> None:
    p, g = pair
    void = np.array([random.random() < 0.3 for _ in range(p.size)]).reshape(p.shape)
    g[0, 0], void[0, 0] = 1, False  # an object, without which there is nothing to score
    (s,) = score_sequence("v", names(1), [p], [np.where(void, np.uint8(255), g)], UNSUPERVISED)
    left = p * ~void, g * ~void
    assert (s.J_mean, s.F_mean) == pytest.approx((slow_j(*left), slow_f(*left, davis_radius(*p.shape))), abs=1e-12)


def test_shuffled_proposals_score_the_same() -> None:
    annotations = [np.hstack([star(0.1 * t), 2 * star(0.2 * t, spikes=4)]) for t in range(3)]
    table = np.array([0, 2, 1], np.uint8)
    plain = score_sequence("v", names(3), annotations, annotations, UNSUPERVISED)
    shuffled = score_sequence("v", names(3), [table[a] for a in annotations], annotations, UNSUPERVISED)
    assert [(s.J_mean, s.F_mean) for s in plain] == [(1, 1)] * 2
    assert [(s.J_mean, s.F_mean) for s in shuffled] == [(1, 1)] * 2
    assert [s.object_id for s in plain] == [1, 2]
    assert [s.object_id for s in shuffled] == [2, 1]  # numbered in the order of the proposals


def test_missing_proposals_count_as_empty() -> None:
    annotation = np.zeros((30, 40), np.uint8)
    annotation[2:8, 2:8], annotation[20:28, 20:38] = 1, 2
    prediction = (annotation == 1).astype(np.uint8)
    first, second = score_sequence("v", names(1), [prediction], [annotation], UNSUPERVISED)
    assert (first.J_mean, first.F_mean) == (1, 1)
    assert (second.J_mean, second.F_mean) == (0, 0)
    gone = np.zeros_like(annotation)  # an object that left the frame is matched by no pixels
    scores = score_sequence("v", names(2), [prediction, gone], [annotation, gone], UNSUPERVISED)
    assert scores[1].J.tolist() == [0, 1]


def test_far_apart_parts_score_as_the_whole_frame_would() -> None:
    annotation, prediction = np.zeros((60, 200), np.uint8), np.zeros((60, 200), np.uint8)
    annotation[5:20, 5:20], prediction[30:50, 150:180] = 1, 1
    (s,) = score_sequence("v", names(1), [prediction], [annotation], UNSUPERVISED)
    assert (s.J_mean, s.F_mean) == slow_pair(prediction, annotation, 1, 1) == (0, 0)


def test_more_than_twenty_proposals_are_an_error() -> None:
    annotation = np.ones((8, 40), np.uint8)
    prediction = np.arange(8 * 40, dtype=np.uint8).reshape(8, 40) % 22
    with pytest.raises(ScoreError, match=r"v/00000: id 21 in the prediction, but there may be at most 20 proposals"):
        score_sequence("v", names(1), [prediction], [annotation], UNSUPERVISED)
    with pytest.raises(ScoreError, match=r"v/00001: id 2 in the prediction, but the annotation has the objects 1$"):
        score_sequence("v", names(3), [prediction] * 3, [annotation] * 3, SEMISUPERVISED)


def test_errors_say_what_is_wrong() -> None:
    mask = np.ones((4, 5), np.uint8)
    with pytest.raises(ScoreError, match=r"no object ids in the first annotation, only the values \[0, 255\]"):
        score_sequence("v", names(1), [mask], [mask * 0 + np.eye(4, 5, dtype=np.uint8) * 255], UNSUPERVISED)
    with pytest.raises(ScoreError, match="v/00000: no annotation"):
        score_sequence("v", names(1), [mask], [None], UNSUPERVISED)
    with pytest.raises(ScoreError, match="v/00000: no prediction"):
        score_sequence("v", names(1), [None], [mask], UNSUPERVISED)
    with pytest.raises(ScoreError, match="prediction is 4×5, annotation 5×4"):
        score_sequence("v", names(1), [mask.T], [mask], UNSUPERVISED)
    with pytest.raises(ScoreError, match="sequence v has 2 frames: protocol davis2017_semisupervised needs at least 3"):
        score_sequence("v", names(2), [mask] * 2, [mask] * 2, SEMISUPERVISED)


def blocks(*ids: int) -> np.ndarray:
    """A mask of squares side by side, one for each id."""
    return np.kron(np.array([ids], np.uint8), np.ones((8, 8), np.uint8))


@pytest.mark.parametrize("protocol", [UNSUPERVISED, SEMISUPERVISED])
@pytest.mark.parametrize("ids", [(1, 5), (38, 75), (2,), (3, 254)])
def test_only_ids_that_occur_are_objects(protocol: Protocol, ids: tuple[int, ...]) -> None:
    """Also of palette masks that were saved as grey values."""
    annotation = blocks(0, *ids)
    right = np.searchsorted([0, *ids], annotation).astype(np.uint8) if protocol is UNSUPERVISED else annotation
    wrong = np.zeros_like(annotation)
    for prediction, expected in ((right, 1.0), (wrong, 0.0)):
        scores = score_sequence("v", names(3), [prediction] * 3, [annotation] * 3, protocol)
        assert [s.J_mean for s in scores] == [expected] * len(ids)
        assert sorted(s.object_id for s in scores if s.object_id is not None) == list(ids)
    if protocol is SEMISUPERVISED:
        assert [s.name for s in scores] == [f"v_{k}" for k in ids]


def test_ids_that_match_no_object_are_named() -> None:
    with pytest.raises(
        ScoreError, match=r"v/00001: id 1 in the prediction, but the annotation has the objects 38, 75$"
    ):
        score_sequence("v", names(3), [blocks(0, 1, 2)] * 3, [blocks(0, 38, 75)] * 3, SEMISUPERVISED)


@pytest.mark.parametrize("found", [True, False])
def test_objects_that_come_later_are_noted_and_not_scored(found: bool) -> None:
    annotations = [blocks(0, 1, 0), blocks(0, 1, 0), blocks(0, 1, 2), blocks(0, 1, 2)]
    predictions = annotations if found else [annotations[0]] * 4
    scores = score_sequence("v", names(4), predictions, annotations, SEMISUPERVISED)
    assert [(s.name, s.J_mean) for s in scores] == [("v_1", 1.0)]
    assert notes(scores) == [
        "objects that the first annotation does not have NOT SCORED: v: object 2 (from frame 00002 on)"
    ]


def test_a_lower_id_that_comes_later_counts_as_officially() -> None:
    annotations = [blocks(2, 0), blocks(2, 1), blocks(2, 1), blocks(2, 1)]
    scores = score_sequence("v", names(4), [blocks(2, 0)] * 4, annotations, SEMISUPERVISED)
    assert [(s.name, s.J_mean) for s in scores] == [("v_1", 0.0), ("v_2", 1.0)]
