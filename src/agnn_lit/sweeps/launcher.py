"""``agnn-train -m``: one run for each combination of values, each trained by a process of its own.

Hydra's launchers compose a job when it starts and call a function in a process that they share between jobs. Here all
jobs are composed before the first one starts and written into their run folders: editing ``conf/`` changes none of
them, a job that crashes takes no other with it, and a process has one W&B run.
"""

from __future__ import annotations

import copy
import ctypes
import shlex
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from rich.progress import TimeElapsedColumn
from rich.table import Table

from agnn_lit.config import ConfigError, TrainConfig, check_train, typed
from agnn_lit.shared.runs import BUSY, BusyError, Run
from agnn_lit.shared.terminal import open_console, progress_bar

_LOG = "output.log"


_LIBC = ctypes.CDLL(None)


POLL = 0.1  # seconds between two looks at the processes of a sweep


PATIENCE = 1.0  # seconds between two questions whether they are hopeless


#: Signals that somebody sends to end a process; others mean that it crashed.
_STOPPED = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


@dataclass(frozen=True)
class Job:
    """A run of a sweep.

    Attributes:
        run: its folder, which holds its configuration.
        cfg: the same.
        skipped: why it is not trained now; None where it is.
        label: settings that tell it from the other jobs.
    """

    run: Run
    cfg: TrainConfig
    skipped: str | None = None
    label: str = ""


def prepare_job(run: Run, cfg: TrainConfig, overrides: Sequence[str]) -> Job:
    """Decide whether a job is to be trained, and write down how.

    What is done is skipped, what was interrupted goes on, and what failed is trained again with ``retry_failed=true``.

    Args:
        run: its folder.
        cfg: its configuration.
        overrides: that it was composed from.

    Raises:
        ConfigError: the folder holds a run of another configuration; nothing is changed.
    """
    with run.locked():
        if cfg.overwrite:
            run.clear()
        state = run.status.get("state")
        if state is not None:
            run.check_same(cfg)
            if state == "done":
                return Job(run, cfg, "done before")
            if state == "failed" and not cfg.retry_failed:
                return Job(run, cfg, "failed before; retry_failed=true trains it again")
            # What its last process ended with is past: one that cannot even begin would be taken for that.
            run.update(state="waiting", error=None)
        else:
            run.wait(cfg, shlex.join(["agnn-train", *filter_overrides(overrides)]))
        try:
            check_train(cfg)
        except ConfigError as error:
            run.update(state="failed", error=str(error))
            return Job(run, cfg, str(error))
    return Job(run, cfg)


