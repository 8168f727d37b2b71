"""Sweeps on a cluster: SLURM (through submitit) and Ray.

Used instead of Hydra's submitit and Ray launchers, which compose a job only when it starts: here all runs are composed
first, each has its own process, and a preempted run resumes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agnn_lit.config import ConfigError, TrainerConfig
from agnn_lit.shared.packages import need_package
from agnn_lit.shared.processes import interrupt, is_first_process, receiving
from agnn_lit.shared.runs import BusyError, Run
from agnn_lit.sweeps.launcher import TRAIN, Job, Pruner, SweepLauncher, progress, record_end, start

_POLL = 0.5  # seconds between two checks of the queue
_PRUNE_INTERVAL = 5.0  # seconds between two checks whether runs should be pruned
_STOP = ".stop"  # file in the run folder, on the shared file system, that asks the node to stop the run
_GRACE = 60.0  # seconds that runs have to end their step when the launcher is stopped


def _is_trained(run: Run) -> bool:
    """Whether a process is training the run, and so holds its lock."""
    if run.status.get("state") != "running":
        return False
    try:
        with run.locked():
            return False
    except BusyError:
        return True


def _record_rest(jobs: Iterable[Job]) -> None:
    """Write the state of runs whose processes are gone."""
    for job in jobs:
        (job.run.folder / _STOP).unlink(missing_ok=True)
        if job.run.status.get("state") == "running":
            record_end(job.run, -signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Wait for the process of a run, and stop it after its step if the launcher asks for it; return its exit code."""
    stopped = False
    while process.poll() is None:
        if not stopped and (folder / _STOP).exists():
            stopped = True  # a second signal would stop it at once
            process.terminate()
        time.sleep(_POLL)
    return process.returncode


def _follow(
    pending: dict[Any, Job],
    should_prune: Callable[[Job], bool] | None,
    poll: Callable[[], Sequence[Any]],
    outcome: Callable[[Any, Job], str],
    ended: Callable[[str, str], None] | None,
) -> None:
    """Report each job when it ends, and stop the pruned ones.

    Args:
        pending: jobs by their handle; jobs that have ended are removed.
        should_prune: see :meth:`SweepLauncher.run_jobs`.
        poll: waits a moment, and returns the handles of jobs that have ended.
        outcome: returns the state of a job that has ended.
        ended: see :meth:`SweepLauncher.run_jobs`.
    """
    pruner = Pruner(should_prune, _PRUNE_INTERVAL)
    with receiving(interrupt), progress(len(pending), ended) as report:
        while pending:
            done = poll()
            for job in pruner.select(pending.values()):
                (job.run.folder / _STOP).touch()
            for handle in done:
                job = pending.pop(handle)
                (job.run.folder / _STOP).unlink(missing_ok=True)
                report(job.label, outcome(handle, job))


@dataclass(eq=False)
class ClusterJob:
    """Does a job on a node of the cluster; submitit pickles it and calls it there."""

    folder: Path  # the run folder, on a file system that the nodes share
    alone: bool  # the scheduler starts one process, which starts the others; else it starts one for each device
    module: str = TRAIN
    process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> str:
        """Start or continue the job; return its state."""
        environment = dict(os.environ)
        if self.alone:  # else Lightning expects SLURM to start its processes
            environment = {k: v for k, v in environment.items() if not k.startswith(("SLURM_", "SRUN_"))}
        self.process = start(self.folder, environment, self.module)
        code = _wait(self.process, self.folder)
        return record_end(Run(self.folder), code) if is_first_process() else ""

    def checkpoint(self) -> Any:
        """Stop the run after its step and queue it again; called on a timeout and on preemption."""
        if self.process is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # already ended
                os.kill(self.process.pid, signal.SIGTERM)
                # This may interrupt process.poll(), which holds its lock: wait without reaping the process.
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        helpers = need_package("submitit.helpers", "slurm", "hydra/launcher=slurm")
        return helpers.DelayedSubmission(ClusterJob(self.folder, self.alone, self.module))


