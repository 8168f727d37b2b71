"""From footage to masks of objects with ``agnn-predict`` and ``agnn-evaluate``, on small videos of two squares."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from agnn_lit.config import ConfigError
from agnn_lit.data.open import open_videos
from agnn_lit.inference.evaluation import evaluate
from agnn_lit.inference.prediction import predict
from agnn_lit.shared.pictures import colour_of
from agnn_lit.shared.runs import Run
from agnn_lit.training.fit import train
from tests.command import PATIENCE, wait_for
from tests.configs import evaluate_config, predict_config, train_config
from tests.memory import peak_of_prediction

SIZE = (48, 64)
RED, BLUE = (230, 30, 30), (30, 60, 230)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("runs") / "objects" / "default")
    train(train_config("trainer.max_epochs=1", "data.synthetic.primaries=2"), run)
    return run


def squares(t: int) -> np.ndarray:
    """Which square each pixel shows: they meet and part, the second in front."""
    ids = np.zeros(SIZE, np.uint8)
    ids[10:28, 2 + 2 * t : 20 + 2 * t] = 1
    ids[16:34, 44 - 2 * t : 62 - 2 * t] = 2
    return ids


def picture(ids: np.ndarray, t: int) -> np.ndarray:
    frame = np.random.default_rng(t).integers(90, 120, (*SIZE, 3), np.uint8)
    for number, colour in ((1, RED), (2, BLUE)):
        frame[ids == number] = colour
    return frame


def footage(folder: Path, length: int, shuffled: bool = True) -> tuple[Path, Path, list[np.ndarray]]:
    """Frames, masks with indices that change from frame to frame, and the truth."""
    frames, masks = folder / "walk", folder / "masks"
    frames.mkdir(parents=True)
    masks.mkdir()
    truth = [squares(t % 20) for t in range(length)]
    rng = np.random.default_rng(0)
    for t, ids in enumerate(truth):
        Image.fromarray(picture(ids, t)).save(frames / f"{t:05d}.png")
        other = np.array([0, *(1 + rng.permutation(9)[:2])], np.uint8) if shuffled else np.arange(3, dtype=np.uint8)
        Image.fromarray(other[ids], mode="L").save(masks / f"{t:05d}.png")
    return frames, masks, truth


def settings(run, source, out, *overrides):
    return predict_config(run.folder, source, out, "workers=0", *overrides)


def given(masks: Path) -> tuple[str, ...]:
    return "instances=masks", f"instances.source='{masks}'", "instances.agreement=0"


def read(out: Path) -> list[np.ndarray]:
    found = []
    for file in sorted((out / "masks").iterdir()):
        with Image.open(file) as image:
            assert image.mode == "P"
            found.append(np.asarray(image))
    return found


def renamed(ids: np.ndarray, first: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Ids by the truth of the first frame."""
    table = np.zeros(256, np.uint8)
    for number in (1, 2):
        table[np.bincount(first[truth == number]).argmax()] = number
    return table[ids]


