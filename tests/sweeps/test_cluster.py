"""Launchers of clusters, tried on this machine: submitit without a scheduler, and a local Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agnn_lit.config import ConfigError
from agnn_lit.shared.runs import Run
from agnn_lit.sweeps import cluster as sweep_cluster
from agnn_lit.sweeps.cluster import RayLauncher, SlurmLauncher, _outcome
from agnn_lit.sweeps.launcher import Job, prepare_job
from tests.command import PATIENCE, wait_for
from tests.configs import train_config
from tests.sweeps.test_launcher import WORDS, begin, process_of, runs_of, sweep

TWO = ["-m", *(w for w in WORDS if "jobs" not in w), "optim.lr=0.001,1e+30", "seed=0"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> str:
    """Metrics of the run that does not fail, trained by the usual launcher."""
    folder = tmp_path_factory.mktemp("sequential")
    code, said = sweep(folder, *TWO)
    assert code == 1, said
    return (runs_of(folder)[0.001, 0].folder / "metrics.csv").read_text()


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize(
    ("name", "words"), [("slurm", ["hydra.launcher.cluster=local", "hydra.launcher.cpus=1"]), ("ray", [])]
)
def test_a_launcher_gives_the_same_numbers_and_notes_what_failed(rows, tmp_path, name, words):
    pytest.importorskip({"slurm": "submitit", "ray": "ray"}[name])
    code, said = sweep(tmp_path, *TWO, f"hydra/launcher={name}", *words)
    assert code == 1, said
    assert "1 failed of 2" in said
    runs = runs_of(tmp_path)
    assert (runs[0.001, 0].folder / "metrics.csv").read_text() == rows
    assert runs[1e30, 0].status["state"] == "failed"
    assert "NonFiniteLossError" in runs[1e30, 0].status["error"]
    assert "Traceback" not in said


def is_trained(run: Run) -> bool:
    try:
        return process_of(run.folder) > 0
    except AssertionError:
        return False


PREEMPTED = """
import signal, sys
from pathlib import Path
from agnn_lit.sweeps.cluster import ClusterJob
job = ClusterJob(Path(sys.argv[1]), alone=True)
def receive(*args):
    again = job.checkpoint()
    print(type(again).__name__, again.function.folder, again.function.alone)
    sys.exit(7)
signal.signal(signal.SIGUSR2, receive)
job()
"""


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
def test_a_job_whose_time_is_up_is_queued_again_and_goes_on(tmp_path):
    """The scheduler's warning reaches the process while it waits for the training, as under submitit."""
    pytest.importorskip("submitit")
    run = Run(tmp_path / "run")
    prepare_job(run, train_config("trainer.max_epochs=300", "trainer.checkpoint_minutes=0"), [])
    words = [sys.executable, "-c", PREEMPTED, str(run.folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        wait_for(run.last.is_file, process)
        process.send_signal(signal.SIGUSR2)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 7
    assert out.strip() == f"DelayedSubmission {run.folder} True"
    assert run.status["state"] == "interrupted"


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize(
    ("name", "words"), [("slurm", ["hydra.launcher.cluster=local", "hydra.launcher.cpus=1"]), ("ray", [])]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_runs_and_none_is_left_running(tmp_path, name, words, number):
    pytest.importorskip({"slurm": "submitit", "ray": "ray"}[name])
    three = ["-m", *(w for w in WORDS if "jobs" not in w), "trainer.max_epochs=2000", "seed=0,1,2"]
    child = begin(tmp_path, *three, f"hydra/launcher={name}", *words)
    wait_for(lambda: list(tmp_path.rglob("last.ckpt")), child)
    assert any(is_trained(run) for run in runs_of(tmp_path).values())
    child.send_signal(number)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1, out + err
    states = [run.status["state"] for run in runs_of(tmp_path).values()]
    assert set(states) <= {"interrupted", "waiting"}
    assert "interrupted" in states
    assert "sweep_cluster.py" not in out + err, "a traceback, other than that of submitit's local controller"
    # One that had only been started is told by its parent's end.
    wait_for(lambda: not any(is_trained(run) for run in runs_of(tmp_path).values()))
    assert not list(tmp_path.rglob(".stop"))


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
def test_a_run_of_several_tasks_ends_as_the_first_one_says(tmp_path):
    submitit = pytest.importorskip("submitit")
    executor = submitit.LocalExecutor(tmp_path / "logs")
    executor.update_parameters(tasks_per_node=2, timeout_min=1)
    run = Run(tmp_path / "run")
    run.update(state="running")
    job = Job(run, train_config().trainer)
    assert _outcome(executor.submit(said_by_task), job) == "done"
    assert _outcome(executor.submit(os.abort), job) == "interrupted"
    assert run.status["error"] == "ended by SIGKILL"


def said_by_task() -> str:
    return "done" if os.environ["SUBMITIT_LOCAL_LOCALID"] == "0" else ""


@pytest.mark.long
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize(
    ("launcher", "package"),
    [(SlurmLauncher("local", cpus=1), "submitit"), (RayLauncher(), "ray")],
    ids=["slurm", "ray"],
)
def test_a_hopeless_run_is_stopped_after_its_step_and_the_others_go_on(launcher, package, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.setattr(sweep_cluster, "_PRUNE_INTERVAL", 0.0)
    jobs = [
        prepare_job(Run(tmp_path / name), train_config(f"trainer.max_epochs={epochs}"), [])
        for name, epochs in (("hopeless", 2000), ("good", 1))
    ]
    launcher.run_jobs(jobs, lambda job: job.run.folder.name == "hopeless" and job.run.last.is_file())
    assert Run(tmp_path / "hopeless").status["state"] == "interrupted"
    assert Run(tmp_path / "good").status["state"] == "done"
    assert "stopping after this step" in (tmp_path / "hopeless/output.log").read_text()
    assert not list(tmp_path.glob("*/.stop"))


@pytest.mark.parametrize(
    ("launcher", "package"), [(SlurmLauncher(), "submitit"), (RayLauncher(), "ray")], ids=["slurm", "ray"]
)
def test_a_missing_package_is_named(launcher, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    job = prepare_job(Run(tmp_path / "run"), train_config(), [])
    with pytest.raises(ConfigError, match=f'needs {package}: pip install "agnn-lit'):
        launcher.run_jobs([job])


def test_slurm_that_is_not_there(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(Path(tmp_path)))
    job = prepare_job(Run(tmp_path / "run"), train_config(), [])
    with pytest.raises(ConfigError, match="hydra/launcher=slurm"):
        SlurmLauncher().run_jobs([job])
