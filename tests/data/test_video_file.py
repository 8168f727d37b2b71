"""Video files of every kind, whole and damaged."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from agnn_lit.data.video import DataError
from agnn_lit.data.video_file import VideoFile
from tests.data.videos import damage, picture, set_edit, set_matrix, turn, write_video

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
    assert any("bytes are missing: it has been cut short" in fault for fault in video.faults)


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


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),  # mirrored, as front cameras do
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
        ((1, 0, 0, 1), lambda p: p),
    ],
)
def test_turned_and_mirrored_films_are_shown_as_players_do(tmp_path, matrix, shown):
    """All eight; FFmpeg's own tools do the same (ffplay's get_rotation and its hflip, vflip and transpose)."""
    video = VideoFile(set_matrix(write_video(tmp_path / "a.mp4"), *matrix))
    expected = shown(picture(3))
    assert video.size == expected.shape[:2]
    assert np.abs(video.frame(3).astype(int) - expected).mean() < 4


def with_cover(path, first: bool, film: bool = True):
    """An MP4 file with a cover picture before or after the film, or alone beside sound."""
    with av.open(str(path), "w", format="mp4") as container:
        streams = {}
        kinds = ["cover", "film"] if first else ["film", "cover"]
        for kind in kinds if film else ["sound", "cover"]:
            codec = {"cover": "mjpeg", "film": "libx264", "sound": "aac"}[kind]
            streams[kind] = stream = container.add_stream(codec, rate=44100 if kind == "sound" else 25)
            if kind != "sound":
                stream.height, stream.width = (48, 64) if kind == "film" else (32, 32)
                stream.pix_fmt = "yuv420p" if kind == "film" else "yuvj420p"
            if kind == "cover":
                stream.disposition = Disposition.attached_pic
        cover = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 200, np.uint8), format="rgb24")
        cover.pts = 0
        container.mux(streams["cover"].encode(cover))
        container.mux(streams["cover"].encode())
        for t in range(12):
            if film:
                frame = av.VideoFrame.from_ndarray(picture(t), format="rgb24")
                frame.pts, frame.time_base = t, Fraction(1, 25)
            else:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.pts, frame.sample_rate = 1024 * t, 44100
            container.mux(streams["film" if film else "sound"].encode(frame))
        container.mux(streams["film" if film else "sound"].encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "m4v"])
@pytest.mark.parametrize("first", [True, False])
def test_a_cover_picture_is_no_film(tmp_path, suffix, first):
    video = VideoFile(with_cover(tmp_path / f"a.{suffix}", first))
    assert (len(video), video.size) == (12, (48, 64))
    assert error(video.frame(7), 7) < 10
    assert not video.faults


@pytest.mark.parametrize("suffix", ["mp4", "m4a"])
def test_a_song_with_a_cover_is_no_video(tmp_path, suffix):
    with pytest.raises(DataError, match="holds no video stream, only a cover picture"):
        VideoFile(with_cover(tmp_path / f"a.{suffix}", True, film=False))


@pytest.mark.parametrize(("start", "frames"), [(0, 15), (7, 15), (12, 10), (10, 20)])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_trimmed_film_is_what_is_shown_of_it(tmp_path, suffix, start, frames):
    """Trimmed at its end, at both, and in the middle between key frames."""
    video = VideoFile(set_edit(write_video(tmp_path / f"a.{suffix}", frames=30, bf="2"), start, frames))
    assert video.faults == []
    assert not video.broken
    assert abs(len(video) - frames) <= 1
    for t in (0, 4, len(video) - 1, 2):
        assert min(range(30), key=lambda k: error(video.frame(t), k)) == start + t


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (1, None)])
def test_hdr_is_noted(tmp_path, transfer, name):
    options = {"x265-params": f"transfer={transfer}:colorprim=9:colormatrix=9:log-level=none"}
    video = VideoFile(write_video(tmp_path / "a.mp4", "libx265", pix_fmt="yuv420p10le", **options))
    assert len(video.notes) == (name is not None)
    assert all(f"HDR footage ({name})" in note for note in video.notes)


def test_pixels_that_are_not_square_are_known(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, "libx264", **{"x264-params": "sar=16/11"})
    assert VideoFile(path).pixel_aspect == Fraction(16, 11)
    assert VideoFile(turn(path, 90)).pixel_aspect == Fraction(11, 16)
    square = write_video(tmp_path / "b.mp4", "libx264", size=(64, 64), **{"x264-params": "sar=16/11"})
    assert VideoFile(turn(square, 90)).pixel_aspect == Fraction(11, 16)
