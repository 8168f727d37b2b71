"""``agnn-evaluate``: predict a data set with a trained model, and score the masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import TimeRemainingColumn
from rich.table import Column, Table

from agnn_lit import pretrained
from agnn_lit.config import ConfigError, DataConfig, EvaluateConfig, TrainConfig, check_evaluate
from agnn_lit.data.open import open_training_videos, open_videos
from agnn_lit.data.video import DiskVideo, Video
from agnn_lit.inference.crf import check_backend
from agnn_lit.inference.evaluation_name import evaluation_digest, resolve_evaluation
from agnn_lit.inference.load import Trained, count_workers, find_checkpoint, import_plugins_of_run, open_trained
from agnn_lit.inference.postprocess import CandidateTask, MaskTask, MaskWriter, open_mask_writer
from agnn_lit.instances.candidates import candidates_file
from agnn_lit.instances.proposals import Proposer, open_proposals
from agnn_lit.instances.video import link_video
from agnn_lit.metrics.identity import identity_switches
from agnn_lit.metrics.mask_image import read_foreground, read_ids
from agnn_lit.metrics.protocols import Protocol, ScoreError, UnscorableError
from agnn_lit.metrics.sequence import score_sequence
from agnn_lit.metrics.summary import SequenceScore, notes, write_scores
from agnn_lit.shared.files import write_bytes, write_text
from agnn_lit.shared.pictures import draw_overlay, jpeg
from agnn_lit.shared.terminal import open_console, print_notes, progress_bar

#: File with the digest of a finished evaluation; see :func:`~agnn_lit.inference.evaluation_name.evaluation_digest`.
DIGEST = "evaluation.sha256"


def open_evaluated(cfg: EvaluateConfig, trained: TrainConfig, data: DataConfig) -> Sequence[Video]:
    """Open the videos of an evaluation.

    Raises:
        ConfigError: they have no annotations, or there are none. DataError: files are missing or broken.
    """
    if cfg.split != "val":
        videos = open_videos(data, cfg.split, 1)
        bare = [v.name for v in videos if isinstance(v, DiskVideo) and not any(v.masks)]
        if bare:
            raise ConfigError(f"cannot score videos without annotations: {', '.join(bare)}")
        return videos
    if data != trained.data:
        raise ConfigError("split=val evaluates videos held out of the run's own training set; leave data as trained")
    held = open_training_videos(trained)[1]
    if not held:
        raise ConfigError("split=val: the run held no videos out (clips.val_share=0)")
    return held


def _masks(out: Path, stage: str, final: str) -> Path:
    """Folder of a stage's masks: ``masks`` for the final stage, else ``stages/<stage>/masks``."""
    return (out if stage == final else out / "stages" / stage) / "masks"


def _predict(
    trained: Trained,
    video: Video,
    cfg: EvaluateConfig,
    out: Path,
    stages: Sequence[str],
    writer: MaskWriter,
    propose: Proposer | None,
) -> None:
    """Write the masks of every stage for one video; with proposals, the masks of its objects."""
    from agnn_lit.inference.video import predict_video

    out.mkdir(parents=True, exist_ok=True)
    kept = out / ".candidates"
    shutil.rmtree(kept, ignore_errors=True)  # left by an interrupted evaluation
    for p in predict_video(trained.model, video, trained.settings, scratch=out):
        name = video.frame_name(p.index)
        masks = {stage: _masks(out, stage, stages[-1]) / video.name / f"{name}.png" for stage in stages}
        candidates = None
        if propose is not None:
            file = candidates_file(kept, name)
            masks, candidates = {}, CandidateTask(file, p.node, propose(video.name, name, p.frame), cfg.instances)
        writer.submit(MaskTask(p.frame, p.stages, masks, None, cfg.threshold, cfg.crf, candidates))
    writer.drain()
    if propose is not None:
        link_video(video, kept, lambda name: out / "masks" / video.name / f"{name}.png", cfg.instances)


def _score(video: Video, masks: Path, protocol: Protocol) -> list[SequenceScore]:
    names = [video.frame_name(i) for i in range(len(video))]
    files = [masks / video.name / f"{name}.png" for name in names]
    read, annotation = (read_foreground, video.mask) if protocol.objects == "foreground" else (read_ids, video.objects)
    annotations = map(annotation, range(len(video)))
    return score_sequence(video.name, names, map(read, files), annotations, protocol)


