"""Sweeps, with real processes: what is done, failed, killed and stopped, and what the same command does next."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agnn_lit.config import ConfigError
from agnn_lit.shared.runs import BusyError, Run
from agnn_lit.sweeps.launcher import prepare_job, record_end, start
from tests.command import PATIENCE, call_command, wait_for
from tests.configs import SMALL, train_config

WORDS = [*SMALL, "trainer.threads=1", "trainer.max_epochs=1", "name=s", "hydra.launcher.jobs=2"]
PARALLEL = ["-m", "hydra/launcher=parallel", *WORDS]


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agnn_lit.commands.train", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def sweep(folder: Path, *words: str) -> tuple[int, str]:
    with begin(folder, *words) as child:
        out, err = child.communicate(timeout=PATIENCE)
    return child.returncode, out + err


def runs_of(folder: Path) -> dict[tuple[float, int], Run]:
    """Runs by their learning rate and seed."""
    found = {}
    for file in folder.rglob("config.yaml"):
        run = Run(file.parent)
        cfg = run.load_config()
        found[cfg.optim.lr, cfg.seed] = run
    return found


def process_of(run: Path) -> int:
    """Process that trains a run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(w.startswith(b"run=") and w.decode().endswith(str(run)) for w in words):
            return int(folder.name)
    raise AssertionError(f"no process trains {run}")


def unfolded(table: str) -> str:
    """What a table of one column of words says, without the borders and line breaks between them."""
    return re.sub(r"[\s│]+", " ", table)


RATES = ("0.001", "0.002", "0.003", "0.004", "0.005", "1e+30")


@pytest.mark.long
@pytest.mark.xdist_group("sweep")
def test_six_jobs_of_which_one_fails_and_one_is_killed(tmp_path):
    words = [*PARALLEL, f"optim.lr={','.join(RATES)}", "trainer.max_epochs=3", "trainer.checkpoint_minutes=0"]
    child = begin(tmp_path, *words)
    wait_for(lambda: len(runs_of(tmp_path)) == len(RATES), child)
    runs = {rate: run for (rate, _), run in runs_of(tmp_path).items()}
    victim = runs[0.004]
    wait_for(victim.last.is_file, child)
    os.kill(process_of(victim.folder.relative_to(tmp_path)), signal.SIGKILL)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, out + err
    assert "1 interrupted, 1 failed of 6" in err or "1 failed, 1 interrupted of 6" in err
    found = {rate: run.status for rate, run in runs.items()}
    assert {rate: status["state"] for rate, status in found.items()} == {
        **dict.fromkeys((0.001, 0.002, 0.003, 0.005), "done"),
        0.004: "interrupted",
        1e30: "failed",
    }
    assert found[0.004]["error"] == "ended by SIGKILL"
    assert "Traceback" in found[1e30]["error"]
    assert "NonFiniteLossError" in found[1e30]["error"]

    # the same command does what is missing, and only that
    code, said = sweep(tmp_path, *words)
    assert code == 1
    assert "6 runs, 1 to train" in said
    assert victim.status["state"] == "done"
    assert {rate: run.status for rate, run in runs.items() if run is not victim} == {
        rate: status for rate, status in found.items() if rate != 0.004
    }
    assert "continued from" in (victim.folder / "output.log").read_text()

    # what failed only when asked
    code, said = sweep(tmp_path, *words, "retry_failed=true")
    assert code == 1
    assert "6 runs, 1 to train" in said
    assert runs[1e30].status["seconds"] > found[1e30]["seconds"]


@pytest.mark.long
@pytest.mark.xdist_group("sweep")
def test_a_job_that_cannot_go_on_says_why(tmp_path):
    words = ["-m", *WORDS, "seed=0"]
    assert sweep(tmp_path, *words)[0] == 0
    (run,) = runs_of(tmp_path).values()
    run.last.write_bytes(run.last.read_bytes()[:1000])
    run.update(state="interrupted", error="ended by SIGKILL")
    code, said = sweep(tmp_path, *words)
    assert code == 1
    assert "1 failed of 1" in said
    assert run.status["state"] == "failed"
    assert "last.ckpt" in run.status["error"]
    code, said = sweep(tmp_path, *words)
    assert "failed before; " in unfolded(said)
    assert "cannot resume from it" in unfolded(said), "and why, again"