def start(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the process of a run; what it prints is appended to ``output.log`` in its folder.

    Args:
        folder: of the run.
        environment: all of its variables.
    """
    with (folder / _LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "agnn_lit.commands.train", f"run={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # An agent of W&B names the one run that it starts: not all of a sweep's.
            env={k: v for k, v in environment.items() if k != "WANDB_RUN_ID"},
            start_new_session=True,  # Ctrl-C reaches the sweep alone, which passes it on
            preexec_fn=_follow_parent,
        )


def _follow_parent() -> None:
    """End after the step when the parent has died; leave a scheduler's warning (SIGUSR2 by submitit) to it."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with suppress(AttributeError):  # elsewhere than on Linux
        _LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def settle(run: Run, code: int) -> str:
    """Note how a job's process has ended, where it could not do so itself.

    Args:
        run: its folder.
        code: that the process ended with; negative for a signal.

    Returns:
        The state: done, failed or interrupted; running where another process trains it.
    """
    if code == BUSY:
        return "running"
    state = run.status.get("state", "waiting")
    if state in ("done", "failed", "interrupted"):
        return str(state)
    if code < 0 and -code in _STOPPED:
        state, error = "interrupted", f"ended by {signal.Signals(-code).name}"
    else:
        said = (run.folder / _LOG).read_text(errors="replace").strip().splitlines()[-20:]
        how = f"code {code}" if code >= 0 else signal.Signals(-code).name
        state, error = "failed", "\n".join([f"ended with {how}; its last words:", *said])
    Run(run.folder).update(state=state, error=error)
    return state


class SweepLauncher(Launcher):
    """Hydra's view of a way to train the jobs of a sweep."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Take what Hydra gives."""
        self._context = hydra_context
        self._config = config
        batch = config.hydra.sweeper.get("max_batch_size")
        if batch is not None:
            raise ConfigError(
                f"hydra.sweeper.max_batch_size={batch}: all jobs of a sweep are one batch; leave it out. "
                "hydra/launcher=parallel hydra.launcher.jobs=N trains N at a time"
            )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train what is missing, print how each job ended.

        Returns:
            The last val/J of each job.

        Raises:
            ConfigError: nothing is trained: no jobs, or a job's folder holds a run of another configuration.
            SystemExit: 1 when a job failed or was interrupted, once the others have ended.
        """
        if not job_overrides:
            raise ConfigError("the sweep has no jobs: a list or range of values is empty")
        started = time.monotonic()
        jobs = self.prepare(job_overrides, initial_job_idx)
        waiting = [job for job in jobs if job.skipped is None]
        folder = jobs[0].run.folder.parent
        print(f"{folder}: {len(jobs)} runs, {len(waiting)} to train {self.describe()}", flush=True)
        before = _trained_seconds(waiting)
        if waiting:
            self.train(waiting)
        trained = _trained_seconds(waiting) - before
        states = _print_jobs(jobs)
        took = time.monotonic() - started
        print(f"trained for {trained:.0f} s in {took:.0f} s; what each printed is in {folder}/*/{_LOG}", flush=True)
        missing = {state: n for state, n in states.items() if state != "done"}
        if missing:
            counts = ", ".join(f"{n} {state}" for state, n in missing.items())
            again = ", and with what failed by retry_failed=true" if "failed" in missing else ""
            said = f"{counts} of {len(jobs)}; the same command goes on with what is missing{again}"
            print(f"agnn-train: {said}", file=sys.stderr)
            raise SystemExit(1)
        return [_returned(job) for job in jobs]

    def prepare(self, job_overrides: Sequence[Sequence[str]], first: int = 0) -> list[Job]:
        """Compose all jobs, then write them down.

        Args:
            job_overrides: of each job.
            first: number of the first one.

        Raises:
            ConfigError: jobs that would share a folder, a folder with a run of another configuration, or an experiment
                whose own values would not be swept.
        """
        composed = []
        for number, overrides in enumerate(job_overrides, first):
            cfg = self._context.config_loader.load_sweep_config(self._config, list(overrides))
            with open_dict(cfg):
                cfg.hydra.job.id = str(number)
                cfg.hydra.job.num = number
            folder = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
            given = {word.lstrip("+").partition("=")[0] for word in overrides}
            lost = [key for key in cfg.hydra.sweeper.get("params") or {} if key not in given]
            if lost:  # Hydra reads them from an experiment that is fixed, not from one of several
                raise ConfigError(
                    f"{' '.join(overrides)}: this experiment is a sweep of {', '.join(lost)}, which is lost where "
                    "several experiments are given; one command for each keeps it"
                )
            task = copy.deepcopy(cfg)
            with read_write(task), open_dict(task):
                del task["hydra"]
            composed.append((Run(folder), typed(task, TrainConfig), list(overrides)))
        counts = Counter(str(run.folder) for run, _, _ in composed)
        twice = sorted(folder for folder, count in counts.items() if count > 1)
        if twice:
            raise ConfigError(f"several jobs would share a folder: {', '.join(twice)}")
        shared = set.intersection(*(set(words) for _, _, words in composed))
        jobs = []
        for run, typed_cfg, overrides in composed:
            try:
                job = prepare_job(run, typed_cfg, overrides)
            except BusyError as error:
                job = Job(run, typed_cfg, str(error))
            label = " ".join(word for word in overrides if word not in shared) or run.folder.name
            jobs.append(replace(job, label=label))
        return jobs

    @abstractmethod
    def describe(self) -> str:
        """Say how jobs are run, as ``one after another``."""

    @abstractmethod
    def train(self, jobs: Sequence[Job], is_hopeless: Callable[[Job], bool] | None = None) -> None:
        """Run all jobs to their ends.

        Args:
            jobs: to train.
            is_hopeless: asked about running jobs from time to time; one for which it is true is stopped.
        """


@contextmanager
def progress(total: int) -> Iterator[Callable[[str, str], None]]:
    """Show how many jobs have ended: a bar on a terminal, and a line for each.

    Yields:
        A function to call with the label of a job that has ended, and its state.
    """
    console = open_console()
    with progress_bar(console, TimeElapsedColumn(), shown=console.is_terminal) as bar:
        task = bar.add_task("runs", total=total)

        def ended(label: str, state: str) -> None:
            console.print(f"{label}: {state}", highlight=False)
            bar.advance(task)

        yield ended


def _trained_seconds(jobs: Sequence[Job]) -> float:
    return float(sum(job.run.status.get("fit_seconds", 0.0) for job in jobs))


def _returned(job: Job) -> JobReturn:
    returned = JobReturn(overrides=[job.label], status=JobStatus.COMPLETED)
    returned.return_value = job.run.status.get("metrics", {}).get("val/J")
    return returned


def _print_jobs(jobs: Sequence[Job]) -> Counter[str]:
    """Print a line a job, and return how many there are of each state."""
    table = Table()
    for column in ("run", "state", "val/J", "note"):
        table.add_column(column, justify="right" if column == "val/J" else "left", overflow="fold")
    states: Counter[str] = Counter()
    for job in jobs:
        status = job.run.status
        state = str(status.get("state"))
        states[state] += 1
        j = status.get("metrics", {}).get("val/J") if state == "done" else None
        error = str(status.get("error") or "").strip().splitlines()
        words = (job.skipped, error[-1] if state != "done" and error else None)
        note = "; ".join(dict.fromkeys(said for said in words if said))
        table.add_row(job.label, state, "–" if j is None else f"{j:.3f}", note)
    open_console().print(table)
    return states
