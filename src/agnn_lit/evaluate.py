"""``agnn-evaluate``: predict a data set with a trained model, and score the masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agnn_lit.build import build_module, default_protocol, open_training_videos, open_videos
from agnn_lit.config import (
    CONF_DIR,
    Aggregation,
    ConfigError,
    DataConfig,
    DataName,
    EvaluateConfig,
    SyntheticConfig,
    TrainConfig,
    check_data,
    check_evaluate,
    register_schemas,
    typed,
)
from agnn_lit.data.index import DataError, DiskVideo, Video
from agnn_lit.metrics.protocols import PROTOCOLS, Protocol, ScoreError, SequenceScore, score_sequence, write_scores
from agnn_lit.overlay import draw_overlay, jpeg
from agnn_lit.runs import Run, write_atomically

if TYPE_CHECKING:
    from agnn_lit.module import AGNNModule

register_schemas()

#: Colours of DAVIS palette files: index 0 black, index 1 red, the first of the benchmark's colour map.
_PALETTE = [0, 0, 0, 128, 0, 0]


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask (H, W), 0 or 1, as a palette PNG in the manner of DAVIS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette(_PALETTE)
    temporary = path.with_name(f".{path.name}")
    image.save(temporary, format="PNG")
    temporary.replace(path)


def resolve_data(asked: DataConfig, trained: DataConfig, split: str) -> DataConfig:
    """Data set to evaluate on: the trained one with the fields that were asked for, or another one whole.

    The sequences that training was limited to stay in force unless a list of test sequences is evaluated.
    """
    if asked.name is not None and asked.name is not trained.name:
        return asked
    paths = ("root", "train_split", "test_split", "sequences")
    data = replace(trained, **{k: getattr(asked, k) for k in paths if getattr(asked, k) is not None})
    if split == "test" and data.test_split is not None:
        data = replace(data, sequences=asked.sequences)
    default, wanted = SyntheticConfig(), asked.synthetic
    changed = {f.name: getattr(wanted, f.name) for f in fields(wanted)}
    changed = {k: v for k, v in changed.items() if v != getattr(default, k)}
    return replace(data, synthetic=replace(data.synthetic, **changed))


def load_checkpoint(file: Path) -> tuple[TrainConfig, AGNNModule]:
    """Read a checkpoint of ``agnn-train``: its configuration, and the module in evaluation mode on the CPU.

    Raises:
        ConfigError: no such file, or not a checkpoint of ours.
    """
    import torch

    if not file.is_file():
        raise ConfigError(f"{file}: no such checkpoint; agnn-train writes checkpoints/best.ckpt into its run folder")
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a torn file leads its unpickler into
        raise ConfigError(f"{file}: cannot be read as a checkpoint ({error})") from error
    try:
        config, state = content["hyper_parameters"]["config"], content["state_dict"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not a checkpoint of agnn-train (no {error})") from error
    cfg: TrainConfig = typed(config, TrainConfig)
    module = build_module(cfg, pretrained=False)
    module.load_state_dict(state)
    return cfg, module.eval()


def _videos(cfg: EvaluateConfig, trained: TrainConfig, data: DataConfig) -> Sequence[Video]:
    if cfg.split != "val":
        videos = open_videos(data, cfg.split, 1)
        bare = [v.name for v in videos if isinstance(v, DiskVideo) and not any(v.masks)]
        if bare:
            raise ConfigError(f"nothing to score against, no annotation for: {', '.join(bare)}")
        return videos
    if data != trained.data:
        raise ConfigError("split=val is the share held out of the run's own training videos; leave data as trained")
    held = open_training_videos(trained)[1]
    if not held:
        raise ConfigError("split=val: the run held no videos out (clips.val_share=0)")
    return held


def _run_video(
    module: AGNNModule, video: Video, cfg: EvaluateConfig, trained: TrainConfig, protocol: Protocol, out: Path
) -> SequenceScore:
    """Predict, write and score one video."""
    import torch

    from agnn_lit.module import predict_masks

    device = next(module.parameters()).device
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(cfg.dtype)
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        masks = predict_masks(
            module.model,
            video,
            frames=cfg.frames or trained.model.frames,
            size=trained.clips.size,
            batch_size=cfg.batch_size,
            threshold=cfg.threshold,
        )
    names = [video.frame_name(i) for i in range(len(video))]
    for name, mask in zip(names, masks, strict=True):
        save_mask(out / "masks" / video.name / f"{name}.png", mask)
    annotations = (video.mask(i) for i in range(len(video)))
    return score_sequence(video.name, names, masks, annotations, protocol)


def _write_overlays(videos: Sequence[Video], scores: Sequence[SequenceScore], out: Path, count: int) -> None:
    """Draw the best, median and worst frames by J, and the lowest of each sequence."""
    ranked = sorted(
        (
            (float(j), float(f), n, frame)
            for n, s in enumerate(scores)
            for j, f, frame in zip(s.J, s.F, s.frames, strict=True)
        ),
        key=lambda entry: -entry[0],
    )
    count = min(count, len(ranked) // 3)
    middle = (len(ranked) - count) // 2
    chosen = {
        "best": ranked[:count],
        "median": ranked[middle : middle + count],
        "worst": ranked[-count:] if count else [],
        "lowest": [min((e for e in ranked if e[2] == n), key=lambda e: e[0]) for n, s in enumerate(scores) if len(s.J)],
    }
    entries = []
    for kind, frames in chosen.items():
        for number, (j, f, n, frame) in enumerate(frames):
            video = videos[n]
            at = next(i for i in range(len(video)) if video.frame_name(i) == frame)
            with Image.open(out / "masks" / video.name / f"{frame}.png") as mask:
                picture = draw_overlay(video.frame(at), np.asarray(mask), video.mask(at))
            file = f"{kind}_{number:02d}_{video.name.replace('/', '_')}_{frame}.jpg"
            (out / "overlays").mkdir(parents=True, exist_ok=True)
            (out / "overlays" / file).write_bytes(jpeg(picture))
            entries.append({"file": file, "kind": kind, "sequence": video.name, "frame": frame, "J": j, "F": f})
    write_atomically(out / "overlays" / "overlays.json", json.dumps(entries, indent=1) + "\n")


def _print_table(scores: Sequence[SequenceScore], summary: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{summary['protocol']}: {summary['sequences']} sequences, {summary['frames']} frames")
    table.add_column("sequence")
    for column in ("J", "F", "T"):
        table.add_column(column, justify="right")

    def cell(value: float | None) -> str:
        return "–" if value is None or np.isnan(value) else f"{value:.3f}"

    for score in scores[:40]:
        table.add_row(score.name, cell(score.J_mean), cell(score.F_mean), cell(score.T))
    if len(scores) > 40:
        table.add_row(f"… {len(scores) - 40} more in per_sequence.csv", "", "", "")
    table.add_section()
    table.add_row("mean", cell(summary["J_mean"]), cell(summary["F_mean"]), cell(summary["T"]), style="bold")
    console.print(table)


def _device(accelerator: str) -> str:
    import torch

    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator=gpu: there is no CUDA device here; use accelerator=cpu or auto")
    return {"gpu": "cuda"}.get(accelerator, accelerator)


def _protocol(name: str) -> Protocol:
    """Protocol of a name; a foreground is predicted, which protocols that tell objects apart cannot score."""
    possible = [p.name for p in PROTOCOLS.values() if p.objects == "foreground"]
    if name not in possible:
        raise ConfigError(f"protocol={name}: must be one of {', '.join(possible)}")
    return PROTOCOLS[name]


def _unusual(cfg: EvaluateConfig) -> str:
    """Settings in which an evaluation differs from the usual one, for its folder's name."""
    frames = "" if cfg.frames is None else f"-frames{cfg.frames}"
    threshold = "" if cfg.threshold == 0.5 else f"-threshold{cfg.threshold}"
    return frames + threshold + ("" if cfg.dtype == "fp32" else f"-{cfg.dtype}")


