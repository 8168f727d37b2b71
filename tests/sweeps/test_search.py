"""The search: its space in Hydra's grammar, runs that are stopped, and a study that goes on."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from agnn_lit.config import CONF_DIR, ConfigError, check_train, plain
from agnn_lit.shared.runs import BusyError, Run
from agnn_lit.sweeps.launcher import SweepLauncher, prepare_job
from agnn_lit.sweeps.local import LocalLauncher
from agnn_lit.sweeps.search import OptunaSweeper, _should_prune, objective_values, parse_space
from tests.configs import SMALL, train_config
from tests.sweeps.test_launcher import WORDS, runs_of, sweep

optuna = pytest.importorskip("optuna")
SEARCH = [
    "-m",
    *WORDS,
    "hydra/sweeper=optuna",
    "hydra/launcher=parallel",
    "hydra.sweeper.at_a_time=2",
    "optim.lr=tag(log,interval(1e-4,1e-2))",
    "model.gate=choice(channel,none)",
]


def parsed(*words):
    return parse_space(OverridesParser.create().parse_overrides(list(words)))


def train_params(experiment: str) -> dict[str, str]:
    """What an experiment searches."""
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        cfg = compose("train", overrides=[f"experiment={experiment}"], return_hydra_config=True)
    return dict(cfg.hydra.sweeper.params)


def test_the_space_is_in_hydras_grammar():
    asks, fixed = parsed(
        "optim.lr=tag(log, interval(1e-4, 1e-2))",
        "loss.l1=interval(0, 1)",
        "model.rounds=range(1, 6, 2)",
        "optim.warmup_steps=tag(int, interval(0, 50))",
        "model.gate=channel,none",
        "seed=3",
    )
    assert fixed == ["seed=3"]
    study = optuna.create_study()
    trial = study.ask()
    values = {key: ask(trial) for key, ask in asks.items()}
    found = trial.distributions
    assert values.keys() == found.keys() == {"optim.lr", "loss.l1", "model.rounds", "optim.warmup_steps", "model.gate"}
    assert (found["optim.lr"].low, found["optim.lr"].high, found["optim.lr"].log) == (1e-4, 1e-2, True)
    assert (found["loss.l1"].low, found["loss.l1"].high, found["loss.l1"].log) == (0.0, 1.0, False)
    assert (found["model.rounds"].low, found["model.rounds"].high, found["model.rounds"].step) == (1, 5, 2)
    assert isinstance(values["optim.warmup_steps"], int)
    assert found["model.gate"].choices == ("channel", "none")
    with pytest.raises(ConfigError, match="nothing to search"):
        parsed("seed=3")
    asks, fixed = parsed("model.rounds=1,2", "model.gate=channel,none", "seed=3", "model.rounds=2", "seed=1,2")
    assert (list(asks), fixed) == (["model.gate", "seed"], ["model.rounds=2"]), "the last word on a setting counts"
    with pytest.raises(ConfigError, match=r"range\(0.1,0.5,0.1\): must be choice"):
        parsed("loss.l1=range(0.1,0.5,0.1)")[0]["loss.l1"](trial)


@pytest.mark.long
@pytest.mark.xdist_group("search")
def test_a_search_goes_on_where_it_was_ended(tmp_path):
    code, said = sweep(tmp_path, *SEARCH, "hydra.sweeper.trials=2")
    assert code == 0, said
    first = runs_of(tmp_path)
    assert len(first) == 2
    code, said = sweep(tmp_path, *SEARCH, "hydra.sweeper.trials=3")
    assert code == 0, said
    runs = runs_of(tmp_path)
    assert len(runs) == 3
    assert first.keys() < runs.keys()
    assert all(1e-4 <= lr <= 1e-2 for lr, _ in runs)
    rows = list(csv.DictReader((tmp_path / "runs/s/trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["complete"] * 3
    values = [float(row["val/J"]) for row in rows]
    assert values == sorted(values, reverse=True)
    best = {run.folder.name: run.status["metrics"]["val/J"] for run in runs.values()}
    assert best[rows[0]["run"].split("/")[-1]] == max(best.values())
    assert (tmp_path / "runs/s/study.db").is_file()


def test_the_sweep_of_wandb_gives_settings_that_can_be_trained(monkeypatch):
    """The words that W&B's agent makes of ``docs/wandb_sweep.yaml``, for every value at an end of its range."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep_file = yaml.safe_load((Path(__file__).parents[2] / "docs/wandb_sweep.yaml").read_text())
    parameters = sweep_file["parameters"]
    asks, _ = parsed(*(f"{k}={v}" for k, v in train_params("search").items()))
    assert parameters.keys() == asks.keys(), "the same space as experiment=search"
    ends = {key: about.get("values") or [about["min"], about["max"]] for key, about in parameters.items()}
    program, *words, macro = sweep_file["command"]
    assert (program, macro, sweep_file["program"]) == ("agnn-train", "${args_no_hyphens}", "agnn-train")
    for turn in range(max(map(len, ends.values()))):
        values = [given[turn % len(given)] for given in ends.values()]
        args = {key: {"value": value} for key, value in zip(ends, values, strict=True)}
        cfg = train_config(*words, *utils.create_sweep_command_args({"args": args})["args_no_hyphens"], small=False)
        check_train(cfg)
        assert [plain(cfg)[key.split(".")[0]][key.split(".")[1]] for key in ends] == values
    assert cfg.trainer.check_val_every == 1, "W&B stops runs by their validations"
    assert cfg.clips.val_share > 0


