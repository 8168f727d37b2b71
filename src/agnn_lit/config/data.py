"""Settings of the data: which videos (``data``), clips drawn from them (``clips``), and static images (``static``)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from agnn_lit.config.registry import option
from agnn_lit.config.setting import SHARE, Changes, Range, above, at_least, group, require, setting


# fmt: off
@dataclass
class SyntheticConfig:
    """The generated videos; one frame alone does not tell which object is the primary."""

    train_videos: int = setting(512, "videos to train on", within=at_least(1))
    test_videos: int = setting(16, "videos to test on", within=at_least(1))
    length: int = setting(12, "frames of a video", within=at_least(1))
    size: tuple[int, int] = setting((64, 64), "height and width", unit="pixels", within=at_least(16))
    primaries: int = setting(1, "objects that return in every frame", within=Range(1, 254))
    distractors: int = setting(2, "further objects, new in each frame", within=at_least(0))
    texture: float = setting(0.0, "contrast of stripes; 0: one colour an object", within=SHARE)
    deformation: float = setting(0.2, "relative change of the primary's outline over a video", within=at_least(0))
    speed: float = setting(4.0, "of the primary", unit="pixels a frame", within=at_least(0))
    seed: int = setting(0, "the videos depend on this seed, not on the run's", within=at_least(0))


def all_optional(schema: type[Any]) -> type[Any]:
    """A copy of a dataclass of settings whose fields may be null, which is their default: nothing is changed."""
    hints = get_type_hints(schema)
    changed = [(f.name, hints[f.name] | None, field(default=None, metadata=f.metadata)) for f in fields(schema)]
    return make_dataclass(f"Changed{schema.__name__}", changed)


if TYPE_CHECKING:
    ChangedSynthetic = SyntheticConfig
else:
    ChangedSynthetic = all_optional(SyntheticConfig)


@dataclass
class DataConfig:
    """Which videos.

    An option of ``data.name`` is a callable ``(cfg, split) -> list of videos`` (:class:`agnn_lit.data.video.Video`),
    with ``split`` "train" or "test". Facts: ``needs_root`` (True: data.root must be given), ``root_variable`` (an
    environment variable that may name it), ``has_lists`` (False: there are no lists of sequences; data.train_split and
    data.test_split must be null), ``protocol`` (of its scores where none is asked for) and ``mask_sizes_differ`` (True:
    an annotation may have another size than its frame).
    """

    name: str | None = setting(None, "kind of data set", options="data.name", shown=True, title="data set")
    root: str | None = setting(None, "folder of the data set", path=True)
    train_split: str | None = setting(None, "list of training sequences, as the data set names it")
    test_split: str | None = setting(None, "list of the sequences that results are reported on")
    sequences: list[str] | None = setting(None, "only these sequences of a split")
    train_range: tuple[float, float] | None = setting(None, "share of every sequence that training is limited to, such "
        "as [0.0,0.67]", within=SHARE)
    test_range: tuple[float, float] | None = setting(None, "share of every sequence that the test is limited to, such "
        "as [0.67,1.0]", within=SHARE)
    synthetic: SyntheticConfig = group(SyntheticConfig, "the generated videos, for data=synthetic")


@dataclass
class EvaluatedData(DataConfig):
    """Which videos an evaluation is of; what is null is as in training, or as usual for another data set."""

    synthetic: ChangedSynthetic = group(ChangedSynthetic, "what to change of the generated videos")


@dataclass
class ClipsConfig:
    """How clips are drawn from training videos and made into input."""

    size: tuple[int, int] = setting((473, 473), "network input: height and width", unit="pixels", shown=True,
        title="input, height × width", within=at_least(1))
    batch_size: int = setting(2, "clips a step and device", within=at_least(1), shown=True)
    clips_per_video: int = setting(1, "clips drawn from each video in an epoch", within=at_least(1))
    workers: int = setting(2, "loader processes; 0 loads in the training process", within=at_least(0),
        changes=Changes.speed)
    val_share: float = setting(0.1, "share of the training videos held out for model selection; 0 turns validation off",
        within=Range(0.0, 1.0, open_high=True))
    flip: float = setting(0.5, "probability of a horizontal flip of all frames of a clip", within=SHARE)
    crop: float = setting(1.0, "side of a random window that is cut out first, relative to the frame's; 1: the whole "
        "frame", within=Range(0.0, 1.0, open_low=True))
    scale: tuple[float, float] = setting((0.7, 1.3), "range of the random zoom, which is followed by a crop to "
        "clips.size", within=above(0))


@dataclass
class StaticConfig:
    """Steps of static images between those of clips: they train the encoder through the auxiliary mask."""

    every: int = setting(0, "one step in so many, the first of an epoch included; 0: none", within=at_least(0))
    roots: list[str] = setting([], "folders of images and masks: MSRA10K, DUT-OMRON or DUTS as they are published, or "
        "with images/ and masks/", path=True)
    batch_size: int | None = setting(None, "images a step and device; null: clips.batch_size", within=at_least(1))
    loss: float = setting(0.1, "weight of the loss in these steps", within=above(0))
    backbone_lr_factor: float = setting(1.0, "learning rate of the backbone in these steps, relative to optim.lr",
        within=at_least(0))
    graph_lr_factor: float = setting(0.0, "learning rate of the graph in these steps, relative to optim.lr",
        within=at_least(0))
# fmt: on


def check_clips(clips: ClipsConfig, stride: int) -> None:
    """Raise ConfigError when the input is too small for the feature stride, or the zoom's range is empty."""
    low, high = clips.scale
    require(
        min(clips.size) >= stride,
        f"clips.size={list(clips.size)}: smaller than one feature position of {stride} pixels",
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
            "data.train_range and data.test_range: training and test videos are generated apart; leave them out",
        )
    variable = facts.get("root_variable")
    require(
        bool(data.root) or not facts.get("needs_root", False),
        f"data.root is not set: the folder of {data.name}; pass data.root=…"
        + (f" or set the environment variable {variable}" if variable else ""),
    )
    if not facts.get("has_lists", False):
        for key, value in (("train_split", data.train_split), ("test_split", data.test_split)):
            require(value is None, f"data.{key}={value}: {data.name} has no lists; choose with data.sequences=[…]")


def default_protocol(data: DataConfig) -> str:
    """Protocol of a data set where none is asked for."""
    return "simple" if data.name is None else str(option("data.name", data.name).facts.get("protocol", "simple"))


def check_static(static: StaticConfig, *, auxiliary: bool) -> None:
    """Raise ConfigError when steps of static images are asked for and cannot be made.

    Args:
        static: settings.
        auxiliary: the model has an auxiliary mask.
    """
    every, roots = static.every, list(static.roots)
    require(every != 1, f"static.every={every}: must be 2 or more, or 0 for no steps of static images")
    require(
        not every or bool(roots),
        f"static.every={every} needs static.roots, the folders of saliency data sets, such as "
        "static.roots=[/data/MSRA10K,/data/DUTS]; static.every=0 trains without static images",
    )
    require(not roots or every > 0, f"static.roots={roots} and static.every=0: static.every=3 makes steps of them")
    require(
        not every or auxiliary,
        f"static.every={every}: static images train the encoder by the auxiliary mask; set model.auxiliary=true, or "
        "take model=agnn_official",
    )
