"""Build the network from its settings."""

from __future__ import annotations

from torch import nn

from agnn_lit.config import ConfigError, TrainConfig, option
from agnn_lit.model import edges
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.weights import load_backbone_weights


def build_backbone(
    name: str, channels: int, stride: int = 8, loop_reduction: int | None = None, model: str | None = None
) -> nn.Module:
    """Return an encoder with random weights that maps (M, 3, H, W) to (M, C, H/stride, W/stride).

    With ``loop_reduction`` it has a loop edge before its last convolution; ``model`` is for encoders that build one of
    many networks. See :class:`agnn_lit.config.BackboneConfig`.
    """
    found = option("backbone.name", name)
    more = {"model": model} if found.facts.get("model", False) else {}
    built: nn.Module = found.load()(channels, stride, loop_reduction, **more)
    if loop_reduction is not None and not any(isinstance(part, edges.LoopEdge) for part in built.modules()):
        raise ConfigError(f"model.loop_edge=encoder: {name} has no loop edge inside; use every_round or none")
    return built


def build_model(cfg: TrainConfig, *, pretrained: bool = True) -> AGNN:
    """Return the network, if ``pretrained`` with ``backbone.weights`` loaded.

    Raises:
        WeightsError: weights that cannot be loaded or do not fit.
    """
    m, backbone = cfg.model, cfg.backbone
    encoder_loop = m.loop_reduction if m.loop_edge == "encoder" else None
    encoder = build_backbone(backbone.name, m.channels, backbone.stride, encoder_loop, backbone.model)
    passed = {key: value for key, value in vars(m).items() if key not in ("loop_edge", "attention", "weights")}
    model = AGNN(encoder, loop_edge=m.loop_edge == "every_round", **passed)
    for part in model.modules():
        if isinstance(part, (edges.LoopEdge, edges.LineEdge)):
            part.backend = m.attention
    if pretrained and backbone.weights not in (None, "default"):
        own = getattr(encoder, "load_weights", None)
        if own is not None:
            own(str(backbone.weights), backbone.preprocessing)
        else:
            load_backbone_weights(encoder, str(backbone.weights), model.auxiliary, backbone.preprocessing)
    return model
