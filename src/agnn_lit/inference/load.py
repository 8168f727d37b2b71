"""Load a trained model and prepare it for inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agnn_lit import pretrained
from agnn_lit.config import (
    ConfigError,
    ConvertConfig,
    ExportConfig,
    InferenceConfig,
    PredictConfig,
    TrainConfig,
    option,
    stored,
)
from agnn_lit.shared.files import sha256
from agnn_lit.shared.processes import usable_processors
from agnn_lit.shared.runs import Run

if TYPE_CHECKING:  # torch is imported late, so that wrong settings are refused quickly
    import torch

    from agnn_lit.inference.video import Network, PredictionSettings
    from agnn_lit.model.agnn import AGNN


@dataclass(frozen=True)
class Trained:
    """A model that is ready for inference.

    Attributes:
        checkpoint: its file.
        cfg: configuration of its training.
        model: the network, prepared by :func:`agnn_lit.inference.prepare.prepare`.
        settings: graphs, views and batches.
        dtype: precision of the network, fp32, bf16 or fp16.
    """

    checkpoint: Path
    cfg: TrainConfig
    model: Network
    settings: PredictionSettings
    dtype: str

    @property
    def device(self) -> str:
        """Type of the network's device, such as cuda."""
        return next(self.model.parameters()).device.type

    @property
    def digest(self) -> str:
        """SHA-256 of the checkpoint."""
        return sha256(self.checkpoint)


def find_checkpoint(cfg: InferenceConfig | ConvertConfig | ExportConfig) -> Path:
    """Return the checkpoint that ``run`` or ``ckpt`` names; with neither, the package's weights.

    Raises:
        ConfigError: the folder does not exist or is not a run; the package has no such weights.
    """
    if cfg.run is None and cfg.ckpt is None:
        try:
            return pretrained.locate("ckpt", "pretrained")
        except ConfigError as error:
            raise ConfigError(f"no model given (run=DIR of agnn-train or ckpt=FILE), and {error}") from error
    if cfg.run is None:
        return pretrained.locate("ckpt", str(cfg.ckpt))
    run = Run(Path(cfg.run))
    run.load_config()
    return run.best


def import_plugins_of_run(cfg: InferenceConfig) -> None:
    """Import the plugins of a run before settings that may need them are checked.

    Raises:
        ConfigError: a plugin cannot be imported.
    """
    if cfg.run is not None and (Path(cfg.run) / "config.yaml").is_file():
        Run(Path(cfg.run)).load_config()


def count_workers(cfg: InferenceConfig) -> int:
    """Return the number of CRF processes: one per remaining CPU, at most 8 to limit memory."""
    return max(1, min(8, usable_processors() - 1)) if cfg.workers is None else cfg.workers


def load_checkpoint(file: Path) -> tuple[TrainConfig, AGNN]:
    """Read a checkpoint or a weights file: its configuration, and the model in evaluation mode on the CPU.

    The configuration of a weights file is the default where it does not concern the model and its input.

    Raises:
        ConfigError: the file does not exist, or is not one of agnn-train or agnn-convert.
    """
    from agnn_lit.model.build import build_model
    from agnn_lit.model.weights import list_mismatches
    from agnn_lit.model.weights_file import read_checkpoint

    if not file.is_file():
        raise ConfigError(f"{file}: no such checkpoint; agnn-train writes checkpoints/best.ckpt into its run folder")
    content = read_checkpoint(file)
    try:
        config, state = content["hyper_parameters"]["config"], content["state_dict"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not a checkpoint of agnn-train (no {error}){_meant(content, file)}") from error
    try:
        cfg = stored(config)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    model = build_model(cfg, pretrained=False)
    named = {key.removeprefix("model."): value for key, value in state.items()}
    problems = list_mismatches(named, model.state_dict())
    if problems:
        raise ConfigError(f"{file}: its tensors do not fit its configuration:\n  {problems}")
    model.load_state_dict(named, strict=False)  # num_batches_tracked may be missing
    return cfg, model.eval()


def _meant(content: Any, file: Path) -> str:
    """Explain what another kind of file is for."""
    if isinstance(content, dict) and content.get("agnn_lit") == "encoder":
        return f"; it holds initial weights of an encoder: train from them with backbone.weights={file}"
    if isinstance(content, dict) and "model" in content:
        return f"; if the released code wrote it, convert it with agnn-convert official={file} out=FILE"
    return ""


def choose_device(accelerator: str) -> torch.device:
    """Return a device by name; ``auto`` prefers a GPU.

    Raises:
        ConfigError: the device is not available.
    """
    import torch

    if accelerator == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is available here: choose cpu, or auto, which uses one where there is one")
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no Apple GPU (mps) is available here: choose cpu or auto")
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))


