"""What can be composed and has the right types, and still cannot be run: refused before anything heavy is loaded."""

from __future__ import annotations

from omegaconf import OmegaConf

from agnn_lit.config import (
    Aggregation,
    BackboneConfig,
    BackboneName,
    ClipsConfig,
    ConfigError,
    DataConfig,
    DataName,
    EvaluateConfig,
    InferenceConfig,
    InstancesConfig,
    LoopEdge,
    ModelConfig,
    PredictConfig,
    ProposalSource,
    TrainConfig,
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def check_model(model: ModelConfig, backbone: BackboneConfig) -> None:
    """Raise ConfigError when settings of the network contradict each other."""
    _require(model.rounds >= 0, f"model.rounds={model.rounds}: K must be 0 or more")
    _require(model.frames >= 1, f"model.frames={model.frames}: N' must be 1 or more")
    _require(model.channels >= 1, f"model.channels={model.channels}: must be 1 or more")
    _require(
        1 <= model.loop_reduction <= model.channels,
        f"model.loop_reduction={model.loop_reduction}: must lie in 1..model.channels={model.channels}",
    )
    _require(
        model.aggregation is not Aggregation.concat or model.loop_edge is not LoopEdge.every_round or not model.rounds,
        "model.aggregation=concat joins the messages of neighbours and would ignore model.loop_edge=every_round: "
        "set model.loop_edge to encoder or none",
    )
    _require(
        model.aggregation is not Aggregation.concat or model.frames >= 2,
        f"model.aggregation=concat joins the messages of N'-1 neighbours: model.frames={model.frames} has none",
    )
    allowed = (4, 8) if backbone.name is BackboneName.tiny else (8,)
    _require(
        backbone.stride in allowed,
        f"backbone.stride={backbone.stride}: {backbone.name.value} has stride {' or '.join(map(str, allowed))}",
    )
    _require(
        backbone.weights is None or backbone.name is not BackboneName.tiny,
        f"backbone.weights={backbone.weights}: the tiny backbone has no pretrained weights; set it to null",
    )


def _check_clips(clips: ClipsConfig, stride: int) -> None:
    low, high = clips.scale
    _require(
        min(clips.size) >= stride,
        f"clips.size={list(clips.size)}: smaller than one feature position of {stride} pixels",
    )
    _require(0 < low <= high, f"clips.scale={list(clips.scale)}: must be 0 < smallest <= largest")
    _require(
        low * min(clips.size) >= stride,
        f"clips.scale={list(clips.scale)}: {low} x clips.size={list(clips.size)} leaves no pixels "
        f"for a feature stride of {stride}",
    )
    _require(clips.batch_size >= 1, f"clips.batch_size={clips.batch_size}: must be 1 or more")
    _require(clips.clips_per_video >= 1, f"clips.clips_per_video={clips.clips_per_video}: must be 1 or more")
    _require(clips.workers >= 0, f"clips.workers={clips.workers}: must be 0 or more")
    _require(0 <= clips.val_share < 1, f"clips.val_share={clips.val_share}: must lie in [0, 1)")
    _require(0 <= clips.flip <= 1, f"clips.flip={clips.flip}: must lie in [0, 1]")
    _require(0 < clips.crop <= 1, f"clips.crop={clips.crop}: must lie in (0, 1]")


def check_data(data: DataConfig, frames: int) -> None:
    """Raise ConfigError when the data settings are incomplete or contradict N' = ``frames``."""
    _require(data.name is not None, "data.name is not set: choose one with data=synthetic, data=davis2016, …")
    if data.name is DataName.synthetic:
        s = data.synthetic
        _require(min(s.size) >= 16, f"data.synthetic.size={list(s.size)}: must be 16 pixels or more")
        _require(s.distractors >= 0, f"data.synthetic.distractors={s.distractors}: must be 0 or more")
        _require(0 <= s.texture <= 1, f"data.synthetic.texture={s.texture}: must lie in [0, 1]")
        _require(s.deformation >= 0, f"data.synthetic.deformation={s.deformation}: must be 0 or more")
        _require(s.speed >= 0, f"data.synthetic.speed={s.speed}: must be 0 or more")
        _require(s.seed >= 0, f"data.synthetic.seed={s.seed}: must be 0 or more")
        _require(1 <= s.primaries <= 254, f"data.synthetic.primaries={s.primaries}: must lie in 1..254")
        _require(s.length >= 1, f"data.synthetic.length={s.length}: must be 1 or more")
        _require(
            frames <= s.length,
            f"model.frames={frames} is above the videos' length: data.synthetic.length={s.length}",
        )
        _require(s.train_videos >= 1, f"data.synthetic.train_videos={s.train_videos}: must be 1 or more")
        _require(s.test_videos >= 1, f"data.synthetic.test_videos={s.test_videos}: must be 1 or more")
        _require(
            data.train_range is None and data.test_range is None,
            "data.train_range and data.test_range: the generated videos are apart anyway; leave them out",
        )
        return
    assert data.name is not None
    for key, part in (("train_range", data.train_range), ("test_range", data.test_range)):
        _require(
            part is None or 0 <= part[0] < part[1] <= 1,
            f"data.{key}={part and list(part)}: must be 0 <= first < last <= 1, shares of every sequence",
        )
    _require(
        bool(data.root),
        f"data.root is not set: the folder of {data.name.value}; pass data.root=… or set AGNN_DAVIS_ROOT for the DAVIS "
        "data sets, AGNN_YOUTUBE_OBJECTS_ROOT for YouTube-Objects",
    )
    if data.name in (DataName.folder, DataName.youtube_objects):
        for key, value in (("train_split", data.train_split), ("test_split", data.test_split)):
            _require(
                value is None, f"data.{key}={value}: {data.name.value} has no lists; choose with data.sequences=[…]"
            )


def _check_static(cfg: TrainConfig) -> None:
    s = cfg.static
    _require(
        s.every == 0 or s.every >= 2, f"static.every={s.every}: must be 2 or more, or 0 for no steps of static images"
    )
    _require(
        not s.every or bool(s.roots),
        f"static.every={s.every} needs static.roots, the folders of saliency data sets, such as "
        "static.roots=[/data/MSRA10K,/data/DUTS]; static.every=0 trains without static images",
    )
    _require(
        not s.roots or s.every > 0,
        f"static.roots={list(s.roots)} and static.every=0: static.every=3 makes steps of them",
    )
    _require(
        not s.every or cfg.model.auxiliary,
        f"static.every={s.every}: static images train the encoder by the auxiliary mask; set model.auxiliary=true, or "
        "take model=agnn_official",
    )
    _require(s.batch_size is None or s.batch_size >= 1, f"static.batch_size={s.batch_size}: must be 1 or more")
    _require(s.loss > 0, f"static.loss={s.loss}: must be above 0")
    _require(
        s.backbone_lr_factor >= 0 and s.graph_lr_factor >= 0,
        f"static.backbone_lr_factor={s.backbone_lr_factor} static.graph_lr_factor={s.graph_lr_factor}: "
        "must be 0 or more",
    )


_ACCELERATORS = ("auto", "cpu", "gpu", "mps")
_DTYPES = ("auto", "fp32", "bf16", "fp16")
_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def check_train(cfg: TrainConfig) -> None:
    """Refuse values and combinations that cannot be trained.

    Raises:
        ConfigError: naming the key, the value received and what would be right.
    """
    if OmegaConf.is_missing(OmegaConf.structured(cfg.backbone), "name"):
        raise ConfigError("backbone.name is not set: choose one with backbone=tiny, …")
    check_model(cfg.model, cfg.backbone)
    _check_clips(cfg.clips, cfg.backbone.stride)
    check_data(cfg.data, cfg.model.frames)
    t, o = cfg.trainer, cfg.optim
    _require(0 <= cfg.seed < 1 << 32, f"seed={cfg.seed}: must lie in 0..{(1 << 32) - 1}")
    # Batch normalisation of what image pooling leaves of a frame: one value a channel.
    batches = [("clips.batch_size x model.frames", cfg.clips.batch_size * cfg.model.frames)]
    if cfg.static.every:
        batches.append(("static.batch_size", cfg.static.batch_size or cfg.clips.batch_size))
    for what, frames in batches:
        _require(
            frames >= 2 or cfg.backbone.name is BackboneName.tiny,
            f"{what}={frames}: {cfg.backbone.name.value} normalises over the frames of a batch, and needs 2 or more",
        )
    _require(t.max_epochs >= 1, f"trainer.max_epochs={t.max_epochs}: must be 1 or more")
    _require(t.devices >= 1, f"trainer.devices={t.devices}: must be 1 or more")
    _require(t.nodes >= 1, f"trainer.nodes={t.nodes}: must be 1 or more")
    _require(t.accelerator in _ACCELERATORS, f"trainer.accelerator={t.accelerator}: must be one of {_ACCELERATORS}")
    _require(t.threads is None or t.threads >= 1, f"trainer.threads={t.threads}: must be 1 or more")
    _require(t.max_minutes is None or t.max_minutes > 0, f"trainer.max_minutes={t.max_minutes}: must be above 0")
    _require(
        t.checkpoint_minutes is None or t.checkpoint_minutes >= 0,
        f"trainer.checkpoint_minutes={t.checkpoint_minutes}: must be 0 (every step) or more, or null",
    )
    _require(t.log_every >= 1, f"trainer.log_every={t.log_every}: must be 1 or more")
    _require(
        t.check_val_every >= 1,
        f"trainer.check_val_every={t.check_val_every}: must be 1 or more",
    )
    _require(cfg.logger.overlays >= 0, f"logger.overlays={cfg.logger.overlays}: must be 0 or more")
    _require(t.accumulate >= 1, f"trainer.accumulate={t.accumulate}: must be 1 or more")
    _require(t.precision in _PRECISIONS, f"trainer.precision={t.precision}: must be one of {_PRECISIONS}")
    _require(
        not (t.precision == "16-mixed" and t.accelerator == "cpu"),
        "trainer.precision=16-mixed needs a GPU (trainer.accelerator=cpu): use bf16-mixed or 32-true",
    )
    _require(
        t.gradient_clip is None or t.gradient_clip > 0,
        f"trainer.gradient_clip={t.gradient_clip}: must be above 0, or null for none",
    )
    _require(o.lr > 0, f"optim.lr={o.lr}: must be above 0")
    _require(o.weight_decay >= 0, f"optim.weight_decay={o.weight_decay}: must be 0 or more")
    _require(0 <= o.momentum < 1, f"optim.momentum={o.momentum}: must lie in [0, 1)")
    _require(o.power >= 0, f"optim.power={o.power}: must be 0 or more")
    _require(
        o.backbone_lr_factor >= 0 and o.graph_lr_factor >= 0,
        f"optim.backbone_lr_factor={o.backbone_lr_factor} optim.graph_lr_factor={o.graph_lr_factor}: must be 0 or more",
    )
    _check_static(cfg)
    _require(o.warmup_steps >= 0, f"optim.warmup_steps={o.warmup_steps}: must be 0 or more")
    _require(
        cfg.loss.auxiliary > 0 or not cfg.model.auxiliary or cfg.static.every > 0,
        f"loss.auxiliary={cfg.loss.auxiliary}: must be above 0 with model.auxiliary=true, which only this trains "
        "without static images",
    )
    _require(cfg.loss.auxiliary >= 0, f"loss.auxiliary={cfg.loss.auxiliary}: must be 0 or more")
    _require(cfg.loss.l1 >= 0, f"loss.l1={cfg.loss.l1}: must be 0 or more")
    _require(cfg.loss.reduction in ("mean", "sum"), f"loss.reduction={cfg.loss.reduction}: must be mean or sum")
    parts = t.devices * t.nodes * t.accumulate
    _require(
        cfg.loss.reduction == "mean" or parts == 1,
        f"loss.reduction=sum: gradients of {parts} batches a step (trainer.devices x trainer.nodes x "
        "trainer.accumulate) are averaged, not summed; use loss.reduction=mean",
    )


def check_inference(cfg: InferenceConfig) -> None:
    """Raise ConfigError for impossible settings of inference."""
    _require(
        cfg.run is None or cfg.ckpt is None,
        f"run={cfg.run} ckpt={cfg.ckpt}: give one of them, run=DIR of agnn-train or ckpt=FILE",
    )
    _require(0 < cfg.threshold < 1, f"threshold={cfg.threshold}: must lie between 0 and 1")
    _require(cfg.frames is None or cfg.frames >= 1, f"frames={cfg.frames}: N' must be 1 or more")
    _require(cfg.batch_size >= 1, f"batch_size={cfg.batch_size}: must be 1 or more")
    _require(
        len(cfg.scales) >= 1 and all(0 < s <= 4 for s in cfg.scales) and len(set(cfg.scales)) == len(cfg.scales),
        f"scales={list(cfg.scales)}: must be one or more different numbers in (0, 4], such as [0.75,1,1.5]",
    )
    _require(cfg.seed >= 0, f"seed={cfg.seed}: must be 0 or more")
    _require(cfg.dtype in _DTYPES, f"dtype={cfg.dtype}: must be one of {', '.join(_DTYPES)}")
    _require(cfg.threads is None or cfg.threads >= 1, f"threads={cfg.threads}: must be 1 or more")
    _require(cfg.workers is None or cfg.workers >= 0, f"workers={cfg.workers}: must be 0 or more")
    _require(
        cfg.accelerator in _ACCELERATORS, f"accelerator={cfg.accelerator}: must be one of {', '.join(_ACCELERATORS)}"
    )
    c = cfg.crf
    for key in ("spatial_sxy", "bilateral_sxy", "bilateral_srgb"):
        _require(getattr(c, key) > 0, f"crf.{key}={getattr(c, key)}: must be above 0")
    for key in ("spatial_compat", "bilateral_compat"):
        _require(getattr(c, key) >= 0, f"crf.{key}={getattr(c, key)}: must be 0 or more")
    _require(c.iterations >= 1, f"crf.iterations={c.iterations}: must be 1 or more; crf=none turns it off")
    _check_instances(cfg.instances)


def _check_instances(cfg: InstancesConfig) -> None:
    needed = {
        ProposalSource.masks: "the folder of index masks",
        ProposalSource.coco: "the JSON file",
        ProposalSource.maskrcnn: "the name or file of its weights",
    }
    _require(
        cfg.proposals not in needed or bool(cfg.source),
        f"instances.source is not set: {needed.get(cfg.proposals)} for instances={cfg.proposals.value}",
    )
    for key in ("agreement", "min_area", "overlap", "min_likeness", "similarity"):
        _require(0 <= getattr(cfg, key) <= 1, f"instances.{key}={getattr(cfg, key)}: must lie in [0, 1]")
    for key in ("separation", "appearance"):
        _require(getattr(cfg, key) >= 0, f"instances.{key}={getattr(cfg, key)}: must be 0 or more")
    for key in ("candidates", "min_length", "objects"):
        _require(getattr(cfg, key) >= 1, f"instances.{key}={getattr(cfg, key)}: must be 1 or more")
    for key in ("patience", "memory"):
        _require(getattr(cfg, key) >= 0, f"instances.{key}={getattr(cfg, key)}: must be 0 or more")
    _require(cfg.objects <= 254, f"instances.objects={cfg.objects}: a mask has room for 254")


def check_evaluate(cfg: EvaluateConfig) -> None:
    """Raise ConfigError for an evaluation that names no model, or two, or an impossible value."""
    check_inference(cfg)
    _require(
        cfg.run is not None or cfg.ckpt is not None,
        "run=None ckpt=None: give one of them, run=DIR of agnn-train or ckpt=FILE",
    )
    _require(cfg.split in ("test", "train", "val"), f"split={cfg.split}: must be test, train or val")
    _require(cfg.overlays >= 0, f"overlays={cfg.overlays}: must be 0 or more")


def check_predict(cfg: PredictConfig) -> None:
    """Raise ConfigError for a prediction without input or output, or an impossible value."""
    check_inference(cfg)
    _require(0.01 <= cfg.fps <= 1000, f"fps={cfg.fps}: must lie in 0.01..1000")
