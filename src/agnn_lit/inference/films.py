"""``agnn-predict`` for several films: each in a folder of its own, by one process or by several that share the work.

A worker goes through the films and takes each that is not done and that no other worker holds, so that workers need no
schedule: any number of them, on any number of nodes that share the output folder, may start, die and come again.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from agnn_lit.config import ConfigError, PredictConfig, TrainerConfig, check_inference, plain
from agnn_lit.data.films import Film
from agnn_lit.data.footage import open_footage
from agnn_lit.data.video import DataError
from agnn_lit.inference.crf import check_backend
from agnn_lit.inference.load import Trained, find_checkpoint, import_plugins_of_run, open_trained
from agnn_lit.inference.prediction import asked_settings, refuse_faults, write_prediction
from agnn_lit.shared.files import sha256, write_text
from agnn_lit.shared.runs import BusyError, Run, exclusive
from agnn_lit.shared.terminal import Reports, open_console, progress_bar

if TYPE_CHECKING:
    from agnn_lit.sweeps.launcher import SweepLauncher

TABLE = "predictions.csv"
_WORKERS = ".workers"  # folder of the workers in the output folder
_ERROR = "error.txt"  # in the folder of a film that cannot be predicted
_POLL = 1.0  # seconds between two looks at the films of others, and between two reports
_SHOWN = 20  # films that are named at the end
#: Errors of the output's file system, which every film would meet.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Done:
    """What came out of a film; a row of ``predictions.csv``.

    Attributes:
        film: its path.
        folder: its folder in the output.
        state: done, failed, or missing.
        frames: frames with a mask.
        skipped: frames that were left out.
        objects: number of objects, with ``instances``.
        seconds: time of the last command that worked on it.
        error: why it failed.
    """

    film: str
    folder: str
    state: str
    frames: int | None = None
    skipped: int | None = None
    objects: int | None = None
    seconds: float | None = None
    error: str = ""


class Work:
    """The films of a call and what is known about them, shared by all its workers.

    Args:
        cfg: the settings; ``out`` is the folder of all films.
        films: the films.
        checkpoint: the model's file.
        since: errors of films that are older do not count.
    """

    def __init__(self, cfg: PredictConfig, films: Sequence[Film], checkpoint: Path, since: float) -> None:
        self.cfg, self.films, self.checkpoint, self._since = cfg, films, checkpoint, since
        self._settings = asked_settings(cfg, sha256(checkpoint))

    def folder(self, film: Film) -> Path:
        """Output folder of a film."""
        return Path(self.cfg.out) / film.name

    def is_done(self, film: Film) -> bool:
        """Whether all masks of a film are there, made with these settings from the file as it is."""
        record = self.folder(film) / "predict.json"
        try:
            about = json.loads(record.read_text())
            newest = film.path.stat().st_mtime
            folders = ("masks", "soft") if self.cfg.soft else ("masks",)
            found = {sum(1 for _ in (record.parent / name).glob("*.png")) for name in folders}
            overlay = (record.parent / "overlay.mp4").is_file() or not self.cfg.overlay
            return (
                about["state"] == "done"
                and about["asked"] == self._settings
                and newest <= record.stat().st_mtime
                and found == {about["frames"]}
                and overlay
            )
        except (OSError, ValueError, KeyError):
            return False

    def error(self, film: Film) -> str:
        """Why a film failed in this call; empty if it did not."""
        file = self.folder(film) / _ERROR
        try:
            return file.read_text() if file.stat().st_mtime >= self._since else ""
        except OSError:
            return ""

    def outcome(self, film: Film) -> Done:
        """What came out of a film."""
        row = Done(str(film.path), str(self.folder(film)), "missing")
        error = self.error(film)
        if error:
            return replace(row, state="failed", error=error.strip())
        if not self.is_done(film):
            return row
        about = json.loads((self.folder(film) / "predict.json").read_text())
        return replace(
            row,
            state="done",
            frames=about["frames"],
            skipped=len(about["skipped"]),
            objects=about["objects"],
            seconds=about["seconds"],
        )


def work_through(work: Work, trained: Trained, first: int, report: Callable[[int, int], None]) -> None:
    """Predict films until each is done, failed, or was predicted by another worker.

    Args:
        work: the films.
        trained: the model.
        first: number of the film to begin with, so that workers begin at different ones.
        report: called with the number of films and of frames that are done since the last call.

    Raises:
        OSError: the output cannot be written, because the disk is full or read-only.
    """
    order = [*work.films[first:], *work.films[:first]]
    while order:
        busy = []
        for film in order:
            try:
                report(int(_attempt(work, trained, film, report)), 0)
            except BusyError:
                busy.append(film)
        order = [film for film in busy if not work.is_done(film) and not work.error(film)]
        if order:
            time.sleep(_POLL)  # another worker has them; it may die


def _attempt(work: Work, trained: Trained, film: Film, report: Callable[[int, int], None]) -> bool:
    """Predict a film unless it is done or has failed; return whether it was done or failed now.

    Raises:
        BusyError: another worker has it. OSError: see :func:`work_through`.
    """
    if work.is_done(film) or work.error(film):
        return False
    folder = work.folder(film)
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    with exclusive(lock, f"{folder}: another worker has this film"):
        if work.is_done(film) or work.error(film):
            return False
        (folder / _ERROR).unlink(missing_ok=True)
        cfg = replace(work.cfg, input=str(film.path), out=str(folder))
        try:
            _predict(trained, cfg, lambda frames: report(0, frames))
        except (ConfigError, DataError) as error:
            write_text(folder / _ERROR, f"{error}\n")
        except OSError as error:
            if error.errno in _FULL:
                raise
            write_text(folder / _ERROR, f"{error}\n")
        except Exception as error:  # one film must not stop the others, whatever is wrong with it
            write_text(folder / _ERROR, f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
        lock.unlink(missing_ok=True)
    return True


def _predict(trained: Trained, cfg: PredictConfig, advance: Callable[[int], None]) -> None:
    frames = 0

    def count(what: str, done: int, total: int) -> None:  # noqa: ARG001 - called by the progress
        nonlocal frames
        if what == "frames":
            frames, new = done, done - frames
            advance(new)

    with closing(open_footage(Path(cfg.input), cfg.fps)) as footage:
        refuse_faults(footage, cfg)
        write_prediction(trained, footage, cfg, Console(quiet=True), Reports(count))


class _Frames(ProgressColumn):
    """Frames per second since the start."""

    def render(self, task: Task) -> Text:
        """Return the rate as text; empty before the first frame."""
        frames, elapsed = task.fields["frames"], task.elapsed
        return Text(f"{frames / elapsed:.1f} frames/s" if frames and elapsed else "")


def predict_films(cfg: PredictConfig, films: Sequence[Film], launcher: SweepLauncher | None = None) -> None:
    """Segment several films as configured, each into a folder of its own below ``cfg.out``; see :func:`predict`.

    Films that an earlier call with the same settings has finished are left as they are. A film that cannot be predicted
    does not stop the others. At the end, ``predictions.csv`` lists what came out.

    Args:
        cfg: the settings.
        films: the films.
        launcher: starts several workers; None: this process does the work.

    Raises:
        ConfigError: before anything is predicted. OSError: the output cannot be written.
        KeyboardInterrupt: the workers were stopped.
        SystemExit: 1, if a film failed, after the others.
    """
    import_plugins_of_run(cfg)
    check_inference(cfg)
    check_backend(cfg.crf)
    console = open_console()
    folder = Path(cfg.out) / _WORKERS
    folder.mkdir(parents=True, exist_ok=True)
    began = folder / "began"
    began.touch()
    work = Work(cfg, films, find_checkpoint(cfg), began.stat().st_mtime)
    missing = [film for film in films if not work.is_done(film)]
    there = len(films) - len(missing)
    before = f", {there} of them done before" if there else ""
    console.print(f"{cfg.input}: {len(films)} films{before}", highlight=False, soft_wrap=True)
    interrupted = False
    if missing:
        bar = progress_bar(console, _Frames(), TimeRemainingColumn(), shown=cfg.progress)
        with bar:
            task = bar.add_task("films", total=len(films), completed=there, frames=0)
            frames = 0

            def report(new_films: int, new_frames: int) -> None:
                nonlocal frames
                frames += new_frames
                bar.update(task, advance=new_films, frames=frames)

            if launcher is None:
                work_through(work, open_trained(work.checkpoint, cfg), 0, report)
            else:
                interrupted = _launch(launcher, replace(cfg, progress=False), missing, report)
    rows = [work.outcome(film) for film in films]
    _write_table(Path(cfg.out) / TABLE, rows)
    _conclude(console, cfg, rows)
    if interrupted:
        raise KeyboardInterrupt
    if any(row.state != "done" for row in rows):
        raise SystemExit(1)


def _write_table(file: Path, rows: Sequence[Done]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    table.writeheader()
    table.writerows({**asdict(row), "error": row.error.partition("\n")[0]} for row in rows)
    write_text(file, text.getvalue())


def _conclude(console: Console, cfg: PredictConfig, rows: Sequence[Done]) -> None:
    """Say what came out, and name the films that failed."""
    done = [row for row in rows if row.state == "done"]
    masks = sum(row.frames or 0 for row in done)
    console.print(
        f"{len(done)} of {len(rows)} films in {cfg.out}, {masks} masks; {Path(cfg.out) / TABLE} lists them",
        highlight=False,
        soft_wrap=True,
    )
    failed = [row for row in rows if row.state == "failed"]
    for row in failed[:_SHOWN]:
        said = row.error.partition("\n")[0].removeprefix(f"input={row.film}: ")
        print(f"agnn-predict: {row.film}: {said}", file=sys.stderr)
    if len(failed) > _SHOWN:
        print(f"agnn-predict: … and {len(failed) - _SHOWN} more films failed, see {TABLE}", file=sys.stderr)
    left = len(rows) - len(done)
    if left:
        counts = f"{len(failed)} failed, {left - len(failed)} not begun or not finished"
        missing = f"{left} of {len(rows)} films {'is' if left == 1 else 'are'} missing"
        print(f"agnn-predict: {missing} ({counts}); repeat the command", file=sys.stderr)


def _launch(
    launcher: SweepLauncher, cfg: PredictConfig, films: Sequence[Film], report: Callable[[int, int], None]
) -> bool:
    """Let workers predict the films; return whether they were interrupted.

    Raises:
        ConfigError: the launcher cannot start the workers. OSError: a worker ended with an error.
    """
    from agnn_lit.sweeps.launcher import PREDICT, Job

    trainer = TrainerConfig(accelerator=cfg.accelerator)
    number = min(launcher.places(trainer), len(films))
    folder = Path(cfg.out) / _WORKERS
    write_text(folder / "films.json", json.dumps([[str(film.path), film.name] for film in films]))
    jobs = []
    for k in range(number):
        run = Run(folder / str(k))
        run.folder.mkdir(exist_ok=True)
        (run.folder / "progress.json").unlink(missing_ok=True)
        settings = {**plain(cfg), "first": k * len(films) // number}
        write_text(run.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(settings)))
        run.update(state="waiting", error=None)
        jobs.append(Job(run, trainer, label=f"worker {k}", module=PREDICT))
    with _followed([job.run.folder for job in jobs], report):
        launcher.run_jobs(jobs, ended=lambda label, state: None)  # noqa: ARG005 - called by the launcher
    states = [job.run.status for job in jobs]
    failed = next((status for status in states if status.get("state") == "failed"), None)
    if failed is not None:
        raise OSError(f"a worker failed: {failed.get('error')}")
    return any(status.get("state") != "done" for status in states)


@contextmanager
def _followed(folders: Sequence[Path], report: Callable[[int, int], None]) -> Iterator[None]:
    """Report the progress that workers write into their folders, during the ``with`` block."""
    over = threading.Event()

    def follow() -> None:
        seen = [0, 0]
        while True:
            last = over.wait(_POLL)
            found = [_read_progress(folder) for folder in folders]
            total = [sum(column) for column in zip(*found, strict=True)]
            report(total[0] - seen[0], total[1] - seen[1])
            seen = total
            if last:
                return

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _read_progress(folder: Path) -> tuple[int, int]:
    try:
        films, frames = json.loads((folder / "progress.json").read_text())
    except (OSError, ValueError):
        return 0, 0
    return films, frames


class WorkerProgress:
    """Writes the number of films and frames that a worker has done into its folder, at most once a second."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "progress.json"
        self._films, self._frames = _read_progress(folder)  # a worker that was queued again goes on
        self._written = 0.0

    def __call__(self, films: int, frames: int) -> None:
        """Count further films and frames."""
        self._films += films
        self._frames += frames
        if films or time.monotonic() - self._written > _POLL:
            write_text(self._file, json.dumps([self._films, self._frames]))
            self._written = time.monotonic()


def work_of(folder: Path) -> tuple[Work, int]:
    """Return the films of a worker's folder, and the number of the first one.

    Raises:
        ConfigError: the folder is none of a worker.
    """
    from agnn_lit.config import typed

    try:
        settings: Any = OmegaConf.load(folder / "config.yaml")
        films = [Film(Path(path), name) for path, name in json.loads((folder.parent / "films.json").read_text())]
        since = (folder.parent / "began").stat().st_mtime
    except OSError as error:
        raise ConfigError(f"run={folder}: no worker of agnn-predict ({error})") from error
    first = settings.pop("first")
    cfg = typed(settings, PredictConfig)
    import_plugins_of_run(cfg)
    return Work(cfg, films, find_checkpoint(cfg), since), int(first)
