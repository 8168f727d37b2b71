"""Folders of frames, with masks or without."""

from __future__ import annotations

import pytest
from PIL import Image

from agnn_lit.data.datasets.folder import index_folder
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
