"""A trained model taken off disk, and made ready to predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnn_lit.build import build_model
from agnn_lit.config import (
    Aggregation,
    ConfigError,
    InferenceConfig,
    LineEdge,
    OnError,
    PredictConfig,
    ProposalSource,
    References,
    TrainConfig,
    plain,
    stored,
)
from agnn_lit.metrics.parallel import usable_processors
from agnn_lit.runs import Run

if TYPE_CHECKING:  # torch is imported where it is used: a wrong setting is refused before
    import torch

    from agnn_lit.inference import Inference
    from agnn_lit.model import AGNN


@dataclass(frozen=True)
class Trained:
    """A model ready to predict.

    Attributes:
        checkpoint: the file that it was read from.
        cfg: configuration of its training.
        model: on its device, in its precision and layout.
        how: graphs, views and batches.
        dtype: precision of the network, fp32, bf16 or fp16.
    """

    checkpoint: Path
    cfg: TrainConfig
    model: AGNN
    how: Inference
    dtype: str


def find_checkpoint(cfg: InferenceConfig) -> Path:
    """Return the checkpoint that ``run`` or ``ckpt`` names.

    Raises:
        ConfigError: no such folder, or a folder that is no run.
    """
    if cfg.run is None:
        return Path(cfg.ckpt or "")
    run = Run(Path(cfg.run))
    run.load_config()
    return run.best


def count_workers(cfg: InferenceConfig) -> int:
    """Processes beside the network's: as many as there are processors left, eight at most for their memory."""
    return max(1, min(8, usable_processors() - 1)) if cfg.workers is None else cfg.workers


def load_checkpoint(file: Path) -> tuple[TrainConfig, AGNN]:
    """Read a checkpoint of ``agnn-train``: its configuration, and the model in evaluation mode on the CPU.

    Raises:
        ConfigError: no such file, or not a checkpoint of ours.
    """
    from agnn_lit.model.weights import describe, read_tensors

    if not file.is_file():
        raise ConfigError(f"{file}: no such checkpoint; agnn-train writes checkpoints/best.ckpt into its run folder")
    content = read_tensors(file)
    try:
        config, state = content["hyper_parameters"]["config"], content["state_dict"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not a checkpoint of agnn-train (no {error}){_meant(content, file)}") from error
    cfg = stored(config)
    model = build_model(cfg, pretrained=False)
    named = {key.removeprefix("model."): value for key, value in state.items()}
    problems = describe(named, model.state_dict())
    if problems:
        raise ConfigError(f"{file}: its tensors are not those of its configuration:\n  {problems}")
    model.load_state_dict(named, strict=False)  # counters of batches may be missing
    return cfg, model.eval()


def _meant(content: Any, file: Path) -> str:
    """Say what a file is that is no checkpoint, where it shows, and what takes it."""
    if isinstance(content, dict) and content.get("agnn_lit") == "encoder":
        return f"; it holds an encoder's start values: backbone.weights={file} trains from them"
    if isinstance(content, dict) and "model" in content:
        return f"; if the released code wrote it, agnn-convert official={file} out=FILE makes a checkpoint of it"
    return ""


#: What a change of each setting of the model leaves no use for, by the beginnings of its tensors' names. The
#: weights of a line edge serve either form; K and N' have none (but for concat, which is refused).
_AXES = {
    "gate": ("gate.",),
    "aggregation": ("aggregate.",),
    "update": ("update.",),
    "readout": ("readout.",),
    "auxiliary": ("auxiliary.",),
    "loop_edge": ("loop_edge.", "encoder.loop_edge."),
    "loop_reduction": ("loop_edge.", "encoder.loop_edge."),
}


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
    from agnn_lit.model.weights import describe

    try:
        old, trained = load_checkpoint(file)
    except ConfigError as error:
        raise ConfigError(f"model.weights={error}") from error
    for key in ("name", "preprocessing", "stride"):
        found, asked = plain(old.backbone)[key], plain(cfg.backbone)[key]
        if found != asked:
            raise ConfigError(f"model.weights={file} was trained with backbone.{key}={found}, not {asked}")
    joined = old.model.aggregation is Aggregation.concat and cfg.model.aggregation is Aggregation.concat
    if joined and cfg.model.frames != old.model.frames and cfg.model.rounds and old.model.rounds:
        raise ConfigError(
            f"model.frames={cfg.model.frames}: model.weights={file} joins messages by concat, whose convolution has a "
            f"block of weights for each neighbour and was trained for N' = {old.model.frames}; keep that, or take "
            "model.aggregation=sum or mean, which have no weights"
        )
    given, start = trained.state_dict(), model.state_dict()
    freed = old.model.line_edge is LineEdge.symmetric and cfg.model.line_edge is LineEdge.directed
    if freed and old.model.rounds:
        given["line_edge.weight"] = trained.line_edge.w_c  # the weight's symmetric part is what was trained
    axes = {axis: starts for axis, starts in _AXES.items() if getattr(old.model, axis) != getattr(cfg.model, axis)}
    if bool(old.model.rounds) is not bool(cfg.model.rounds):
        axes = {**axes, "graph": ("line_edge.", "gate.", "aggregate.", "update.", "loop_edge.")}
    changed = tuple(beginning for starts in axes.values() for beginning in starts)
    state = {k: v for k, v in given.items() if not k.startswith(changed)}
    problems = describe(state, {k: v for k, v in start.items() if not k.startswith(changed)})
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


def choose_device(accelerator: str) -> torch.device:
    """Return the device of a name; ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: gpu without one.
    """
    import torch

    if accelerator == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator=gpu: there is no CUDA device here; use accelerator=cpu or auto")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("accelerator=mps: there is no Apple GPU here; use accelerator=cpu or auto")
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))


def open_trained(checkpoint: Path, cfg: InferenceConfig) -> Trained:
    """Read a checkpoint and make its model ready as configured.

    Raises:
        ConfigError: see :func:`load_checkpoint`; settings that this model or this machine cannot follow.
    """
    import torch

    from agnn_lit.fast import choose_dtype, prepare
    from agnn_lit.inference import Inference

    trained, model = load_checkpoint(checkpoint)
    frames = cfg.frames or trained.model.frames
    if trained.model.aggregation is Aggregation.concat and frames != trained.model.frames:
        raise ConfigError(f"frames={frames}: model.aggregation=concat was trained for {trained.model.frames}")
    smallest = min(cfg.scales) * min(trained.clips.size)
    if smallest < trained.backbone.stride:
        raise ConfigError(
            f"scales={list(cfg.scales)}: {min(cfg.scales)} x clips.size={list(trained.clips.size)} leaves no pixels "
            f"for a feature stride of {trained.backbone.stride}"
        )
    device = choose_device(cfg.accelerator)
    dtype = choose_dtype(cfg.dtype, device)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    ready = prepare(model, device, dtype, channels_last=cfg.channels_last, compiled=cfg.compile)
    how = Inference(
        frames,
        trained.clips.size,
        batch_size=cfg.batch_size,
        scales=cfg.scales,
        flip=cfg.flip,
        random=cfg.references is References.random,
        seed=cfg.seed,
        skip_unreadable=isinstance(cfg, PredictConfig) and cfg.on_error is OnError.skip,
        preprocessing=trained.backbone.preprocessing,
        align_corners=cfg.align_corners,
        features=cfg.instances.proposals is not ProposalSource.none,
    )
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return Trained(checkpoint, trained, ready, how, names[dtype])
