"""``agnn-predict``: masks for any footage."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from agnn_lit import pretrained
from agnn_lit.config import ConfigError, PredictConfig, check_inference, plain
from agnn_lit.config.setting import Changes, keys
from agnn_lit.data.footage import Footage, open_footage
from agnn_lit.data.video import DataError
from agnn_lit.inference.crf import check_backend
from agnn_lit.inference.load import Trained, count_workers, find_checkpoint, import_plugins_of_run, open_trained
from agnn_lit.inference.postprocess import CandidateTask, MaskTask, open_mask_writer
from agnn_lit.inference.prediction_folder import Output
from agnn_lit.instances.candidates import candidates_file
from agnn_lit.instances.proposals import Proposer, open_proposals
from agnn_lit.instances.video import link_video
from agnn_lit.shared.provenance import versions
from agnn_lit.shared.terminal import open_console, print_notes, progress_bar

if TYPE_CHECKING:
    from agnn_lit.inference.overlay import Overlay
    from agnn_lit.inference.video import Prediction

WIDEST = 16384  # maximum side of H.264 video, in pixels
#: Settings that change no mask, or (accelerator, threads) only the last digits of its probabilities.
_FREE = keys(PredictConfig, Changes.command, Changes.extra, Changes.place, Changes.speed)


class _Rate(ProgressColumn):
    """Frames per second since the start."""

    def render(self, task: Task) -> Text:
        """Return the rate as text; empty until it is known."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.1f} frames/s")


def asked_settings(cfg: PredictConfig, digest: str) -> dict[str, Any]:
    """Return all settings that masks depend on, as they were asked for, and the model's digest."""
    settings = {key: value for key, value in plain(cfg).items() if key not in _FREE}
    return {**settings, "checkpoint": digest[:16]}


def _identity(cfg: PredictConfig, footage: Footage, trained: Trained) -> dict[str, Any]:
    """Return everything that masks depend on, so that a folder never mixes masks of different settings."""
    settings = asked_settings(cfg, trained.digest)
    source = cfg.instances.source
    if source is not None and Path(source).exists():
        settings["proposals"] = _state_of(Path(source))
    settings |= {"frames": trained.settings.frames, "dtype": trained.dtype, "device": trained.device}
    return {
        "input": footage.name,
        "length": len(footage),
        "content": footage.fingerprint(),
        "files": footage.content(),
        **settings,
    }


