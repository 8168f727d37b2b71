"""Proposals from disk and from Mask R-CNN: what is read, what is resized, what is refused."""

from __future__ import annotations

import json
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from agnn_lit.config import ConfigError, InstancesConfig
from agnn_lit.data.video import DataError
from agnn_lit.instances import proposals
from agnn_lit.instances.proposals import CocoFile, MaskFolder, MaskRcnn, open_proposals
from agnn_lit.shared import torchvision_ops

FRAME = np.zeros((48, 64, 3), np.uint8)


def square(number: int, size=(48, 64)) -> np.ndarray:
    ids = np.zeros(size, np.uint8)
    ids[8:24, 8:40] = number
    return ids


def save(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids, mode="L").save(path)


def test_a_folder_of_masks_gives_a_proposal_for_each_index(tmp_path):
    ids = square(7)
    ids[30:40, 50:60] = 3
    ids[0, 0] = 255  # void
    save(tmp_path / "bear" / "00000.png", ids)
    source = MaskFolder(tmp_path)
    three, seven = source("bear", "00000", FRAME)
    assert (three.mask == (ids == 3)).all()
    assert (seven.mask == (ids == 7)).all()
    assert three.score == seven.score == 1
    assert source("bear", "00001", FRAME) == [], "no file for the frame"
    assert source("bus", "00000", FRAME) == [], "none for the sequence"
    save(tmp_path / "00002.png", square(1))
    assert len(source("walk.mp4", "00002", FRAME)) == 1, "a folder of one video"


def test_masks_of_another_size_are_brought_to_the_frames(tmp_path):
    half = square(1, (24, 32))
    save(tmp_path / "00000.png", half)
    (found,) = MaskFolder(tmp_path)("bear", "00000", FRAME)
    assert found.mask.shape == (48, 64)
    assert (found.mask == cv2.resize(half, (64, 48), interpolation=cv2.INTER_NEAREST)).all()


def test_a_wrong_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no such folder; needed: <sequence>/<frame>.png"):
        MaskFolder(tmp_path / "none")
    with pytest.raises(ConfigError, match="no PNG files"):
        MaskFolder(tmp_path)
    (tmp_path / "00000.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"00000\.png"):
        MaskFolder(tmp_path)("bear", "00000", FRAME)


def run_lengths(mask: np.ndarray) -> dict:
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def plain_lengths(mask: np.ndarray) -> dict:
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


# pycocotools 2.0.11 beside NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("images", ["none", "file names"])
def test_coco_results_in_every_form_of_mask(tmp_path, images):
    mask = square(1)
    forms = [run_lengths(mask), plain_lengths(mask), [[8, 8, 40, 8, 40, 24, 8, 24]], run_lengths(square(1, (24, 32)))]
    entries = [
        {"image_id": "bear/00000" if images == "none" else 5, "segmentation": form, "score": 0.9 - 0.1 * k}
        for k, form in enumerate(forms)
    ]
    named = {"images": [{"id": 5, "file_name": "bear/00000.jpg"}], "annotations": entries}
    (tmp_path / "found.json").write_text(json.dumps(entries if images == "none" else named))
    source = CocoFile(tmp_path / "found.json")
    found = source("bear", "00000", FRAME)
    assert [p.score for p in found] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    for proposal in found[:3]:
        assert (proposal.mask == (mask > 0)).all()
    assert found[3].mask.shape == (48, 64)
    assert np.count_nonzero(found[3].mask) == 4 * 16 * 24
    assert source("bear", "00001", FRAME) == []


@pytest.mark.parametrize("content", ["{", "[1]", '[{"image_id": 1}]', '{"images": []}', "3"])
def test_what_is_not_coco_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ConfigError, match=r"instances.source=.*x.json: not COCO-style"):
        CocoFile(tmp_path / "x.json")


def test_a_segmentation_that_is_none_is_said_with_its_frame(tmp_path):
    (tmp_path / "x.json").write_text('[{"image_id": "bear/00000", "segmentation": {"size": [48, 64]}}]')
    with pytest.raises(DataError, match=r"x.json, bear/00000: a segmentation is neither RLE nor polygons"):
        CocoFile(tmp_path / "x.json")("bear", "00000", FRAME)


def test_coco_without_its_package_or_file(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no such file"):
        CocoFile(tmp_path / "none.json")
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ConfigError, match=r'instances=coco needs pycocotools.* pip install "agnn-lit\[instances\]"'):
        CocoFile(tmp_path / "none.json")


def test_mask_rcnn_without_compiled_operators_says_so(monkeypatch):
    monkeypatch.setattr(torchvision_ops, "operators_are_missing", lambda: True)
    with pytest.raises(ConfigError, match=r"needs torchvision's compiled operators .*instances=parts, masks or coco"):
        MaskRcnn("MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1", "cpu")


def test_mask_rcnn_with_a_file_of_weights(monkeypatch, tmp_path):
    """Building and loading are the real ones; what it detects is given, for the operators may not be there."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

    monkeypatch.setattr(torchvision_ops, "operators_are_missing", lambda: False)
    network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    source = MaskRcnn(str(tmp_path / "weights.pth"), "cpu")
    ours, theirs = source._model.state_dict(), network.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert not source._model.training
    given = []

    def detect(images):
        given.extend(images)
        masks = torch.zeros(2, 1, 48, 64)
        masks[0, 0, 8:24, 8:40] = 0.8
        masks[1, 0, 30:] = 0.51
        return [{"masks": masks, "scores": torch.tensor([0.9, 0.3])}]

    monkeypatch.setattr(source, "_model", detect)
    frame = FRAME.copy()
    frame[0, 0] = (255, 0, 51)
    first, second = source("bear", "00000", frame)
    assert given[0][:, 0, 0].tolist() == pytest.approx([1, 0, 0.2])
    assert (first.mask == (square(1) > 0)).all()
    assert np.count_nonzero(second.mask) == 18 * 64
    assert (first.score, second.score) == pytest.approx((0.9, 0.3))
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth"):
        MaskRcnn(str(tmp_path / "other.pth"), "cpu")


def test_each_setting_opens_its_source(tmp_path, monkeypatch):
    save(tmp_path / "00000.png", square(1))
    (tmp_path / "x.json").write_text("[]")
    assert open_proposals(InstancesConfig("parts"), "cpu")("bear", "00000", FRAME) is None
    masks = open_proposals(InstancesConfig("masks", str(tmp_path)), "cpu")
    assert len(masks("bear", "00000", FRAME)) == 1
    assert open_proposals(InstancesConfig("coco", str(tmp_path / "x.json")), "cpu")("a", "b", FRAME) == []
    called = types.SimpleNamespace()
    monkeypatch.setattr(proposals, "MaskRcnn", lambda *words: called.__setattr__("words", words))
    open_proposals(InstancesConfig("maskrcnn", "X"), "cuda")
    assert called.words == ("X", "cuda")
