"""The typed schema of every configuration; :mod:`agnn_lit.checks` has what a type cannot express.

Each field is documented where it is declared; ``conf/`` holds the values. Nothing heavy is imported
here, so that a wrong key is refused before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError

_PACKAGED = Path(__file__).parent / "conf"
_CHECKOUT = Path(__file__).parents[2] / "conf"
#: Folder of the Hydra configs: inside the installed package, else beside ``src`` in a checkout.
CONF_DIR: str = str(_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT)


class ConfigError(ValueError):
    """A configuration that composes and has the right types, and still cannot be run."""


class LoopEdge(Enum):
    """Where a node attends to itself (intra-attention)."""

    every_round = "every_round"
    encoder = "encoder"
    none = "none"


class LineEdge(Enum):
    """Form of the weight W_c between frames."""

    symmetric = "symmetric"
    directed = "directed"


class Attention(Enum):
    """How attention between positions is computed; all give the same numbers."""

    auto = "auto"
    reference = "reference"
    blocked = "blocked"
    sdpa = "sdpa"


class Gate(Enum):
    """What weighs a message before aggregation."""

    channel = "channel"
    spatial = "spatial"
    none = "none"


class Aggregation(Enum):
    """How the messages to a node become one."""

    sum = "sum"
    mean = "mean"
    concat = "concat"


class Update(Enum):
    """How a node takes in its aggregated message."""

    gru3x3 = "gru3x3"
    gru1x1 = "gru1x1"
    replace = "replace"


class Readout(Enum):
    """Convolutions from the node states to the mask."""

    conv3 = "conv3"
    bn = "bn"


class BackboneName(Enum):
    """Node embedding networks."""

    tiny = "tiny"
    deeplabv3_resnet50 = "deeplabv3_resnet50"
    deeplabv3_resnet101 = "deeplabv3_resnet101"
    deeplabv3_mobilenet_v3_large = "deeplabv3_mobilenet_v3_large"
    deeplab_official = "deeplab_official"


class Preprocessing(Enum):
    """How the pixels of a frame become the numbers that the backbone's weights were trained with."""

    imagenet = "imagenet"
    caffe = "caffe"


class DataName(Enum):
    """Kinds of data set."""

    synthetic = "synthetic"
    davis2016 = "davis2016"
    davis2017 = "davis2017"
    youtube_objects = "youtube_objects"
    folder = "folder"


class Eta(Enum):
    """Class weight η of the loss."""

    share = "share"
    literal = "literal"


class LossName(Enum):
    """Losses of a mask."""

    paper = "paper"
    official = "official"


class OptimName(Enum):
    """Optimisers."""

    sgd = "sgd"
    adamw = "adamw"


class Schedule(Enum):
    """Learning rate over the run."""

    constant = "constant"
    poly = "poly"


class LoggerMode(Enum):
    """Weights & Biases: ``auto`` is online with an API key and offline without."""

    auto = "auto"
    online = "online"
    offline = "offline"
    disabled = "disabled"


class CrfBackend(Enum):
    """Implementations of the dense CRF."""

    none = "none"
    fast = "fast"
    pydensecrf = "pydensecrf"


@dataclass
class ModelConfig:
    """The graph (AGNN, section 3)."""

    frames: int = 3  # N', frames of one graph
    rounds: int = 3  # K, rounds of message passing; 0 is the frame-only baseline
    channels: int = 256  # C, channels of a node
    loop_edge: LoopEdge = LoopEdge.every_round
    loop_reduction: int = 8  # W_f and W_h map to channels / loop_reduction
    line_edge: LineEdge = LineEdge.symmetric
    gate: Gate = Gate.channel
    aggregation: Aggregation = Aggregation.sum
    update: Update = Update.gru3x3
    readout: Readout = Readout.conv3
    # how attention is computed: auto, reference (plain), blocked (no memory of it kept for the gradient), sdpa (GPUs)
    attention: Attention = Attention.auto
    checkpoint_rounds: bool = False  # compute each round again for the gradient: less memory, a third more time
    auxiliary: bool = False  # also a mask straight from the encoder, for the loss of training
    # Checkpoint of agnn-train or agnn-convert that training starts from, instead of backbone.weights. Where an axis
    # differs (K and N' may), its parts start anew.
    weights: str | None = None


