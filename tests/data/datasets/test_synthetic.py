from __future__ import annotations

import numpy as np
import pytest

from agnn_lit.data.datasets.synthetic import synthetic_videos


def videos(count=40, **options):
    return synthetic_videos("train", count, length=8, size=(48, 48), **options)


def test_videos_are_a_function_of_their_seed():
    for a, b in zip(videos(3), videos(3), strict=True):
        for i in (0, 7):
            np.testing.assert_array_equal(a.frame(i), b.frame(i))
            np.testing.assert_array_equal(a.mask(i), b.mask(i))
    assert (videos(1)[0].frame(0) != videos(1, seed=1)[0].frame(0)).any()


def test_frames_can_be_read_in_any_order():
    a, b = videos(1)[0], videos(1)[0]
    forward = [a.frame(i) for i in range(8)]
    backward = [b.frame(i) for i in reversed(range(8))][::-1]
    np.testing.assert_array_equal(forward, backward)


def test_splits_share_no_video():
    train = synthetic_videos("train", 1, length=2, size=(32, 32))[0]
    test = synthetic_videos("test", 1, length=2, size=(32, 32))[0]
    assert (train.frame(0) != test.frame(0)).any()
    with pytest.raises(ValueError, match="'val'"):
        synthetic_videos("val", 1, length=2, size=(32, 32))


def test_the_primary_keeps_its_colour_and_distractors_do_not():
    for video in videos(10, distractors=2):
        colours = []
        for i in range(8):
            mask, frame = video.mask(i) > 0, video.frame(i)
            if mask.sum() > 20:
                colours.append(np.median(frame[mask], axis=0))
        assert np.ptp(colours, axis=0).max() < 12


def test_one_frame_does_not_tell_the_primary():
    """Size and place of the primary are distributed as those of a distractor.

    With one distractor, ownership of a frame's two objects is compared by swapping roles: the visible
    areas and the places of primaries over many videos must match those of distractors.
    """
    areas, others, places, other_places = [], [], [], []
    for video in videos(250, distractors=1):
        primary = video.mask(3) > 0
        both = np.abs(video.frame(3).astype(float) - 255 * video._background).max(axis=-1) > 40
        other = both & ~primary
        areas.append(primary.mean())
        others.append(other.mean())
        if primary.any() and other.any():
            places.append(np.argwhere(primary).mean(axis=0))
            other_places.append(np.argwhere(other).mean(axis=0))
    spread = np.std(areas) / np.sqrt(len(areas))
    assert abs(np.mean(areas) - np.mean(others)) < 5 * spread
    np.testing.assert_allclose(np.mean(places, axis=0), np.mean(other_places, axis=0), atol=5)
    np.testing.assert_allclose(np.std(places, axis=0), np.std(other_places, axis=0), atol=3)


def test_texture_adds_stripes():
    plain, striped = videos(1)[0], videos(1, texture=1.0)[0]
    mask = plain.mask(0) > 0
    assert striped.frame(0)[mask].std() > plain.frame(0)[mask].std()


def test_frames_outside_the_video_are_refused():
    with pytest.raises(IndexError, match=r"frame 8 of train-0000: must lie in 0\.\.7"):
        videos(1)[0].frame(8)


def test_several_primaries_return_in_every_frame_and_hide_each_other():
    hidden = 0
    for video in videos(12, primaries=3):
        colours: dict[int, list[np.ndarray]] = {}
        for i in range(8):
            ids, frame = video.objects(i), video.frame(i)
            np.testing.assert_array_equal(video.mask(i), ids > 0)
            assert set(np.unique(ids)) <= {0, 1, 2, 3}
            hidden += len(np.unique(ids)) < 4
            for number in (1, 2, 3):
                if np.count_nonzero(ids == number) > 20:
                    colours.setdefault(number, []).append(np.median(frame[ids == number], axis=0))
        assert max(np.ptp(seen, axis=0).max() for seen in colours.values()) < 12
    assert hidden, "one is out of sight at times"


def test_more_primaries_do_not_change_the_way_of_the_first():
    for one, three in zip(videos(3), videos(3, primaries=3), strict=True):
        np.testing.assert_array_equal(one._paths[0], three._paths[0])
