"""Settings of the network: the graph (``model``) and the encoder (``backbone``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agnn_lit.config.registry import option
from agnn_lit.config.setting import at_least, require, setting

ATTENTION = ("auto", "reference", "blocked", "sdpa")


# fmt: off
@dataclass
class ModelConfig:
    """The graph (AGNN, section 3)."""

    frames: int = setting(3, "N', frames of one graph", within=at_least(1), shown=True, title="frames of a graph N'",
        released=3)
    rounds: int = setting(3, "K, rounds of message passing; 0 is the frame-only baseline", within=at_least(0),
        shown=True, title="rounds K", released=5)
    channels: int = setting(256, "C, channels of a node", within=at_least(1), shown=True, title="channels C",
        released=256)
    loop_edge: str = setting("every_round", "where a node attends to itself",
        choices=("every_round", "encoder", "none"), shown=True, tensors=("loop_edge.", "encoder.loop_edge."),
        released="encoder")
    loop_reduction: int = setting(8, "W_f and W_h of the loop edge map to channels / loop_reduction",
        within=at_least(1), tensors=("loop_edge.", "encoder.loop_edge."), released=4)
    line_edge: str = setting("symmetric", "form of the weight W_c between two frames: ½(A + Aᵀ) for both directions, "
        "or free", choices=("symmetric", "directed"), shown=True, released="directed")
    gate: str = setting("channel", "what weighs a message before aggregation", options="model.gate", shown=True,
        tensors=("gate.",), released="spatial")
    aggregation: str = setting("sum", "how the messages to a node become one", options="model.aggregation", shown=True,
        tensors=("aggregate.",), released="concat")
    update: str = setting("gru3x3", "how a node takes in its aggregated message", options="model.update", shown=True,
        tensors=("update.",), released="gru1x1")
    readout: str = setting("conv3", "convolutions from the node states to the mask", options="model.readout",
        shown=True, tensors=("readout.",), released="bn")
    attention: str = setting("auto", "how attention is computed, to the same numbers: reference is plain code, blocked "
        "recomputes the scores in the backward pass instead of storing them, sdpa is torch's kernel for GPUs",
        choices=ATTENTION)
    checkpoint_rounds: bool = setting(False, "recompute each round in the backward pass: less memory, a third more "
        "time (gradient checkpointing)")
    auxiliary: bool = setting(False, "also predict a mask straight from the encoder, for the training loss",
        tensors=("auxiliary.",), released=True)
    weights: str | None = setting(None, "checkpoint of agnn-train or agnn-convert to start training from, instead of "
        "backbone.weights; parts whose setting differs start from random values, but frames and rounds may differ",
        path=True)


@dataclass
class BackboneConfig:
    """The encoder of a frame into a node.

    An option of ``backbone.name`` is a callable ``(channels, stride, loop_reduction) -> nn.Module`` that maps images
    (M, 3, H, W) to nodes (M, channels, H/stride, W/stride), with a random start; with a number as ``loop_reduction`` it
    attends within the frame before its last layer. Facts: ``strides`` (those possible), ``weights`` (start values that
    ``backbone.weights=default`` stands for, or None), ``pretrained`` (False: there are no start values to load) and
    ``batch_norm_of_one`` (True: it can be trained on batches of a single frame).
    """

    name: str = setting("???", "node embedding network", options="backbone.name", shown=True,
        released="deeplab_official")
    weights: str | None = setting("default", "start values: a torchvision weights name such as "
        "ResNet50_Weights.IMAGENET1K_V2, a file, null for a random start, or default for those of the backbone",
        shown=True, path=True)
    stride: int = setting(8, "distance of neighbouring feature positions", unit="pixels", released=8)
    preprocessing: str = setting("imagenet", "how pixels become the numbers that the start values were trained with: "
        "imagenet as torchvision's weights expect, caffe as the released code's; kept in the checkpoint",
        choices=("imagenet", "caffe"), released="caffe")
# fmt: on


def default_weights(backbone: BackboneConfig) -> str | None:
    """Start values of a backbone: those that are asked for, or its own for ``default``."""
    if backbone.weights != "default":
        return backbone.weights
    weights: str | None = option("backbone.name", backbone.name).facts.get("weights")
    return weights


def check_model(model: ModelConfig, backbone: BackboneConfig) -> None:
    """Raise ConfigError when settings of the network contradict each other."""
    require(
        model.loop_reduction <= model.channels,
        f"model.loop_reduction={model.loop_reduction}: must lie in 1..model.channels={model.channels}",
    )
    joins = option("model.aggregation", model.aggregation).facts
    require(
        joins.get("loop_edge", True) or model.loop_edge != "every_round" or not model.rounds,
        f"model.aggregation={model.aggregation} joins the messages of neighbours and would ignore "
        "model.loop_edge=every_round: set model.loop_edge to encoder or none",
    )
    require(
        not joins.get("fixed_frames", False) or model.frames >= 2,
        f"model.aggregation={model.aggregation} joins the messages of N'-1 neighbours: model.frames={model.frames} has "
        "none",
    )
    facts = option("backbone.name", backbone.name).facts
    strides = facts.get("strides", (8,))
    require(
        backbone.stride in strides,
        f"backbone.stride={backbone.stride}: {backbone.name} has stride {' or '.join(map(str, strides))}",
    )
    require(
        default_weights(backbone) is None or facts.get("pretrained", True),
        f"backbone.weights={backbone.weights}: the {backbone.name} backbone has no pretrained weights; set it to null",
    )


def released_model() -> dict[str, dict[str, Any]]:
    """``model`` and ``backbone`` of the released code, as the settings' declarations say."""
    from agnn_lit.config.setting import entries

    return {
        key: {e.key: e.about.released for e in entries(schema()) if e.about.released is not None}
        for key, schema in (("model", ModelConfig), ("backbone", BackboneConfig))
    }
