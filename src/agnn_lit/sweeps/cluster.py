"""Sweeps on machines that are shared: SLURM through submitit, and Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from agnn_lit.config import ConfigError
from agnn_lit.shared.packages import need_package
from agnn_lit.shared.processes import is_first_process, receiving
from agnn_lit.shared.runs import BusyError, Run
from agnn_lit.sweeps.launcher import Job, SweepLauncher, progress, settle, start

_POLL = 0.5  # seconds between two looks at the queue
_PATIENCE = 5.0  # seconds between two questions whether runs are hopeless
_STOP = ".stop"  # file in a run's folder, which the nodes share: its launcher wants it ended
_GRACE = 60.0  # seconds that runs have for the end of their step when the launcher is stopped


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a launcher as Ctrl-C does."""

    def receive(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - called by the interpreter
        raise KeyboardInterrupt

    with receiving(receive):
        yield


def _is_trained(run: Run) -> bool:
    """Whether a process is training a run, which then holds its lock."""
    if run.status.get("state") != "running":
        return False
    try:
        with run.locked():
            return False
    except BusyError:
        return True


def _settle_rest(jobs: Iterable[Job]) -> None:
    """Note what became of runs whose processes are gone."""
    for job in jobs:
        _Stopping.forget(job)
        if job.run.status.get("state") == "running":
            settle(job.run, -signal.SIGKILL)


def _attend(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Wait for the process of a run, and end it after its step once its launcher wants that; return its code."""
    stopped = False
    while process.poll() is None:
        if not stopped and (folder / _STOP).exists():
            stopped = True  # a second signal would end it at once
            process.terminate()
        time.sleep(_POLL)
    return process.returncode


class _Stopping:
    """Has runs stopped that are hopeless.

    Args:
        is_hopeless: of :meth:`agnn_lit.sweeps.launcher.SweepLauncher.train`.
    """

    def __init__(self, is_hopeless: Callable[[Job], bool] | None) -> None:
        self._is_hopeless = is_hopeless
        self._asked = time.monotonic()

    def ask(self, jobs: Iterable[Job]) -> None:
        """Look at running jobs, where it is time to."""
        if self._is_hopeless is None or time.monotonic() - self._asked < _PATIENCE:
            return
        self._asked = time.monotonic()
        for job in jobs:
            file = job.run.folder / _STOP
            if not file.exists() and self._is_hopeless(job):
                file.touch()

    @staticmethod
    def forget(job: Job) -> None:
        """Let a run that has ended be trained again."""
        (job.run.folder / _STOP).unlink(missing_ok=True)


class ClusterJob:
    """What a node of a cluster does for a run; submitit pickles it and calls it there.

    Args:
        folder: of the run, on a file system that the nodes share.
        alone: whether one process starts all others of the run; else the scheduler starts one for each device.
    """

    def __init__(self, folder: str, *, alone: bool) -> None:
        self.folder = Path(folder)
        self.alone = alone
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> str:
        """Train or continue the run; return its state."""
        environment = dict(os.environ)
        if self.alone:  # Lightning would look for the tasks of a job step
            environment = {k: v for k, v in environment.items() if not k.startswith(("SLURM_", "SRUN_"))}
        self.process = start(self.folder, environment)
        code = _attend(self.process, self.folder)
        return settle(Run(self.folder), code) if is_first_process() else ""

    def checkpoint(self) -> Any:
        """End the run after its step and have it queued again: its time is up, or it is preempted."""
        if self.process is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # it has just ended
                os.kill(self.process.pid, signal.SIGTERM)
                # Called by a signal's handler, maybe within process.poll(), whose lock is taken: left to that.
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return need_package("submitit.helpers", "slurm", "hydra/launcher=slurm").DelayedSubmission(
            ClusterJob(str(self.folder), alone=self.alone)
        )


class SlurmLauncher(SweepLauncher):
    """Trains each run as a job of SLURM; one whose time is up or that is preempted is queued again and goes on.

    Args:
        cluster: slurm, or local to try it without one.
        jobs: at a time; None leaves it to the scheduler.
        minutes: that a job may take, before it is queued again.
        cpus: of each process of a run.
        memory_gb: of a node; None leaves the cluster's usual amount.
        partition: None for the cluster's usual one.
        requeues: how often a job is queued again at most.
        options: further options of sbatch, such as ``{account: NAME}``.
        setup: lines of shell before the job, such as ``module load cuda``.
    """

    def __init__(
        self,
        cluster: str = "slurm",
        jobs: int | None = None,
        minutes: int = 24 * 60,
        cpus: int = 4,
        memory_gb: float | None = None,
        partition: str | None = None,
        requeues: int = 20,
        options: Mapping[str, Any] | None = None,
        setup: Sequence[str] = (),
    ) -> None:
        self._cluster = cluster
        self._options: dict[str, Any] = {"timeout_min": minutes, "cpus_per_task": cpus}
        if memory_gb is not None:
            self._options["mem_gb"] = memory_gb
        self._slurm: dict[str, Any] = {"setup": list(setup), "additional_parameters": dict(options or {})}
        if partition is not None:
            self._slurm["partition"] = partition
        if jobs is not None:
            self._slurm["array_parallelism"] = jobs
        self._requeues = requeues

    def describe(self) -> str:
        """Name the scheduler."""
        return "by SLURM" if self._cluster == "slurm" else f"by submitit's {self._cluster} executor"

    def train(self, jobs: Sequence[Job], is_hopeless: Callable[[Job], bool] | None = None) -> None:
        """Submit an array of jobs, and wait for them to their ends; Ctrl-C cancels them."""
        submitit = need_package("submitit", "slurm", "hydra/launcher=slurm")
        t = jobs[0].cfg.trainer
        devices, nodes = (max(getattr(job.cfg.trainer, k) for job in jobs) for k in ("devices", "nodes"))
        alone = nodes == 1
        try:
            executor = submitit.AutoExecutor(
                folder=jobs[0].run.folder.parent / ".submitit",
                cluster=self._cluster,
                slurm_max_num_timeout=self._requeues,
            )
        except RuntimeError as error:
            raise ConfigError(f"hydra/launcher=slurm: {error}") from error
        options = {**self._options, "nodes": nodes, "tasks_per_node": 1 if alone else devices, "name": "agnn"}
        if alone:
            options["cpus_per_task"] *= devices
        if t.accelerator != "cpu" and self._cluster == "slurm":
            options["gpus_per_node"] = devices
        executor.update_parameters(**options, **{f"slurm_{k}": v for k, v in self._slurm.items()})
        with executor.batch():
            submitted = [executor.submit(ClusterJob(str(job.run.folder.resolve()), alone=alone)) for job in jobs]
        pending = dict(zip(submitted, jobs, strict=True))
        print(f"submitted as {submitted[0].job_id} to {submitted[-1].job_id}", flush=True)
        stopping = _Stopping(is_hopeless)
        try:
            with _interruptible(), progress(len(jobs)) as ended:
                while pending:
                    time.sleep(_POLL)
                    stopping.ask(pending.values())
                    for handle in [h for h in pending if h.done()]:
                        job = pending.pop(handle)
                        stopping.forget(job)
                        ended(job.label, _outcome(handle, job))
        except KeyboardInterrupt:
            print("\ncancelling the jobs; running ones end after their step. The same command goes on", flush=True)
            for handle in pending:
                handle.cancel(check=False)
            end = time.monotonic() + _GRACE
            with suppress(KeyboardInterrupt):  # a second one does not wait
                while any(_is_trained(job.run) for job in pending.values()):
                    if time.monotonic() > end:
                        break
                    time.sleep(_POLL)
            _settle_rest(pending.values())


def _outcome(handle: Any, job: Job) -> str:
    """State of a run whose job has ended; of several tasks the first one's process says it."""
    if handle.exception() is not None:
        return settle(job.run, -signal.SIGKILL)
    return str(handle.results()[0])


def run_job(folder: str) -> str:
    """Train or continue a run in a process of its own; return its state."""
    if (Path(folder) / _STOP).exists():
        return str(Run(Path(folder)).status.get("state"))
    code = _attend(start(Path(folder), os.environ), Path(folder))
    return settle(Run(Path(folder)), code)


class RayLauncher(SweepLauncher):
    """Trains each run as a task of Ray; one whose node is lost is given to another and goes on.

    Args:
        address: of a running cluster; None starts Ray on this machine.
        cpus: of each run.
        gpus: of each run; None: one for each of its devices where Ray has any.
        retries: how often a run whose node is lost is begun again at most.
    """

    def __init__(self, address: str | None = None, cpus: int = 1, gpus: float | None = None, retries: int = 20) -> None:
        self._address = address
        self._cpus = cpus
        self._gpus = gpus
        self._retries = retries

    def describe(self) -> str:
        """Name the cluster."""
        return "by Ray" + (f" at {self._address}" if self._address else "")

    def train(self, jobs: Sequence[Job], is_hopeless: Callable[[Job], bool] | None = None) -> None:
        """Hand all runs to Ray, and wait for them to their ends; Ctrl-C ends them."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do by itself, says its warning
        ray = need_package("ray", "ray", "hydra/launcher=ray")
        ray.init(address=self._address, include_dashboard=False, log_to_driver=False, logging_level="warning")
        pending: dict[Any, Job] = {}
        try:
            there = ray.cluster_resources()
            task = ray.remote(run_job)
            for job in jobs:
                gpus = self._gpus
                if gpus is None:
                    gpus = job.cfg.trainer.devices if there.get("GPU") and job.cfg.trainer.accelerator != "cpu" else 0
                asked = {"CPU": self._cpus, "GPU": gpus}
                lacking = [f"{n} {k}" for k, n in asked.items() if n > there.get(k, 0)]
                if lacking:
                    raise ConfigError(f"a run asks Ray for {' and '.join(lacking)}; it has {_resources(there)}")
                options = task.options(num_cpus=self._cpus, num_gpus=gpus, max_retries=self._retries)
                pending[options.remote(str(job.run.folder.resolve()))] = job
            stopping = _Stopping(is_hopeless)
            with _interruptible(), progress(len(jobs)) as ended:
                while pending:
                    done, _ = ray.wait(list(pending), timeout=_POLL)
                    stopping.ask(pending.values())
                    for handle in done:
                        job = pending.pop(handle)
                        stopping.forget(job)
                        try:
                            ended(job.label, ray.get(handle))
                        except ray.exceptions.RayError:  # its worker was killed
                            ended(job.label, settle(job.run, -signal.SIGKILL))
        except KeyboardInterrupt:
            print("\nstopping the running jobs after their step; once more stops them at once", flush=True)
            for job in pending.values():
                (job.run.folder / _STOP).touch()
            with suppress(KeyboardInterrupt):
                ray.wait(list(pending), num_returns=len(pending), timeout=_GRACE)
        finally:
            ray.shutdown()
            _settle_rest(pending.values())


def _resources(there: Mapping[str, float]) -> str:
    return " and ".join(f"{there.get(k, 0):g} {k}" for k in ("CPU", "GPU"))
