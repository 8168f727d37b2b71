"""Folders of frames, with masks or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agnn_lit.data.datasets.folder import index_folder
from agnn_lit.data.open import check
from agnn_lit.data.video import DataError
from tests.data.disk import make_folder


def test_frames_are_in_natural_order_and_hidden_files_are_none(tmp_path):
    for name in ("10", "2", "1", "._1"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    (video,) = index_folder(tmp_path)
    assert [p.stem for p in video.frames] == ["1", "2", "10"]


def test_folders_with_and_without_masks(tmp_path):
    root = make_folder(tmp_path / "set")
    assert [(v.name, len(v)) for v in index_folder(root)] == [("one", 4), ("two", 4)]
    plain = index_folder(root / "images" / "one")
    assert [v.name for v in plain] == ["one"]
    assert plain[0].mask(0) is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        index_folder(tmp_path / "empty")


def frames_in(folder: Path, names=("00000", "00001", "00002"), suffix=".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (6, 4), (90, 90, 90)).save(folder / f"{name}{suffix}")


def masks_in(folder: Path, names=("00000", "00001", "00002"), suffix=".png") -> None:
    """Each mask shows its number: that many pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        mask = np.zeros((4, 6), np.uint8)
        mask.ravel()[: number + 1] = 255
        Image.fromarray(mask).save(folder / f"{name}{suffix}")


LAYOUTS = [
    ("images/v", "masks/v"),
    ("frames/v", "masks/v"),
    ("JPEGImages/v", "Annotations/v"),
    ("JPEGImages/480p/v", "Annotations/480p/v"),
    ("JPEGImages/Full-Resolution/v", "Annotations_unsupervised/Full-Resolution/v"),
    ("v/images", "v/masks"),
    ("v/frames", "v/Annotations"),
    ("v", "masks/v"),
    ("images", "masks"),
    ("frames", "gt"),
    (".", "masks"),
]


@pytest.mark.parametrize(("images", "masks"), LAYOUTS)
def test_layouts_that_people_have(tmp_path, images, masks):
    root = tmp_path / "v"
    frames_in(root / images)
    masks_in(root / masks)
    (root / images / ".ipynb_checkpoints").mkdir()
    (root / "@eaDir").mkdir()
    frames_in(root / "@eaDir")
    (root / ".thumbs").mkdir()
    frames_in(root / ".thumbs")
    (video,) = index_folder(root)
    assert video.name == "v"
    assert [int((video.mask(i) > 0).sum()) for i in range(3)] == [1, 2, 3]
    check([video], 1)


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (("00000", "00001", "00002"), ".PNG"),
        (("00000_mask", "00001_mask", "00002_mask"), ".png"),
        (("00000-gt", "00001-gt", "00002-gt"), ".png"),
        (("v_00000", "v_00001", "v_00002"), ".png"),
        (("00000", "00001", "00002"), ".bmp"),
    ],
)
def test_names_of_masks_that_people_give(tmp_path, names, suffix):
    frames_in(tmp_path / "images/v")
    masks_in(tmp_path / "masks/v", names, suffix)
    (video,) = index_folder(tmp_path)
    assert [int((video.mask(i) > 0).sum()) for i in range(3)] == [1, 2, 3]


def test_masks_of_some_frames(tmp_path):
    frames_in(tmp_path / "images/v")
    masks_in(tmp_path / "masks/v", ("00001",))
    (video,) = index_folder(tmp_path)
    assert [mask is None for mask in video.masks] == [True, False, True]
    check([video], 1)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("00001", "00002", "00003"), "masks are numbered from 00001 to 00003, frames from 00000 to 00002"),
        (("v_00001", "v_00002", "v_00003"), "masks are numbered from 00001 to 00003"),
        (("00000", "00001", "x"), r"x\.png belongs to no frame; frames of v are called 00000 … 00002"),
        (("a", "b", "c"), r"a\.png, b\.png, c\.png belong to no frame"),
    ],
)
def test_masks_of_no_frame_are_refused(tmp_path, names, said):
    frames_in(tmp_path / "images/v")
    masks_in(tmp_path / "masks/v", names)
    with pytest.raises(DataError, match=said):
        index_folder(tmp_path)


def test_lossy_masks_are_refused_by_name(tmp_path):
    frames_in(tmp_path / "images/v")
    masks_in(tmp_path / "masks/v", suffix=".jpg")
    (video,) = index_folder(tmp_path)
    with pytest.raises(DataError, match=r"00000\.jpg: a JPEG image, which is lossy"):
        check([video], 1)


@pytest.mark.parametrize("folder", ["thumbs", "old", "480"])
def test_folders_of_images_beside_frames_are_refused(tmp_path, folder):
    frames_in(tmp_path / "images")
    frames_in(tmp_path / "images" / folder)
    with pytest.raises(DataError, match=f"holds 3 images, and images in {folder}, too"):
        index_folder(tmp_path)


def test_frames_of_one_name_are_refused(tmp_path):
    frames_in(tmp_path / "v")
    frames_in(tmp_path / "v", ("00001",), ".png")
    with pytest.raises(DataError, match="2 images are called 00001, and would share one mask"):
        check(index_folder(tmp_path), 1)


def test_what_is_unclear_shows_the_tree(tmp_path):
    frames_in(tmp_path / "a/b/c")
    with pytest.raises(DataError, match=r"DIR/images/<video>/\*\.jpg   with  DIR/masks/<video>/\*\.png"):
        index_folder(tmp_path)
    frames_in(tmp_path / "two/images")
    frames_in(tmp_path / "two/frames")
    with pytest.raises(DataError, match="holds frames and images: which one"):
        index_folder(tmp_path / "two")
