"""Identities through time: motion, crossing, occlusion, and what is kept in the end."""

from __future__ import annotations

import numpy as np

from agnn_lit.config import InstancesConfig
from agnn_lit.instances.candidates import Candidates, Proposal, find_candidates
from agnn_lit.instances.tracks import Tracker, paint
from tests.instances.squares import BLUE, GREEN, RED, SIZE, scene

CFG = InstancesConfig(agreement=0.0)


def candidates(frame: np.ndarray, masks: list[np.ndarray], order=None, cfg=CFG) -> Candidates:
    shown = [masks[k] for k in (order if order is not None else range(len(masks)))]
    return find_candidates(frame, np.ones(SIZE, np.float32), None, [Proposal(m) for m in shown], 0.5, cfg)


def follow(frames, cfg=CFG) -> list[dict[int, int]]:
    """Track of each object in each frame; candidates come in another order every time."""
    tracker, rng, found = Tracker(cfg), np.random.default_rng(1), []
    for frame, masks in frames:
        order = rng.permutation([k for k, mask in enumerate(masks) if mask.sum() > 20])
        c = candidates(frame, masks, order)
        numbers = tracker.step(frame, c)
        ids = {}
        for mask, number in zip(c.masks, numbers, strict=True):
            ids[int(np.argmax([np.count_nonzero(mask & m) for m in masks]))] = number
        found.append(ids)
    return found


def crossing(t: int):
    return scene((RED, 40, 5 + 6 * t, 36), (BLUE, 46, 120 - 6 * t, 36))


def test_crossing_objects_keep_their_identities():
    found = follow([crossing(t) for t in range(20)])
    assert {ids[0] for ids in found if 0 in ids} == {found[0][0]}
    assert {ids[1] for ids in found if 1 in ids} == {found[0][1]}


def test_an_object_is_found_again_behind_another():
    """Wholly hidden for longer than its mask is moved on: its looks alone tell."""
    cfg = InstancesConfig(agreement=0.0, patience=2)
    shown = [scene((RED, 40, 10 + 2 * t, 30)) for t in range(5)]
    hidden = [scene((RED, 0, -50, 30), (GREEN, 30, 20, 60)) for _ in range(8)]
    again = [scene((RED, 60, 110 - 2 * t, 30)) for t in range(5)]
    found = follow([*shown, *hidden, *again], cfg)
    assert found[-1][0] == found[0][0]
    other = [scene((BLUE, 60, 110 - 2 * t, 30)) for t in range(5)]
    assert follow([*shown, *hidden, *other], cfg)[-1][0] != found[0][0], "one that looks otherwise is another"


def test_what_moves_faster_than_its_size_is_followed_by_its_looks():
    frames = [scene((RED, 20, 10 + 40 * (t % 4), 20), (BLUE, 80, 140 - 40 * (t % 4), 20)) for t in range(12)]
    found = follow(frames)
    assert [ids[0] for ids in found[4:]] == [found[3][0]] * 8


def test_an_object_in_view_does_not_lose_its_mask_to_one_that_was_lost():
    frame, (band,) = scene((RED, 20, 20, 80))

    def part(start: int, end: int) -> np.ndarray:
        mask = band.copy()
        mask[:, :start] = mask[:, end:] = False
        return mask

    tracker = Tracker(CFG)
    left, right = tracker.step(frame, candidates(frame, [part(20, 60), part(60, 100)]))
    for _ in range(3):
        assert tracker.step(frame, candidates(frame, [part(20, 100)])) == [left]
    wide, _ = tracker.step(frame, candidates(frame, [part(35, 100), part(20, 35)]))  # the larger is the first
    assert wide == left != right, "two matches would be possible if the lost one took it"


def run(cfg: InstancesConfig, frames) -> tuple[list[np.ndarray], Tracker]:
    tracker = Tracker(cfg)
    seen = [(c, tracker.step(frame, c)) for frame, c in frames]
    objects = tracker.objects()
    return [paint(c, numbers, objects) for c, numbers in seen], tracker


def test_ids_are_stable_and_the_largest_is_the_first():
    frames = [scene((RED, 40, 10 + 2 * t, 20), (BLUE, 60, 90 - 2 * t, 40)) for t in range(6)]
    once, _ = run(CFG, [(f, candidates(f, m)) for f, m in frames])
    again, _ = run(CFG, [(f, candidates(f, m)) for f, m in frames])
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    for ids, (_, masks) in zip(once, frames, strict=True):
        assert set(ids[masks[1]]) == {1}
        assert set(ids[masks[0]]) == {2}