def _state_of(path: Path) -> str:
    """Hash the names, sizes and modification times of a file, or of the files in a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    about = [f"{p.relative_to(path)}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]


def _task(cfg: PredictConfig, p: Prediction, footage: Footage, out: Output, propose: Proposer | None) -> MaskTask:
    """Write the mask of a frame, or with proposals its candidates for objects."""
    name = footage.frame_name(p.index)
    masks, candidates = {"raw" if cfg.crf.backend == "none" else "crf": out.mask(name)}, None
    if propose is not None:
        file = candidates_file(out.candidates, name)
        masks, candidates = {}, CandidateTask(file, p.node, propose(footage.name, name, p.frame), cfg.instances)
    soft = out.soft(name)
    stages = {"raw": p.probability}
    return MaskTask(p.frame, stages, masks, soft, cfg.threshold, cfg.crf, candidates, cfg.png_level)


def _predict(
    trained: Trained,
    footage: Footage,
    cfg: PredictConfig,
    out: Output,
    done: set[int],
    known: Mapping[int, Prediction],
    bar: Progress,
    propose: Proposer | None,
    overlay: Overlay | None,
) -> dict[int, str]:
    """Write the masks of all frames that are not ``done``; return the frames that could not be read, and why.

    The network is not run again for the frames that are ``known``. Masks are drawn on the ``overlay`` as they come.
    """
    from agnn_lit.inference.video import predict_video

    skipped = dict(footage.unreadable)
    task = bar.add_task("frames", total=len(footage), completed=len(done | skipped.keys()))
    predicted = predict_video(
        trained.model,
        footage,
        trained.settings,
        done=done | skipped.keys() | known.keys(),
        unreadable=lambda i, why: skipped.update({i: why}),
        scratch=out.folder,
    )
    waiting: deque[tuple[int, NDArray[np.uint8]]] = deque()  # frames that are to be drawn

    def finish(masks: list[NDArray[np.uint8]]) -> None:
        bar.advance(task, len(masks))
        if overlay is not None:
            for mask in masks:
                overlay.add(*waiting.popleft(), mask)

    with open_mask_writer(cfg.crf, count_workers(cfg)) as writer, closing(predicted):
        for p in chain((known[i] for i in known if i not in done), (p for p in predicted if p.index not in known)):
            if p.index in done:  # its batch was interrupted
                continue
            if overlay is not None:
                waiting.append((p.index, p.frame))
            finish(writer.submit(_task(cfg, p, footage, out, propose)))
        finish(writer.drain())
    return skipped


def _link(footage: Footage, cfg: PredictConfig, out: Output, bar: Progress) -> int | None:
    """Track the objects, write their masks and return their number; None if an earlier call has done so."""
    if not out.candidates.is_dir():
        return None
    task = bar.add_task("objects", total=len(footage))
    return link_video(footage, out.candidates, out.mask, cfg.instances, lambda: bar.advance(task))


def _open_overlay(trained: Trained, footage: Footage, cfg: PredictConfig, out: Output, bar: Progress) -> Overlay:
    from agnn_lit.inference.overlay import Overlay

    task = bar.add_task("overlay", total=len(footage))
    return Overlay(
        out.overlay,
        footage,
        trained.settings.graphs(len(footage))[0].frames,
        lambda index: out.mask(footage.frame_name(index)),
        lambda drawn: bar.advance(task, drawn),
        objects=cfg.instances.proposals != "none",
    )


def _describe_skipped(skipped: dict[int, str]) -> str:
    lines = [skipped[i] for i in sorted(skipped)]
    return "\n  ".join(lines[:20] + ([f"… and {len(lines) - 20} more"] if len(lines) > 20 else []))


def refuse_faults(footage: Footage, cfg: PredictConfig) -> None:
    """Raise DataError for known problems of the footage, unless they are to be skipped."""
    if cfg.on_error == "skip" or not (footage.unreadable or footage.faults):
        return
    problems = [*footage.faults]
    if footage.unreadable:
        listed = _describe_skipped(footage.unreadable)
        problems.append(f"{len(footage.unreadable)} of {len(footage)} frames cannot be read:\n  {listed}")
    raise DataError("\n".join(problems) + "\non_error=skip leaves out frames that cannot be read")


def _refuse_file(cfg: PredictConfig) -> None:
    if Path(cfg.out).is_file():
        raise ConfigError(f"out={cfg.out} is a file; give a folder")


def _refuse_output(footage: Footage, cfg: PredictConfig) -> None:
    """Raise ConfigError if the output would replace the footage, or if it cannot be written."""
    _refuse_file(cfg)
    written = Path(cfg.out).resolve()
    source = Path(cfg.input).resolve()
    if source in (written / "masks", written / "soft", written / "overlay.mp4"):
        raise ConfigError(f"input={cfg.input} lies where out={cfg.out} writes; choose another out")
    if cfg.overlay and max(footage.size) > WIDEST:
        height, width = footage.size
        raise ConfigError(f"frames of {width}x{height} are too large for overlay.mp4 ({WIDEST} at most): overlay=false")


def predict(cfg: PredictConfig) -> Path:
    """Segment footage as configured; resumes an interrupted call with the same settings.

    Returns:
        The output folder.

    Raises:
        ConfigError: before anything is predicted.
        DataError: footage that cannot be read; raised later for a single frame. Masks written until then stay.
        OSError: a file cannot be written.
    """
    import_plugins_of_run(cfg)
    check_inference(cfg)
    check_backend(cfg.crf)
    _refuse_file(cfg)
    checkpoint = find_checkpoint(cfg)
    console = open_console()
    with console.status(f"looking through {cfg.input}"):
        footage = open_footage(Path(cfg.input), cfg.fps)
    with closing(footage):
        refuse_faults(footage, cfg)
        trained = open_trained(checkpoint, cfg)
        return write_prediction(trained, footage, cfg, console, frames_bar(console, shown=cfg.progress))


def frames_bar(console: Console, *, shown: bool) -> Progress:
    """Return a progress bar with frames per second and the remaining time."""
    return progress_bar(console, _Rate(), TimeRemainingColumn(), shown=shown)


def write_prediction(
    trained: Trained,
    footage: Footage,
    cfg: PredictConfig,
    console: Console,
    bar: Progress,
    known: Mapping[int, Prediction] | None = None,
) -> Path:
    """Write the masks of opened footage with a loaded model into ``cfg.out``, as :func:`predict` does.

    Args:
        trained: the model, with the settings of ``cfg``.
        footage: what to segment.
        cfg: as it was checked.
        console: where to report.
        bar: where to show progress.
        known: predictions of the same settings by index of their frames, for which the network is not run again.
    """
    _refuse_output(footage, cfg)
    footage.prepare(trained.settings.frames)
    out = Output(Path(cfg.out), soft=cfg.soft)
    identity = _identity(cfg, footage, trained)
    earlier = out.objects
    several = cfg.instances.proposals != "none"
    propose = open_proposals(cfg.instances, trained.device) if several else None
    out.begin(identity, overwrite=cfg.overwrite)
    height, width = footage.size
    print_notes(console, (*footage.faults, *footage.notes))
    crf = "" if cfg.crf.backend == "none" else f", CRF {cfg.crf.backend}"
    console.print(
        f"{cfg.input}: {len(footage)} frames of {width}x{height}; {pretrained.title(trained.checkpoint)} on "
        f"{trained.device} in {trained.dtype}, N' = {trained.settings.frames}{crf}",
        highlight=False,
        soft_wrap=True,
    )
    done = {i for i in range(len(footage)) if out.has(footage.frame_name(i))}
    if several and not out.candidates.is_dir() and len(done | footage.unreadable.keys()) < len(footage):
        done = set()  # objects are tracked through all frames
        out.candidates.mkdir()
    if done:
        console.print(f"{len(done)} frames are there from before", highlight=False)
    start = time.perf_counter()
    with bar, ExitStack() as stack:
        overlay = stack.enter_context(_open_overlay(trained, footage, cfg, out, bar)) if cfg.overlay else None
        drawn = None if several else overlay  # objects are known after the last frame
        skipped = _predict(trained, footage, cfg, out, done, known or {}, bar, propose, drawn)
        objects = _link(footage, cfg, out, bar)
        if overlay is not None:
            overlay.finish()
    seconds = time.perf_counter() - start
    fresh = len(footage) - len(skipped) - len(done)
    if skipped:
        console.print(
            f"left out {len(skipped)} frames:\n  {_describe_skipped(skipped)}", style="yellow", soft_wrap=True
        )
    out.write(
        identity,
        state="done",
        command=" ".join(sys.argv),
        asked=asked_settings(cfg, trained.digest),
        checkpoint=pretrained.title(trained.checkpoint),
        frames=len(footage) - len(skipped),
        objects=earlier if objects is None else objects,
        skipped={footage.frame_name(i): skipped[i] for i in sorted(skipped)},
        seconds=round(seconds, 2),
        versions=versions(),
    )
    speed = f", {fresh} of them now in {seconds:.1f} s ({fresh / seconds:.1f} frames/s)" if fresh else ""
    of = "" if objects is None else f" of {objects} object{'' if objects == 1 else 's'}"
    shown = f" and {out.overlay.name}" if cfg.overlay else ""
    masks = f"{len(footage) - len(skipped)} masks{of}"
    console.print(f"{masks}{shown} in {out.folder}{speed}", highlight=False, soft_wrap=True)
    return out.folder
