"""Sweeps on this machine: jobs one after another, or several at a time on its GPUs and processors.

Used instead of Hydra's joblib launcher, which composes a job only when it starts and trains several in one process:
here all runs are composed first, each has its own process, and an interrupted run resumes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from agnn_lit.config import ConfigError, TrainerConfig
from agnn_lit.shared.processes import receiving, usable_processors
from agnn_lit.sweeps.launcher import Job, Pruner, SweepLauncher, progress, record_end, start

_POLL = 0.1  # seconds between two checks of the processes
_PRUNE_INTERVAL = 1.0  # seconds between two checks whether jobs should be pruned


def make_slots(
    jobs: int | None, threads: int | None, processors: int, gpus: Sequence[str], devices: int
) -> list[dict[str, str]]:
    """Divide a machine between jobs that train at the same time.

    Args:
        jobs: jobs at a time; None for one per GPU, or one per two processors.
        threads: threads per job; None for an equal share of the processors.
        processors: number of processors.
        gpus: numbers or names of the GPUs; empty without any.
        devices: GPUs per job.

    Returns:
        For each job that runs at a time, the environment variables that give it its share.

    Raises:
        ConfigError: the GPUs are not enough for the jobs.
    """
    places = len(gpus) // devices if gpus else max(1, processors // 2)
    if places == 0:
        raise ConfigError(f"trainer.devices={devices}: more than the visible GPUs, {', '.join(gpus)}")
    jobs = jobs or places
    if gpus and jobs > places:
        raise ConfigError(
            f"hydra.launcher.jobs={jobs} with trainer.devices={devices}: {len(gpus)} GPUs are enough for {places} "
            "jobs at a time"
        )
    share = str(threads or max(1, processors // jobs))
    slots = []
    for number in range(jobs):
        environment = {"OMP_NUM_THREADS": share}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[number * devices : (number + 1) * devices])
        slots.append(environment)
    return slots


def visible_gpus() -> list[str]:
    """GPUs that jobs may use: those in CUDA_VISIBLE_DEVICES, or else all that nvidia-smi lists."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [gpu.strip() for gpu in asked.split(",") if gpu.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU")]


class LocalLauncher(SweepLauncher):
    """Trains jobs on this machine; ``jobs`` and ``threads`` as in :func:`make_slots`."""

    def __init__(self, jobs: int | None = 1, threads: int | None = None) -> None:
        if jobs is not None and jobs < 1:
            raise ConfigError(f"hydra.launcher.jobs={jobs}: must be 1 or more, or null")
        self._jobs = jobs
        self._threads = threads
        self._running: dict[subprocess.Popen[bytes], tuple[Job, dict[str, str]]] = {}
        self._signals = 0

    def describe(self) -> str:
        """Say how many jobs run at a time."""
        return "one after another" if self._jobs == 1 else f"in parallel (jobs={self._jobs or 'auto'})"

    def _slots(self, trainer: TrainerConfig, devices: int) -> list[dict[str, str]]:
        gpus = [] if trainer.accelerator == "cpu" else visible_gpus()
        return make_slots(self._jobs, self._threads, usable_processors(), gpus, devices)

    def places(self, trainer: TrainerConfig) -> int:
        """Number of jobs at a time; see :func:`make_slots`."""
        return len(self._slots(trainer, trainer.devices))

    def run_jobs(
        self,
        jobs: Sequence[Job],
        should_prune: Callable[[Job], bool] | None = None,
        ended: Callable[[str, str], None] | None = None,
    ) -> None:
        """Start a job whenever a slot is free; see :meth:`SweepLauncher.run_jobs`.

        Ctrl-C or SIGTERM stops the running jobs after their step, with a checkpoint; a second one stops them at once.
        """
        free = self._slots(jobs[0].trainer, max(job.trainer.devices for job in jobs))
        waiting, pruner = list(jobs), Pruner(should_prune, _PRUNE_INTERVAL)
        with receiving(self._receive), progress(len(jobs), ended) as report:
            while self._running or (waiting and not self._signals):
                while free and waiting and not self._signals:
                    job, slot = waiting.pop(0), free.pop(0)
                    self._running[start(job.run.folder, {**os.environ, **slot}, job.module)] = job, slot
                time.sleep(_POLL)
                pruned = pruner.select(job for job, _ in self._running.values())
                for process in [p for p, (job, _) in self._running.items() if job in pruned]:
                    process.terminate()
                for process in [p for p in self._running if p.poll() is not None]:
                    job, slot = self._running.pop(process)
                    free.append(slot)
                    report(job.label, record_end(job.run, process.returncode))
        if self._signals:
            print(f"stopped; {len(waiting)} runs not started. Repeat the command to continue", file=sys.stderr)

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - called by the interpreter
        self._signals += 1
        for process in self._running:
            process.send_signal(signal.SIGTERM if self._signals < 3 else signal.SIGKILL)  # a second one ends at once
        said = "stopping the running jobs after their step; a second signal stops them at once"
        print(said if self._signals == 1 else "stopping", file=sys.stderr, flush=True)


#: The launchers in ``conf/hydra/launcher``.
LAUNCHERS = ("sequential", "parallel", "slurm", "ray")
