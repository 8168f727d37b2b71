from __future__ import annotations

import csv
import json

import pytest

from agnn_lit.config import LoggerConfig
from agnn_lit.shared.runs import Run
from agnn_lit.sweeps.evaluation import evaluate_run
from agnn_lit.training.fit import train
from agnn_lit.training.loggers import CsvLogger, build_loggers, wandb_mode
from tests.configs import evaluate_config, train_config
from tests.wandb_files import read_offline_run


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_csv_joins_what_is_logged_at_one_step(tmp_path):
    logger = CsvLogger(tmp_path)
    logger.log_metrics({"a": 1.0, "epoch": 0}, 3)
    logger.log_metrics({"b": 2.0}, 3)
    logger.log_metrics({"a": 5.0}, 1)
    logger.finalize("success")
    assert rows(tmp_path) == [
        {"step": "1", "epoch": "", "a": "5.0", "b": ""},
        {"step": "3", "epoch": "0", "a": "1.0", "b": "2.0"},
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "metrics.csv"]


def test_csv_goes_on_in_its_file_and_replaces_what_is_done_again(tmp_path):
    first = CsvLogger(tmp_path)
    for step in range(4):
        first.log_metrics({"a": step}, step)
    first.save()
    again = CsvLogger(tmp_path)
    again.log_metrics({"a": 20}, 2)
    again.log_metrics({"a": 40, "b": 1}, 4)
    again.save()
    seen = [(row["a"], row["b"]) for row in rows(tmp_path)]
    assert seen == [
        ("0", ""),
        ("1", ""),
        ("20", ""),
        ("3", ""),
        ("40", "1"),
    ]


def test_csv_is_written_by_the_first_process_alone(tmp_path, monkeypatch):
    from pytorch_lightning.utilities import rank_zero_only

    (tmp_path / "metrics.csv").write_text("step,epoch,a\n0,0,1.0\n1,0,2.")  # which the first process mends
    before = (tmp_path / "metrics.csv").read_text()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = CsvLogger(tmp_path)
    logger.log_metrics({"a": 5.0}, 1)
    logger.finalize("success")
    assert (tmp_path / "metrics.csv").read_text() == before
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    logger.log_metrics({"a": 5.0, "epoch": 0}, 1)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch,a\n0,0,1.0\n1,0,5.0\n"


def test_a_run_without_a_logged_step_has_a_header(tmp_path):
    CsvLogger(tmp_path).finalize("success")
    assert (tmp_path / "metrics.csv").read_text() == "step,epoch\n"


