"""AGNN from Python: load a model, segment footage, score masks.

>>> import agnn_lit
>>> model = agnn_lit.load()
>>> for frame in model.segment("holiday.mp4"):
...     print(frame.name, frame.time, frame.mask.shape, frame.probability.shape)
00000 0.0 (48, 64) (48, 64)
00001 0.25 (48, 64) (48, 64)
00002 0.5 (48, 64) (48, 64)
>>> out = model.segment("holiday.mp4", crf="fast").save("out")
>>> sorted(path.name for path in out.iterdir())
['masks', 'overlay.mp4', 'predict.json']
>>> scores = agnn_lit.score("predictions", "annotations", protocol="simple")
>>> scores.summary["J_mean"], scores.summary["sequences"]
(0.5, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from agnn_lit import pretrained
from agnn_lit.config import (
    ConfigError,
    CrfConfig,
    InferenceConfig,
    InstancesConfig,
    PredictConfig,
    ScoreConfig,
    TrainConfig,
    check_inference,
    typed,
)
from agnn_lit.data.footage import open_footage
from agnn_lit.data.video import DataError
from agnn_lit.inference.crf import check_backend
from agnn_lit.inference.load import Trained, find_checkpoint, open_trained, prediction_settings
from agnn_lit.inference.prediction import refuse_faults
from agnn_lit.inference.segmentation import Segmentation, SegmentedFrame, named
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.metrics.score_folders import Scores, score_folder
from agnn_lit.shared.terminal import open_console

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = [
    "ConfigError",
    "CrfConfig",
    "DataError",
    "InstancesConfig",
    "Model",
    "ScoreError",
    "Scores",
    "Segmentation",
    "SegmentedFrame",
    "load",
    "score",
]  # fmt: skip

#: Values of ``device``, and what the setting ``accelerator`` calls them.
_DEVICES = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}


class Model:
    """A trained model, ready to segment footage; made by :func:`load`."""

    def __init__(self, trained: Trained, cfg: InferenceConfig) -> None:
        self._trained, self._cfg = trained, cfg

    def __repr__(self) -> str:
        return f"<Model {self.name} on {self.device} in {self.dtype}>"

    @property
    def name(self) -> str:
        """``pretrained/NAME``, or the file of the checkpoint."""
        return pretrained.title(self._trained.checkpoint)

    @property
    def network(self) -> Module:
        """The network in evaluation mode: (B, N', 3, H, W) images to (B, N', H, W) logits."""
        return cast("Module", self._trained.model)

    @property
    def config(self) -> TrainConfig:
        """Settings that it was trained with."""
        return self._trained.cfg

    @property
    def device(self) -> str:
        """Type of its device, such as cuda."""
        return self._trained.device

    @property
    def dtype(self) -> str:
        """Precision of the network: fp32, bf16 or fp16."""
        return self._trained.dtype

    def segment(
        self,
        source: Any,
        *,
        threshold: float = 0.5,
        crf: str | CrfConfig = "none",
        instances: str | InstancesConfig = "none",
        size: tuple[int, int] | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        frames: int | None = None,
        references: str = "partition",
        seed: int = 0,
        align_corners: bool = False,
        batch_size: int = 1,
        workers: int | None = None,
        fps: float = 24.0,
        on_error: str = "stop",
        progress: bool = False,
    ) -> Segmentation:
        """Segment footage: an iterable of its frames with their masks, which is computed as it is read.

        Args:
            source: a video file, a folder of images or an image; or frames in memory: an array or tensor (N, H, W, 3)
                or (N, 3, H, W), or a list of (H, W, 3), 8-bit RGB or floats from 0 to 1.
            threshold: a pixel is foreground above this probability.
            crf: dense CRF: none, band (only where the label is in doubt), fast or pydensecrf, or its parameters.
            instances: objects with identities instead of one foreground: none or parts, or
                :class:`InstancesConfig` for other proposals.
            size: height and width of the network's input; None: as in training.
            scales: input scales whose probabilities are averaged.
            flip: also average over mirrored frames.
            frames: N', frames per graph; None: as in training.
            references: partition, or random references as in the released code, drawn with ``seed``.
            seed: seed of random references.
            align_corners: resize probabilities as the released code does.
            batch_size: graphs per batch.
            workers: CRF processes of :meth:`~agnn_lit.inference.segmentation.Segmentation.save`.
            fps: frames per second of footage without a timing of its own.
            on_error: stop, or skip frames that cannot be decoded.
            progress: show progress while objects are found in the whole video, before the first frame is there.

        Raises:
            ConfigError: a value that is out of range, or does not fit the model.
            DataError: footage that cannot be read.
        """
        given = {
            "threshold": threshold,
            "crf": named(CrfConfig, crf),
            "instances": named(InstancesConfig, instances),
            "size": size,
            "scales": scales if isinstance(scales, (int, float)) else list(scales),
            "flip": flip,
            "frames": frames,
            "references": references,
            "seed": seed,
            "align_corners": align_corners,
            "batch_size": batch_size,
            "workers": workers,
            "fps": fps,
            "on_error": on_error,
            "progress": progress,
            "out": ".",  # is given when masks are saved
            "input": str(source) if isinstance(source, (str, Path)) else "frames",
        }
        cfg: PredictConfig = _settings(given, PredictConfig)
        check_inference(cfg)
        check_backend(cfg.crf)
        loaded = self._cfg
        cfg = replace(
            cfg, run=loaded.run, ckpt=loaded.ckpt, accelerator=loaded.accelerator, dtype=loaded.dtype,
            threads=loaded.threads, pool=loaded.pool, channels_last=loaded.channels_last, compile=loaded.compile,
        )  # fmt: skip
        trained = replace(self._trained, settings=prediction_settings(self._trained.cfg, cfg))
        footage = open_footage(source, cfg.fps)
        refuse_faults(footage, cfg)
        return Segmentation(trained, footage, cfg)


def _settings(given: dict[str, Any], schema: type[Any]) -> Any:
    try:
        return typed(given, schema)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def load(
    source: str | Path = "pretrained",
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    pool: int | None = None,
    channels_last: bool = True,
    compile: bool = False,
) -> Model:
    """Load a trained model.

    Args:
        source: ``pretrained`` or ``pretrained/NAME`` (weights in the package), a run folder of agnn-train, or a
            checkpoint or weights file.
        device: auto (a CUDA device if there is one), cpu, cuda or mps.
        dtype: precision of the network, fp32, bf16 or fp16; auto: bf16 if the device supports it natively.
        threads: CPU threads of the network; None: torch's default.
        pool: the edges of the graph attend to pool × pool positions averaged, which saves time; None: as in training.
        channels_last: use the channels-last memory layout.
        compile: use torch.compile, which takes a minute: for long videos.

    Raises:
        ConfigError: there is no such model, or it cannot run there.
    """
    if device not in _DEVICES:
        raise ConfigError(f"device={device}: must be one of {', '.join(_DEVICES)}")
    given = {
        "run" if Path(source).is_dir() else "ckpt": str(source),
        "accelerator": _DEVICES[device],
        "dtype": dtype,
        "threads": threads,
        "pool": pool,
        "channels_last": channels_last,
        "compile": compile,
    }
    cfg: InferenceConfig = _settings(given, InferenceConfig)
    check_inference(cfg)
    return Model(open_trained(find_checkpoint(cfg), cfg), cfg)


def score(
    masks: str | Path,
    annotations: str | Path,
    *,
    protocol: str,
    sequences: Sequence[str] | str | Path | None = None,
    threshold: float | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Scores:
    """Score a folder of masks against annotations.

    Args:
        masks: ``<sequence>/<frame>.png``, or, where the annotations are so, too, one sequence's ``<frame>.png``.
        annotations: the same for the annotations.
        protocol: davis2016, davis2017_unsupervised, davis2017_semisupervised, youtube_objects or simple.
        sequences: names, or a text file with one per line; None: all with masks and annotations.
        threshold: grey value of soft maps above which a pixel is foreground, or below 1 a share of white; None: masks.
        workers: worker processes; None: one per available CPU.
        progress: show progress.

    Returns:
        ``sequences`` and ``frames`` (pandas DataFrames if pandas is installed, else lists of dictionaries), ``summary``
        and ``notes``; ``save(folder)`` writes them as agnn-score does.

    Raises:
        ConfigError: wrong settings. ScoreError: files that cannot be scored.
    """
    given = {
        "masks": str(masks),
        "annotations": str(annotations),
        "protocol": protocol,
        "out": ".",  # nothing is written
        "sequences": str(sequences) if isinstance(sequences, (str, Path)) else sequences and list(sequences),
        "threshold": threshold,
        "workers": workers,
        "progress": progress,
    }
    return score_folder(_settings(given, ScoreConfig), open_console() if progress else Console(quiet=True))