@pytest.mark.long
@pytest.mark.xdist_group("sweep")
def test_values_in_brackets_are_words_like_others(tmp_path):
    words = ["-m", *(w for w in WORDS if "jobs" not in w), "trainer.max_epochs=0", "logger.tags=[ab],['/c']"]
    code, said = sweep(tmp_path, *words)
    assert code == 1
    assert "2 failed of 2" in said
    assert "logger.tags=[ab]" in unfolded(said)
    assert "logger.tags=['/c']" in unfolded(said)


@pytest.mark.long
@pytest.mark.xdist_group("sweep")
def test_each_launcher_gives_the_same_numbers_and_a_job_alone_does(tmp_path):
    rows = {}
    for way in ("sequential", "parallel"):
        folder = tmp_path / way
        folder.mkdir()
        code, said = sweep(folder, "-m", f"hydra/launcher={way}", *WORDS, "seed=0,1")
        assert code == 0, said
        rows[way] = {seed: (r.folder / "metrics.csv").read_text() for (_, seed), r in runs_of(folder).items()}
    assert rows["parallel"].keys() == {0, 1}
    assert rows["parallel"] == rows["sequential"]
    assert rows["parallel"][0] != rows["parallel"][1]
    in_sweep = runs_of(tmp_path / "parallel")[1e-3, 1]
    command = shlex.split(in_sweep.status["command"])
    assert "seed=1" in command
    code, said = sweep(tmp_path, *command[1:])
    assert code == 0, said
    (alone,) = runs_of(tmp_path / "runs").values()
    assert (alone.folder / "metrics.csv").read_text() == rows["parallel"][1]
    assert alone.folder.name == in_sweep.folder.name


@pytest.mark.long
@pytest.mark.xdist_group("sweep")
def test_a_signal_ends_the_running_jobs_cleanly_and_begins_no_more(tmp_path):
    words = ["-m", *(w for w in WORDS if "jobs" not in w), "trainer.max_epochs=500", "seed=0,1"]
    child = begin(tmp_path, *words)
    wait_for(lambda: list(tmp_path.rglob("last.ckpt")), child)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, out + err
    assert {seed: run.status["state"] for (_, seed), run in runs_of(tmp_path).items()} == {
        0: "interrupted",
        1: "waiting",
    }
    assert "1 runs not started" in err
    assert "1 interrupted, 1 waiting of 2" in err


@pytest.mark.long
@pytest.mark.xdist_group("sweep")
def test_waiting_jobs_are_what_they_were_when_the_sweep_began(tmp_path, monkeypatch):
    """With the configs broken since then, a job still trains as it was composed."""
    run = Run(tmp_path / "runs/s/seed-3")
    prepare_job(run, train_config("seed=3", "trainer.max_epochs=1"), ["seed=3"])
    assert run.status["state"] == "waiting"
    code = "import agnn_lit.config as c; c.CONF_DIR = '/nowhere'; from agnn_lit.commands.train import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, f"run={run.folder}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert run.status["state"] == "done"
    assert run.load_config().seed == 3


def test_what_a_folder_holds_decides(tmp_path):
    run, cfg = Run(tmp_path / "a"), train_config()
    assert prepare_job(run, cfg, ["seed=0"]).skipped is None
    assert run.status["command"] == "agnn-train seed=0"
    for state, retried in (("waiting", True), ("interrupted", True), ("running", True), ("done", False)):
        run.update(state=state)
        assert (prepare_job(run, cfg, []).skipped is None) is retried
    run.update(state="failed")
    assert "retry_failed=true" in prepare_job(run, cfg, []).skipped
    assert prepare_job(run, train_config("retry_failed=true"), []).skipped is None
    with pytest.raises(ConfigError, match=r"another configuration:\n  seed: 0 -> 5"):
        prepare_job(run, train_config("seed=5"), [])
    assert run.load_config().seed == 0
    (tmp_path / "a" / "metrics.csv").write_text("")
    assert prepare_job(run, train_config("seed=5", "overwrite=true"), []).skipped is None
    assert not (tmp_path / "a" / "metrics.csv").exists()
    assert run.load_config().seed == 5