def test_online_with_a_key_offline_without_and_never_a_question(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode("auto") == "offline"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (tmp_path / "netrc").chmod(0o600)
    assert wandb_mode("auto") == "online"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_DISABLED": "true", "WANDB_MODE": "online"}, "disabled"),
        ({"WANDB_DISABLED": "false", "WANDB_MODE": "online"}, "online"),
    ],
)
def test_variables_of_wandb_decide_where_the_setting_was_not_given(variables, expected, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert wandb_mode("auto") == expected
    assert [wandb_mode(mode) for mode in ("online", "offline", "disabled")] == ["online", "offline", "disabled"]
    if expected == "disabled":
        assert build_loggers(LoggerConfig(), tmp_path, "x", {}, None)[1] is None
        assert not (tmp_path / "wandb").exists()


def test_project_and_group_of_wandb_come_from_its_variables(monkeypatch):
    usual = train_config("logger=wandb", "name=mine", small=False).logger
    assert (usual.project, usual.group) == ("agnn_lit", "mine")
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_RUN_GROUP", "all")
    found = train_config("logger=wandb", "name=mine", small=False).logger
    assert (found.project, found.group) == ("ours", "all")
    assert train_config("logger=wandb", "logger.project=given", small=False).logger.project == "given"


def test_disabled_has_no_wandb(tmp_path):
    csv_logger, wandb_logger = build_loggers(LoggerConfig(mode="disabled"), tmp_path, "x", {}, None)
    assert wandb_logger is None
    assert csv_logger.file == tmp_path / "metrics.csv"


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:wandb.*", "ignore::ResourceWarning")
def test_an_offline_run_holds_config_curves_and_overlays_and_resumes_under_its_id(tmp_path):
    words = ("logger=wandb", "logger.group=tests", "logger.tags=[small]", "optim.schedule=constant")
    run = Run(tmp_path / "run")
    train(train_config(*words, "trainer.max_epochs=1"), run)
    found = read_offline_run(run.folder)
    assert found["config"]["model"]["rounds"] == 1
    assert found["config"]["parameters"] == run.status["parameters"]
    assert found["config"]["versions"]["torch"] == run.status["versions"]["torch"]
    assert found["config"]["git"] == run.status["git"]
    assert (found["group"], found["tags"], found["project"]) == ("tests", ["small"], "agnn_lit")
    logged = {key for row in found["history"] for key in row}
    assert {"train/loss", "lr/graph", "lr/backbone", "val/J", "val/F", "val/T", "epoch"} <= logged
    assert any("overlays" in key for key in logged)
    assert len(found["media"]) == 2
    assert found["job_type"] == "train"
    assert {"memory_percent", "proc.memory.rssMB"} <= found["machine"]
    identity = run.status["wandb_id"]
    assert found["ids"] == {identity}
    train(train_config(*words, "trainer.max_epochs=2"), Run(run.folder))
    assert read_offline_run(run.folder)["ids"] == {identity}


def test_a_part_that_was_killed_before_it_had_written_anything_goes(tmp_path):
    """`wandb sync` ends with an error on one that holds its header alone."""
    words = ("logger=wandb", "logger.mode=offline")
    run = Run(tmp_path / "run")
    train(train_config(*words, "trainer.max_epochs=1"), run)
    (whole,) = run.folder.rglob("run-*.wandb")
    empty = run.folder / "wandb/offline-run-20200101_000000-x/run-x.wandb"
    empty.parent.mkdir()
    empty.write_bytes(whole.read_bytes()[:7])
    train(train_config(*words, "trainer.max_epochs=2"), Run(run.folder))
    assert not empty.parent.exists()
    assert len(list(run.folder.rglob("run-*.wandb"))) == 2


def test_a_tested_run_has_its_scores_tables_and_pictures_in_wandb(tmp_path):
    words = ("logger=wandb", "logger.mode=offline", "name=sweep", "test=true", "trainer.max_epochs=1")
    run = Run(tmp_path / "run")
    metrics = train(train_config(*words), run)
    (folder,) = (run.folder / "evaluations").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert metrics["test/J"] == summary["J_mean"]
    assert run.status["metrics"]["test/F"] == summary["F_mean"]
    found = read_offline_run(run.folder)
    assert found["group"] == "sweep"
    assert found["summary"]["test/simple/raw/J"] == pytest.approx(summary["J_mean"], abs=1e-6)
    sequences, stages = sorted((t for t in found["tables"]), key=lambda t: -len(t["columns"]))
    assert sequences["columns"][:2] == ["sequence", "J_mean"]
    assert len(sequences["data"]) == 3
    assert stages["data"][0][:2] == ["raw", 0.5]
    logged = {key for row in found["history"] for key in row}
    assert any(key.startswith("test/simple/overlays") for key in logged)
    (artifact,) = (a for a in found["artifacts"] if a.type == "model")
    assert [entry.path for entry in artifact.manifest.contents] == ["best.ckpt"]


def test_a_run_that_was_stopped_in_its_test_is_only_tested(tmp_path, monkeypatch):
    from agnn_lit.inference import evaluation as evaluate

    cfg = train_config("logger=none", "test=true", "trainer.max_epochs=1")
    run = Run(tmp_path / "run")
    with monkeypatch.context() as stopped:
        stopped.setattr(evaluate, "evaluate", lambda cfg: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(cfg, run)
    assert run.status["state"] == "interrupted"
    before = run.last.stat().st_mtime_ns
    assert {"val/J", "test/J"} <= train(cfg, Run(run.folder)).keys()
    assert run.status["state"] == "done"
    assert run.last.stat().st_mtime_ns == before


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:wandb.*", "ignore::ResourceWarning")
def test_an_evaluation_is_a_wandb_run_of_its_own_in_the_runs_group(tmp_path):
    run = Run(tmp_path / "run")
    train(train_config("logger=wandb", "logger.mode=offline", "name=sweep", "trainer.max_epochs=1"), run)
    evaluate_run(evaluate_config(f"run={run.folder}", "experiment=stages", "progress=false", "workers=0"))
    (folder,) = (run.folder / "evaluations").iterdir()
    found = read_offline_run(folder)
    assert (found["group"], found["job_type"]) == ("sweep", "evaluate")
    assert found["ids"] != {run.status["wandb_id"]}
    assert found["config"]["trained_in"] == run.status["wandb_id"]
    summary = json.loads((folder / "summary.json").read_text())
    # By its own name: a mean over the group takes it together with no other evaluation.
    assert summary["data"] == folder.name
    assert found["summary"][f"{folder.name}/crf/J"] == pytest.approx(summary["J_mean"], abs=1e-6)
    assert {f"{folder.name}/{stage}/J" for stage in ("raw", "scales", "flip", "crf")} <= found["summary"].keys()
    assert not any(key.startswith("test/") for key in found["summary"])
    again = Run(tmp_path / "unlogged")
    train(train_config("logger=none", "trainer.max_epochs=1"), again)
    evaluate_run(evaluate_config(f"run={again.folder}", "progress=false"))
    assert not list(again.folder.rglob("*.wandb"))


def test_a_score_that_does_not_exist_is_left_out(tmp_path, monkeypatch):
    from agnn_lit.inference import evaluation as evaluate

    scores = {"J_mean": 0.5, "F_mean": 0.25, "T": None}
    monkeypatch.setattr(evaluate, "evaluate", lambda cfg: (scores, tmp_path))
    metrics = train(train_config("logger=none", "test=true", "trainer.max_epochs=1"), Run(tmp_path / "run"))
    assert {k: v for k, v in metrics.items() if k.startswith("test/")} == {"test/J": 0.5, "test/F": 0.25}
