"""Settings of the network: the graph (``model``) and the encoder (``backbone``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agnn_lit.config.registry import option
from agnn_lit.config.setting import at_least, entries, require, setting

ATTENTION = ("auto", "reference", "blocked", "sdpa")
PREPROCESSING = ("default", "imagenet", "caffe", "lite", "half", "clip", "unit", "dpn", "satellite")


# fmt: off
@dataclass
class ModelConfig:
    """The graph (AGNN, section 3)."""

    frames: int = setting(3, "N', frames per graph", within=at_least(1), shown=True, title="frames of a graph N'",
        released=3)
    rounds: int = setting(3, "K, rounds of message passing; 0 is the frame-only baseline", within=at_least(0),
        shown=True, title="rounds K", released=5)
    channels: int = setting(256, "C, channels of a node", within=at_least(1), shown=True, title="channels C",
        released=256)
    loop_edge: str = setting("every_round", "where self-attention within a frame is applied",
        choices=("every_round", "encoder", "none"), shown=True, tensors=("loop_edge.", "encoder.loop_edge."),
        released="encoder")
    loop_reduction: int = setting(8, "W_f and W_h of the loop edge map to channels / loop_reduction",
        within=at_least(1), tensors=("loop_edge.", "encoder.loop_edge."), released=4)
    line_edge: str = setting("symmetric", "weight W_c of the attention between frames: symmetric ½(A + Aᵀ) for both "
        "directions, or unconstrained", choices=("symmetric", "directed"), shown=True, released="directed")
    pool: int = setting(1, "the edges between and within frames attend to pool x pool positions averaged: 2 is a "
        "quarter of the arithmetic", within=at_least(1), shown=True, title="pooled positions", released=1)
    gate: str = setting("channel", "gate on each message", options="model.gate", shown=True,
        tensors=("gate.",), released="spatial")
    aggregation: str = setting("sum", "how a node's messages are combined", options="model.aggregation", shown=True,
        tensors=("aggregate.",), released="concat")
    update: str = setting("gru3x3", "how a node is updated by its message", options="model.update", shown=True,
        tensors=("update.",), released="gru1x1")
    readout: str = setting("conv3", "convolutions from the node states to the mask", options="model.readout",
        shown=True, tensors=("readout.",), released="bn")
    attention: str = setting("auto", "implementation of attention, same results: reference is plain code, blocked "
        "recomputes the scores in the backward pass instead of storing them, sdpa is torch's fused kernel",
        choices=ATTENTION)
    checkpoint_rounds: bool = setting(False, "gradient checkpointing of each round: less memory, a third more time")
    auxiliary: bool = setting(False, "also predict a mask directly from the encoder, for the training loss",
        tensors=("auxiliary.",), released=True)
    weights: str | None = setting(None, "checkpoint of agnn-train, file of agnn-convert, or pretrained (the weights in "
        "the package) to start training from, instead of backbone.weights; frames and rounds may differ, parts with "
        "other differences start from random weights", path=True)


@dataclass
class BackboneConfig:
    """The encoder of a frame into a node.

    An option of ``backbone.name`` is a callable ``(channels, stride, loop_reduction) -> nn.Module`` that maps images
    (M, 3, H, W) to nodes (M, channels, H/stride, W/stride), with random weights; unless ``loop_reduction`` is None, it
    has a loop edge before its last layer. Facts: ``strides`` (allowed ones; none stated: any), ``weights`` (of
    ``backbone.weights=default``, or None), ``preprocessing`` (of those weights; none stated: imagenet), ``pretrained``
    (False: there are no weights to load), ``batch_norm_of_one`` (True: it can be trained on batches of a single frame)
    and ``model`` (True: it builds one of many networks. It is called with ``model=`` in addition, the default weights
    have the same name, and its static method ``preprocessing(model, weights)`` names their normalisation). A module
    with a method ``load_weights(weights, preprocessing)`` loads ``backbone.weights`` itself.
    """

    name: str = setting("???", "node embedding network", options="backbone.name", shown=True,
        released="deeplab_official")
    model: str | None = setting(None, "timm's name of the network, such as tf_efficientnet_lite0 or resnet50.a1_in1k, "
        "for backbone=timm", shown=True, title="timm network")
    weights: str | None = setting("default", "initial weights: a torchvision name such as "
        "ResNet50_Weights.IMAGENET1K_V2, a file, null for random weights, or default for the backbone's own; for "
        "backbone=timm a name of timm's, or efficientnet-lite0, -lite1 or -lite2 of agnn-lit[lite]",
        shown=True, path=True)
    stride: int = setting(8, "feature stride", unit="pixels", released=8)
    preprocessing: str = setting("imagenet", "input normalisation that the initial weights were trained with: imagenet "
        "for torchvision's, caffe for the released code's, lite for efficientnet-lite0, …, others for timm's; default: "
        "that of the weights; the choice is kept in the checkpoint", choices=PREPROCESSING, released="caffe")
# fmt: on


def default_weights(backbone: BackboneConfig) -> str | None:
    """Return ``backbone.weights``, with ``default`` replaced by the backbone's own."""
    if backbone.weights != "default":
        return backbone.weights
    facts = option("backbone.name", backbone.name).facts
    weights: str | None = backbone.model if facts.get("model", False) else facts.get("weights")
    return weights


