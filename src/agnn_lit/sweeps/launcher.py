"""``agnn-train -m``: one run for each combination of values, each trained in its own process.

Hydra's launchers compose a job when it starts, and train all jobs in one process. Here all jobs are composed and
written into their run folders before the first one starts, so editing ``conf/`` does not change them, a crash does not
affect other jobs, and each process has one W&B run.
"""

from __future__ import annotations

import ctypes
import shlex
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from rich.progress import TimeElapsedColumn
from rich.table import Table

from agnn_lit.config import ConfigError, TrainConfig, TrainerConfig, check_train, typed
from agnn_lit.shared.runs import BUSY, BusyError, Run
from agnn_lit.shared.terminal import open_console, progress_bar

_LOG = "output.log"
_LIBC = ctypes.CDLL(None)  # loaded here: not between fork and exec
#: Signals sent to end a process; others mean that it crashed.
_STOPPED = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


#: Modules that do the work of a job, called with ``run=FOLDER``.
TRAIN, PREDICT = "agnn_lit.commands.train", "agnn_lit.inference.worker"


@dataclass(frozen=True)
class Job:
    """A run of a sweep, or a worker of agnn-predict, for a process of its own."""

    run: Run  # its folder holds the configuration
    trainer: TrainerConfig  # accelerator, devices and nodes
    skipped: str | None = None  # why it is not trained now; None if it is
    label: str = ""  # settings in which it differs from the other jobs
    module: str = TRAIN


def prepare_job(run: Run, cfg: TrainConfig, overrides: Sequence[str]) -> Job:
    """Decide whether to train a job, and write its configuration, which was composed from ``overrides``.

    A finished run is skipped, an interrupted one continues, and a failed one is trained with ``retry_failed=true``.

    Raises:
        ConfigError: the folder holds a run with another configuration; nothing is changed.
    """
    with run.locked():
        if cfg.overwrite:
            run.clear()
        state = run.status.get("state")
        if state is not None:
            run.check_same(cfg)
            if state == "done":
                return Job(run, cfg.trainer, "done before")
            if state == "failed" and not cfg.retry_failed:
                return Job(run, cfg.trainer, "failed before; retry_failed=true trains it again")
            # Forget how the last process ended: a process that cannot start leaves this state.
            run.update(state="waiting", error=None)
        else:
            run.wait(cfg, shlex.join(["agnn-train", *filter_overrides(overrides)]))
        try:
            check_train(cfg)
        except ConfigError as error:
            run.update(state="failed", error=str(error))
            return Job(run, cfg.trainer, str(error))
    return Job(run, cfg.trainer)


def start(folder: Path, environment: Mapping[str, str], module: str = TRAIN) -> subprocess.Popen[bytes]:
    """Start the process of a job, with all its environment variables; its output is appended to ``output.log``."""
    with (folder / _LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, f"run={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A W&B agent sets the id of the one run that it starts, which must not reach all runs of a sweep.
            env={k: v for k, v in environment.items() if k != "WANDB_RUN_ID"},
            start_new_session=True,  # Ctrl-C reaches only the launcher, which forwards it
            preexec_fn=_follow_parent,
        )


def _follow_parent() -> None:
    """Stop when the parent dies, and ignore the scheduler's warning (submitit's SIGUSR2), which the parent handles."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    with suppress(AttributeError):  # not on Linux
        _LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def record_end(run: Run, code: int) -> str:
    """Write the state of a run whose process has ended with ``code``, negative for a signal, unless it wrote it.

    Returns:
        The state: done, failed or interrupted; running if another process trains the run.
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
        state, error = "failed", "\n".join([f"ended with {how}; last output:", *said])
    Run(run.folder).update(state=state, error=error)
    return state