@dataclass
class BackboneConfig:
    """The encoder of a frame into a node."""

    name: BackboneName = MISSING
    # Start values: a torchvision weights name such as DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1
    # or ResNet50_Weights.IMAGENET1K_V2, the path of a file, or null for a random start.
    weights: str | None = None
    stride: int = 8  # pixels between neighbouring feature positions; tiny: 4 or 8, the others: 8
    # imagenet: RGB in 0..1, less ImageNet's mean, over its deviation, as torchvision's weights expect; caffe: BGR in
    # 0..255 less the mean, as the released code's do. It stays with the checkpoint.
    preprocessing: Preprocessing = Preprocessing.imagenet


def _pair(values: Any) -> Any:
    """A tuple again of what YAML and OmegaConf keep as a list, so that equal settings compare equal."""
    return tuple(values) if isinstance(values, list) else values


@dataclass
class SyntheticConfig:
    """The generated videos; one frame alone does not tell which object is the primary."""

    train_videos: int = 512
    test_videos: int = 16
    length: int = 12  # frames of a video
    size: tuple[int, int] = (64, 64)  # height, width in pixels
    primaries: int = 1  # objects that return in every frame
    distractors: int = 2  # further objects, new in each frame
    texture: float = 0.0  # 0: one colour an object; 1: strong stripes
    deformation: float = 0.2  # relative change of the primary's outline over a video
    speed: float = 4.0  # pixels a frame
    seed: int = 0  # the videos are a function of this seed, not of the run's

    def __post_init__(self) -> None:
        self.size = _pair(self.size)


@dataclass
class SyntheticChanges:
    """What an evaluation changes of the generated videos that a model was trained on; null: nothing."""

    train_videos: int | None = None
    test_videos: int | None = None
    length: int | None = None
    size: tuple[int, int] | None = None
    primaries: int | None = None
    distractors: int | None = None
    texture: float | None = None
    deformation: float | None = None
    speed: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        self.size = _pair(self.size)


@dataclass
class DataConfig:
    """Which videos."""

    name: DataName | None = None
    root: str | None = None  # folder of the data set
    train_split: str | None = None  # list of training sequences, as the data set names it
    test_split: str | None = None  # list of sequences that results are reported on
    sequences: list[str] | None = None  # only these sequences of a split
    # shares of every sequence that training and the reported split are limited to, such as [0.0, 0.67] and [0.67, 1.0]
    train_range: tuple[float, float] | None = None
    test_range: tuple[float, float] | None = None
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)

    def __post_init__(self) -> None:
        self.train_range, self.test_range = _pair(self.train_range), _pair(self.test_range)


@dataclass
class EvaluatedData(DataConfig):
    """Which videos an evaluation is of; what is null is as in training, or as usual for another data set."""

    synthetic: SyntheticChanges = field(default_factory=SyntheticChanges)  # type: ignore[assignment]


@dataclass
class ClipsConfig:
    """How clips are drawn from training videos, and made into input."""

    size: tuple[int, int] = (473, 473)  # network input: height, width in pixels
    batch_size: int = 2  # clips a step and device
    clips_per_video: int = 1  # clips drawn from each video in an epoch
    workers: int = 2  # loader processes; 0 loads in the training process
    val_share: float = 0.1  # share of the training videos held out for model selection; 0 turns validation off
    flip: float = 0.5  # probability of a horizontal flip, the same for all frames of a clip
    crop: float = 1.0  # side of a random window that is cut out first, relative to the frame's; 1: none
    scale: tuple[float, float] = (0.7, 1.3)  # range of the random zoom, followed by a crop to size

    def __post_init__(self) -> None:
        self.size, self.scale = _pair(self.size), _pair(self.scale)


