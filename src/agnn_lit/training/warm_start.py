"""Training that starts from the weights of another run: what fits is taken, what differs starts anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agnn_lit.config import ConfigError, TrainConfig, entries, option, plain
from agnn_lit.inference.load import load_checkpoint

if TYPE_CHECKING:  # torch is loaded once the settings are known to be right
    from agnn_lit.model.agnn import AGNN


def start_from(model: AGNN, cfg: TrainConfig, file: Path) -> str:
    """Load the weights of a checkpoint into a model that is to be trained further.

    Parts whose axis differs (gate, aggregation, …) keep their random start, and so does a graph where the checkpoint
    has none. All other tensors must fit.

    Args:
        model: with a random start; changed.
        cfg: its configuration.
        file: checkpoint of agnn-train or agnn-convert.

    Returns:
        A sentence on what was taken and what starts anew.

    Raises:
        ConfigError: see :func:`load_checkpoint`; another backbone or preprocessing, another N' with concat, or tensors
            that do not fit.
    """
    from agnn_lit.model.weights import list_mismatches

    try:
        old, trained = load_checkpoint(file)
    except ConfigError as error:
        raise ConfigError(f"model.weights={error}") from error
    for key in ("name", "preprocessing", "stride"):
        found, asked = plain(old.backbone)[key], plain(cfg.backbone)[key]
        if found != asked:
            raise ConfigError(f"model.weights={file} was trained with backbone.{key}={found}, not {asked}")
    kind = cfg.model.aggregation
    fixed = old.model.aggregation == kind and option("model.aggregation", kind).facts.get("fixed_frames", False)
    if fixed and cfg.model.frames != old.model.frames and cfg.model.rounds and old.model.rounds:
        raise ConfigError(
            f"model.frames={cfg.model.frames}: model.weights={file} joins messages by {kind}, whose convolution has a "
            f"block of weights for each neighbour and was trained for N' = {old.model.frames}; keep that, or take "
            "model.aggregation=sum or mean, which have no weights"
        )
    given, start = trained.state_dict(), model.state_dict()
    freed = old.model.line_edge == "symmetric" and cfg.model.line_edge == "directed"
    if freed and old.model.rounds:
        given["line_edge.weight"] = trained.line_edge.w_c  # the weight's symmetric part is what was trained
    axes = {
        e.key: e.about.tensors for e in entries(cfg.model) if e.about.tensors and getattr(old.model, e.key) != e.value
    }
    if bool(old.model.rounds) is not bool(cfg.model.rounds):
        axes = {**axes, "graph": ("line_edge.", "gate.", "aggregate.", "update.", "loop_edge.")}
    changed = tuple(beginning for starts in axes.values() for beginning in starts)
    state = {k: v for k, v in given.items() if not k.startswith(changed)}
    problems = list_mismatches(state, {k: v for k, v in start.items() if not k.startswith(changed)})
    if problems:
        raise ConfigError(f"model.weights={file} does not fit the model:\n  {problems}")
    model.load_state_dict(state, strict=False)
    anew = [axis for axis, starts in axes.items() if any(name.startswith(starts) for name in start)]
    gone = [axis for axis, starts in axes.items() if axis not in anew and any(n.startswith(starts) for n in given)]
    said = f"started from {file} (K = {old.model.rounds}, N' = {old.model.frames})"
    for words, which in (("anew", anew), ("left out", gone)):
        said += f"; {words}: {', '.join(which)}" if which else ""
    if cfg.backbone.weights is not None:
        said += f"; backbone.weights={cfg.backbone.weights} is not needed"
    return said
