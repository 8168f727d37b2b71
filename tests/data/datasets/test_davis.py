"""DAVIS: its lists, frames and masks."""

from __future__ import annotations

import numpy as np
import pytest

from agnn_lit.data.datasets.davis import split_names
from agnn_lit.data.open import check
from agnn_lit.data.video import DataError
from tests.data.disk import davis, make_davis


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


def test_a_list_in_another_encoding_is_an_error_of_the_data(tmp_path):
    file = tmp_path / "ImageSets/2016/train.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes("chèvre\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.txt: a list of sequences must be UTF-8 text"):
        split_names(tmp_path, "2016", "train")
    file.write_text("chèvre\n", encoding="utf-16")
    assert split_names(tmp_path, "2016", "train") == ["chèvre"]


def test_a_missing_split_names_those_that_exist(tmp_path):
    make_davis(tmp_path)
    with pytest.raises(DataError, match=r"test\.txt: no such split; found there: train, val"):
        davis(tmp_path, "test")
    with pytest.raises(DataError, match="no such folder"):
        davis(tmp_path / "nowhere")


def test_real_footage_is_whole(davis_root):
    videos = davis(davis_root)
    check(videos, 3)
    assert all(v.size == (480, 854) for v in videos)