@dataclass
class LossConfig:
    """Of the masks."""

    # paper: weighted binary cross-entropy (AGNN, eq. 12); official: the released code's, one weight a batch, and L1
    name: LossName = LossName.paper
    eta: Eta = Eta.share  # share: |fg| / all pixels; literal: |fg| / |bg|
    reduction: str = "mean"  # over pixels: mean or sum
    l1: float = 0.8  # weight of the official loss's L1 part
    auxiliary: float = 0.1  # weight of the same loss on the auxiliary mask, where the model has one


@dataclass
class StaticConfig:
    """Steps of static images between those of clips: a saliency data set trains the encoder by the auxiliary mask."""

    every: int = 0  # one step in so many, the first of an epoch among them; 0: no such steps
    # folders of images and masks: MSRA10K, DUT-OMRON or DUTS as they are published, or with images/ and masks/
    roots: list[str] = field(default_factory=list)
    batch_size: int | None = None  # images a step and device; null: clips.batch_size
    loss: float = 0.1  # weight of the loss in these steps
    backbone_lr_factor: float = 1.0  # learning rate of the backbone in these steps, relative to optim.lr
    graph_lr_factor: float = 0.0  # and of the graph


@dataclass
class OptimConfig:
    """Optimiser and schedule."""

    name: OptimName = OptimName.sgd
    lr: float = 2.5e-4
    weight_decay: float = 5e-4
    momentum: float = 0.9  # of SGD
    schedule: Schedule = Schedule.poly
    power: float = 0.9  # of the poly decay
    warmup_steps: int = 0  # linear rise of the learning rate
    backbone_lr_factor: float = 1.0  # learning rate of the backbone, auxiliary mask included, relative to lr
    graph_lr_factor: float = 1.0  # and of edges, gate, update and read-out


@dataclass
class TrainerConfig:
    """Devices, precision and length of a run; passed to Lightning's Trainer."""

    max_epochs: int = 100
    max_minutes: float | None = None  # stop training after this many minutes
    accelerator: str = "auto"
    devices: int = 1  # of a node; several train together (DDP), and so do CPU processes with accelerator=cpu
    nodes: int = 1  # started by SLURM, torchrun, or by hand with MASTER_ADDR, MASTER_PORT and NODE_RANK
    strategy: str = "auto"
    sync_batchnorm: bool = True  # statistics of batch normalisation over the clips of all devices
    precision: str = "32-true"
    gradient_clip: float | None = None  # largest norm of the gradient
    accumulate: int = 1  # batches a step of the optimiser
    check_val_every: int = 1  # epochs between validations; at most max_epochs
    log_every: int = 10  # steps
    # minutes between checkpoints within an epoch; null: at its end only. A continued run ends the same either way.
    checkpoint_minutes: float | None = 10.0
    threads: int | None = None  # CPU threads; null leaves torch's choice
    deterministic: bool = True
    progress: bool = True


@dataclass
class LoggerConfig:
    """Weights & Biases; metrics.csv is always written."""

    mode: LoggerMode = LoggerMode.auto
    project: str = "agnn_lit"
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    overlays: int = 4  # fixed validation frames drawn at each validation
    checkpoint: bool = True  # keep best.ckpt as an artifact of the W&B run


