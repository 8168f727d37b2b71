"""From configuration to objects: the only code that reads cfg."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agnn_lit.config import ConfigError, DataConfig, DataName, LoopEdge, LossName, StaticConfig, TrainConfig, plain
from agnn_lit.data import index
from agnn_lit.data.index import DataError, DiskVideo, Video
from agnn_lit.data.sampling import Seed, hold_out
from agnn_lit.data.synthetic import synthetic_videos

if TYPE_CHECKING:  # torch and Lightning are imported where they are used: a wrong key is refused before
    from agnn_lit.data.datamodule import VideoDataModule
    from agnn_lit.data.dataset import EpochPlan
    from agnn_lit.model import AGNN
    from agnn_lit.module import AGNNModule


def open_videos(cfg: DataConfig, split: str, frames: int) -> Sequence[Video]:
    """List and check the videos of a split.

    Args:
        cfg: the data set.
        split: "train" or "test"; ``cfg.train_split`` and ``cfg.test_split`` say what that is called.
        frames: N'; every video must have as many.

    Raises:
        DataError: anything missing or broken, all of it at once.
    """
    if cfg.name is DataName.synthetic:
        s = cfg.synthetic
        return synthetic_videos(
            split,
            s.train_videos if split == "train" else s.test_videos,
            length=s.length,
            size=s.size,
            primaries=s.primaries,
            distractors=s.distractors,
            texture=s.texture,
            deformation=s.deformation,
            speed=s.speed,
            seed=s.seed,
        )
    videos = index.select(_index(cfg, split), cfg.sequences)
    part = cfg.train_range if split == "train" else cfg.test_range
    if part is not None:
        videos = [index.cut(video, *part) for video in videos]
    # YouTube-Objects has annotations of another size than their frame; its protocol resizes and reports them.
    index.check(videos, frames if split == "train" else 1, one_size=cfg.name is not DataName.youtube_objects)
    return videos


def _index(cfg: DataConfig, split: str) -> list[DiskVideo]:
    root = Path(cfg.root or "")
    if cfg.name is DataName.youtube_objects:
        return index.index_youtube_objects(root)
    if cfg.name is DataName.folder:
        return index.index_folder(root)
    listed = cfg.train_split if split == "train" else cfg.test_split
    if listed is None and cfg.sequences is None:
        raise ConfigError(
            f"data.{split}_split is not set: the name of a list in {root / 'ImageSets'}, "
            "or null with data.sequences=[…] to name the videos themselves"
        )
    year = "2016" if cfg.name is DataName.davis2016 else "2017"
    return index.index_davis(root, index.split_names(root, year, listed) if listed else cfg.sequences or [])


def run_seed(cfg: TrainConfig) -> Seed:
    """Seed of a run's random streams."""
    return Seed(cfg.seed, cfg.separate_streams)


def open_training_videos(cfg: TrainConfig) -> tuple[list[Video], list[Video]]:
    """Training videos, and those held out of them for model selection; the reported split stays closed.

    Raises:
        DataError: see :func:`open_videos`; also a training video without annotations.
        ConfigError: a share is to be held out of a single video.
    """
    videos = open_videos(cfg.data, "train", cfg.model.frames)
    try:
        train, held = hold_out(len(videos), cfg.clips.val_share, seed=run_seed(cfg))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for video in videos:
        if isinstance(video, DiskVideo) and sum(m is not None for m in video.masks) < cfg.model.frames:
            raise DataError(
                f"{video.name}: {sum(m is not None for m in video.masks)} annotated frames, "
                f"fewer than model.frames={cfg.model.frames}; training needs masks"
            )
    return [videos[i] for i in train], [videos[i] for i in held]


def build_model(cfg: TrainConfig, *, pretrained: bool = True) -> AGNN:
    """Return the network; with ``pretrained``, its backbone starts from ``backbone.weights``.

    Raises:
        WeightsError: start values that cannot be had or do not fit.
    """
    from agnn_lit.model import AGNN, edges
    from agnn_lit.model.backbone import build_backbone
    from agnn_lit.model.weights import load_backbone_weights

    m = cfg.model
    encoder_loop = m.loop_reduction if m.loop_edge is LoopEdge.encoder else None
    encoder = build_backbone(cfg.backbone.name, m.channels, cfg.backbone.stride, encoder_loop)
    model = AGNN(
        encoder,
        m.channels,
        m.frames,
        m.rounds,
        loop_edge=m.loop_edge is LoopEdge.every_round,
        loop_reduction=m.loop_reduction,
        line_edge=m.line_edge,
        gate=m.gate,
        aggregation=m.aggregation,
        update=m.update,
        readout=m.readout,
        auxiliary=m.auxiliary,
        checkpoint_rounds=m.checkpoint_rounds,
    )
    for part in model.modules():
        if isinstance(part, (edges.LoopEdge, edges.LineEdge)):
            part.backend = m.attention
    if pretrained and cfg.backbone.weights is not None:
        load_backbone_weights(encoder, cfg.backbone.weights, model.auxiliary, cfg.backbone.preprocessing)
    return model


