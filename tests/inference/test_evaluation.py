"""Evaluation end to end: partition, masks, scores, pictures."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agnn_lit.config import ConfigError
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.inference import evaluation as ev
from agnn_lit.shared.runs import Run
from agnn_lit.sweeps.evaluation import evaluate_all
from agnn_lit.training.fit import train
from tests.configs import evaluate_config, train_config
from tests.data.disk import make_davis, make_folder

SCORES = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "T")


def evaluated(run: Run, *overrides: str):
    return ev.evaluate(evaluate_config(f"run={run.folder}", *overrides))


def test_everything_promised_is_written(run, capsys):
    summary, out = evaluated(run)
    assert out == run.folder / "evaluations" / "synthetic-test-simple"
    masks = sorted(out.rglob("masks/*/*.png"))
    assert len(masks) == 3 * 6
    with Image.open(masks[0]) as mask:
        assert mask.mode == "P"
        assert mask.size == (32, 32)
        assert set(np.unique(np.asarray(mask))) <= {0, 1}
    assert json.loads((out / "summary.json").read_text()) == summary
    for key in [*SCORES, "JF_mean", "protocol", "sequences", "frames", "threshold"]:
        assert key in summary
    with (out / "per_sequence.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["sequence", *SCORES]
    assert [row["sequence"] for row in table] == ["test-0000", "test-0001", "test-0002"]
    with (out / "per_frame.csv").open() as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == 18
    assert summary["J_mean"] == pytest.approx(np.mean([float(r["J"]) for r in frames]), abs=1e-6)
    printed = capsys.readouterr().out
    assert printed.index("frames") < printed.index("test-0000")


def test_overlays_are_the_best_median_and_worst_frames(run):
    _, out = evaluated(run)
    entries = json.loads((out / "overlays" / "overlays.json").read_text())
    assert [e["kind"] for e in entries] == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3 + ["lowest"] * 3
    values = [e["J"] for e in entries[:9]]
    assert values == sorted(values, reverse=True)
    with (out / "per_frame.csv").open() as file:
        rows = list(csv.DictReader(file))
    for e in entries[9:]:
        assert e["J"] == pytest.approx(min(float(r["J"]) for r in rows if r["sequence"] == e["sequence"]))
    assert [e["sequence"] for e in entries[9:]] == ["test-0000", "test-0001", "test-0002"]
    for e in entries:
        with Image.open(out / "overlays" / e["file"]) as picture:
            assert picture.size == (320, 320)


def test_scores_are_those_of_the_written_masks(run):
    _, out = evaluated(run)
    video = synthetic_videos("test", 3, length=6, size=(32, 32))[1]
    with (out / "per_frame.csv").open() as file:
        rows = {(r["sequence"], r["frame"]): float(r["J"]) for r in csv.DictReader(file)}
    for i in range(6):
        with Image.open(out / "masks" / video.name / f"{i:05d}.png") as file:
            predicted = np.asarray(file) > 0
        truth = video.mask(i) > 0
        union = (predicted | truth).sum()
        expected = (predicted & truth).sum() / union if union else 1.0
        assert rows[video.name, f"{i:05d}"] == pytest.approx(expected, abs=1e-6)


def test_held_out_and_training_videos_can_be_evaluated(run):
    assert evaluated(run, "split=val")[0]["sequences"] == 2
    assert evaluated(run, "split=train")[0]["sequences"] == 10
    with pytest.raises(ConfigError, match="leave data as trained"):
        evaluated(run, "split=val", "data=davis2016", "data.root=/x")


def test_the_checkpoint_is_enough(run, tmp_path):
    by_run, _ = evaluated(run)
    by_file, _ = ev.evaluate(evaluate_config(f"ckpt={run.best}", f"out={tmp_path}", "batch_size=2", "frames=3"))
    assert by_file["J_mean"] == by_run["J_mean"]


def test_a_lone_checkpoint_gets_a_folder_of_its_name(run, tmp_path):
    lone = tmp_path / "models" / "agnn.ckpt"
    lone.parent.mkdir()
    shutil.copy(run.best, lone)
    _, out = ev.evaluate(evaluate_config(f"ckpt={lone}", "split=val", "overlays=0"))
    assert out == tmp_path / "models" / "agnn" / "evaluations" / "synthetic-val-simple"


def test_the_released_way_of_testing(run):
    summary, out = evaluated(run, "experiment=official_test", "split=val", "workers=0")
    assert out.name == "synthetic-val-simple-random0-scales0.75_1_1.5-corners-crf_fast"
    assert [line.split(",")[0] for line in (out / "stages.csv").read_text().splitlines()[1:]] == [
        "raw",
        "scales",
        "crf",
    ]
    assert summary["frames"] == 2 * 6


def test_another_data_set_and_another_number_of_frames(run, tmp_path):
    make_davis(tmp_path / "davis", val=2)
    words = (
        "data=davis2016",
        f"data.root={tmp_path}/davis",
        f"out={tmp_path}/out",
        "frames=2",
        "protocol=davis2016",
    )
    summary, out = evaluated(run, *words)
    assert summary["sequences"] == 2
    assert summary["frames"] == 2 * 3  # first and last are not counted
    with Image.open(next(out.rglob("masks/*/*.png"))) as mask:
        assert mask.size == (64, 48)  # the footage's own size


def test_bf16_agrees_with_fp32(run, tmp_path):
    assert evaluated(run, "dtype=bf16", f"out={tmp_path}")[0]["J_mean"] == pytest.approx(
        evaluated(run)[0]["J_mean"], abs=0.1
    )


def test_footage_without_masks_cannot_be_scored(run, tmp_path):
    root = make_folder(tmp_path / "set")
    with pytest.raises((ConfigError, RuntimeError, ValueError), match="annotat"):
        evaluated(run, "data=folder", f"data.root={root / 'images'}", f"out={tmp_path}/out")


def test_wrong_calls_say_what_they_received(run, tmp_path):
    with pytest.raises(ConfigError, match="nowhere: no such run"):
        ev.evaluate(evaluate_config(f"run={tmp_path}/nowhere"))
    with pytest.raises(ConfigError, match="no such checkpoint"):
        ev.evaluate(evaluate_config(f"ckpt={tmp_path}/absent.ckpt"))
    torch.save({"weights": 1}, tmp_path / "foreign.ckpt")
    with pytest.raises(ConfigError, match="not a checkpoint of agnn-train"):
        ev.evaluate(evaluate_config(f"ckpt={tmp_path}/foreign.ckpt"))
    (tmp_path / "torn.ckpt").write_bytes(run.best.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot be loaded as weights only"):
        ev.evaluate(evaluate_config(f"ckpt={tmp_path}/torn.ckpt"))
    for protocol in ("best", "davis2017_unsupervised"):
        with pytest.raises(ConfigError, match=f"protocol={protocol}: must be one of simple, davis2016, "):
            evaluated(run, f"protocol={protocol}")
    with pytest.raises(ConfigError, match="accelerator=tpu: must be one of auto, cpu, gpu"):
        evaluated(run, "accelerator=tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_refused(run):
    with pytest.raises(ConfigError, match="no CUDA device is available"):
        evaluated(run, "accelerator=gpu")


def test_concat_keeps_its_number_of_frames(tmp_path):
    run = Run(tmp_path)
    train(train_config("trainer.max_epochs=1", "model.aggregation=concat", "model.loop_edge=none"), run)
    with pytest.raises(ConfigError, match=r"frames=2: model\.aggregation=concat was trained for 3"):
        evaluated(run, "frames=2")


def test_settings_of_the_data_and_of_the_evaluation_count(run):
    summary, out = evaluated(run, "data.synthetic.test_videos=2", "data.synthetic.distractors=0", "threshold=0.7")
    assert summary["sequences"] == 2
    assert out.name == "synthetic-test-simple-test_videos2_distractors0-threshold0.7"
    assert (summary["graph_frames"], summary["dtype"]) == (3, "fp32")


def test_other_data_and_other_checkpoints_are_other_evaluations(run):
    """Trained with six frames a video; the schema's own twelve are a change like any other."""
    usual, out = evaluated(run)
    longer, there = evaluated(run, "data.synthetic.length=12")
    assert (usual["frames"], longer["frames"]) == (3 * 6, 3 * 12)
    assert (out.name, there.name) == ("synthetic-test-simple", "synthetic-test-simple-length12")
    _, last = ev.evaluate(evaluate_config(f"ckpt={run.last}"))
    assert last.name == "synthetic-test-simple-last"
    assert json.loads((out / "summary.json").read_text())["checkpoint"] == str(run.best)
    (out / "masks/test-0099").mkdir()
    evaluated(run, f"out={out}")
    assert not (out / "masks/test-0099").exists(), "of a video that is not evaluated any more"
    others = run.folder / "others"
    (others / "masks").mkdir(parents=True)
    (others / "masks/mine.png").touch()
    (others / "summary.json").write_text('{"J_mean": 0.5}')  # of agnn-score
    evaluated(run, f"out={others}")
    assert (others / "masks/mine.png").exists()


