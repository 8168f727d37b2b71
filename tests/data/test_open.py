"""Finding the videos of a configuration, and checking them all before any training."""

from __future__ import annotations

import pytest
from PIL import Image

from agnn_lit.data.open import check, select
from agnn_lit.data.video import DataError, DiskVideo
from tests.data.disk import davis, make_davis


def test_selection_refuses_unknown_names(tmp_path):
    videos = davis(make_davis(tmp_path))
    assert [v.name for v in select(videos, ["car", "bear"])] == ["bear", "car"]
    with pytest.raises(DataError, match=r"no whale here; there are bear, bus, car"):
        select(videos, ["whale"])


def test_every_problem_is_reported_at_once_with_its_path(tmp_path):
    images = tmp_path / "JPEGImages" / "480p"
    masks = tmp_path / "Annotations" / "480p"
    make_davis(tmp_path, names=("bear", "bus", "car", "cat", "dog", "cow"))
    (masks / "bear" / "00002.png").unlink()
    Image.new("L", (32, 32)).save(masks / "bus" / "00001.png")
    (images / "car" / "00003.jpg").write_bytes((images / "car" / "00003.jpg").read_bytes()[:-30])
    (masks / "car" / "00000.png").write_bytes(b"no image")
    for file in (images / "cat").iterdir():
        file.unlink()
    for i in (2, 3, 4):
        (images / "dog" / f"{i:05d}.jpg").unlink()
    with pytest.raises(DataError) as caught:
        check(davis(tmp_path), 3)
    text = str(caught.value)
    assert "6 problem(s)" in text
    for part in (
        f"{masks}/bear/00002.png: missing",
        f"{masks}/bus/00001.png: size (32, 32) (height, width), but its frame has (48, 64)",
        f"{images}/car/00003.jpg: truncated (no end of JPEG data)",
        f"{masks}/car/00000.png: unreadable",
        "cat: no frames",
        "dog: 2 frames, fewer than model.frames=3",
    ):
        assert part in text


def test_frames_of_another_size_than_the_first_are_reported(tmp_path):
    make_davis(tmp_path)
    Image.new("RGB", (10, 8)).save(tmp_path / "JPEGImages" / "480p" / "bus" / "00002.jpg")
    with pytest.raises(DataError, match=r"00002\.jpg: size \(8, 10\), but the video began with \(48, 64\)"):
        check(davis(tmp_path), 3)


def test_frames_that_a_camera_turned_go_with_masks_as_they_are_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for folder in ("images/a", "masks/a"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(tmp_path / "images/a/0.jpg", exif=exif)
    mask = tmp_path / "masks/a/0.png"
    Image.new("L", (20, 40)).save(mask)
    video = DiskVideo("a", (tmp_path / "images/a/0.jpg",), (mask,))
    check([video], 1)
    assert video.frame(0).shape[:2] == video.mask(0).shape == video.size == (40, 20)
    Image.new("L", (40, 20)).save(mask)
    with pytest.raises(DataError, match=r"size \(20, 40\) \(height, width\), but its frame has \(40, 20\)"):
        check([video], 1)


def test_an_empty_list_of_videos_is_a_problem():
    with pytest.raises(DataError, match="no videos"):
        check([], 3)