def test_shuffled_masks_become_objects_with_a_colour_each(run, tmp_path, capsys):
    frames, masks, truth = footage(tmp_path, 16)
    out = predict(settings(run, frames, tmp_path / "out", *given(masks)))
    found = read(out)
    assert [set(np.unique(ids)) for ids in found] == [{0, 1, 2}] * 16
    for ids, true in zip(found, truth, strict=True):
        np.testing.assert_array_equal(renamed(ids, found[0], truth[0]), true)
    record = json.loads((out / "predict.json").read_text())
    assert record["objects"] == 2
    assert record["identity"]["instances"]["proposals"] == "masks"
    assert "16 masks of 2 objects and overlay.mp4 in" in capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == ["masks", "overlay.mp4", "predict.json"]
    with Image.open(out / "masks/00000.png") as image:
        assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # DAVIS's
    with av.open(str(out / "overlay.mp4")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    plain = picture(truth[0], 0).astype(float)
    for number in (1, 2):
        change = (shown - plain)[found[0] == number].mean(axis=0)
        towards = (np.array(colour_of(number)) - plain)[found[0] == number].mean(axis=0)
        assert change @ towards / np.linalg.norm(change) / np.linalg.norm(towards) > 0.9


def test_missing_and_larger_masks_and_a_frame_that_cannot_be_read(run, tmp_path):
    frames, masks, truth = footage(tmp_path, 12)
    (masks / "00004.png").unlink()
    with Image.open(masks / "00006.png") as image:
        image.resize((128, 96), Image.Resampling.NEAREST).save(masks / "00006.png")
    (frames / "00008.png").write_bytes(b"no picture")
    out = predict(settings(run, frames, tmp_path / "out", *given(masks), "on_error=skip"))
    found = dict(zip([int(p.stem) for p in sorted((out / "masks").iterdir())], read(out), strict=True))
    assert sorted(found) == [t for t in range(12) if t != 8]
    assert not found[4].any()
    for t in (0, 3, 5, 6, 7, 9, 11):
        np.testing.assert_array_equal(renamed(found[t], found[0], truth[0]), truth[t])


def test_one_frame_and_an_empty_foreground(run, tmp_path):
    frames, masks, truth = footage(tmp_path, 1)
    (ids,) = read(predict(settings(run, frames, tmp_path / "one", *given(masks))))
    np.testing.assert_array_equal(renamed(ids, ids, truth[0]), truth[0])
    out = predict(settings(run, frames, tmp_path / "empty", "instances=parts", "threshold=0.999999"))
    assert not read(out)[0].any()
    assert json.loads((out / "predict.json").read_text())["objects"] == 0


@pytest.mark.long
def test_a_command_killed_at_any_time_gives_the_same_masks(run, tmp_path):
    frames, masks, _ = footage(tmp_path, 60)
    whole = predict(settings(run, frames, tmp_path / "whole", *given(masks), "threads=1"))
    out = tmp_path / "killed"
    words = [f"input={frames}", f"out={out}", f"run={run.folder}", *given(masks), "threads=1", "workers=0"]
    command = [sys.executable, "-m", "agnn_lit.commands.predict", *words]
    for waits_for in (".candidates/*.npz", ".candidates/links.jsonl", "masks/*.png"):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda pattern=waits_for: any(out.glob(pattern)), process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert "Traceback" not in done.stderr
    assert [p.name for p in sorted((out / "masks").iterdir())] == [f"{t:05d}.png" for t in range(60)]
    assert all((a == b).all() for a, b in zip(read(out), read(whole), strict=True))
    assert not (out / ".candidates").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert "60 frames are there from before" in again.stdout
    assert json.loads((out / "predict.json").read_text())["objects"] == 2


@pytest.mark.long
def test_memory_does_not_grow_with_the_video(run, tmp_path):
    """Objects are followed in the memory of a frame: 200 frames take what 20 take."""
    more = {}
    for length in (20, 200):
        frames, masks, _ = footage(tmp_path / str(length), length)
        more[length] = peak_of_prediction(run.folder, frames, tmp_path / f"out{length}", *given(masks))
    assert more[200] < more[20] + 15


def test_evaluation_scores_objects_and_counts_switches(run, capsys):
    words = ("protocol=davis2017_unsupervised", "instances=parts", "threshold=0.4")
    summary, out = evaluate(evaluate_config(f"run={run.folder}", *words))
    assert out.name == "synthetic-test-davis2017_unsupervised-threshold0.4-parts"
    assert summary["sequences"] == 6, "two objects in each of three videos"
    assert summary["identity_switches"] >= 0
    assert len(list(out.glob("masks/*/*.png"))) == 18
    assert not (out / ".candidates").exists()
    assert json.loads((out / "overlays" / "overlays.json").read_text())
    assert f"{summary['identity_switches']} identity switches" in capsys.readouterr().out


def test_evaluation_of_given_masks_is_that_of_the_masks(run, tmp_path):
    """The annotation itself, its indices shuffled in every frame, comes back."""
    rng = np.random.default_rng(0)
    for video in open_videos(run.load_config().data, "test", 1):
        (tmp_path / video.name).mkdir()
        for t in range(len(video)):
            other = np.array([0, *(1 + rng.permutation(9)[:2])], np.uint8)
            mask = Image.fromarray(other[video.objects(t)], mode="L")
            mask.save(tmp_path / video.name / f"{video.frame_name(t)}.png")
    words = (*given(tmp_path), "instances.min_area=0", "protocol=davis2017_unsupervised")
    summary, _ = evaluate(evaluate_config(f"run={run.folder}", *words))
    assert summary["identity_switches"] == 0
    assert summary["JF_mean"] > 0.9, "all but what is seen for a frame or two"


def test_wrong_settings_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="it scores objects: instances=parts looks for them"):
        evaluate(evaluate_config(f"run={run.folder}", "protocol=davis2017_unsupervised"))
    frames, _, _ = footage(tmp_path, 1)
    for word, said in (
        ("instances.overlap=2", r"instances.overlap=2.0: must lie in \[0, 1\]"),
        ("instances.objects=300", "instances.objects=300: must lie in 1..254"),
        ("instances.min_length=0", "must be 1 or more"),
        ("instances.patience=-1", "must be 0 or more"),
        ("instances.min_likeness=-1", "instances.min_likeness=-1.0"),
        ("instances=masks", "instances.source is not set"),
        ("instances=coco", "instances.source is not set"),
    ):
        with pytest.raises(ConfigError, match=said):
            predict(settings(run, frames, tmp_path / "out", *(() if "s=" in word[:11] else ("instances=parts",)), word))