def open_trained(checkpoint: Path, cfg: InferenceConfig) -> Trained:
    """Load a checkpoint and prepare its model as configured.

    Raises:
        ConfigError: see :func:`load_checkpoint`; settings that do not fit the model or the machine.
    """
    import torch

    from agnn_lit.inference.exported import is_exported
    from agnn_lit.inference.prepare import DTYPES, choose_dtype, prepare

    backend = cfg.backend if isinstance(cfg, PredictConfig) else "auto"
    if is_exported(checkpoint):
        return _open_exported(checkpoint, cfg, backend)
    if backend not in ("auto", "torch"):
        raise ConfigError(f"backend={backend}: needs ckpt=FILE.onnx, which agnn-export writes")
    trained, model = load_checkpoint(checkpoint)
    settings = prediction_settings(trained, cfg)
    if cfg.pool is not None:
        model.set_pool(cfg.pool)
    device = choose_device(cfg.accelerator)
    dtype = choose_dtype(cfg.dtype, device)
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    ready = prepare(model, device, dtype, channels_last=cfg.channels_last, compiled=cfg.compile)
    return Trained(checkpoint, trained, ready, settings, next(name for name, d in DTYPES.items() if d is dtype))


def _open_exported(file: Path, cfg: InferenceConfig, backend: str) -> Trained:
    from agnn_lit.inference.exported import ExportedNetwork, read_config

    if backend == "torch":
        raise ConfigError(f"backend=torch: {file} is an exported network; use backend=onnxruntime or openvino")
    if cfg.instances.proposals == "parts":
        raise ConfigError(f"instances=parts needs node features, which {file} does not give; use a checkpoint")
    trained, frames = read_config(file)
    if cfg.frames not in (None, frames):
        raise ConfigError(f"frames={cfg.frames}: {file} was exported for {frames}")
    if cfg.pool not in (None, trained.model.pool):
        raise ConfigError(f"pool={cfg.pool}: {file} was exported with {trained.model.pool}")
    settings = replace(prediction_settings(trained, cfg), frames=frames, features=False)
    network = ExportedNetwork(file, "onnxruntime" if backend == "auto" else backend, cfg.threads)
    return Trained(file, trained, network, settings, "fp32")


def prediction_settings(trained: TrainConfig, cfg: InferenceConfig) -> PredictionSettings:
    """Return the graphs, views and batches of a prediction; what ``cfg`` leaves open is as in training.

    Raises:
        ConfigError: settings that do not fit the model.
    """
    from agnn_lit.inference.video import PredictionSettings

    frames = cfg.frames or trained.model.frames
    joins = option("model.aggregation", trained.model.aggregation).facts
    if joins.get("fixed_frames", False) and frames != trained.model.frames:
        raise ConfigError(
            f"frames={frames}: model.aggregation={trained.model.aggregation} was trained for {trained.model.frames}"
        )
    size = (cfg.size[0], cfg.size[1]) if cfg.size else trained.clips.size
    if min(cfg.scales) * min(size) < trained.backbone.stride:
        named = f"{'size' if cfg.size else 'clips.size'}={list(size)}"
        raise ConfigError(
            f"scales={list(cfg.scales)}: {min(cfg.scales)} x {named} leaves no pixels "
            f"for a feature stride of {trained.backbone.stride}"
        )
    return PredictionSettings(
        frames,
        size,
        batch_size=cfg.batch_size,
        scales=cfg.scales,
        flip=cfg.flip,
        random=cfg.references == "random",
        seed=cfg.seed,
        skip_unreadable=isinstance(cfg, PredictConfig) and cfg.on_error == "skip",
        preprocessing=trained.backbone.preprocessing,
        align_corners=cfg.align_corners,
        features=cfg.instances.proposals != "none",
    )
