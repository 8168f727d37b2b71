"""Settings of inference: what evaluation and prediction share, and their own."""

from __future__ import annotations

from dataclasses import dataclass

from agnn_lit.config.data import EvaluatedData
from agnn_lit.config.registry import option
from agnn_lit.config.setting import SHARE, Changes, Range, above, at_least, check_values, group, require, setting
from agnn_lit.config.training import ACCELERATORS


# fmt: off
@dataclass
class CrfConfig:
    """Dense CRF on the probabilities (parameters of the official README).

    An option of ``crf.backend`` is a callable ``(probability, frame, cfg) -> probability`` of maps (H, W) and an RGB
    frame (H, W, 3). Facts: ``needs`` (package that must be installed) and ``extra`` (of this one, that installs it).
    """

    backend: str = setting("none", "implementation", options="crf.backend", label="")
    spatial_sxy: float = setting(1.0, "standard deviation of the spatial kernel", unit="pixels", within=above(0))
    spatial_compat: float = setting(5.0, "weight of the spatial term", within=at_least(0))
    bilateral_sxy: float = setting(30.0, "standard deviation of the bilateral kernel in space", unit="pixels",
        within=above(0))
    bilateral_srgb: float = setting(5.0, "standard deviation of the bilateral kernel in colour",
        unit="grey levels, 0 to 255", within=above(0))
    bilateral_compat: float = setting(9.0, "weight of the bilateral term", within=at_least(0))
    iterations: int = setting(5, "of mean-field inference; crf=none turns the CRF off", within=at_least(1))


@dataclass
class InstancesConfig:
    """Objects with identities instead of one foreground.

    An option of ``instances.proposals`` is a callable ``(cfg, device) -> proposer``
    (:class:`agnn_lit.instances.proposals.Proposer`). Fact: ``source`` (what instances.source must name).
    """

    proposals: str = setting("none", "where proposals come from; none: one foreground, no objects; parts: connected "
        "parts of the foreground, split where node features differ; masks: a folder of index masks; coco: COCO-style "
        "JSON; maskrcnn: torchvision's network", options="instances.proposals", label="")
    source: str | None = setting(None, "folder of masks, JSON file, or name or file of Mask R-CNN's weights", path=True,
        label="")
    agreement: float = setting(0.5, "lowest mean foreground probability inside a proposal; 0 ignores the foreground",
        within=SHARE)
    min_area: float = setting(0.0005, "smallest area of a proposal", unit="share of the frame", within=SHARE)
    separation: float = setting(2.0, "a part is split where two feature clusters lie so far apart",
        unit="standard deviations", within=at_least(0))
    candidates: int = setting(50, "most proposals of a frame; the strongest are kept", within=at_least(1))
    overlap: float = setting(0.1, "lowest IoU of a flow-warped mask with the next mask of the same object",
        within=SHARE)
    appearance: float = setting(0.3, "weight of appearance similarity beside IoU where several masks could follow",
        within=at_least(0))
    min_likeness: float = setting(0.2, "lowest appearance similarity with the mask expected there, so that an occluder "
        "is not taken for it", within=SHARE)
    similarity: float = setting(0.8, "lowest appearance similarity with which a lost object is found again",
        within=SHARE)
    patience: int = setting(10, "frames for which the mask of an unseen object is warped onwards", within=at_least(0))
    memory: int = setting(200, "frames after which a lost object is given up", within=at_least(0))
    min_length: int = setting(3, "shortest track that is kept, unless the video is shorter", unit="frames",
        within=at_least(1))
    objects: int = setting(20, "most objects; those with most foreground are kept (a mask has room for 254)",
        within=Range(1, 254))


