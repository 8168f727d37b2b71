from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from agnn_lit.data.datasets.davis import index_davis, split_names
from agnn_lit.data.datasets.folder import index_folder
from agnn_lit.data.datasets.youtube_objects import index_youtube_objects
from agnn_lit.data.open import check, select
from agnn_lit.data.video import DataError, DiskVideo, cut, read_mask
from tests.data.disk import make_davis, make_folder, make_youtube_objects


def davis(root, split="train"):
    return index_davis(root, split_names(root, "2016", split))


def test_davis_splits_frames_and_merged_masks(tmp_path):
    make_davis(tmp_path)
    train, val = davis(tmp_path), davis(tmp_path, "val")
    assert [v.name for v in train] == ["bear", "bus", "car"]
    assert [v.name for v in val] == ["dog"]
    check(train, 3)
    video = train[0]
    assert len(video) == 5
    assert video.size == (48, 64)
    assert video.frame(1).shape == (48, 64, 3)
    assert set(np.unique(video.mask(1))) == {0, 1}  # object index 2 on disk
    assert video.frame_name(1) == "00001"


def test_official_2016_lists_of_file_pairs_are_read_as_names(tmp_path):
    make_davis(tmp_path)
    lines = [f"/JPEGImages/480p/dog/{i:05d}.jpg /Annotations/480p/dog/{i:05d}.png" for i in range(3)]
    (tmp_path / "ImageSets" / "2016" / "val.txt").write_text("\n".join(lines))
    assert [v.name for v in davis(tmp_path, "val")] == ["dog"]


def test_the_lists_of_the_davis_2016_archive_are_found(tmp_path):
    root = make_davis(tmp_path)
    (root / "ImageSets" / "2016").rename(root / "ImageSets" / "480p")
    files = [(name, k) for name in ("bus", "car") for k in (0, 1)]
    lines = (f"/JPEGImages/480p/{n}/0000{k}.jpg /Annotations/480p/{n}/0000{k}.png" for n, k in files)
    (root / "ImageSets" / "480p" / "train.txt").write_text("\n".join(lines))
    assert split_names(root, "2016", "train") == ["bus", "car"]
    with pytest.raises(DataError):
        split_names(root, "2017", "train")


def test_frames_are_in_natural_order_and_hidden_files_are_none(tmp_path):
    for name in ("10", "2", "1", "._1"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    (video,) = index_folder(tmp_path)
    assert [p.stem for p in video.frames] == ["1", "2", "10"]


def test_a_missing_split_names_those_that_exist(tmp_path):
    make_davis(tmp_path)
    with pytest.raises(DataError, match=r"test\.txt: no such split; found there: train, val"):
        davis(tmp_path, "test")
    with pytest.raises(DataError, match="no such folder"):
        davis(tmp_path / "nowhere")


def test_youtube_objects_annotates_every_tenth_frame(tmp_path):
    videos = index_youtube_objects(make_youtube_objects(tmp_path))
    assert [v.name for v in videos] == ["cat/0001", "dog/0001"]
    assert [i for i in range(11) if videos[0].mask(i) is not None] == [0, 10]
    check(videos, 2)


def test_folders_with_and_without_masks(tmp_path):
    root = make_folder(tmp_path / "set")
    assert [(v.name, len(v)) for v in index_folder(root)] == [("one", 4), ("two", 4)]
    plain = index_folder(root / "images" / "one")
    assert [v.name for v in plain] == ["one"]
    assert plain[0].mask(0) is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        index_folder(tmp_path / "empty")


def test_one_bit_and_colour_masks_are_foreground_above_zero(tmp_path):
    bits = np.zeros((4, 6), bool)
    bits[1, 2] = True
    Image.fromarray(bits).save(tmp_path / "bits.png")
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[1, 2, 2] = 9
    Image.fromarray(colour).save(tmp_path / "colour.png")
    for name in ("bits.png", "colour.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), bits)


@pytest.mark.parametrize("share", [0.6667, 0.5, 0.1])
def test_ranges_that_meet_share_no_frame_and_leave_none_out(tmp_path, share):
    make_davis(tmp_path)
    (video, *_) = davis(tmp_path)
    first, last = cut(video, 0.0, share), cut(video, share, 1.0)
    assert first.frames + last.frames == video.frames
    assert first.masks + last.masks == video.masks
    assert len(first) == {0.6667: 4, 0.5: 3, 0.1: 1}[share]  # of 5


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


def test_an_unreadable_file_names_itself_when_it_is_read(tmp_path):
    make_davis(tmp_path)
    video = davis(tmp_path, "val")[0]
    video.frames[0].write_bytes(b"\xff\xd8 broken")
    video.masks[0].write_bytes(b"broken")
    with pytest.raises(DataError, match=r"00000\.jpg: cannot be read"):
        video.frame(0)
    with pytest.raises(DataError, match=r"00000\.png: cannot be read as a mask"):
        video.mask(0)


def test_an_empty_list_of_videos_is_a_problem():
    with pytest.raises(DataError, match="no videos"):
        check([], 3)


def test_real_footage_is_whole(davis_root):
    videos = davis(davis_root)
    check(videos, 3)
    assert all(v.size == (480, 854) for v in videos)
