"""Build the LightningModule, the data module and the epoch plan from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agnn_lit.config import ConfigError, TrainConfig, default_protocol, option, plain, uses_photographs
from agnn_lit.data.datamodule import VideoDataModule
from agnn_lit.data.dataset import ClipDataset, Clips, EpochPlan, MixedClips, StaticImages
from agnn_lit.data.open import run_seed
from agnn_lit.data.photos import PhotoClips, PhotoMotion
from agnn_lit.data.transforms import Appearance, ClipTransform
from agnn_lit.data.video import Video
from agnn_lit.inference.video import PredictionSettings
from agnn_lit.model.build import build_model
from agnn_lit.training.module import AGNNModule, Validation


def plan_epochs(cfg: TrainConfig, videos: int, static: int = 0) -> EpochPlan:
    """Plan the batches of an epoch.

    Args:
        cfg: configuration of the run.
        videos: number of training videos.
        static: number of static images.

    Raises:
        ConfigError: too few clips for one optimiser step.
    """
    c, s, t = cfg.clips, cfg.static, cfg.trainer
    processes, clips = t.devices * t.nodes, videos * c.clips_per_video
    if processes > 1 and clips < c.batch_size * processes:
        raise ConfigError(
            f"trainer.devices={t.devices} x trainer.nodes={t.nodes} x clips.batch_size={c.batch_size} clips a step, "
            f"but an epoch has {clips}: raise clips.clips_per_video={c.clips_per_video}"
        )
    static_batch, mixed = s.batch_size or c.batch_size, round(s.share * c.batch_size)
    plan = EpochPlan(
        clips,
        c.batch_size,
        run_seed(cfg),
        static=static,
        static_batch=static_batch,
        every=s.every,
        accumulate=t.accumulate,
        processes=processes,
        mixed=mixed,
        limit=t.limit_batches,
        same=t.same_clips,
    )
    if plan.accumulate > plan.available:
        raise ConfigError(
            f"trainer.accumulate={plan.accumulate}: an epoch has {plan.available} batches, less than one step; lower "
            f"it, or raise clips.clips_per_video={c.clips_per_video} or trainer.limit_batches={t.limit_batches}"
        )
    return plan


def build_module(cfg: TrainConfig, plan: EpochPlan | None = None, *, pretrained: bool = True) -> AGNNModule:
    """Return the LightningModule; its learning rate schedule follows the epoch plan."""
    size, batch_size = cfg.clips.size, cfg.clips.batch_size
    settings = PredictionSettings(cfg.model.frames, size, batch_size, preprocessing=cfg.backbone.preprocessing)
    return AGNNModule(
        build_model(cfg, pretrained=pretrained),
        option("loss.name", cfg.loss.name).load()(cfg.loss),
        cfg.optim,
        cfg.trainer.max_epochs,
        Validation(settings, protocol=default_protocol(cfg.data)),
        plain(cfg),
        run_seed(cfg),
        overlays=cfg.logger.overlays,
        auxiliary=cfg.loss.auxiliary,
        static=cfg.static,
        step_kinds=plan.step_kinds if plan else [False],
        channels_last=cfg.trainer.channels_last,
    )


def build_datamodule(
    cfg: TrainConfig, train: Sequence[Video], held_out: Sequence[Video], static: Sequence[Video] = ()
) -> VideoDataModule:
    """Return the LightningDataModule of opened videos (or photographs) and static images."""
    c, s, seed, frames = cfg.clips, cfg.static, run_seed(cfg), cfg.model.frames
    look = Appearance(c.jitter, c.blur, c.jpeg, per_frame=c.vary == "frame")
    transform = ClipTransform(c.size, c.flip, c.scale, cfg.backbone.preprocessing, c.crop, look)
    motion = PhotoMotion(s.motion, s.deformation, s.passers_by, s.onlookers, s.crowd, c.scale, c.flip)
    finish = ClipTransform(c.size, 0.0, (1.0, 1.0), cfg.backbone.preprocessing, appearance=look)
    photo_clips = partial(
        PhotoClips, frames=frames, size=c.size, motion=motion, finish=finish, seed=seed, largest_only=s.largest_only
    )
    clips: Clips
    if uses_photographs(cfg.data):
        clips = photo_clips(train)
    else:
        cache = None if c.cache is None else Path(c.cache).expanduser()
        clips = ClipDataset(train, frames, transform, seed, c.clips_per_video, cache)
    if static:
        clips = MixedClips(clips, photo_clips(static) if s.share else StaticImages(static, 1, transform, seed))
    return VideoDataModule(
        clips, held_out[: cfg.trainer.limit_videos], plan_epochs(cfg, len(train), len(static)), c.workers
    )
