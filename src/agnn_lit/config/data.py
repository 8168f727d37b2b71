"""Settings of the videos (``data``), the clips drawn from them (``clips``), and static images (``static``)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from agnn_lit.config.registry import option
from agnn_lit.config.setting import SHARE, Changes, Range, above, at_least, group, require, setting


# fmt: off
@dataclass
class SyntheticConfig:
    """Generated videos, in which a single frame does not tell which object is the primary."""

    train_videos: int = setting(512, "number of training videos", within=at_least(1))
    test_videos: int = setting(16, "number of test videos", within=at_least(1))
    length: int = setting(12, "frames per video", within=at_least(1))
    size: tuple[int, int] = setting((64, 64), "height and width", unit="pixels", within=at_least(16))
    primaries: int = setting(1, "primary objects, which return in every frame", within=Range(1, 254))
    distractors: int = setting(2, "other objects, new in each frame", within=at_least(0))
    texture: float = setting(0.0, "contrast of the objects' stripes; 0: plain colours", within=SHARE)
    deformation: float = setting(0.2, "relative change of outlines from frame to frame", within=at_least(0))
    speed: float = setting(4.0, "speed of the primaries", unit="pixels per frame", within=at_least(0))
    seed: int = setting(0, "seed of the videos, independent of the run's seed", within=at_least(0))


def all_optional(schema: type[Any]) -> type[Any]:
    """Copy a dataclass of settings, with null as the default of every field: leave the value as it is."""
    hints = get_type_hints(schema)
    changed = [(f.name, hints[f.name] | None, field(default=None, metadata=f.metadata)) for f in fields(schema)]
    return make_dataclass(f"Changed{schema.__name__}", changed, namespace={"__doc__": schema.__doc__})


if TYPE_CHECKING:
    ChangedSynthetic = SyntheticConfig
else:
    ChangedSynthetic = all_optional(SyntheticConfig)


@dataclass
class DataConfig:
    """The data set.

    An option of ``data.name`` is a callable ``(cfg, split) -> list of videos`` (:class:`agnn_lit.data.video.Video`),
    with ``split`` "train" or "test". Facts: ``needs_root`` (True: data.root must be given), ``root_variable`` (an
    environment variable that may name it), ``has_lists`` (False: no lists of sequences, so data.train_split and
    data.test_split must be null), ``protocol`` (the default one) and ``mask_sizes_differ`` (True: the size of an
    annotation may differ from its frame's).
    """

    name: str | None = setting(None, "data set", options="data.name", shown=True, title="data set")
    root: str | None = setting(None, "folder of the data set", path=True)
    train_split: str | None = setting(None, "list of training sequences, such as train")
    test_split: str | None = setting(None, "list of test sequences, such as val")
    sequences: list[str] | None = setting(None, "use only these sequences of the split")
    train_range: tuple[float, float] | None = setting(None, "train on this part of every sequence, such as [0,0.67]",
        within=SHARE)
    test_range: tuple[float, float] | None = setting(None, "test on this part of every sequence, such as [0.67,1]",
        within=SHARE)
    synthetic: SyntheticConfig = group(SyntheticConfig, "generated videos, for data=synthetic")


@dataclass
class EvaluatedData(DataConfig):
    """The data set to evaluate; null values are taken from training, or are another data set's defaults."""

    synthetic: ChangedSynthetic = group(ChangedSynthetic, "changes to the generated videos")


@dataclass
class ClipsConfig:
    """Sampling and augmentation of training clips."""

    size: tuple[int, int] = setting((473, 473), "network input: height and width", unit="pixels", shown=True,
        title="input, height × width", within=at_least(1))
    batch_size: int = setting(2, "clips per step and device", within=at_least(1), shown=True)
    clips_per_video: int = setting(1, "clips drawn per video and epoch", within=at_least(1))
    workers: int = setting(2, "loader processes; 0 loads in the training process", within=at_least(0),
        changes=Changes.speed)
    cache: str | None = setting(None, "folder that keeps frames of videos on disk decoded and resized to clips.size, "
        "where other processes and runs find them; null: they are decoded each time", path=True,
        changes=Changes.speed)
    val_share: float = setting(0.1, "share of the training videos held out for model selection; 0 skips validation",
        within=Range(0.0, 1.0, open_high=True))
    flip: float = setting(0.5, "probability of a horizontal flip of all frames of a clip", within=SHARE)
    crop: float = setting(1.0, "side of the random crop that is taken first, relative to the frame's; 1: no crop",
        within=Range(0.0, 1.0, open_low=True))
    scale: tuple[float, float] = setting((0.7, 1.3), "range of the random zoom before the crop to clips.size",
        within=above(0))
    jitter: float = setting(0.0, "strength of random changes of brightness, contrast, saturation (up to 40 % at 1) and "
        "hue (up to 5 %)", within=Range(0.0, 2.0))
    blur: float = setting(0.0, "probability of a Gaussian blur, of 0.1 to 1.5 pixels", within=SHARE)
    jpeg: float = setting(0.0, "probability of JPEG compression, at quality 30 to 90", within=SHARE)
    vary: str = setting("clip", "jitter, blur and JPEG compression are drawn once per clip, or for each frame",
        choices=("clip", "frame"))


@dataclass
class StaticConfig:
    """Static images with masks (photographs), in one of three ways.

    In steps of their own that train the encoder through the auxiliary mask (``every``), as the released code does; or
    made into clips that train the whole graph: as a share of every batch of clips (``share``), or alone (data=photos).
    """

    every: int = setting(0, "every n-th step uses static images, an epoch's first included; 0: none",
        within=at_least(0))
    roots: list[str] = setting([], "folders of images and masks: MSRA10K, DUT-OMRON or DUTS as published, or with "
        "images/ and masks/", path=True)
    batch_size: int | None = setting(None, "images per step and device; null: clips.batch_size", within=at_least(1))
    loss: float = setting(0.1, "loss weight in these steps", within=above(0))
    backbone_lr_factor: float = setting(1.0, "backbone learning rate in these steps, times optim.lr",
        within=at_least(0))
    graph_lr_factor: float = setting(0.0, "graph learning rate in these steps, times optim.lr", within=at_least(0))
    share: float = setting(0.0, "share of each batch of clips that is made of static images; they move and deform from "
        "frame to frame", within=Range(0.0, 1.0, open_high=True))
    balance: bool = setting(False, "use the images of smaller folders several times in a pass, so that each of "
        "static.roots has about the same weight")
    motion: float = setting(0.1, "in clips of static images: largest shift of a frame relative to its size, "
        "rotation in radians, and change of the zoom", within=SHARE)
    deformation: float = setting(0.02, "in clips of static images: elastic displacement, relative to the frame's size",
        within=SHARE)
    passers_by: int = setting(0, "in clips of static images: largest number of pasted objects of other images; two in "
        "three are shown by some frames only and are background, the others by all frames and are primary objects",
        within=at_least(0))
    onlookers: int = setting(0, "in half of the clips of static images: largest number of pasted objects of other "
        "images that are smaller than its own, shown by all frames, and background", within=at_least(0))
    crowd: int = setting(0, "in half of the clips with onlookers: largest number of places in a row of them that "
        "stands behind the image's own objects; 0: no rows", within=at_least(0))
    largest_only: bool = setting(False, "where the objects of an image do not touch, only the largest is certain to be "
        "a primary object: the others are left out of the loss")
# fmt: on


def uses_photographs(data: DataConfig) -> bool:
    """Whether the training clips are made of static images alone (data=photos)."""
    return data.name is not None and bool(option("data.name", data.name).facts.get("photographs", False))


def check_clips(clips: ClipsConfig, stride: int) -> None:
    """Raise ConfigError if the input is smaller than the feature stride, or the zoom range is empty."""
    low, high = clips.scale
    require(
        min(clips.size) >= stride,
        f"clips.size={list(clips.size)}: smaller than the feature stride of {stride} pixels",
    )
    require(low <= high, f"clips.scale={list(clips.scale)}: must be 0 < smallest <= largest")
    require(
        low * min(clips.size) >= stride,
        f"clips.scale={list(clips.scale)}: {low} x clips.size={list(clips.size)} leaves no pixels "
        f"for a feature stride of {stride}",
    )


def check_data(data: DataConfig, frames: int) -> None:
    """Raise ConfigError when the data settings are incomplete or contradict N' = ``frames``."""
    require(data.name is not None, "data.name is not set: choose one with data=synthetic, data=davis2016, …")
    assert data.name is not None
    facts = option("data.name", data.name).facts
    for key, part in (("train_range", data.train_range), ("test_range", data.test_range)):
        require(
            part is None or 0 <= part[0] < part[1] <= 1,
            f"data.{key}={part and list(part)}: must be 0 <= first < last <= 1, shares of every sequence",
        )
    if data.name == "synthetic":
        length = data.synthetic.length
        require(frames <= length, f"model.frames={frames} is above the videos' length: data.synthetic.length={length}")
        require(
            data.train_range is None and data.test_range is None,
            "data.train_range and data.test_range: training and test videos are generated separately; leave both null",
        )
    variable = facts.get("root_variable")
    require(
        bool(data.root) or not facts.get("needs_root", False),
        f"data.root is not set: the folder of {data.name}; pass data.root=…"
        + (f" or set the environment variable {variable}" if variable else ""),
    )
    if not facts.get("has_lists", False):
        for key, value in (("train_split", data.train_split), ("test_split", data.test_split)):
            require(value is None, f"data.{key}={value}: {data.name} has no lists; use data.sequences=[…]")


def default_protocol(data: DataConfig) -> str:
    """Return the default protocol of a data set."""
    return "simple" if data.name is None else str(option("data.name", data.name).facts.get("protocol", "simple"))


def check_static(static: StaticConfig, data: DataConfig, batch_size: int, *, auxiliary: bool) -> None:
    """Raise ConfigError for contradicting settings of static images.

    Args:
        static: the settings.
        data: the data set beside them.
        batch_size: clips per step and device.
        auxiliary: the model has an auxiliary mask.
    """
    every, share, roots, alone = static.every, static.share, list(static.roots), uses_photographs(data)
    used = "data=photos" if alone else f"static.share={share}" if share else f"static.every={every}"
    require(every != 1, f"static.every={every}: must be 2 or more, or 0 for no static images")
    require(
        not (every or share or alone) or bool(roots),
        f"{used} needs static.roots, the folders of saliency data sets, such as "
        "static.roots=[/data/MSRA10K,/data/DUTS]; static.every=0 and static.share=0 train without static images",
    )
    require(
        not roots or bool(every or share or alone),
        f"static.roots={roots} and static.every=0: set static.every=3 for steps of their own, static.share=0.5 for "
        "half of each batch, or data=photos to train on them alone",
    )
    require(
        (every > 0) + (share > 0) + alone <= 1,
        f"static.every={every}, static.share={share}, data.name={data.name}: static images are used in steps of their "
        "own, as a share of each batch, or alone; choose one",
    )
    require(
        not share or 1 <= round(share * batch_size) < batch_size,
        f"static.share={share} of clips.batch_size={batch_size} clips: must give at least one clip of static images "
        "and one of videos",
    )
    require(
        not every or auxiliary,
        f"static.every={every}: static images train the encoder through the auxiliary mask; set model.auxiliary=true, "
        "or use model=agnn_official",
    )