@dataclass
class InferenceConfig:
    """From whole videos to masks: what evaluation and prediction share."""

    run: str | None = setting(None, "run folder; its best checkpoint is used. agnn-evaluate: also a sweep's folder, or "
        "a pattern with *", changes=Changes.place, path=True)
    ckpt: str | None = setting(None, "or a checkpoint file", changes=Changes.place, path=True)
    threshold: float = setting(0.5, "a pixel is foreground above this probability",
        within=Range(0.0, 1.0, open_low=True, open_high=True))
    frames: int | None = setting(None, "N' at test time; null: as in training", within=at_least(1))
    references: str = setting("partition", "partition: T = N/N' subsets of frames spread over the video; random: each "
        "frame with N'-1 others, drawn by seed", choices=("partition", "random"), label="")
    seed: int = setting(0, "of random references", within=at_least(0), changes=Changes.seed)
    scales: tuple[float, ...] = setting((1.0,), "of the network's input, such as [0.75,1,1.5]; probabilities are "
        "averaged", within=Range(0.0, 4.0, open_low=True))
    flip: bool = setting(False, "also average over the mirrored frames")
    align_corners: bool = setting(False, "resize probabilities to the frame with corner pixels on corner pixels, as "
        "the released code does", label="corners")
    crf: CrfConfig = group(CrfConfig, "dense CRF", label="crf")
    instances: InstancesConfig = group(InstancesConfig, "objects instead of one foreground", label="")
    batch_size: int = setting(1, "graphs at a time", within=at_least(1), changes=Changes.digits)
    accelerator: str = setting("auto", "kind of device", choices=ACCELERATORS, changes=Changes.speed)
    dtype: str = setting("fp32", "precision of the network; auto: bf16 where the device computes in it",
        choices=("auto", "fp32", "bf16", "fp16"), label="")
    channels_last: bool = setting(True, "memory layout of the network", changes=Changes.digits)
    compile: bool = setting(False, "torch.compile: a minute at the start, for long videos", changes=Changes.digits)
    threads: int | None = setting(None, "CPU threads of the network; null leaves torch's choice", within=at_least(1),
        changes=Changes.speed)
    workers: int | None = setting(None, "processes for the CRF; 0: none; null: one less than there are processors, at "
        "most 8", within=at_least(0), changes=Changes.speed)
    plugins: list[str] = setting([], "modules of your own, imported first, that register parts of yours",
        changes=Changes.place)
    progress: bool = setting(True, "show progress", changes=Changes.command)


@dataclass
class EvaluateConfig(InferenceConfig):
    """Prediction and scores of a trained model on a data set."""

    data: EvaluatedData = group(EvaluatedData, "the videos; what is null is as in training")
    split: str = setting("test", "test, train, or val: the held-out share", choices=("test", "train", "val"))
    protocol: str | None = setting(None, "of the scores; null: the usual one of the data set", options="protocol")
    overlays: int = setting(3, "pictures of each kind: best, median and worst frames", within=at_least(0),
        changes=Changes.extra)
    wandb: bool = setting(True, "log the scores as a W&B run of job type evaluate, where the run's training was logged",
        changes=Changes.extra)
    out: str | None = setting(None, "folder; null: evaluations/<data>-<split>-<protocol> in the run folder, or beside "
        "a checkpoint", changes=Changes.place, path=True)


@dataclass
class PredictConfig(InferenceConfig):
    """Masks for any footage."""

    input: str = setting("???", "video file, folder of images, or one image", changes=Changes.place, path=True)
    out: str = setting("???", "folder for masks/, overlay.mp4, soft/ and predict.json", changes=Changes.place,
        path=True)
    dtype: str = setting("auto", "precision of the network; auto: bf16 where the device computes in it",
        choices=("auto", "fp32", "bf16", "fp16"))
    soft: bool = setting(False, "also write the probabilities, as 8-bit grey PNG", changes=Changes.extra)
    overlay: bool = setting(True, "also write overlay.mp4", changes=Changes.extra)
    fps: float = setting(24.0, "of overlay.mp4 for a folder of images; a video keeps its own times",
        unit="frames a second", within=Range(0.01, 1000.0), changes=Changes.extra)
    on_error: str = setting("stop", "what to do about a frame that cannot be decoded", choices=("stop", "skip"),
        changes=Changes.command)
    overwrite: bool = setting(False, "predict again although out holds masks of other settings",
        changes=Changes.command)
# fmt: on


def check_inference(cfg: InferenceConfig) -> None:
    """Raise ConfigError for impossible settings of inference."""
    check_values(cfg)
    require(
        cfg.run is None or cfg.ckpt is None,
        f"run={cfg.run} ckpt={cfg.ckpt}: give one of them, run=DIR of agnn-train or ckpt=FILE",
    )
    require(
        len(cfg.scales) >= 1 and len(set(cfg.scales)) == len(cfg.scales),
        f"scales={list(cfg.scales)}: must be one or more different numbers in (0, 4], such as [0.75,1,1.5]",
    )
    needed = option("instances.proposals", cfg.instances.proposals).facts.get("source")
    require(
        needed is None or bool(cfg.instances.source),
        f"instances.source is not set: {needed} for instances={cfg.instances.proposals}",
    )


def check_evaluate(cfg: EvaluateConfig) -> None:
    """Raise ConfigError for an evaluation that names no model, or two, or an impossible value."""
    check_inference(cfg)
    require(
        cfg.run is not None or cfg.ckpt is not None,
        "run=None ckpt=None: give one of them, run=DIR of agnn-train or ckpt=FILE",
    )


def check_predict(cfg: PredictConfig) -> None:
    """Raise ConfigError for a prediction without input or output, or an impossible value."""
    check_inference(cfg)
