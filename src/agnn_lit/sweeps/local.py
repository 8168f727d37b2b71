"""``agnn-train -m``: one run for each combination of values, each trained by a process of its own.

Hydra's launchers compose a job when it starts and call a function in a process that they share between jobs. Here all
jobs are composed before the first one starts and written into their run folders: editing ``conf/`` changes none of
them, a job that crashes takes no other with it, and a process has one W&B run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from agnn_lit.config import ConfigError
from agnn_lit.shared.processes import receiving, usable_processors
from agnn_lit.sweeps.launcher import PATIENCE, POLL, Job, SweepLauncher, progress, settle, start


def make_slots(
    jobs: int | None, threads: int | None, processors: int, gpus: Sequence[str], devices: int
) -> list[dict[str, str]]:
    """Divide a machine between jobs that train at the same time.

    Args:
        jobs: at a time; None: one for each GPU, or for each two processors.
        threads: of each job; None: its share of the processors.
        processors: of the machine.
        gpus: their numbers or names; none on a machine without.
        devices: GPUs of each job.

    Returns:
        For each place environment variables that give a job its share.

    Raises:
        ConfigError: more jobs than their GPUs allow, or none.
    """
    places = len(gpus) // devices if gpus else max(1, processors // 2)
    if places == 0:
        raise ConfigError(f"trainer.devices={devices}: a run needs more GPUs than are seen here, {', '.join(gpus)}")
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
    """GPUs that jobs may use: those of CUDA_VISIBLE_DEVICES, or all that the driver lists."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is not None:
        return [gpu.strip() for gpu in asked.split(",") if gpu.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(number) for number, line in enumerate(listed.splitlines()) if line.startswith("GPU")]


class LocalLauncher(SweepLauncher):
    """Trains jobs on this machine, some of them at a time.

    Args:
        jobs: at a time; None: one for each GPU, or for each two processors.
        threads: of each job; None: its share of the processors.
    """

    def __init__(self, jobs: int | None = 1, threads: int | None = None) -> None:
        if jobs is not None and jobs < 1:
            raise ConfigError(f"hydra.launcher.jobs={jobs}: must be 1 or more, or null")
        self._jobs = jobs
        self._threads = threads
        self._running: dict[subprocess.Popen[bytes], tuple[Job, dict[str, str]]] = {}
        self._signals = 0

    def describe(self) -> str:
        """Say how many at a time."""
        return "one after another" if self._jobs == 1 else f"in parallel (jobs={self._jobs or 'auto'})"

    def train(self, jobs: Sequence[Job], is_hopeless: Callable[[Job], bool] | None = None) -> None:
        """Start a job wherever there is room, until all have ended; see :meth:`SweepLauncher.train`.

        Ctrl-C and SIGTERM end the running jobs after their step, with a checkpoint; a second one ends them at once.
        """
        t = jobs[0].cfg.trainer
        free = make_slots(
            self._jobs,
            self._threads,
            usable_processors(),
            [] if t.accelerator == "cpu" else visible_gpus(),
            max(job.cfg.trainer.devices for job in jobs),
        )
        waiting, asked = list(jobs), time.monotonic()
        stopped: set[subprocess.Popen[bytes]] = set()
        with receiving(self._receive), progress(len(jobs)) as ended:
            while self._running or (waiting and not self._signals):
                while free and waiting and not self._signals:
                    job, slot = waiting.pop(0), free.pop(0)
                    self._running[start(job.run.folder, {**os.environ, **slot})] = job, slot
                time.sleep(POLL)
                if is_hopeless is not None and time.monotonic() - asked > PATIENCE:
                    asked = time.monotonic()
                    for process, (job, _) in self._running.items():
                        if process not in stopped and is_hopeless(job):
                            stopped.add(process)  # a second signal would end it at once
                            process.send_signal(signal.SIGTERM)
                for process in [p for p in self._running if p.poll() is not None]:
                    job, slot = self._running.pop(process)
                    free.append(slot)
                    ended(job.label, settle(job.run, process.returncode))
        if self._signals:
            print(f"stopped; {len(waiting)} runs were not begun. The same command goes on", file=sys.stderr)

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - called by the interpreter
        self._signals += 1
        for process in self._running:
            process.send_signal(signal.SIGTERM if self._signals < 3 else signal.SIGKILL)  # a second one ends at once
        said = "stopping the running jobs after their step; once more stops them at once"
        print(said if self._signals == 1 else "stopping", file=sys.stderr, flush=True)


#: Names in ``conf/hydra/launcher``.
LAUNCHERS = ("sequential", "parallel", "slurm", "ray")