class SlurmLauncher(SweepLauncher):
    """Trains each run as a SLURM job; after a timeout or preemption the job is queued again and continues.

    ``conf/hydra/launcher/slurm.yaml`` explains the settings.
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
        self._cluster, self._jobs, self._cpus, self._requeues = cluster, jobs, cpus, requeues
        self._parameters: dict[str, Any] = {
            "name": "agnn",
            "timeout_min": minutes,
            "mem_gb": memory_gb,
            "slurm_partition": partition,
            "slurm_array_parallelism": jobs,
            "slurm_setup": list(setup),
            "slurm_additional_parameters": dict(options or {}),
        }

    def describe(self) -> str:
        """Name the scheduler."""
        return "by SLURM" if self._cluster == "slurm" else f"by submitit's {self._cluster} executor"

    def places(self, trainer: TrainerConfig) -> int:  # noqa: ARG002 - same call as the others
        """Number of jobs at a time, ``hydra.launcher.jobs``."""
        return _needed(self._jobs)

    def run_jobs(
        self,
        jobs: Sequence[Job],
        should_prune: Callable[[Job], bool] | None = None,
        ended: Callable[[str, str], None] | None = None,
    ) -> None:
        """Submit an array of jobs and wait for them; Ctrl-C cancels them."""
        submitit = need_package("submitit", "slurm", "hydra/launcher=slurm")
        t = jobs[0].trainer
        devices, nodes = (max(getattr(job.trainer, k) for job in jobs) for k in ("devices", "nodes"))
        alone = nodes == 1
        try:
            executor = submitit.AutoExecutor(
                folder=jobs[0].run.folder.parent / ".submitit",
                cluster=self._cluster,
                slurm_max_num_timeout=self._requeues,
            )
        except RuntimeError as error:
            raise ConfigError(f"hydra/launcher=slurm: {error}") from error
        parameters = {
            **self._parameters,
            "nodes": nodes,
            "tasks_per_node": 1 if alone else devices,
            "cpus_per_task": self._cpus * (devices if alone else 1),
            "gpus_per_node": devices if t.accelerator != "cpu" and self._cluster == "slurm" else None,
        }
        executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
        with executor.batch():
            submitted = [executor.submit(ClusterJob(job.run.folder.resolve(), alone, job.module)) for job in jobs]
        pending = dict(zip(submitted, jobs, strict=True))
        print(f"submitted as {submitted[0].job_id} to {submitted[-1].job_id}", flush=True)

        def poll() -> list[Any]:
            time.sleep(_POLL)
            return [handle for handle in pending if handle.done()]

        try:
            _follow(pending, should_prune, poll, _outcome, ended)
        except KeyboardInterrupt:
            print("\ncancelling; running jobs stop after their step. Repeat the command to continue", flush=True)
            for handle in pending:
                handle.cancel(check=False)
            end = time.monotonic() + _GRACE
            with suppress(KeyboardInterrupt):  # a second one does not wait
                while any(_is_trained(job.run) for job in pending.values()):
                    if time.monotonic() > end:
                        break
                    time.sleep(_POLL)
            _record_rest(pending.values())


def _outcome(handle: Any, job: Job) -> str:
    """State of a run whose SLURM job has ended, as its first task returned it."""
    if handle.exception() is not None:
        return record_end(job.run, -signal.SIGKILL)
    return str(handle.results()[0])


def _needed(jobs: int | None) -> int:
    if jobs is None:
        raise ConfigError("hydra.launcher.jobs=null: give the number of workers for several films, such as 8")
    return jobs


def run_job(folder: str, module: str = TRAIN) -> str:
    """Start or continue a job in its own process; return its state."""
    if (Path(folder) / _STOP).exists():
        return str(Run(Path(folder)).status.get("state"))
    code = _wait(start(Path(folder), os.environ, module), Path(folder))
    return record_end(Run(Path(folder)), code)


@dataclass(eq=False)
class RayLauncher(SweepLauncher):
    """Trains each run as a Ray task; if a node is lost, its run continues on another.

    ``conf/hydra/launcher/ray.yaml`` explains the settings.
    """

    address: str | None = None
    jobs: int | None = None
    cpus: int = 1
    gpus: float | None = None
    retries: int = 20

    def describe(self) -> str:
        """Name the cluster."""
        return "by Ray" + (f" at {self.address}" if self.address else "")

    def places(self, trainer: TrainerConfig) -> int:  # noqa: ARG002 - same call as the others
        """Number of workers for several films, ``hydra.launcher.jobs``; the runs of a sweep start as there is room."""
        return _needed(self.jobs)

    def run_jobs(
        self,
        jobs: Sequence[Job],
        should_prune: Callable[[Job], bool] | None = None,
        ended: Callable[[str, str], None] | None = None,
    ) -> None:
        """Submit all jobs to Ray and wait for them; Ctrl-C stops them."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; avoids its warning
        ray = need_package("ray", "ray", "hydra/launcher=ray")
        ray.init(address=self.address, include_dashboard=False, log_to_driver=False, logging_level="warning")
        pending: dict[Any, Job] = {}

        def outcome(handle: Any, job: Job) -> str:
            try:
                return str(ray.get(handle))
            except ray.exceptions.RayError:  # its worker was killed
                return record_end(job.run, -signal.SIGKILL)

        try:
            there = ray.cluster_resources()
            task = ray.remote(run_job)
            for job in jobs:
                gpus = self.gpus
                if gpus is None:
                    gpus = job.trainer.devices if there.get("GPU") and job.trainer.accelerator != "cpu" else 0
                asked = {"CPU": self.cpus, "GPU": gpus}
                lacking = [f"{n} {k}" for k, n in asked.items() if n > there.get(k, 0)]
                if lacking:
                    has = " and ".join(f"{there.get(k, 0):g} {k}" for k in asked)
                    raise ConfigError(f"a run needs {' and '.join(lacking)}; Ray has {has}")
                options = task.options(num_cpus=self.cpus, num_gpus=gpus, max_retries=self.retries)
                pending[options.remote(str(job.run.folder.resolve()), job.module)] = job
            _follow(pending, should_prune, lambda: ray.wait(list(pending), timeout=_POLL)[0], outcome, ended)
        except KeyboardInterrupt:
            print("\nstopping the running jobs after their step; a second signal stops them at once", flush=True)
            for job in pending.values():
                (job.run.folder / _STOP).touch()
            with suppress(KeyboardInterrupt):
                ray.wait(list(pending), num_returns=len(pending), timeout=_GRACE)
        finally:
            ray.shutdown()
            _record_rest(pending.values())
