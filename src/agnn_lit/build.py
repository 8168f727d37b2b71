"""From configuration to objects: the only code that reads cfg."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agnn_lit.config import ConfigError, DataConfig, DataName, LoopEdge, TrainConfig, plain
from agnn_lit.data import index
from agnn_lit.data.index import DataError, DiskVideo, Video
from agnn_lit.data.sampling import hold_out
from agnn_lit.data.synthetic import synthetic_videos

if TYPE_CHECKING:  # torch and Lightning are imported where they are used: a wrong key is refused before
    from agnn_lit.data.datamodule import VideoDataModule
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
            distractors=s.distractors,
            texture=s.texture,
            deformation=s.deformation,
            speed=s.speed,
            seed=s.seed,
        )
    videos = index.select(_index(cfg, split), cfg.sequences)
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


def open_training_videos(cfg: TrainConfig) -> tuple[list[Video], list[Video]]:
    """Training videos, and those held out of them for model selection; the reported split stays closed.

    Raises:
        DataError: see :func:`open_videos`; also a training video without annotations.
    """
    videos = open_videos(cfg.data, "train", cfg.model.frames)
    train, held = hold_out(len(videos), cfg.clips.val_share, seed=cfg.seed)
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


def planned_steps(cfg: TrainConfig, clips: int) -> int:
    """Optimiser steps of a whole run over ``clips`` clips an epoch."""
    batches = max(1, clips // (cfg.clips.batch_size * cfg.trainer.devices))
    return cfg.trainer.max_epochs * -(-batches // cfg.trainer.accumulate)


def build_module(cfg: TrainConfig, *, steps: int = 1, pretrained: bool = True) -> AGNNModule:
    """Return the LightningModule; ``steps`` is the length of the learning rate schedule."""
    from agnn_lit.inference import Inference
    from agnn_lit.losses import weighted_bce
    from agnn_lit.module import AGNNModule, Validation

    return AGNNModule(
        build_model(cfg, pretrained=pretrained),
        partial(weighted_bce, eta=cfg.loss.eta, reduction=cfg.loss.reduction),
        cfg.optim,
        steps,
        Validation(
            Inference(cfg.model.frames, cfg.clips.size, cfg.clips.batch_size, preprocessing=cfg.backbone.preprocessing),
            protocol=default_protocol(cfg.data),
        ),
        plain(cfg),
        overlays=cfg.logger.overlays,
        auxiliary=cfg.loss.auxiliary,
    )


def build_datamodule(cfg: TrainConfig, train: Sequence[Video], held_out: Sequence[Video]) -> VideoDataModule:
    """Return the LightningDataModule over opened videos."""
    from agnn_lit.data.datamodule import VideoDataModule
    from agnn_lit.data.dataset import ClipDataset
    from agnn_lit.data.transforms import ClipTransform

    c = cfg.clips
    transform = ClipTransform(c.size, c.flip, c.scale, cfg.backbone.preprocessing)
    clips = ClipDataset(train, cfg.model.frames, transform, cfg.seed, c.clips_per_video)
    return VideoDataModule(clips, held_out, c.batch_size, c.workers)