def default_protocol(data: DataConfig) -> str:
    """Protocol of a data set where none is asked for: YouTube-Objects annotates only some frames."""
    return "youtube_objects" if data.name is DataName.youtube_objects else "simple"


def open_static_images(cfg: StaticConfig) -> list[DiskVideo]:
    """List and check the static images, each as a video of one frame.

    Raises:
        DataError: see :func:`agnn_lit.data.index.index_static`; anything missing or broken, all of it at once.
    """
    images = [image for root in cfg.roots for image in index.index_static(Path(root).expanduser())]
    if cfg.roots:
        index.check(images, 1)
    return images


def plan_epochs(cfg: TrainConfig, videos: int, static: int = 0) -> EpochPlan:
    """Say what the batches of an epoch hold.

    Args:
        cfg: of the run.
        videos: number of training videos.
        static: number of static images.

    Raises:
        ConfigError: not a clip for each process and batch of a step.
    """
    from agnn_lit.data.dataset import EpochPlan

    c, s = cfg.clips, cfg.static
    processes, clips = cfg.trainer.devices * cfg.trainer.nodes, videos * cfg.clips.clips_per_video
    if processes > 1 and clips < c.batch_size * processes:
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices} x trainer.nodes={cfg.trainer.nodes} x clips.batch_size="
            f"{c.batch_size} clips a step, but an epoch has {clips}: raise clips.clips_per_video={c.clips_per_video}"
        )
    plan = EpochPlan(
        clips,
        c.batch_size,
        run_seed(cfg),
        static,
        s.batch_size or c.batch_size,
        s.every,
        cfg.trainer.accumulate,
        processes,
    )
    if plan.accumulate > plan.available:
        raise ConfigError(
            f"trainer.accumulate={plan.accumulate}: an epoch has {plan.available} batches, fewer than a step is to "
            f"have: lower it, or raise clips.clips_per_video={c.clips_per_video}"
        )
    return plan


def build_module(cfg: TrainConfig, plan: EpochPlan | None = None, *, pretrained: bool = True) -> AGNNModule:
    """Return the LightningModule; the learning rate follows the plan of the epochs."""
    from agnn_lit.inference import Inference
    from agnn_lit.losses import official_loss, weighted_bce
    from agnn_lit.module import AGNNModule, Validation

    return AGNNModule(
        build_model(cfg, pretrained=pretrained),
        partial(official_loss, l1=cfg.loss.l1)
        if cfg.loss.name is LossName.official
        else partial(weighted_bce, eta=cfg.loss.eta, reduction=cfg.loss.reduction),
        cfg.optim,
        cfg.trainer.max_epochs,
        Validation(
            Inference(cfg.model.frames, cfg.clips.size, cfg.clips.batch_size, preprocessing=cfg.backbone.preprocessing),
            protocol=default_protocol(cfg.data),
        ),
        plain(cfg),
        run_seed(cfg),
        overlays=cfg.logger.overlays,
        auxiliary=cfg.loss.auxiliary,
        static=cfg.static,
        step_kinds=plan.step_kinds if plan else [False],
    )


def build_datamodule(
    cfg: TrainConfig, train: Sequence[Video], held_out: Sequence[Video], static: Sequence[Video] = ()
) -> VideoDataModule:
    """Return the LightningDataModule over opened videos and static images."""
    from agnn_lit.data.datamodule import VideoDataModule
    from agnn_lit.data.dataset import ClipDataset, MixedClips
    from agnn_lit.data.transforms import ClipTransform

    c = cfg.clips
    transform = ClipTransform(c.size, c.flip, c.scale, cfg.backbone.preprocessing, c.crop)
    clips = ClipDataset(train, cfg.model.frames, transform, run_seed(cfg), c.clips_per_video)
    mixed = MixedClips(clips, ClipDataset(static, 1, transform, run_seed(cfg))) if static else clips
    return VideoDataModule(mixed, held_out, plan_epochs(cfg, len(train), len(static)), c.workers)