class SweepLauncher(Launcher):
    """Base class of the Hydra launchers that train the jobs of a sweep."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Called by Hydra with the composed configuration."""
        if config.hydra.job.config_name != "train":
            raise ConfigError(f"agnn-{config.hydra.job.config_name} has no -m with this launcher; leave it out")
        self._context = hydra_context
        self._config = config
        batch = config.hydra.sweeper.get("max_batch_size")
        if batch is not None:
            raise ConfigError(
                f"hydra.sweeper.max_batch_size={batch}: not supported; hydra/launcher=parallel hydra.launcher.jobs=N "
                "trains N jobs at a time"
            )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the jobs that are not done, print how each one ended, and return the last val/J of each.

        Raises:
            ConfigError: no jobs, or a job's folder holds a run with another configuration; nothing is trained.
            SystemExit: 1 if a job failed or was interrupted, after the others have ended.
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
            self.run_jobs(waiting)
        trained = _trained_seconds(waiting) - before
        states = _print_jobs(jobs)
        took = time.monotonic() - started
        print(f"trained for {trained:.0f} s in {took:.0f} s; the output is in {folder}/*/{_LOG}", flush=True)
        missing = {state: n for state, n in states.items() if state != "done"}
        if missing:
            counts = ", ".join(f"{n} {state}" for state, n in missing.items())
            again = "; with retry_failed=true also the failed ones" if "failed" in missing else ""
            said = f"{counts} of {len(jobs)}; repeat the command to train the missing runs{again}"
            print(f"agnn-train: {said}", file=sys.stderr)
            raise SystemExit(1)
        return [_returned(job) for job in jobs]

    def prepare(self, job_overrides: Sequence[Sequence[str]], first: int = 0) -> list[Job]:
        """Compose all jobs, then write their configurations; ``first`` is the number of the first job.

        Raises:
            ConfigError: two jobs share a folder, a folder holds a run with another configuration, or the axis of an
                experiment would not be swept.
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
            if lost:  # Hydra reads hydra.sweeper.params from a fixed experiment, not from a swept one
                raise ConfigError(
                    f"{' '.join(overrides)}: this experiment sweeps {', '.join(lost)}, which does not work with "
                    "several experiments in one command; use one command for each"
                )
            with read_write(cfg), open_dict(cfg):
                del cfg["hydra"]
            composed.append((Run(folder), typed(cfg, TrainConfig), list(overrides)))
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
                job = Job(run, typed_cfg.trainer, str(error))
            label = " ".join(word for word in overrides if word not in shared) or run.folder.name
            jobs.append(replace(job, label=label))
        return jobs

    @abstractmethod
    def describe(self) -> str:
        """Say how the jobs are run, such as ``one after another``."""

    @abstractmethod
    def places(self, trainer: TrainerConfig) -> int:
        """Number of jobs that run at a time.

        Raises:
            ConfigError: it must be set, or the GPUs are not enough for it.
        """

    @abstractmethod
    def run_jobs(
        self,
        jobs: Sequence[Job],
        should_prune: Callable[[Job], bool] | None = None,
        ended: Callable[[str, str], None] | None = None,
    ) -> None:
        """Run all jobs, and wait for them.

        Args:
            jobs: not empty.
            should_prune: called from time to time; jobs for which it is true stop after their step.
            ended: called with label and state of each job that has ended; None: show them, see :func:`progress`.
        """


@dataclass
class Pruner:
    """Selects the running jobs that should be pruned, each once, every ``interval`` seconds."""

    should_prune: Callable[[Job], bool] | None
    interval: float
    _checked: float = field(default_factory=time.monotonic)
    _pruned: set[Path] = field(default_factory=set)

    def select(self, jobs: Iterable[Job]) -> list[Job]:
        """Jobs to stop now; none until the interval is over."""
        if self.should_prune is None or time.monotonic() - self._checked < self.interval:
            return []
        self._checked = time.monotonic()
        found = [job for job in jobs if job.run.folder not in self._pruned and self.should_prune(job)]
        self._pruned.update(job.run.folder for job in found)
        return found


@contextmanager
def progress(total: int, ended: Callable[[str, str], None] | None) -> Iterator[Callable[[str, str], None]]:
    """Show how many jobs have ended: a line for each, and on a terminal a progress bar.

    Yields:
        ``ended``, if it is given; else a function to call with the label and the state of each job that has ended.
    """
    if ended is not None:
        yield ended
        return
    console = open_console()
    with progress_bar(console, TimeElapsedColumn(), shown=console.is_terminal) as bar:
        task = bar.add_task("runs", total=total)

        def show(label: str, state: str) -> None:
            console.print(f"{label}: {state}", highlight=False)
            bar.advance(task)

        yield show


def _trained_seconds(jobs: Sequence[Job]) -> float:
    return float(sum(job.run.status.get("fit_seconds", 0.0) for job in jobs))


def _returned(job: Job) -> JobReturn:
    returned = JobReturn(overrides=[job.label], status=JobStatus.COMPLETED)
    returned.return_value = job.run.status.get("metrics", {}).get("val/J")
    return returned


def _print_jobs(jobs: Sequence[Job]) -> Counter[str]:
    """Print a table of the jobs, and return the number of jobs in each state."""
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