def _count_switches(video: Video, masks: Path) -> int:
    predictions = (read_ids(masks / video.name / f"{video.frame_name(i)}.png") for i in range(len(video)))
    return identity_switches(predictions, map(video.objects, range(len(video))))


def _write_overlays(
    videos: Sequence[Video], scores: Sequence[SequenceScore], out: Path, count: int, *, objects: bool
) -> None:
    """Draw the ``count`` best, median and worst frames by J, and the worst of each sequence or object.

    With ``objects``, the masks in ``out`` hold object ids.
    """
    by_name = {video.name: video for video in videos}
    ranked = [(score, k) for score in scores for k in range(len(score.J))]
    ranked.sort(key=lambda entry: -entry[0].J[entry[1]])
    count = min(count, len(ranked) // 3)
    middle = (len(ranked) - count) // 2
    chosen = {
        "best": ranked[:count],
        "median": ranked[middle : middle + count],
        "worst": ranked[-count:] if count else [],
        "lowest": [(score, int(score.J.argmin())) for score in scores if len(score.J)],
    }
    entries = []
    for kind, frames in chosen.items():
        for number, (score, k) in enumerate(frames):
            frame, J, F = score.frames[k], float(score.J[k]), float(score.F[k])
            video = by_name[score.name if score.object_id is None else score.name.rpartition("_")[0]]
            at = next(i for i in range(len(video)) if video.frame_name(i) == frame)
            with Image.open(out / "masks" / video.name / f"{frame}.png") as mask:
                picture = draw_overlay(video.frame(at), np.asarray(mask), video.mask(at), objects=objects)
            file = f"{kind}_{number:02d}_{score.name.replace('/', '_')}_{frame}.jpg"
            write_bytes(out / "overlays" / file, jpeg(picture))
            entries.append({"file": file, "kind": kind, "sequence": score.name, "frame": frame, "J": J, "F": F})
    write_text(out / "overlays" / "overlays.json", json.dumps(entries, indent=1) + "\n")


def _cell(value: Any) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.3f}"


def _table(first: str, title: str) -> Table:
    return Table(first, *(Column(letter, justify="right") for letter in "JFT"), title=title)


def _row(name: str, values: dict[str, Any]) -> list[str]:
    return [name, *(_cell(values[key]) for key in ("J_mean", "F_mean", "T"))]


def _print_scores(scores: Sequence[SequenceScore], summaries: dict[str, dict[str, Any]], console: Console) -> None:
    """Print the scores of the final stage, and the means of every stage if there are several."""
    summary = list(summaries.values())[-1]
    table = _table("sequence", f"{summary['protocol']}: {summary['sequences']} sequences, {summary['frames']} frames")
    for score in scores[:40]:
        table.add_row(*_row(score.name, score.columns()))
    if len(scores) > 40:
        table.add_row(f"… {len(scores) - 40} more in per_sequence.csv")
    table.add_section()
    table.add_row(*_row("mean", summary), style="bold")
    console.print(table)
    if len(summaries) > 1:
        table = _table("stage", "scores by stage")
        for stage, means in summaries.items():
            table.add_row(*_row(stage, means))
        console.print(table)
    if "identity_switches" in summary:
        console.print(f"J&F {_cell(summary['JF_mean'])}, {summary['identity_switches']} identity switches")


def _home(checkpoint: Path) -> Path:
    """Run folder of a checkpoint, or a folder of its name: beside it, or in ``runs`` for weights of the package."""
    if pretrained.is_packaged(checkpoint):
        return Path("runs") / pretrained.title(checkpoint)
    if checkpoint.parent.name == "checkpoints":
        return checkpoint.parent.parent
    return checkpoint.with_suffix("") if checkpoint.suffix else checkpoint.with_name(f"{checkpoint.name}_evaluated")


def _write_scores(
    out: Path, scores: dict[str, list[SequenceScore]], protocol: Protocol, about: dict[str, float | int | str]
) -> dict[str, dict[str, Any]]:
    """Write ``stages.csv`` and the scores of every stage, the final ones directly into ``out``."""
    final = list(scores)[-1]
    summaries: dict[str, dict[str, Any]] = {
        stage: write_scores(_masks(out, stage, final).parent, found, protocol, **about, stage=stage)
        for stage, found in scores.items()
    }
    keys = ("J_mean", "F_mean", "JF_mean", "T")
    lines = [",".join(("stage", "threshold", *keys))]
    for stage, summary in summaries.items():
        values = ("" if (v := summary[key]) is None or np.isnan(v) else f"{v:.6f}" for key in keys)
        lines.append(",".join((stage, f"{about['threshold']:g}", *values)))
    write_text(out / "stages.csv", "\n".join(lines) + "\n")
    return summaries


