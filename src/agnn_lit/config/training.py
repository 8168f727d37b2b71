"""Settings of a training run: ``loss``, ``optim``, ``trainer``, ``logger``, and the run as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agnn_lit.config.data import ClipsConfig, DataConfig, StaticConfig, check_clips, check_data, check_static
from agnn_lit.config.model import BackboneConfig, ModelConfig, check_model
from agnn_lit.config.registry import PLUGINS, ConfigError, option
from agnn_lit.config.setting import Changes, Range, above, at_least, check_values, group, require, setting

ACCELERATORS = ("auto", "cpu", "gpu", "mps")


# fmt: off
@dataclass
class LossConfig:
    """Loss on the masks.

    An option of ``loss.name`` is a callable ``(cfg) -> loss``; the loss maps logits and masks, both (B, N', H, W), to a
    scalar.
    """

    name: str = setting("paper", "paper: weighted binary cross-entropy (AGNN, eq. 12); official: the released code's, "
        "with one class weight per batch, and L1; bce_iou, bce_dice: mean binary cross-entropy and soft IoU or Dice",
        options="loss.name")
    eta: str = setting("share", "class weight η of the paper's loss: share is |fg| / all pixels, literal is |fg| / "
        "|bg|", choices=("share", "literal"), shown=True)
    reduction: str = setting("mean", "reduction of the paper's loss over pixels", choices=("mean", "sum"))
    l1: float = setting(0.8, "weight of the official loss's L1 term", within=at_least(0))
    iou: float = setting(0.5, "weight of 1 - soft IoU in bce_iou, of 1 - soft Dice in bce_dice", within=at_least(0))
    auxiliary: float = setting(0.1, "weight of the loss on the auxiliary mask, if the model has one",
        within=at_least(0))


@dataclass
class OptimConfig:
    """Optimiser and schedule."""

    name: str = setting("sgd", "optimiser", choices=("sgd", "adamw"), shown=True)
    lr: float = setting(2.5e-4, "learning rate", within=above(0), shown=True)
    weight_decay: float = setting(5e-4, "weight decay", within=at_least(0))
    momentum: float = setting(0.9, "momentum of SGD", within=Range(0.0, 1.0, open_high=True))
    schedule: str = setting("poly", "learning rate schedule", choices=("constant", "poly"), shown=True)
    power: float = setting(0.9, "exponent of the poly decay", within=at_least(0))
    warmup_steps: int = setting(0, "steps of linear warm-up", within=at_least(0))
    backbone: str = setting("encoder", "what counts as the backbone here: the encoder with the auxiliary mask, or its "
        "body, the part with pretrained weights; ASPP and head then learn as the graph does",
        choices=("encoder", "body"))
    backbone_lr_factor: float = setting(1.0, "learning rate of the backbone (see optim.backbone), times optim.lr",
        within=at_least(0))
    graph_lr_factor: float = setting(1.0, "learning rate of graph and read-out, times optim.lr", within=at_least(0))


@dataclass
class TrainerConfig:
    """Devices, precision and length of a run; passed to Lightning's Trainer."""

    max_epochs: int = setting(100, "epochs", within=at_least(1), shown=True)
    max_minutes: float | None = setting(None, "stop training after this time", unit="minutes", within=above(0),
        shown=True)
    accelerator: str = setting("auto", "device", choices=ACCELERATORS, shown=True)
    devices: int = setting(1, "devices per node; several train with DDP, as CPU processes with accelerator=cpu",
        within=at_least(1))
    nodes: int = setting(1, "nodes, started by SLURM, torchrun, or by hand with MASTER_ADDR, MASTER_PORT and NODE_RANK",
        within=at_least(1))
    strategy: str = setting("auto", "Lightning strategy for several devices")
    sync_batchnorm: bool = setting(True, "synchronise batch normalisation across devices")
    precision: str = setting("32-true", "training precision; auto: bf16-mixed on a GPU or CPU that computes in bf16 "
        "natively, 16-mixed on an older NVIDIA GPU, else 32-true; a continued run keeps what it began with",
        choices=("32-true", "16-mixed", "bf16-mixed", "auto"), shown=True)
    channels_last: bool = setting(False, "train in the channels-last memory layout: depthwise networks such as "
        "EfficientNet are nearly twice as fast on a CPU", changes=Changes.digits)
    gradient_clip: float | None = setting(None, "maximum gradient norm; null: no clipping", within=above(0))
    ema: float | None = setting(None, "decay per step of an exponential moving average of the weights, such as 0.999, "
        "which is what is validated and kept; null: the weights themselves", within=Range(0.0, 1.0, True, True))
    accumulate: int = setting(1, "batches per optimiser step", within=at_least(1))
    check_val_every: int = setting(1, "epochs between validations; the last epoch is validated too", within=at_least(1))
    log_every: int = setting(10, "steps between logged values", within=at_least(1))
    limit_batches: int | None = setting(None, "batches per epoch, at most", within=at_least(1))
    limit_videos: int | None = setting(None, "held-out videos that are validated, at most", within=at_least(1))
    same_clips: bool = setting(False, "train on the clips of the first epoch in every epoch, to see whether the model "
        "can learn them by heart")
    profile: bool = setting(False, "write where the time of the first steps goes to profile/ in the run folder: a "
        "table, and a trace for https://ui.perfetto.dev", changes=Changes.extra)
    checkpoint_minutes: float | None = setting(10.0, "time between checkpoints within an epoch; 0: after every step; "
        "null: only at the end of an epoch", unit="minutes", within=at_least(0))
    threads: int | None = setting(None, "CPU threads; null: torch's default", within=at_least(1),
        changes=Changes.speed)
    deterministic: bool = setting(True, "use deterministic algorithms where available")
    progress: bool = setting(True, "show progress", changes=Changes.command)


@dataclass
class LoggerConfig:
    """Weights & Biases, and other loggers; metrics.csv is always written."""

    mode: str = setting("disabled", "mode of W&B; auto (logger=wandb) is online with an API key, else offline",
        choices=("auto", "online", "offline", "disabled"), changes=Changes.extra)
    project: str = setting("agnn_lit", "W&B project", changes=Changes.extra)
    entity: str | None = setting(None, "W&B user or team", changes=Changes.extra)
    group: str | None = setting(None, "W&B group; the runs of a sweep share one", changes=Changes.extra)
    tags: list[str] = setting([], "tags of the W&B run", changes=Changes.extra)
    overlays: int = setting(4, "validation frames drawn at each validation", within=at_least(0), changes=Changes.extra)
    checkpoint: bool = setting(True, "keep best.ckpt as an artifact of the W&B run", changes=Changes.extra)
    others: dict[str, Any] = setting({}, "other loggers of Lightning by name, each with its class as _target_ and its "
        "arguments, in which <run> stands for the run folder", changes=Changes.extra)


@dataclass
class TrainConfig:
    """All settings of a training run."""

    model: ModelConfig = group(ModelConfig, "the graph")
    backbone: BackboneConfig = group(BackboneConfig, "the encoder")
    data: DataConfig = group(DataConfig, "the videos")
    clips: ClipsConfig = group(ClipsConfig, "clips drawn from the videos")
    static: StaticConfig = group(StaticConfig, "static images (photographs) beside the videos, or alone")
    loss: LossConfig = group(LossConfig, "the loss")
    optim: OptimConfig = group(OptimConfig, "optimiser and schedule")
    trainer: TrainerConfig = group(TrainerConfig, "devices, precision and length")
    logger: LoggerConfig = group(LoggerConfig, "Weights & Biases")
    callbacks: dict[str, Any] = setting({}, "further callbacks of Lightning by name, each with its class as _target_ "
        "and its arguments, in which <run> stands for the run folder")
    plugins: list[str] = setting([], PLUGINS, changes=Changes.place)
    name: str = setting("agnn", "first part of the run folder", changes=Changes.place)
    test: bool = setting(False, "after training, evaluate the best checkpoint on the test videos, as agnn-evaluate "
        "run=DIR does", changes=Changes.extra)
    seed: int = setting(0, "random seed", within=Range(0, (1 << 32) - 1), changes=Changes.seed, shown=True)
    separate_streams: bool = setting(True, "use one random stream per purpose (held-out videos, clip order, clips, "
        "augmentation, dropout); false reproduces runs of version 0.1, where some shared one")
    runs_dir: str = setting("runs", "run folders are <runs_dir>/<name>/<overrides>", changes=Changes.place, path=True)
    run: str | None = setting(None, "folder of an interrupted run to resume; takes no other settings",
        changes=Changes.place, path=True)
    overwrite: bool = setting(False, "replace a run that is already in the folder", changes=Changes.command)
    retry_failed: bool = setting(False, "in a sweep: train failed runs again; a single run always is",
        changes=Changes.command)
# fmt: on


def check_train(cfg: TrainConfig) -> None:
    """Refuse values and combinations that cannot work.

    Raises:
        ConfigError: naming the key, the value received and what would be right.
    """
    if cfg.backbone.name == "???":
        raise ConfigError("backbone.name is not set: choose one with backbone=tiny, …")
    check_values(cfg)
    check_model(cfg.model, cfg.backbone)
    check_clips(cfg.clips, cfg.backbone.stride)
    check_data(cfg.data, cfg.model.frames)
    check_static(cfg.static, cfg.data, cfg.clips.batch_size, auxiliary=cfg.model.auxiliary)
    for key, named in (("callbacks", cfg.callbacks), ("logger.others", cfg.logger.others)):
        for name, part in named.items():
            require(
                isinstance(part, dict) and isinstance(part.get("_target_"), str),
                f"{key}.{name}: needs a class, such as +{key}.{name}._target_=my_package.MyClass",
            )
    t = cfg.trainer
    # Image pooling leaves one value per channel and frame, so batch normalisation needs two frames.
    batches = [("clips.batch_size x model.frames", cfg.clips.batch_size * cfg.model.frames)]
    if cfg.static.every:
        batches.append(("static.batch_size", cfg.static.batch_size or cfg.clips.batch_size))
    single = option("backbone.name", cfg.backbone.name).facts.get("batch_norm_of_one", False)
    for what, frames in batches:
        require(
            frames >= 2 or single,
            f"{what}={frames}: {cfg.backbone.name} normalises over the frames of a batch and needs 2 or more",
        )
    require(
        not (t.precision == "16-mixed" and t.accelerator == "cpu"),
        "trainer.precision=16-mixed needs a GPU (trainer.accelerator=cpu): use bf16-mixed or 32-true",
    )
    require(
        cfg.loss.auxiliary > 0 or not cfg.model.auxiliary or cfg.static.every > 0,
        f"loss.auxiliary={cfg.loss.auxiliary}: must be above 0 with model.auxiliary=true, since without static "
        "images nothing else trains the auxiliary mask",
    )
    parts = t.devices * t.nodes * t.accumulate
    require(
        cfg.loss.reduction == "mean" or parts == 1,
        f"loss.reduction=sum: gradients of {parts} batches per step (trainer.devices x trainer.nodes x "
        "trainer.accumulate) are averaged, not summed; use loss.reduction=mean",
    )
