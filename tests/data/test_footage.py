"""Video files and images as users have them."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from agnn_lit.data.footage import open_footage
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


def test_recordings_that_start_late_begin_at_zero(tmp_path):
    path = write_video(tmp_path / "a.mkv", times=[36_000_000 + 40 * t for t in range(12)])
    footage = open_footage(path)
    assert footage.clock[0][:3] == [0, 40, 80]
    assert len(footage) == 12


def test_a_header_of_absurd_size_is_an_unreadable_frame(tmp_path):
    for t in range(3):
        Image.fromarray(picture(t)).save(tmp_path / f"{t}.png")
    raw = bytearray((tmp_path / "1.png").read_bytes())
    raw[16:24] = struct.pack(">2I", 90000, 90000)
    (tmp_path / "1.png").write_bytes(raw)
    assert list(open_footage(tmp_path).unreadable) == [1]


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
    ("name", "content", "message"),
    [
        ("none.mp4", None, "no such file or folder; give a video file"),
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"no video at all " * 50, "cannot be opened as a video"),
        ("cut.png", b"\x89PNG\r\n", "not one of 1 images can be read"),
    ],
)
def test_what_is_no_footage_is_refused_with_its_path(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        open_footage(tmp_path / name)
    assert f"input={tmp_path / name}" in str(raised.value)


def test_sound_without_pictures_is_refused(tmp_path):
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    with pytest.raises(DataError, match="holds no video stream"):
        open_footage(tmp_path / "a.wav")


def test_folders_say_where_the_images_are(tmp_path):
    with pytest.raises(DataError, match="no image in this folder"):
        open_footage(tmp_path)
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "0.png"), picture(0))
    with pytest.raises(DataError, match=f"there are images in {tmp_path / 'frames'}"):
        open_footage(tmp_path)
    cv2.imwrite(str(tmp_path / "frames" / "0.jpg"), picture(0))
    with pytest.raises(DataError, match="two images are called 0"):
        open_footage(tmp_path / "frames")


def test_images_of_any_mode_are_rgb_bytes(tmp_path):
    rgb = picture(0)
    grey = rgb[..., 0]
    Image.fromarray(rgb).save(tmp_path / "2.png")
    Image.fromarray(grey).save(tmp_path / "10.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "11.png")
    Image.fromarray(np.dstack([rgb, np.full_like(grey, 9)])).save(tmp_path / "12.png")
    Image.fromarray(rgb).quantize(16).save(tmp_path / "13.png")
    Image.fromarray(grey).convert("1").save(tmp_path / "14.png")
    Image.fromarray(rgb).save(tmp_path / "15.webp", lossless=True)
    footage = open_footage(tmp_path, fps=12.5)
    assert [footage.frame_name(i) for i in range(len(footage))] == ["2", "10", "11", "12", "13", "14", "15"]
    for i in range(len(footage)):
        frame = footage.frame(i)
        assert frame.shape == (48, 64, 3)
        assert frame.dtype == np.uint8
    assert np.array_equal(footage.frame(3), rgb)
    assert np.array_equal(footage.frame(6), rgb)
    assert np.array_equal(footage.frame(1)[..., 2], grey)
    assert np.array_equal(footage.frame(2)[..., 1], grey)
    assert float(footage.clock[1]) == 1 / 12.5
    assert footage.mask(0) is None


def test_a_truncated_image_is_known_before_it_is_needed(tmp_path):
    for t in range(4):
        Image.fromarray(picture(t)).save(tmp_path / f"{t}.jpg")
    whole = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) // 2])
    footage = open_footage(tmp_path)
    assert list(footage.unreadable) == [2]
    with pytest.raises(DataError, match=r"2\.jpg: .*[tT]runcated"):
        footage.frame(2)