@pytest.mark.long
def test_a_run_that_an_agent_of_wandb_starts_is_the_agents(tmp_path):
    words = [w for w in (*SMALL, "trainer.max_epochs=1") if w != "logger=none"]
    environment = {**os.environ, "WANDB_RUN_ID": "fromtheagent", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "agnn_lit.commands.train", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.rglob("offline-run-*")
    assert folder.name.endswith("-fromtheagent")
    (status,) = tmp_path.rglob("status.json")
    assert json.loads(status.read_text())["wandb_id"] == "fromtheagent"


def report(run: Run, *values: tuple[int, float]) -> None:
    lines = [f"{step},{value}" for step, value in values]
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "metrics.csv").write_text("\n".join(["step,val/J", "1,", *lines]) + "\n")


def test_a_run_below_the_median_of_the_others_is_stopped(tmp_path):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    for number, value in enumerate((0.4, 0.6, 0.2, 0.7)):
        job = prepare_job(Run(tmp_path / str(number)), train_config(), [])
        trial = study.ask()
        report(job.run, (4, value), (8, value))
        assert objective_values(job.run) == [(4, value), (8, value)]
        assert _should_prune({job.run.folder: trial}, job) is (value == 0.2)
        assert trial.user_attrs.get("pruned", False) is (value == 0.2)
        study.tell(trial, value)
    assert objective_values(Run(tmp_path / "none")) == []


@pytest.mark.long
@pytest.mark.xdist_group("search")
def test_a_hopeless_run_is_stopped_after_its_step_and_the_others_go_on(tmp_path):
    jobs = [
        prepare_job(Run(tmp_path / name), train_config(f"trainer.max_epochs={epochs}"), [])
        for name, epochs in (("hopeless", 500), ("good", 1))
    ]
    LocalLauncher(jobs=2).run_jobs(jobs, lambda job: job.run.folder.name == "hopeless" and job.run.last.is_file())
    assert Run(tmp_path / "hopeless").status["state"] == "interrupted"
    assert Run(tmp_path / "good").status["state"] == "done"
    assert "stopping after this step" in (tmp_path / "hopeless/output.log").read_text()
    assert "a second signal stops" in (tmp_path / "hopeless/output.log").read_text()