def test_a_run_is_not_taken_for_evaluated_on_other_data(trained, tmp_path, capsys):
    shutil.copytree(trained.folder, tmp_path / "seed-0")
    for words, said in (
        ((), "1/1 seed-0\n"),
        (("data.synthetic.length=12",), "1/1 seed-0\n"),
        (("data.synthetic.length=12",), "1/1 seed-0: already evaluated, synthetic-test-simple-length12\n"),
    ):
        evaluate_all(evaluate_config(f"run={tmp_path}", *words), [tmp_path / "seed-0"])
        assert said in capsys.readouterr().out


def test_videos_of_training_are_named_as_such(tmp_path, capsys):
    run = Run(tmp_path / "run")
    words = ("data=folder", f"data.root={make_folder(tmp_path / 'set')}", "clips.val_share=0")
    train(train_config("trainer.max_epochs=1", *words), run)
    evaluated(run)
    assert "so these are the training videos" in " ".join(capsys.readouterr().out.split())


def test_later_frames_of_the_videos_of_training_can_be_the_test(tmp_path, capsys):
    run = Run(tmp_path / "run")
    words = ("data=folder", f"data.root={make_folder(tmp_path / 'set', length=6)}", "clips.val_share=0")
    train(train_config("trainer.max_epochs=1", *words, "data.train_range=[0,0.5]", "data.test_range=[0.5,1]"), run)
    summary, out = evaluated(run)
    assert summary["frames"] == 3 * summary["sequences"]
    assert {row.split(",")[1] for row in (out / "per_frame.csv").read_text().split()[1:]} == {"00003", "00004", "00005"}
    assert "these are the training videos" not in " ".join(capsys.readouterr().out.split())


