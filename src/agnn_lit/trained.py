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
    OnError,
    PredictConfig,
    References,
    TrainConfig,
    typed,
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
    import torch

    if not file.is_file():
        raise ConfigError(f"{file}: no such checkpoint; agnn-train writes checkpoints/best.ckpt into its run folder")
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a torn file leads its unpickler into
        raise ConfigError(f"{file}: cannot be read as a checkpoint ({error})") from error
    try:
        config, state = content["hyper_parameters"]["config"], content["state_dict"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not a checkpoint of agnn-train (no {error})") from error
    cfg: TrainConfig = typed(config, TrainConfig)
    model = build_model(cfg, pretrained=False)
    model.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    return cfg, model.eval()


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
        cfg.batch_size,
        cfg.scales,
        cfg.flip,
        cfg.references is References.random,
        cfg.seed,
        isinstance(cfg, PredictConfig) and cfg.on_error is OnError.skip,
        trained.backbone.preprocessing,
        cfg.align_corners,
    )
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return Trained(checkpoint, trained, ready, how, names[dtype])
