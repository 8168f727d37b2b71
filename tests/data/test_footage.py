"""Video files and images as users have them."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from agnn_lit.data.footage import open_footage
from agnn_lit.data.video import DataError
from tests.data.videos import picture, write_video


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "no such file or folder; give a video file"),
        ("empty.mp4", b"", "the file is empty"),
        ("text.mp4", b"no video at all " * 50, "cannot be opened as a video.*may be damaged"),
        ("text.ans", b"FFmpeg would draw it.\n" * 50, "is a text file; give a video file"),
        ("cut.png", b"\x89PNG\r\n", "none of the 1 images can be read"),
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


@pytest.mark.skipif(sys.platform != "linux", reason="file names of other systems are always text")
def test_names_that_are_no_utf_8(tmp_path):
    """Zip files of Chinese Windows: GBK bytes."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xc3\xa8"))
    folder.mkdir()
    name = os.fsdecode(b"\xb9\xb7")
    cv2.imwrite(str(tmp_path / "0.png"), picture(0))
    shutil.copy(tmp_path / "0.png", folder / f"{name}.png")
    shutil.copy(write_video(tmp_path / "a.mp4"), folder / f"{name}.mp4")
    photos = open_footage(folder)
    assert np.array_equal(photos.frame(0), picture(0)[..., ::-1])
    film = open_footage(folder / f"{name}.mp4")
    assert len(film) == 12
    assert film.frame(3).shape == (48, 64, 3)
    assert photos.fingerprint() != film.fingerprint()
    assert photos.content() != film.content()


@pytest.mark.parametrize("suffix", ["bmp", "tif", "png"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_corrected_frame_is_other_footage(tmp_path, suffix, place):
    """Of one size each, and any of them, not only the first, middle or last."""
    for t in range(5):
        Image.fromarray(picture(t)).save(tmp_path / f"{t}.{suffix}")
    before = open_footage(tmp_path).content()
    assert open_footage(tmp_path).content() == before
    corrected = picture(place)
    corrected[20, 30] += 1
    Image.fromarray(corrected).save(tmp_path / f"{place}.{suffix}")
    assert open_footage(tmp_path).content() != before
