"""Frames at training size on disk: the same clips, without decoding a frame twice."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from agnn_lit.data import video as video_module
from agnn_lit.data.dataset import ClipDataset, ClipKey
from agnn_lit.data.frame_cache import FrameCache
from agnn_lit.data.sampling import Seed
from agnn_lit.data.transforms import Appearance, ClipTransform
from agnn_lit.data.video import DataError
from tests.data.disk import davis, make_davis

TRANSFORMS = {
    "resized": ClipTransform((36, 40), 0.5, (0.7, 1.3), appearance=Appearance(jitter=1.0, jpeg=0.5)),
    "cropped first": ClipTransform((36, 40), 0.5, (0.7, 1.3), crop=0.8),
    "caffe": ClipTransform((48, 64), 0.5, (1.0, 1.0), "caffe"),
}


@pytest.fixture
def videos(tmp_path):
    found = davis(make_davis(tmp_path / "davis"))
    mask = found[0].masks[2]
    ids = np.array(Image.open(mask))
    ids[10:20, 10:30], ids[0, 0] = 255, 2  # void beside an object id, in one frame only
    Image.fromarray(ids).save(mask)
    return found


@pytest.fixture
def decoded(monkeypatch):
    """Paths of the frames that are decoded."""
    seen = []
    original = video_module.decode_image
    monkeypatch.setattr(video_module, "decode_image", lambda path: seen.append(path) or original(path))
    return seen


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_clips_are_the_same_to_the_digit_and_no_frame_is_decoded_twice(videos, decoded, tmp_path, transform):
    keys = [ClipKey(epoch, clip) for epoch in range(4) for clip in range(3)]
    plain = ClipDataset(videos, 3, transform, Seed(1))
    cached = ClipDataset(videos, 3, transform, Seed(1), cache=tmp_path / "cache")
    expected = [plain[key] for key in keys]
    assert any((clip.masks == -1).any() for clip in expected)
    decoded.clear()
    for found, clip in zip([cached[key] for key in keys], expected, strict=True):
        assert torch.equal(found.images, clip.images)
        assert torch.equal(found.masks, clip.masks)
    assert 0 < len(decoded) == len(set(decoded)) == len(list((tmp_path / "cache").glob("*/*.npy")))
    decoded.clear()
    again = ClipDataset(videos, 3, transform, Seed(1), cache=tmp_path / "cache")
    assert all(torch.equal(again[key].images, clip.images) for key, clip in zip(keys, expected, strict=True))
    assert decoded == []


def test_other_data_another_size_and_a_damaged_file_are_read_anew(videos, decoded, tmp_path):
    def clip(transform):
        return ClipDataset(videos[:1], 5, transform, Seed(1), cache=tmp_path / "cache")[ClipKey(0, 0)]

    first = clip(TRANSFORMS["resized"])
    assert len(decoded) == 5
    clip(TRANSFORMS["caffe"])
    assert len(decoded) == 10
    kept = FrameCache(tmp_path / "cache", TRANSFORMS["resized"]).file(videos[0], 1)
    kept.write_bytes(kept.read_bytes()[:100])
    assert torch.equal(clip(TRANSFORMS["resized"]).images, first.images)
    assert len(decoded) == 11
    frame = videos[0].frames[3]
    cv2.imwrite(str(frame), np.zeros((48, 64, 3), np.uint8))
    os.utime(frame, (1, 1))
    assert not torch.equal(clip(TRANSFORMS["resized"]).images, first.images)
    assert len(decoded) == 12


def test_a_folder_that_cannot_be_written_and_a_missing_frame_are_explained(videos, tmp_path):
    (tmp_path / "file").write_text("no folder")
    dataset = ClipDataset(videos, 3, TRANSFORMS["resized"], Seed(1), cache=tmp_path / "file")
    with pytest.raises(DataError, match=r"clips\.cache=.*file: .*; give another folder, or null"):
        dataset[ClipKey(0, 0)]
    missing = ClipDataset(videos[:1], 5, TRANSFORMS["resized"], Seed(1), cache=tmp_path / "cache")
    videos[0].frames[1].unlink()
    with pytest.raises(DataError, match=str(videos[0].frames[1])):
        missing[ClipKey(0, 0)]