@dataclass
class TrainConfig:
    """Everything of a training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    clips: ClipsConfig = field(default_factory=ClipsConfig)
    static: StaticConfig = field(default_factory=StaticConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    name: str = "agnn"  # first part of the run folder
    test: bool = False  # once trained, score the test videos with the best checkpoint, as agnn-evaluate run=DIR does
    seed: int = 0
    # each purpose (held-out videos, clip order, clips, augmentation, dropout) draws from a random stream of its own;
    # false reproduces runs of version 0.1, where some shared one
    separate_streams: bool = True
    runs_dir: str = "runs"  # run folders are <runs_dir>/<name>/<overrides>
    run: str | None = None  # folder of an interrupted run to continue; takes no other settings
    overwrite: bool = False  # train again although the folder holds a run
    retry_failed: bool = False  # in a sweep: train again what failed; a single run is, anyway


@dataclass
class CrfConfig:
    """Dense CRF on the probabilities (parameters of the official README)."""

    backend: CrfBackend = CrfBackend.none
    spatial_sxy: float = 1.0  # standard deviation of the spatial kernel in pixels
    spatial_compat: float = 5.0  # weight of the spatial term
    bilateral_sxy: float = 30.0  # standard deviation of the bilateral kernel in pixels
    bilateral_srgb: float = 5.0  # and in colour, of 0..255
    bilateral_compat: float = 9.0  # weight of the bilateral term
    iterations: int = 5  # of mean-field inference


class References(Enum):
    """Which other frames of the video join a frame in its graph at test time."""

    partition = "partition"
    random = "random"


class ProposalSource(Enum):
    """Where the proposals of objects come from; none: one foreground, no objects."""

    none = "none"
    parts = "parts"
    masks = "masks"
    coco = "coco"
    maskrcnn = "maskrcnn"


@dataclass
class InstancesConfig:
    """Objects with identities instead of one foreground."""

    # parts: connected parts of the foreground, split where node features differ; masks: a folder of index masks;
    # coco: COCO-style JSON; maskrcnn: torchvision's network
    proposals: ProposalSource = ProposalSource.none
    source: str | None = None  # folder of masks, JSON file, or name or file of Mask R-CNN's weights
    agreement: float = 0.5  # least mean probability of foreground within a proposal; 0: the foreground has no say
    min_area: float = 0.0005  # smaller proposals are left out; share of the frame
    separation: float = 2.0  # a part is split where two clusters lie so many deviations (within them) apart
    candidates: int = 50  # proposals of a frame at most, the strongest
    overlap: float = 0.1  # least IoU of a mask, moved by the optical flow, with the next one of the same object
    appearance: float = 0.3  # weight of likeness (0..1) beside IoU where several could go on
    min_likeness: float = 0.2  # least likeness (0..1) with the candidate where it is expected: not what hides it
    similarity: float = 0.8  # least likeness (0..1) with which a lost object is found again
    patience: int = 10  # frames that the mask of an object not seen is moved on
    memory: int = 200  # frames after which a lost object is not looked for any more
    min_length: int = 3  # frames; shorter tracks are dropped, unless the video is shorter
    objects: int = 20  # at most, those with most of the foreground


@dataclass
class InferenceConfig:
    """From whole videos to masks: what evaluation and prediction share."""

    # run folder; its best checkpoint is taken. agnn-evaluate: also a sweep's folder, or a pattern with *
    run: str | None = None
    ckpt: str | None = None  # or a checkpoint file
    threshold: float = 0.5  # a pixel is foreground above this probability
    frames: int | None = None  # N' at test time; null: as in training
    # partition: T = N/N' subsets of frames spread over the video; random: each frame with N'-1 others drawn by seed
    references: References = References.partition
    seed: int = 0  # of random references
    scales: tuple[float, ...] = (1.0,)  # of the network's input; probabilities are averaged
    flip: bool = False  # also average over the mirrored frames
    # bring maps to the frame's size with corner pixels on corner pixels, as the released code does
    align_corners: bool = False
    crf: CrfConfig = field(default_factory=CrfConfig)
    instances: InstancesConfig = field(default_factory=InstancesConfig)
    batch_size: int = 1  # graphs at a time
    accelerator: str = "auto"
    dtype: str = "fp32"  # of the network: fp32, bf16, fp16, or auto: bf16 where the device computes in it
    channels_last: bool = True  # memory layout of the network
    compile: bool = False  # torch.compile: a minute at the start, for long videos
    threads: int | None = None  # CPU threads of the network; null leaves torch's choice
    workers: int | None = None  # processes for the CRF; 0: none; null: one less than there are processors, at most 8
    progress: bool = True

    def __post_init__(self) -> None:
        self.scales = _pair(self.scales)


@dataclass
class EvaluateConfig(InferenceConfig):
    """Prediction and scores of a trained model on a data set."""

    data: EvaluatedData = field(default_factory=EvaluatedData)  # unset fields: as in training
    split: str = "test"  # test, train or val (the held-out share)
    # simple, davis2016, youtube_objects, or with instances davis2017_unsupervised; null: youtube_objects for that data
    # set, else simple
    protocol: str | None = None
    overlays: int = 3  # pictures of each kind: best, median, worst frames
    wandb: bool = True  # log the scores as a W&B run of job type evaluate, where the run's training was logged
    # folder; null: evaluations/<data>-<split>-<protocol> in the run folder, or in one of a checkpoint's name beside it
    out: str | None = None


class OnError(Enum):
    """What a frame that cannot be decoded leads to."""

    stop = "stop"
    skip = "skip"


@dataclass
class PredictConfig(InferenceConfig):
    """Masks for any footage."""

    input: str = MISSING  # video file, folder of images, or one image
    out: str = MISSING  # folder for masks/, overlay.mp4, soft/ and predict.json
    dtype: str = "auto"
    soft: bool = False  # also write the probabilities, as 8-bit grey PNG
    overlay: bool = True  # also write overlay.mp4
    fps: float = 24.0  # of overlay.mp4 for a folder of images; a video keeps its own times
    on_error: OnError = OnError.stop  # a frame that cannot be decoded: stop, or skip it
    overwrite: bool = False  # predict again although out holds masks of other settings


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that ``conf/*.yaml`` start from."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="predict_schema", node=PredictConfig)


def typed(cfg: DictConfig | dict[str, Any], schema: type[Any] = TrainConfig) -> Any:
    """Return ``cfg`` as an instance of ``schema``, with all interpolations resolved.

    Raises:
        ConfigError: a key unknown to the schema, also one that ``+key=value`` brought in.
        omegaconf.errors.OmegaConfBaseException: a value of another type.
    """
    given = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True) if isinstance(cfg, DictConfig) else cfg
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given))
    except ConfigKeyError as error:
        raise ConfigError(unknown_key(str(error.full_key), schema)) from error


def stored(config: DictConfig | dict[str, Any]) -> TrainConfig:
    """Return the configuration that a run folder or a checkpoint holds, also one that an earlier version wrote.

    Raises:
        ConfigError: see :func:`typed`.
    """
    given = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    streams: dict[Any, Any] = {"separate_streams": False}  # version 0.1 had one stream for several purposes
    cfg: TrainConfig = typed(streams | dict(given))  # type: ignore[arg-type]
    return cfg


def keys_of(schema: type[Any]) -> list[str]:
    """All keys of a schema, nested ones with dots."""

    def walk(node: Any, prefix: str) -> list[str]:
        found = []
        for key in node:
            name = f"{prefix}{key}"
            found.append(name)
            missing = OmegaConf.is_missing(node, key)
            if not missing and OmegaConf.is_dict(node[key]):
                found += walk(node[key], f"{name}.")
        return found

    return walk(OmegaConf.structured(schema), "")


def unknown_key(key: str, schema: type[Any]) -> str:
    """Say that a schema has no such key, and which may have been meant."""
    known = keys_of(schema)
    near = get_close_matches(key, known, n=1, cutoff=0.7)
    last = key.split(".")[-1]
    near += [k for k in known if k.split(".")[-1] == last and k not in near]  # the right word in another group
    if not near:
        lasts = get_close_matches(last, {k.split(".")[-1] for k in known}, n=1, cutoff=0.7)
        near = [k for k in known if k.split(".")[-1] in lasts]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "--help lists all of them"
    return f"there is no setting {key}; {hint}"


def plain(cfg: Any) -> dict[str, Any]:
    """Return a config as plain dicts, lists, strings and numbers (enums by name)."""
    container = OmegaConf.to_container(OmegaConf.structured(cfg), resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
