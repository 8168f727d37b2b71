"""What each protocol counts, and the summary over sequences and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agnn_lit.config import options
from agnn_lit.metrics.protocols import T_SEQUENCES, ScoreError, get_protocol
from agnn_lit.metrics.region import jaccard
from agnn_lit.metrics.sequence import score_sequence
from agnn_lit.metrics.stability.temporal import shape_context_stability
from agnn_lit.metrics.summary import SequenceScore, notes, summarise

from .masks import star


def names(count: int) -> list[str]:
    return [f"{i:05d}" for i in range(count)]


def test_davis2016_drops_the_first_and_last_frame() -> None:
    truth = [star(0.1 * t) for t in range(5)]
    predictions = [None, *(star(0.1 * t, shift=2) for t in range(1, 4)), None]
    (s,) = score_sequence("bear", names(5), predictions, truth, get_protocol("davis2016"))
    assert s.frames == ("00001", "00002", "00003")
    assert s.J.tolist() == [jaccard(p, g) for p, g in zip(predictions[1:4], truth[1:4], strict=True)]  # type: ignore[arg-type]
    assert math.isnan(s.T)  # bear is not one of the flagged sequences


def test_davis2016_compares_the_first_prediction_with_the_annotation_before_it() -> None:
    assert len(T_SEQUENCES) == 10
    truth = [star(0.1 * t) for t in range(4)]
    predictions = [star(0.13 * t) for t in range(4)]
    (s,) = score_sequence("cows", names(4), predictions, truth, get_protocol("davis2016"))
    assert pytest.approx(shape_context_stability([truth[0], *predictions[1:3]])) == s.T


def test_simple_counts_all_frames_with_two_pixels() -> None:
    truth = [star(0.0)] * 3
    predictions = [star(0.0, shift=k) for k in (0, 2, 6)]
    (s,) = score_sequence("cows", names(3), predictions, truth, get_protocol("simple"))
    assert len(s.J) == 3
    assert s.F[0] == s.F[1] == 1 > s.F[2]
    assert pytest.approx(np.mean([jaccard(predictions[0], predictions[1]), jaccard(*predictions[1:])])) == s.T


def test_youtube_objects_counts_annotated_frames_and_resizes() -> None:
    small = star(0.2, 45, 60)
    truth: list[np.ndarray | None] = [star(0.2), None, np.zeros((90, 120), np.uint8), star(0.2)]
    (s,) = score_sequence(
        "cat/1", names(4), [star(0.2), None, star(0.2), small], truth, get_protocol("youtube_objects")
    )
    assert s.frames == ("00000", "00003")
    assert s.J[0] == 1
    assert 0.9 < s.J[1] < 1
    assert (s.resized, s.left_out) == (1, 1)
    assert notes([s]) == [
        "1 predictions resized to the size of their annotation (nearest)",
        "1 annotated frames left out because their annotation is empty",
    ]


def test_youtube_objects_reports_three_averages() -> None:
    def video(name: str, values: list[float]) -> SequenceScore:
        return SequenceScore(name, tuple(names(len(values))), np.array(values), np.array(values) / 2)

    scores = [video("cat/1", [0.2] * 3), video("cat/2", [0.6]), video("dog/1", [1.0] * 2)]
    summary = summarise(scores, get_protocol("youtube_objects"))
    assert summary["J_frame_mean"] == pytest.approx((0.2 * 3 + 0.6 + 2) / 6)
    assert summary["J_video_mean"] == pytest.approx((0.2 + 0.6 + 1) / 3)
    assert summary["J_class_mean"] == pytest.approx((0.4 + 1) / 2)
    assert summary["J_class/cat"] == pytest.approx(0.4)
    assert summary["F_class/dog"] == pytest.approx(0.5)
    assert summary["J_mean"] == summary["J_video_mean"]


def test_a_prediction_or_annotation_that_counts_must_be_there() -> None:
    mask = star()
    with pytest.raises(ScoreError, match="v/00001: no prediction, and protocol simple counts this frame"):
        score_sequence("v", names(2), [mask, None], [mask, mask], get_protocol("simple"))
    with pytest.raises(ScoreError, match="v/00001: no annotation, and protocol simple counts this frame"):
        score_sequence("v", names(2), [mask, mask], [mask, None], get_protocol("simple"))
    with pytest.raises(ScoreError, match="v/00000: prediction is 90×120, annotation 120×90"):
        score_sequence("v", names(1), [mask.T], [mask], get_protocol("simple"))
    with pytest.raises(ScoreError, match="v has 2 frames: protocol davis2016 needs at least 3"):
        score_sequence("v", names(2), [mask] * 2, [mask] * 2, get_protocol("davis2016"))
    with pytest.raises(ValueError, match="zip"):
        score_sequence("v", names(2), [mask], [mask] * 2, get_protocol("simple"))
    with pytest.raises(ScoreError, match="no sequence was scored"):
        summarise([], get_protocol("simple"))


def test_a_long_sequence_says_where_the_official_decay_wraps() -> None:
    values = np.linspace(1, 0, 300)
    s = SequenceScore("long", tuple(names(300)), values, values)
    assert s.columns()["J_decay"] == pytest.approx(values[:76].mean() - values[224:].mean(), abs=1e-3)
    assert "wraps above 256 counted frames" in notes([s])[0]


@pytest.mark.parametrize("name", sorted(options("protocol")))
def test_a_protocol_says_what_it_counts(name: str) -> None:
    lines = get_protocol(name).describe().splitlines()
    assert lines[0] == f"protocol {name}"
    assert [line.strip().split(":")[0] for line in lines[1:]] == [
        "frames", "F tolerance", "T", "averaged over", "predictions of another size",
    ]  # fmt: skip
