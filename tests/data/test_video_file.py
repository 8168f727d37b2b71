"""Video files of every kind, whole and damaged."""

from __future__ import annotations

import numpy as np
import pytest

from agnn_lit.data.video import DataError
from agnn_lit.data.video_file import VideoFile
from tests.data.videos import damage, picture, turn, write_video

CODECS = [
    ("mp4", "libx264", {"bf": "2"}, "yuv420p"),
    ("mov", "libx264", {"bf": "2"}, "yuv420p"),
    ("avi", "mpeg4", {}, "yuv420p"),
    ("avi", "mjpeg", {}, "yuvj420p"),
    ("avi", "libx264", {"bf": "2"}, "yuv420p"),  # times in the order of decoding: cannot be searched by them
    ("webm", "libvpx-vp9", {}, "yuv420p"),
    ("mkv", "libx264", {"bf": "2"}, "yuv420p10le"),
]


def error(frame, t):
    return np.abs(frame.astype(int) - picture(t)).mean()


@pytest.mark.parametrize(("suffix", "codec", "options", "pix_fmt"), CODECS)
def test_every_frame_of_every_kind_in_any_order(tmp_path, suffix, codec, options, pix_fmt):
    video = VideoFile(write_video(tmp_path / f"a.{suffix}", codec, pix_fmt=pix_fmt, **options))
    assert len(video) == 12
    assert video.size == (48, 64)
    assert not video.broken
    for t in (0, 4, 8, 1, 5, 9, 11, 3, 10, 2):
        # the right frame: nearer to its own picture than to its neighbours'
        assert error(video.frame(t), t) < min(error(video.frame(t), o) for o in (t - 1, t + 1)) < 20
    again = VideoFile(tmp_path / f"a.{suffix}")
    assert all(np.array_equal(video.frame(t), again.frame(t)) for t in range(12))
    video.close()


def test_variable_rate_is_kept(tmp_path):
    times = [0, 40, 105, 195, 235, 300, 390, 1000, 1040, 1105, 2000, 2040]
    video = VideoFile(write_video(tmp_path / "a.mp4", times=times))
    stamps, base = video.clock
    assert [round(1000 * float(s * base)) for s in stamps] == times
    assert error(video.frame(7), 7) < 4


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_flag(tmp_path, degrees):
    video = VideoFile(turn(write_video(tmp_path / "a.mp4"), degrees))
    expected = np.rot90(picture(3), -degrees // 90)
    assert video.size == expected.shape[:2]
    assert np.abs(video.frame(3).astype(int) - expected).mean() < 4


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt"), [("mp4", "libx264", "yuv420p"), ("avi", "mjpeg", "yuvj420p")])
def test_a_damaged_frame_is_named_and_the_others_stay(tmp_path, suffix, codec, pix_fmt):
    path = damage(write_video(tmp_path / f"a.{suffix}", codec, pix_fmt=pix_fmt), 6)
    video = VideoFile(path)
    assert len(video) == 12
    assert list(video.broken) == [6]
    with pytest.raises(DataError, match=r"frame 6 at 0\.240 s: cannot be decoded"):
        video.frame(6)
    assert all(error(video.frame(t), t) < 10 for t in range(12) if t != 6)


def test_damage_among_times_out_of_order_moves_no_frame(tmp_path):
    """Where times do not tell frames apart, the missing ones are not guessed."""
    path = damage(write_video(tmp_path / "a.avi", "libx264", bf="2"), 6)
    video = VideoFile(path)
    assert not video.broken
    assert len(video) < 12
    assert "packets cannot be decoded, and its times do not say which" in video.faults[0]
    forward, back = VideoFile(path), VideoFile(path)
    frames = [forward.frame(i) for i in range(len(video))]
    assert all(np.array_equal(back.frame(i), frames[i]) for i in reversed(range(len(video))))
    assert [min(range(12), key=lambda t: error(frames[i], t)) for i in range(4)] == [0, 1, 2, 3]


def test_an_mp4_cut_short_is_not_taken_as_whole(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, frames=60, movflags="+faststart")
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    video = VideoFile(path)
    assert 5 < len(video) < 60
    assert any("announces 60 frames" in fault and "cut short" in fault for fault in video.faults)


def test_a_file_cut_short_gives_what_is_there(tmp_path):
    path = write_video(tmp_path / "a.mkv", frames=40)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    video = VideoFile(path)
    assert 5 < len(video) < 40
    assert error(video.frame(3), 3) < 4


def test_many_decoders_are_not_kept(tmp_path):
    video = VideoFile(write_video(tmp_path / "a.mp4", frames=120))
    for t in [k * 10 for k in range(12)] + [k * 10 + 1 for k in range(12)]:
        video.frame(t)
    assert len(video._cursors) == 8
    video.decoders = 3
    video.frame(50)
    assert len(video._cursors) == 3