def test_short_tracks_are_dropped_and_a_short_video_keeps_its_own():
    frames = [scene((RED, 40, 10, 30), *([(BLUE, 80, 100, 30)] if t == 2 else [])) for t in range(6)]
    masks, _ = run(CFG, [(f, candidates(f, m)) for f, m in frames])
    assert {int(k) for ids in masks for k in np.unique(ids)} == {0, 1}
    (one,), _ = run(CFG, [(f, candidates(f, m)) for f, m in frames[2:3]])
    assert set(np.unique(one)) == {0, 1, 2}


def test_no_more_objects_than_asked_for_those_with_most_of_the_foreground():
    squares = [(RED, 2 + 24 * (k // 6), 2 + 26 * (k % 6), 6 + k // 2) for k in range(30)]
    frames = [scene(*squares) for _ in range(4)]
    masks, tracker = run(CFG, [(f, candidates(f, m)) for f, m in frames])
    assert set(np.unique(masks[0])) == set(range(21))
    sides = sorted(np.count_nonzero(masks[0] == k) for k in range(1, 21))
    assert sides == sorted(np.count_nonzero(m) for m in frames[0][1])[10:]
    assert len(tracker.objects()) == 20


def test_a_pixel_that_several_claim_has_the_best_track():
    frame, (mask,) = scene((RED, 40, 40, 30))
    wide = np.zeros(SIZE, np.bool_)
    wide[30:80, 30:80] = True
    for sure, expected in ((0.9, {1: 900, 2: 2500 - 900}), (0.1, {1: 2500})):
        given = [Proposal(mask, sure), Proposal(wide, 0.5)]
        c = find_candidates(frame, np.ones(SIZE, np.float32), None, given, 0.5, CFG)
        (ids,), _ = run(CFG, [(frame, c)])
        counts = {int(k): int(n) for k, n in zip(*np.unique(ids, return_counts=True), strict=True) if k}
        assert sorted(counts.values()) == sorted(expected.values())


def test_memory_does_not_grow_with_the_video():
    """A new object in each frame: tracks that are over are forgotten, but for the heaviest."""
    cfg = InstancesConfig(agreement=0.0, patience=1, memory=5, min_length=1, objects=4, similarity=1.0)
    tracker = Tracker(cfg)
    for t in range(60):
        frame, masks = scene(((37 * t % 255, 11 * t % 255, 200), 40 * (t % 3), 50 * (t % 3), 30))
        tracker.step(frame, candidates(frame, masks))
    assert len(tracker._tracks) <= 8
    assert len(tracker._ended) == 4


def test_frames_without_candidates_and_frames_that_cannot_be_read():
    tracker = Tracker(CFG)
    frame, masks = scene((RED, 40, 10, 30))
    first = tracker.step(frame, candidates(frame, masks))
    assert tracker.step(frame, candidates(frame, [])) == []
    tracker.skip()
    assert tracker.step(frame, candidates(frame, masks)) == first
    assert tracker.objects() == {}, "seen in two frames of four"
    assert tracker.step(frame, candidates(frame, masks)) == first
    assert tracker.objects() == {first[0]: (1, 1.0)}
    empty = Tracker(CFG)
    assert empty.step(frame, candidates(frame, [])) == []
    assert empty.objects() == {}


def test_node_features_tell_objects_of_one_colour_apart():
    """Two red squares swap places at once; their features go along."""
    cfg = InstancesConfig(agreement=0.0, patience=0)  # where they were is forgotten at once

    def with_nodes(left: int) -> Candidates:
        frame, masks = scene((RED, 40, 10, 30), (RED, 40, 100, 30))
        node = np.zeros((8, 30, 40), np.float32)
        for mask, kind in zip(masks, (left, 1 - left), strict=True):
            node[kind][mask[::4, ::4]] = 1
        proposals = [Proposal(m) for m in masks]
        return find_candidates(frame, np.ones(SIZE, np.float32), node, proposals, 0.5, cfg)

    frame, _ = scene((RED, 40, 10, 30), (RED, 40, 100, 30))
    tracker = Tracker(cfg)
    for _ in range(4):
        before = tracker.step(frame, with_nodes(0))
    tracker.step(frame, _none(with_nodes(0)))
    assert tracker.step(frame, with_nodes(1)) == before[::-1]


def _none(like: Candidates) -> Candidates:
    """No candidate, in a frame of the same features."""
    return Candidates(like.masks[:0], like.scores[:0], like.nodes[:0], like.ground, like.colours[:0])