def default_preprocessing(backbone: BackboneConfig) -> str:
    """Return ``backbone.preprocessing``, with ``default`` replaced by that of the weights.

    Raises:
        ConfigError: ``backbone.model`` is needed and not set, or unknown.
    """
    if backbone.preprocessing != "default":
        return backbone.preprocessing
    found = option("backbone.name", backbone.name)
    if not found.facts.get("model", False):
        return str(found.facts.get("preprocessing", "imagenet"))
    _check_network(backbone)
    return str(found.load().preprocessing(backbone.model, backbone.weights))


def _check_network(backbone: BackboneConfig) -> None:
    """Raise ConfigError unless ``backbone.model`` is set if, and only if, the backbone builds one of many networks."""
    needed = option("backbone.name", backbone.name).facts.get("model", False)
    require(
        backbone.model is not None or not needed,
        f"backbone.model=null: backbone={backbone.name} needs the name of a network, such as tf_efficientnet_lite0",
    )
    require(
        backbone.model is None or needed,
        f"backbone.model={backbone.model}: backbone={backbone.name} is a network by itself; use backbone=timm or null",
    )


def check_model(model: ModelConfig, backbone: BackboneConfig) -> None:
    """Raise ConfigError if settings of the network contradict each other."""
    require(
        model.loop_reduction <= model.channels,
        f"model.loop_reduction={model.loop_reduction}: must lie in 1..model.channels={model.channels}",
    )
    joins = option("model.aggregation", model.aggregation).facts
    require(
        joins.get("loop_edge", True) or model.loop_edge != "every_round" or not model.rounds,
        f"model.aggregation={model.aggregation} concatenates neighbour messages and would ignore "
        "model.loop_edge=every_round: set model.loop_edge to encoder or none",
    )
    require(
        not joins.get("fixed_frames", False) or model.frames >= 2,
        f"model.aggregation={model.aggregation} concatenates neighbour messages: model.frames={model.frames} must be "
        "2 or more",
    )
    facts = option("backbone.name", backbone.name).facts
    _check_network(backbone)
    strides = facts.get("strides", (backbone.stride,))
    require(
        backbone.stride in strides,
        f"backbone.stride={backbone.stride}: {backbone.name} has stride {' or '.join(map(str, strides))}",
    )
    require(
        default_weights(backbone) is None or facts.get("pretrained", True),
        f"backbone.weights={backbone.weights}: the {backbone.name} backbone has no pretrained weights; set it to null",
    )


def released_model() -> dict[str, dict[str, Any]]:
    """``model`` and ``backbone`` of the released code, from the settings' declarations."""
    return {
        key: {e.key: e.about.released for e in entries(schema()) if e.about.released is not None}
        for key, schema in (("model", ModelConfig), ("backbone", BackboneConfig))
    }