def test_a_run_is_trained_by_one_process(tmp_path):
    run = Run(tmp_path / "a")
    with run.locked():
        code = "import sys; from pathlib import Path; from agnn_lit.shared.runs import Run\n"
        code += "with Run(Path(sys.argv[1])).locked(): pass"
        command = [sys.executable, "-c", code, str(run.folder)]
        busy = subprocess.run(command, capture_output=True, text=True, check=False)
        assert BusyError.__name__ in busy.stderr
        assert "another process is training this run" in busy.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("code", "state", "said"),
    [
        (-signal.SIGKILL, "interrupted", "ended by SIGKILL"),
        (-signal.SIGSEGV, "failed", "SIGSEGV"),
        (3, "failed", "code 3"),
    ],
)
def test_a_process_that_could_not_say_how_it_ended(tmp_path, code, state, said):
    run = Run(tmp_path / "a")
    run.update(state="running")
    (run.folder / "output.log").write_text("step 1\nstep 2\n")
    assert record_end(run, code) == state
    assert said in run.status["error"]
    assert ("step 2" in run.status["error"]) is (state == "failed")
    assert record_end(run, 0) == state


def test_the_name_of_one_wandb_run_is_not_that_of_all(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(subprocess, "Popen", lambda *words, env, **more: given.append(env))
    start(tmp_path, {"WANDB_RUN_ID": "one", "WANDB_API_KEY": "key"})
    assert given == [{"WANDB_API_KEY": "key"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra/launcher=basic", "seed=0,1"], "hydra/launcher=basic: must be one of sequential, parallel, slurm, ray"),
        (["hydra.launcher.jobs=0", "seed=0,1"], "hydra.launcher.jobs=0: must be 1 or more"),
        (["seed=0,0"], "several jobs would share a folder"),
        (["seed=range(0,0)"], "the sweep has no jobs: a list or range of values is empty"),
        (["seed=0,1", "hydra.sweeper.max_batch_size=1"], "hydra.sweeper.max_batch_size=1: not supported"),
        (
            ["experiment=rounds,gate"],
            "which does not work with several experiments in one command; use one command for each",
        ),
    ],
)
def test_refused_sweeps(tmp_path, words, said):
    done = call_command("train", "-m", *SMALL, *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("status.json"))


ABLATIONS = (
    "rounds",
    "frames",
    "gate",
    "loop_edge",
    "line_edge",
    "aggregation",
    "update",
    "pool",
    "backbone",
    "precision",
)
EXPERIMENTS = Path(__file__).parents[2] / "conf/experiment"


def test_the_ablations_are_the_experiments_that_sweep_an_axis():
    swept = {file.stem for file in EXPERIMENTS.glob("*.yaml") if "\n  - ablation\n" in file.read_text()}
    assert {*ABLATIONS, "search"} == swept


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_jobs_of_an_ablation_are_folders_of_its_name(tmp_path, name):
    """Composed by the real command; each job is refused for its length, so that nothing is trained."""
    words = ["-m", f"experiment={name}", "seed=1", "trainer.max_epochs=0"]
    assert call_command("train", *words, cwd=tmp_path).returncode == 1
    folders = [p.parent for p in tmp_path.rglob("config.yaml")]
    assert folders
    for folder in folders:
        cfg = Run(folder).load_config()
        assert folder.parent == tmp_path / "runs" / name
        assert cfg.logger.group is None or cfg.logger.group == name
        assert cfg.test
        assert cfg.trainer.threads == 1
        assert re.search(r"seed-1\b", folder.name)
        assert Run(folder).status["state"] == "failed"
        assert "trainer.max_epochs=0" in Run(folder).status["error"]
