"""Settings of evaluation and prediction."""

from __future__ import annotations

from dataclasses import dataclass

from agnn_lit.config.data import EvaluatedData
from agnn_lit.config.registry import PLUGINS, option
from agnn_lit.config.setting import SHARE, Changes, Range, above, at_least, check_values, group, require, setting
from agnn_lit.config.training import ACCELERATORS


# fmt: off
@dataclass
class CrfConfig:
    """Dense CRF on the probabilities (parameters of the official README).

    An option of ``crf.backend`` is a callable ``(probability, frame, cfg) -> probability`` of maps (H, W) and an RGB
    frame (H, W, 3). Facts: ``needs`` (a package it imports), ``extra`` (the extra of agnn-lit that installs it)
    and ``threads`` (True: it mostly runs without Python's lock, so that threads do for several frames at a time).
    """

    backend: str = setting("none", "implementation; none: no CRF", options="crf.backend", label="")
    spatial_sxy: float = setting(1.0, "standard deviation of the spatial kernel", unit="pixels", within=above(0))
    spatial_compat: float = setting(5.0, "weight of the spatial term", within=at_least(0))
    bilateral_sxy: float = setting(30.0, "standard deviation of the bilateral kernel in space", unit="pixels",
        within=above(0))
    bilateral_srgb: float = setting(5.0, "standard deviation of the bilateral kernel in colour",
        unit="grey levels, 0 to 255", within=above(0))
    bilateral_compat: float = setting(9.0, "weight of the bilateral term", within=at_least(0))
    iterations: int = setting(5, "mean-field iterations; crf=none turns the CRF off", within=at_least(1))


@dataclass
class InstancesConfig:
    """Several objects with identities instead of one foreground.

    An option of ``instances.proposals`` is a callable ``(cfg, device) -> proposer``
    (:data:`agnn_lit.instances.proposals.Proposer`). Fact: ``source`` (what instances.source must name).
    """

    proposals: str = setting("none", "source of object proposals; none: one foreground, no objects; parts: connected "
        "parts of the foreground, split where node features differ; masks: a folder of index masks; coco: COCO-style "
        "JSON; maskrcnn: torchvision's Mask R-CNN", options="instances.proposals", label="")
    source: str | None = setting(None, "folder of masks, JSON file, or Mask R-CNN weights (name or file)", path=True,
        label="")
    agreement: float = setting(0.5, "minimum mean foreground probability inside a proposal; 0: no minimum",
        within=SHARE)
    min_area: float = setting(0.0005, "minimum area of a proposal", unit="share of the frame", within=SHARE)
    separation: float = setting(2.0, "split a part if two feature clusters in it are this far apart",
        unit="standard deviations", within=at_least(0))
    candidates: int = setting(50, "maximum number of proposals per frame; the best are kept", within=at_least(1))
    overlap: float = setting(0.1, "minimum IoU of a flow-warped mask with the object's next mask",
        within=SHARE)
    appearance: float = setting(0.3, "weight of appearance similarity relative to IoU when masks are matched",
        within=at_least(0))
    min_likeness: float = setting(0.2, "minimum appearance similarity of matched masks, so that an occluder is not "
        "taken for the object", within=SHARE)
    similarity: float = setting(0.8, "minimum appearance similarity to re-identify a lost object", within=SHARE)
    patience: int = setting(10, "frames for which the mask of a lost object is warped by the flow", within=at_least(0))
    memory: int = setting(200, "frames after which a lost object is dropped", within=at_least(0))
    min_length: int = setting(3, "minimum length of a track, unless the video is shorter", unit="frames",
        within=at_least(1))
    objects: int = setting(20, "maximum number of objects; those with the most foreground are kept",
        within=Range(1, 254))