class Stub(SweepLauncher):
    """Trains nothing: each run ends as the next word says, with its learning rate as val/J."""

    def __init__(self, folder: Path, *ends: str) -> None:
        self.folder, self.ends = folder, list(ends)

    def describe(self) -> str:
        return "not at all"

    def prepare(self, job_overrides, first=0):
        names = [re.sub(r"[^\w.]+", "-", " ".join(words)) for words in job_overrides]
        return [
            prepare_job(Run(self.folder / name), train_config(*w), w)
            for name, w in zip(names, job_overrides, strict=True)
        ]

    def places(self, trainer):
        raise NotImplementedError

    def run_jobs(self, jobs, should_prune=None, ended=None):
        for job in jobs:
            lr = job.run.load_config().optim.lr
            report(job.run, (4, lr))
            state = "interrupted" if should_prune(job) else self.ends.pop(0)
            job.run.update(state=state, metrics={"val/J": lr})


def search(folder: Path, launcher: SweepLauncher, *words: str, **settings: Any) -> dict[str, Any]:
    sweeper = OptunaSweeper(**settings)
    sweeper._launcher = launcher
    sweeper._context = SimpleNamespace(config_loader=None)
    sweeper._config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}})
    return sweeper.sweep(list(words))


def states(folder: Path) -> list[str]:
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")
    return [trial.state.name for trial in study.get_trials()]


def test_a_run_that_is_stopped_does_not_end_the_search(tmp_path, capsys):
    folder = tmp_path / "s"
    launcher = Stub(folder, *["done"] * 12)
    best = search(folder, launcher, "optim.lr=interval(1e-4,1e-2)", trials=12, startup=2)
    found = states(folder)
    assert len(found) == 12
    assert found[:2] == ["COMPLETE"] * 2
    assert 1 <= found.count("PRUNED") <= 9
    assert found.count("PRUNED") + found.count("COMPLETE") == 12
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert float(rows[0]["optim.lr"]) == best["optim.lr"] == max(float(row["optim.lr"]) for row in rows)


def test_an_interrupted_search_goes_on_with_what_it_was_at(tmp_path, capsys):
    folder = tmp_path / "s"
    words = ["optim.lr=interval(1e-4,1e-2)", "seed=3"]
    with pytest.raises(SystemExit):
        search(folder, Stub(folder, "done", "interrupted"), *words, trials=4, prune=False)
    assert "3 trials are left" in capsys.readouterr().err
    (going,) = [file.parent for file in folder.glob("*/status.json") if "interrupted" in file.read_text()]
    # one that was killed between a choice and its result, too
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{folder / 'study.db'}")
    lost = study.ask({"optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2)})
    search(folder, Stub(folder, *["done"] * 3), *words, trials=4, prune=False)
    assert Run(going).status["state"] == "done"
    assert sorted(states(folder)) == ["COMPLETE"] * 4 + ["FAIL"] * 2
    trained = [Run(file.parent).load_config() for file in folder.glob("*/config.yaml")]
    assert len(trained) == 4
    assert {cfg.seed for cfg in trained} == {3}
    assert lost.params["optim.lr"] in [cfg.optim.lr for cfg in trained]


def test_trials_of_the_same_settings_are_one_run(tmp_path, capsys):
    folder = tmp_path / "s"
    search(folder, Stub(folder, "done", "done"), "model.rounds=choice(1,2)", trials=6, at_a_time=3)
    assert states(folder) == ["COMPLETE"] * 6
    assert len(list(folder.glob("*/status.json"))) <= 2


def test_a_search_belongs_to_one_process(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "study.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(BusyError, match="another process is running this search"):
            search(tmp_path, Stub(tmp_path), "model.rounds=choice(1,2)")
        other.stdin.close()
    assert not (tmp_path / "study.db").exists()


HOLDS = """
import sys
from pathlib import Path
from agnn_lit.shared.runs import exclusive
with exclusive(Path(sys.argv[1]), ""):
    print(flush=True)
    sys.stdin.read()
"""
