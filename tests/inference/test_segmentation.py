"""Masks of a video from Python: the same as agnn-predict's, in order, computed once, with nothing left behind."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import agnn_lit
from agnn_lit.data.video import DataError
from agnn_lit.inference import video as inference_video
from agnn_lit.inference.prediction import predict
from agnn_lit.metrics.mask_image import read_ids
from tests.configs import predict_config
from tests.data.videos import damage, picture, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4")


@pytest.fixture(scope="module")
def model(run):
    return agnn_lit.load(run.folder, dtype="fp32")


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Indices of the frames that the network encodes."""
    seen: list[int] = []
    original = inference_video._encode

    def count(model, loaded, *rest):
        seen.extend(i for group in loaded.step.encode for i in group)
        return original(model, loaded, *rest)

    monkeypatch.setattr(inference_video, "_encode", count)
    return seen


def masks_of(folder: Path) -> list[np.ndarray]:
    return [read_ids(file) for file in sorted((folder / "masks").iterdir())]


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ([], {}),
        (["crf=fast", "threshold=0.3"], {"crf": "fast", "threshold": 0.3}),
        (["scales=[0.5,1]", "flip=true"], {"scales": (0.5, 1), "flip": True}),
        (["instances=parts", "threshold=0.2"], {"instances": "parts", "threshold": 0.2}),
        (["references=random", "seed=3", "frames=2"], {"references": "random", "seed": 3, "frames": 2}),
    ],
)
def test_frames_come_in_order_with_the_masks_of_the_command(run, model, film, tmp_path, words, settings):
    out = predict(predict_config(run.folder, film, tmp_path / "out", "dtype=fp32", "soft=true", *words))
    frames = list(model.segment(film, **settings))
    assert [f.index for f in frames] == list(range(12))
    assert [f.time for f in frames] == pytest.approx([t / 25 for t in range(12)])
    for frame, mask in zip(frames, masks_of(out), strict=True):
        assert np.array_equal(frame.mask, mask)
        with Image.open(out / "soft" / f"{frame.name}.png") as soft:
            assert np.array_equal(np.round(255 * frame.probability), np.asarray(soft))
        assert frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image.astype(int) - picture(frame.index)).mean() < 8


def test_what_was_iterated_over_is_saved_without_the_network(run, model, film, tmp_path, encoded):
    expected = predict(predict_config(run.folder, film, tmp_path / "command", "dtype=fp32"))
    encoded.clear()
    segmentation = model.segment(film)
    assert encoded == []  # nothing is computed before it is needed
    first = [f.mask for f in segmentation]
    assert sorted(encoded) == list(range(12))
    again = [f.mask for f in segmentation]
    out = segmentation.save(tmp_path / "python", soft=True)
    assert len(encoded) == 12
    assert all(map(np.array_equal, first, again))
    assert (out / "overlay.mp4").read_bytes() == (expected / "overlay.mp4").read_bytes()
    for name in (path.name for path in (expected / "masks").iterdir()):
        assert (out / "masks" / name).read_bytes() == (expected / "masks" / name).read_bytes()
    about = [json.loads((folder / "predict.json").read_text())["identity"] for folder in (out, expected)]
    assert about[0] == about[1]


def test_the_first_frames_are_there_before_the_last_are_computed(model, film, encoded, tmp_path):
    segmentation = model.segment(film)
    frames = iter(segmentation)
    assert [next(frames).index for _ in range(2)] == [0, 1]
    assert 0 < len(encoded) < 12
    frames.close()
    seen = len(encoded)
    out = segmentation.save(tmp_path / "out", overlay=False)
    assert len(masks_of(out)) == 12
    assert len(encoded) <= 12 + seen  # at most the batch at hand twice


def test_saved_masks_go_on_where_the_command_stopped(run, model, film, tmp_path, encoded):
    out = predict(predict_config(run.folder, film, tmp_path / "out", "dtype=fp32"))
    (out / "masks" / "00004.png").unlink()
    encoded.clear()
    model.segment(film).save(out)
    assert 4 in encoded
    assert len(encoded) < 12
    assert len(masks_of(out)) == 12


def test_a_folder_of_other_settings_is_refused(model, film, tmp_path):
    model.segment(film).save(tmp_path / "out", overlay=False)
    with pytest.raises(agnn_lit.ConfigError, match=r"masks of other settings:\n.*threshold"):
        model.segment(film, threshold=0.4).save(tmp_path / "out", overlay=False)
    model.segment(film, threshold=0.4).save(tmp_path / "out", overlay=False, overwrite=True)


def test_frames_in_memory_give_the_masks_of_their_files(model, tmp_path):
    frames = [picture(t) for t in range(5)]
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{t}.png")
    expected = [f.mask for f in model.segment(tmp_path)]
    segmentation = model.segment(np.stack(frames), fps=5)
    assert all(map(np.array_equal, [f.mask for f in segmentation], expected))
    assert [f.time for f in segmentation] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    out = segmentation.save(tmp_path / "out")
    assert all(map(np.array_equal, masks_of(out), expected))
    assert json.loads((out / "predict.json").read_text())["identity"]["input"] == "frames"


def test_objects_are_counted(model, film):
    segmentation = model.segment(film, instances="parts", threshold=0.2)
    largest = max(int(f.mask.max()) for f in segmentation)
    assert segmentation.objects == largest > 0
    assert model.segment(film).objects is None


def test_unreadable_frames_stop_or_are_left_out(model, tmp_path):
    film = damage(write_video(tmp_path / "a.avi", "mjpeg", pix_fmt="yuvj420p"), 5)
    with pytest.raises(DataError, match="1 of 12 frames cannot be read"):
        model.segment(film)
    segmentation = model.segment(film, on_error="skip")
    assert [f.index for f in segmentation] == [t for t in range(12) if t != 5]
    assert list(segmentation.skipped) == [5]


def test_nothing_is_left_in_the_temporary_folder(model, film, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with model.segment(film) as segmentation:
        next(iter(segmentation))
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    for use in (lambda: next(iter(segmentation)), lambda: segmentation.save(tmp_path / "out")):
        with pytest.raises(ValueError, match="this segmentation is closed"):
            use()
    dropped = model.segment(film)
    next(iter(dropped))
    del dropped
    assert not list(tmp_path.iterdir())