@dataclass
class InferenceConfig:
    """Settings that evaluation and prediction share."""

    run: str | None = setting(None, "run folder, whose best checkpoint is used; agnn-evaluate also takes a sweep's "
        "folder or a pattern with *", changes=Changes.place, path=True)
    ckpt: str | None = setting(None, "or a checkpoint, a weights file of agnn-convert, or pretrained: the weights in "
        "the package", changes=Changes.place, path=True)
    threshold: float = setting(0.5, "a pixel is foreground above this probability",
        within=Range(0.0, 1.0, open_low=True, open_high=True))
    size: tuple[int, int] | None = setting(None, "network input: height and width; null: as in training (clips.size)",
        unit="pixels", within=at_least(1))
    frames: int | None = setting(None, "N', frames per graph; null: as in training", within=at_least(1))
    pool: int | None = setting(None, "the edges attend to pool x pool positions averaged; 2: half the time of a frame; "
        "null: as in training", within=at_least(1))
    references: str = setting("partition", "partition: T = N/N' subsets of frames spread over the video; random: each "
        "frame with N'-1 randomly drawn others", choices=("partition", "random"), label="")
    seed: int = setting(0, "seed of references=random", within=at_least(0), changes=Changes.seed)
    scales: tuple[float, ...] = setting((1.0,), "input scales, such as [0.75,1,1.5], whose probabilities are "
        "averaged", within=Range(0.0, 4.0, open_low=True))
    flip: bool = setting(False, "also average over horizontally flipped frames")
    align_corners: bool = setting(False, "upsample probabilities with align_corners=True, as the released code "
        "does", label="corners")
    crf: CrfConfig = group(CrfConfig, "dense CRF", label="crf")
    instances: InstancesConfig = group(InstancesConfig, "objects instead of one foreground", label="")
    batch_size: int = setting(1, "graphs per batch", within=at_least(1), changes=Changes.digits)
    accelerator: str = setting("auto", "device", choices=ACCELERATORS, changes=Changes.speed)
    dtype: str = setting("fp32", "precision of the network; auto: bf16 if the device supports it",
        choices=("auto", "fp32", "bf16", "fp16"), label="")
    channels_last: bool = setting(True, "use the channels-last memory layout", changes=Changes.digits)
    compile: bool = setting(False, "use torch.compile, which takes a minute: for long videos", changes=Changes.digits)
    threads: int | None = setting(None, "CPU threads of the network; null: torch's default", within=at_least(1),
        changes=Changes.speed)
    workers: int | None = setting(None, "CRF processes, or threads for crf=band; 0: one thread; null: one less than "
        "the CPUs, at most 8", within=at_least(0), changes=Changes.speed)
    plugins: list[str] = setting([], PLUGINS, changes=Changes.place)
    progress: bool = setting(True, "show progress", changes=Changes.command)


@dataclass
class EvaluateConfig(InferenceConfig):
    """Prediction and scores of a trained model on a data set."""

    data: EvaluatedData = group(EvaluatedData, "the data set; null values are taken from training")
    split: str = setting("test", "test, train, or val (the held-out videos)", choices=("test", "train", "val"))
    protocol: str | None = setting(None, "scoring protocol; null: the data set's default", options="protocol")
    overlays: int = setting(3, "number of best, of median and of worst frames to draw", within=at_least(0),
        changes=Changes.extra)
    wandb: bool = setting(True, "log the scores to W&B (job type evaluate) if the training run was logged",
        changes=Changes.extra)
    out: str | None = setting(None, "output folder; null: evaluations/<data>-<split>-<protocol> in the run folder, or "
        "beside the checkpoint; of the package's weights in runs/pretrained", changes=Changes.place, path=True)


@dataclass
class PredictConfig(InferenceConfig):
    """Masks for any footage."""

    input: str = setting("???", "video file, folder of images, or one image", changes=Changes.place, path=True)
    out: str = setting("???", "folder for masks/, overlay.mp4, soft/ and predict.json", changes=Changes.place,
        path=True)
    dtype: str = setting("auto", "precision of the network; auto: bf16 if the device supports it",
        choices=("auto", "fp32", "bf16", "fp16"))
    backend: str = setting("auto", "what runs the network; auto: torch, or ONNX Runtime for ckpt=FILE.onnx of "
        "agnn-export", choices=("auto", "torch", "onnxruntime", "openvino"), changes=Changes.speed)
    soft: bool = setting(False, "also write the probabilities as 8-bit grey PNG", changes=Changes.extra)
    overlay: bool = setting(True, "also write overlay.mp4", changes=Changes.extra)
    png_level: int = setting(6, "compression of the PNG files, 0: fast, 9: small", within=Range(0, 9),
        changes=Changes.extra)
    fps: float = setting(24.0, "frame rate of overlay.mp4 for a folder of images; a video keeps its own timing",
        unit="frames a second", within=Range(0.01, 1000.0), changes=Changes.extra)
    on_error: str = setting("stop", "what to do if a frame cannot be decoded", choices=("stop", "skip"),
        changes=Changes.command)
    overwrite: bool = setting(False, "replace masks that were made with other settings", changes=Changes.command)
# fmt: on


def check_inference(cfg: InferenceConfig) -> None:
    """Raise ConfigError for values that are out of range or contradict each other."""
    check_values(cfg)
    require(
        cfg.run is None or cfg.ckpt is None,
        f"run={cfg.run} ckpt={cfg.ckpt}: give one of them, run=DIR or ckpt=FILE",
    )
    require(
        len(cfg.scales) >= 1 and len(set(cfg.scales)) == len(cfg.scales),
        f"scales={list(cfg.scales)}: must be one or more distinct numbers in (0, 4], such as [0.75,1,1.5]",
    )
    needed = option("instances.proposals", cfg.instances.proposals).facts.get("source")
    require(
        needed is None or bool(cfg.instances.source),
        f"instances.source is not set: instances={cfg.instances.proposals} needs {needed}",
    )


def check_evaluate(cfg: EvaluateConfig) -> None:
    """As :func:`check_inference`; a model must be given, too."""
    check_inference(cfg)
    require(
        cfg.run is not None or cfg.ckpt is not None,
        "run=None ckpt=None: give one of them, run=DIR of agnn-train, ckpt=FILE or ckpt=pretrained",
    )
