from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agnn_lit.data.sampling import Purpose, Seed, clip_order, draw_clip, hold_out, partition, segments

lengths = st.integers(1, 60)


@st.composite
def video_and_frames(draw):
    length = draw(lengths)
    return length, draw(st.integers(1, length))


@given(video_and_frames())
def test_segments_are_equal_and_cover_the_video_in_order(case):
    length, frames = case
    parts = segments(length, frames)
    assert [i for part in parts for i in part] == list(range(length))
    sizes = {len(part) for part in parts}
    assert len(parts) == frames
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@given(video_and_frames(), st.integers(0, 9), st.integers(0, 99), st.integers(0, 99))
def test_a_clip_has_one_frame_of_each_segment(case, seed, epoch, clip):
    length, frames = case
    drawn = draw_clip(length, frames, seed=Seed(seed), epoch=epoch, clip=clip)
    assert all(i in part for i, part in zip(drawn, segments(length, frames), strict=True))
    assert drawn == draw_clip(length, frames, seed=Seed(seed), epoch=epoch, clip=clip)


@pytest.mark.parametrize(("length", "frames"), [(7, 3), (12, 5), (4, 4), (9, 1)])
def test_every_frame_is_reachable(length, frames):
    seen = {i for epoch in range(300) for i in draw_clip(length, frames, seed=Seed(0), epoch=epoch, clip=0)}
    assert seen == set(range(length))


def test_seed_epoch_and_clip_each_change_the_draw():
    base = {"seed": 0, "epoch": 0, "clip": 0}
    changed = {key: [{**base, key: v} for v in range(20)] for key in base}
    draws = {key: [draw_clip(1000, 3, **{**n, "seed": Seed(n["seed"])}) for n in all_] for key, all_ in changed.items()}
    assert all(len(set(drawn)) > 15 for drawn in draws.values())


numbers = st.lists(st.integers(0, 2**32 - 1), max_size=4)


@given(st.sampled_from(Purpose), st.sampled_from(Purpose), st.integers(0, 2**32 - 1), numbers, numbers)
def test_purposes_share_no_random_numbers(one, other, seed, these, those):
    draws = [Seed(seed).generator(p, *key).integers(2**63) for p, key in ((one, these), (other, those))]
    assert one is other or draws[0] != draws[1]


def test_runs_of_version_01_draw_as_they_did():
    old = Seed(3, separate=False)
    assert clip_order(6, seed=old, epoch=2) == [int(i) for i in np.random.default_rng([3, 2]).permutation(6)]
    held = np.random.default_rng([3, 8]).permutation(8)[:2]
    assert hold_out(8, 0.25, seed=old)[1] == sorted(int(i) for i in held)
    rng = np.random.default_rng([3, 1, 4])
    assert draw_clip(30, 2, seed=old, epoch=1, clip=4) == (int(rng.integers(0, 15)), int(rng.integers(15, 30)))


def test_too_many_frames_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="2 frames cannot be split into 3"):
        draw_clip(2, 3, seed=Seed(0), epoch=0, clip=0)


@given(st.integers(0, 50), st.integers(0, 9), st.integers(0, 9))
def test_an_epoch_visits_every_clip_once(clips, seed, epoch):
    assert sorted(clip_order(clips, seed=Seed(seed), epoch=epoch)) == list(range(clips))


@given(st.integers(2, 80), st.floats(0.01, 0.99), st.integers(0, 9))
def test_held_out_videos_are_apart_and_both_sides_have_some(videos, share, seed):
    train, held = hold_out(videos, share, seed=Seed(seed))
    assert sorted(train + held) == list(range(videos))
    assert train
    assert held
    assert (train, held) == hold_out(videos, share, seed=Seed(seed))


def test_no_share_holds_nothing_out_and_one_video_cannot_be_shared():
    assert hold_out(5, 0.0, seed=Seed(0)) == ([0, 1, 2, 3, 4], [])
    with pytest.raises(ValueError, match=r"clips\.val_share"):
        hold_out(1, 0.1, seed=Seed(0))


@given(lengths, st.integers(1, 9))
def test_the_partition_keeps_every_frame_once_in_graphs_of_one_size(length, frames):
    subsets = partition(length, frames)
    assert sorted(i for s in subsets for i in s.frames) == list(range(length))
    assert len(subsets) == -(-length // frames)
    for s in subsets:
        assert len(s.nodes) == frames
        assert all(0 <= i < length for i in s.nodes)
        assert all(b - a == len(subsets) for a, b in zip(s.frames, s.frames[1:], strict=False))


@given(lengths, st.integers(1, 9))
def test_references_are_other_frames_and_covered_ones_where_there_are_any(length, frames):
    covered: set[int] = set()
    for s in partition(length, frames):
        if length > len(s.frames):
            assert not set(s.references) & set(s.frames)
        if covered:
            assert set(s.references) <= covered
        covered |= set(s.frames)


def test_a_partition_in_numbers():
    assert [s.nodes for s in partition(6, 3)] == [(0, 2, 4), (1, 3, 5)]
    assert [(s.frames, s.references) for s in partition(7, 3)] == [
        ((0, 3, 6), ()),
        ((1, 4), (3,)),
        ((2, 5), (3,)),
    ]
    assert partition(1, 3)[0].nodes == (0, 0, 0)


@pytest.mark.parametrize(("length", "frames"), [(0, 3), (3, 0)])
def test_nothing_to_partition_is_refused(length, frames):
    with pytest.raises(ValueError, match="must be 1 or more"):
        partition(length, frames)