def _clear(out: Path) -> None:
    """Remove the files of an earlier evaluation, which may have had other videos or stages."""
    summary = out / "summary.json"
    if summary.is_file() and "checkpoint" in json.loads(summary.read_text()):  # not written by agnn-score
        summary.unlink()
        (out / DIGEST).unlink(missing_ok=True)
        for part in ("masks", "stages", "overlays"):
            shutil.rmtree(out / part, ignore_errors=True)


def _predict_and_score(
    trained: Trained, videos: Sequence[Video], cfg: EvaluateConfig, out: Path, protocol: Protocol, console: Console
) -> dict[str, list[SequenceScore]]:
    """Write and score the masks of each video, and return the scores by stage; objects have only the final stage."""
    stages = (*trained.settings.stages, *(() if cfg.crf.backend == "none" else ("crf",)))
    propose = None
    if cfg.instances.proposals != "none":
        stages = stages[-1:]
        propose = open_proposals(cfg.instances, trained.device)
    scores: dict[str, list[SequenceScore]] = {stage: [] for stage in stages}
    unscorable: list[str] = []
    with (
        open_mask_writer(cfg.crf, count_workers(cfg)) as writer,
        progress_bar(console, TimeRemainingColumn(), shown=cfg.progress) as bar,
    ):
        task = bar.add_task("videos", total=len(videos))
        for video in videos:
            _predict(trained, video, cfg, out, stages, writer, propose)
            try:
                for stage in stages:
                    scores[stage] += _score(video, _masks(out, stage, stages[-1]), protocol)
            except UnscorableError as error:
                unscorable.append(str(error))
            bar.advance(task)
    if unscorable:
        if len(unscorable) == len(videos):
            raise ScoreError("no video can be scored: " + "; ".join(unscorable[:3]))
        print_notes(console, [f"{len(unscorable)} videos NOT SCORED: {'; '.join(unscorable)}"])
    return scores


def evaluate(cfg: EvaluateConfig) -> tuple[dict[str, Any], Path]:
    """Predict and score as configured.

    Returns:
        The summary of the final stage, and the output folder.

    Raises:
        ConfigError, DataError: before anything is predicted.
    """
    import_plugins_of_run(cfg)
    check_evaluate(cfg)
    check_backend(cfg.crf)
    trained = open_trained(find_checkpoint(cfg), cfg)
    data, protocol, label = resolve_evaluation(cfg, trained.cfg)
    videos = open_evaluated(cfg, trained.cfg, data)
    digest = evaluation_digest(cfg, trained.cfg, videos, trained.checkpoint)
    out = Path(cfg.out) if cfg.out else _home(trained.checkpoint) / "evaluations" / label
    _clear(out)
    console = open_console()
    console.print(f"{pretrained.title(trained.checkpoint)} on {len(videos)} videos of {label}\n{protocol.describe()}")
    no_test_list = (
        data == trained.cfg.data and data.test_split is None and data.test_range is None and data.name != "synthetic"
    )
    if cfg.split == "test" and no_test_list:
        console.print("note: no list of test videos is set, so these are the training videos", style="yellow")
    scores = _predict_and_score(trained, videos, cfg, out, protocol, console)
    about: dict[str, float | int | str] = {
        "threshold": cfg.threshold,
        "data": label,
        "checkpoint": pretrained.title(trained.checkpoint),
        "graph_frames": trained.settings.frames,
        "dtype": trained.dtype,
    }
    if trained.checkpoint.suffix == ".safetensors":
        about["sha256"] = trained.digest
    if protocol.objects == "assigned":
        about["identity_switches"] = sum(_count_switches(video, out / "masks") for video in videos)
    summaries = _write_scores(out, scores, protocol, about)
    final = list(scores)[-1]
    print_notes(console, notes(scores[final]))
    _write_overlays(videos, scores[final], out, cfg.overlays, objects=cfg.instances.proposals != "none")
    write_text(out / DIGEST, digest + "\n")  # last: an interrupted evaluation has none
    _print_scores(scores[final], summaries, console)
    console.print(f"written to {out}")
    return summaries[final], out