def test_every_stage_is_scored_by_itself(run, capsys):
    summary, out = evaluated(run, "scales=[0.5,1]", "flip=true", "crf=fast", "workers=0", "split=val")
    assert out.name == "synthetic-val-simple-scales0.5_1-flip-crf_fast"
    assert summary["stage"] == "crf"
    with (out / "stages.csv").open() as file:
        rows = {row["stage"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["raw", "scales", "flip", "crf"]
    assert {row["threshold"] for row in rows.values()} == {"0.5"}
    plain_summary, plain_out = evaluated(run, "split=val")
    for stage in ("raw", "scales", "flip"):
        below = json.loads((out / "stages" / stage / "summary.json").read_text())
        assert below["stage"] == stage
        assert float(rows[stage]["J_mean"]) == pytest.approx(below["J_mean"], abs=1e-6)
        assert len(list((out / "stages" / stage / "masks").rglob("*.png"))) == 2 * 6
    raw = json.loads((out / "stages" / "raw" / "summary.json").read_text())
    assert {k: raw[k] for k in ("J_mean", "F_mean", "T")} == {k: plain_summary[k] for k in ("J_mean", "F_mean", "T")}
    assert not (plain_out / "stages").exists()
    assert "scores by stage" in capsys.readouterr().out


def test_precision_and_random_references_name_the_folder(run):
    summary, out = evaluated(run, "dtype=bf16", "references=random", "seed=4", "threshold=0.4", "split=val")
    assert out.name == "synthetic-val-simple-threshold0.4-random4-bf16"
    assert summary["dtype"] == "bf16"


def test_evaluations_of_other_data_keep_their_folders(run, tmp_path):
    """Roots of one name, names that differ in characters that are no Latin letters, and other sequences."""
    roots = [make_folder(tmp_path / name, length=3) for name in ("one/set", "two/set", "猫", "狗", "a-b", "a+b")]
    found = [evaluated(run, "data=folder", f"data.root='{root}'", "overlays=0")[1] for root in roots]
    renamed = make_folder(tmp_path / "names", videos=("猫", "狗", "a b", "a-b"), length=3)
    for names in (["猫"], ["狗"], ["a b"], ["a-b"], ["a b", "a-b"]):
        quoted = ",".join(f"'{name}'" for name in names)
        words = ("data=folder", f"data.root={renamed}", f"data.sequences=[{quoted}]", "overlays=0")
        found.append(evaluated(run, *words)[1])
        assert sorted(p.name for p in (found[-1] / "masks").iterdir()) == names
    assert len(set(found)) == len(found)
    assert all(out.name.isascii() and (out / "summary.json").is_file() for out in found)
    assert found[0].name.startswith("folder-test-simple-set")
    assert evaluated(run, "data=folder", f"data.root={roots[0]}", "overlays=0")[1] == found[0]


def test_a_sweep_is_evaluated_again_where_anything_has_changed(trained, tmp_path, capsys):
    shutil.copytree(trained.folder, tmp_path / "seed-0")
    one, two = (make_folder(tmp_path / "data" / name, length=3) for name in ("one", "two"))

    def again(root: Path, *words: str) -> str:
        cfg = evaluate_config(f"run={tmp_path}", "data=folder", f"data.root={root}", "overlays=0", *words)
        evaluate_all(cfg, [tmp_path / "seed-0"])
        return "already evaluated" if "already evaluated" in capsys.readouterr().out else "evaluated"

    assert again(one) == "evaluated"
    assert again(one) == "already evaluated"
    assert again(two) == "evaluated"
    assert again(one) == "already evaluated"
    mask = one / "masks" / "one" / "00001.png"
    pixels = np.asarray(Image.open(mask)).copy()
    pixels[:5] = 1
    Image.fromarray(pixels).save(mask)  # a corrected annotation
    assert again(one) == "evaluated"
    assert again(two) == "already evaluated"
    frame = one / "images" / "two" / "00002.jpg"
    os.utime(frame, ns=(1, 1))
    assert again(one) == "evaluated"
    assert again(one, "threshold=0.6") == "evaluated"
    for kind in ("images", "masks"):
        shutil.rmtree(one / kind / "two")
    assert again(one) == "evaluated"
    content = torch.load(tmp_path / "seed-0/checkpoints/best.ckpt", weights_only=True)
    content["retrained"] = True
    torch.save(content, tmp_path / "seed-0/checkpoints/best.ckpt")
    assert again(one) == "evaluated"
    assert again(one) == "already evaluated"