def evaluate(cfg: EvaluateConfig) -> tuple[dict[str, Any], Path]:
    """Predict and score as configured.

    Returns:
        The summary, and the folder that everything was written to.

    Raises:
        ConfigError, DataError: before anything is predicted.
    """
    check_evaluate(cfg)
    run = None if cfg.run is None else Run(Path(cfg.run))
    if run is not None:
        run.load_config()  # a folder that is no run is refused as such
    checkpoint = run.best if run is not None else Path(cfg.ckpt or "")
    trained, module = load_checkpoint(checkpoint)
    data = resolve_data(cfg.data, trained.data, cfg.split)
    check_data(data, 1)
    assert data.name is not None
    protocol = _protocol(cfg.protocol or default_protocol(data))
    frames = cfg.frames or trained.model.frames
    if trained.model.aggregation is Aggregation.concat and frames != trained.model.frames:
        raise ConfigError(f"frames={frames}: model.aggregation=concat was trained for {trained.model.frames}")
    device = _device(cfg.accelerator)
    videos = _videos(cfg, trained, data)
    label = f"{data.name.value}-{cfg.split}-{protocol.name}" + _unusual(cfg)
    out = Path(cfg.out) if cfg.out else checkpoint.parent.parent / "evaluations" / label
    console = Console()
    console.print(f"{checkpoint} on {len(videos)} videos of {label}\n{protocol.describe()}")
    if cfg.split == "test" and data == trained.data and data.test_split is None and data.name is not DataName.synthetic:
        console.print("note: there is no list of test videos: these are the videos of training", style="yellow")
    import torch

    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    module.to(device)
    scores = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not cfg.progress) as bar:
        task = bar.add_task("videos", total=len(videos))
        for video in videos:
            scores.append(_run_video(module, video, cfg, trained, protocol, out))
            bar.advance(task)
    about: dict[str, float | int | str] = {
        "threshold": cfg.threshold,
        "data": label,
        "checkpoint": str(checkpoint),
        "stage": "raw",
        "graph_frames": frames,
        "dtype": cfg.dtype,
    }
    summary = write_scores(out, scores, protocol, **about)
    _write_overlays(videos, scores, out, cfg.overlays)
    _print_table(scores, summary, console)
    console.print(f"written to {out}")
    return summary, out


@hydra.main(config_path=CONF_DIR, config_name="evaluate", version_base="1.3")
def _main(cfg: DictConfig) -> None:
    try:
        evaluate(typed(cfg, EvaluateConfig))
    except (ConfigError, DataError, ScoreError) as error:
        print(f"agnn-evaluate: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def main() -> None:
    """Entry point of the command."""
    _main()


if __name__ == "__main__":
    main()
