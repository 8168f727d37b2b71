"""Partial loading: start training from the weights of another run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agnn_lit import pretrained
from agnn_lit.config import ConfigError, TrainConfig, entries, option, plain
from agnn_lit.inference.load import load_checkpoint

if TYPE_CHECKING:  # keeps torch out of this import
    from agnn_lit.model.agnn import AGNN


def start_from(model: AGNN, cfg: TrainConfig, file: Path) -> str:
    """Load the weights of a checkpoint into a new model.

    Parts whose axis differs (gate, aggregation, …) keep their random initialisation, and so does the graph if the
    checkpoint has K = 0. All other tensors must match.

    Args:
        model: randomly initialised; changed in place.
        cfg: configuration of the model.
        file: checkpoint of agnn-train, a file of agnn-convert, or the name of weights of the package.

    Returns:
        A sentence on what was loaded, what is newly initialised and what was not used.

    Raises:
        ConfigError: see :func:`load_checkpoint`; another backbone or preprocessing, another N' with concat, or tensors
            of other shapes.
    """
    from agnn_lit.model.weights import list_mismatches

    file = pretrained.locate("model.weights", str(file))
    try:
        old, trained = load_checkpoint(file)
    except ConfigError as error:
        raise ConfigError(f"model.weights={error}") from error
    named = f"model.weights={pretrained.title(file)}"
    found, asked = plain(old.backbone), plain(cfg.backbone)
    others = [key for key in ("name", "model", "preprocessing", "stride") if found[key] != asked[key]]
    if others:
        differ = "; ".join(f"backbone.{key}={found[key]}, not {asked[key]}" for key in others)
        raise ConfigError(f"{named} was trained with {differ}")
    kind = cfg.model.aggregation
    fixed = old.model.aggregation == kind and option("model.aggregation", kind).facts.get("fixed_frames", False)
    if fixed and cfg.model.frames != old.model.frames and cfg.model.rounds and old.model.rounds:
        raise ConfigError(
            f"model.frames={cfg.model.frames}: {named} was trained for N' = {old.model.frames}, and its "
            f"{kind} aggregation has weights for each neighbour; keep N', or use model.aggregation=sum or mean"
        )
    given, start = trained.state_dict(), model.state_dict()
    freed = old.model.line_edge == "symmetric" and cfg.model.line_edge == "directed"
    if freed and old.model.rounds:
        given["line_edge.weight"] = trained.line_edge.w_c  # only the symmetric part was trained
    axes = {
        e.key: e.about.tensors for e in entries(cfg.model) if e.about.tensors and getattr(old.model, e.key) != e.value
    }
    if bool(old.model.rounds) is not bool(cfg.model.rounds):
        axes = {**axes, "graph": ("line_edge.", "gate.", "aggregate.", "update.", "loop_edge.")}
    changed = tuple(prefix for prefixes in axes.values() for prefix in prefixes)
    state = {k: v for k, v in given.items() if not k.startswith(changed)}
    problems = list_mismatches(state, {k: v for k, v in start.items() if not k.startswith(changed)})
    if problems:
        raise ConfigError(f"{named} does not fit the model:\n  {problems}")
    model.load_state_dict(state, strict=False)
    new = [axis for axis, prefixes in axes.items() if any(name.startswith(prefixes) for name in start)]
    unused = [axis for axis, prefixes in axes.items() if axis not in new and any(n.startswith(prefixes) for n in given)]
    said = f"started from {pretrained.title(file)} (K = {old.model.rounds}, N' = {old.model.frames})"
    for words, parts in (("newly initialised", new), ("not used", unused)):
        said += f"; {words}: {', '.join(parts)}" if parts else ""
    if cfg.backbone.weights is not None:
        said += f"; backbone.weights={cfg.backbone.weights} is not needed"
    return said
