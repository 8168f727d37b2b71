"""Start values of a backbone: by torchvision's name for them, or from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import agnn_lit.torchvision_ops  # noqa: F401 - before torchvision

import torch
from torch import Tensor, nn
from torchvision.models import get_weight

from agnn_lit.config import ConfigError

#: Tensors of the published files that have no place here: classifiers of the original tasks.
_DROPPED = ("fc.", "classifier.4.", "aux_classifier.")


class WeightsError(ConfigError):
    """Start values that cannot be had, or do not fit the network."""


def load_backbone_weights(encoder: nn.Module, weights: str) -> None:
    """Load start values into a DeepLabV3 encoder, from a segmentation or a classification network.

    A classification network fills the body and leaves ASPP and head at their random start.

    Args:
        encoder: to load into.
        weights: a torchvision name, for example ``DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1`` or
            ``ResNet50_Weights.IMAGENET1K_V2``, or the path of a file with such a state dict.

    Raises:
        WeightsError: unknown name, no network, unreadable file, or tensors that are missing, unexpected or
            of another shape, all of them listed.
    """
    file = Path(weights).expanduser()
    state = _read(file) if file.suffix in (".pth", ".pt") or file.exists() else _download(weights)
    ours, whole = _translate(state)
    expected = encoder.state_dict()
    needed = expected if whole else {k: v for k, v in expected.items() if k.startswith("body.")}
    problems = [f"missing: {k}" for k in sorted(needed.keys() - ours.keys()) if "num_batches" not in k]
    problems += [f"unexpected: {k}" for k in sorted(ours.keys() - needed.keys())]
    problems += [
        f"{k}: shape {tuple(ours[k].shape)}, expected {tuple(needed[k].shape)}"
        for k in sorted(ours.keys() & needed.keys())
        if ours[k].shape != needed[k].shape
    ]
    if problems:
        shown = "\n  ".join(problems[:20] + ([f"… and {len(problems) - 20} more"] if len(problems) > 20 else []))
        raise WeightsError(f"backbone.weights={weights} does not fit the backbone:\n  {shown}")
    encoder.load_state_dict(ours, strict=False)


def _translate(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Rename torchvision's tensors to ours; true when ASPP and head are among them."""
    whole = any(key.startswith("classifier.0.convs.") for key in state)
    renamed = {}
    for key, value in state.items():
        if whole and key.startswith(_DROPPED):
            continue
        if whole:
            for old, new in (
                ("backbone.", "body."),
                ("classifier.0.", "aspp."),
                ("classifier.1.", "head.0."),
            ):
                key = new + key[len(old) :] if key.startswith(old) else key
            key = "head.1." + key[len("classifier.2.") :] if key.startswith("classifier.2.") else key
        elif key.startswith(("fc.", "classifier.")):
            continue
        else:
            key = "body." + key.removeprefix("features.")
        renamed[key] = value
    return renamed, whole


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"backbone.weights={file}: no such file")
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a broken file leads its unpickler into
        raise WeightsError(f"backbone.weights={file}: cannot be loaded as weights only ({error})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"backbone.weights={file}: holds no state dict (names to tensors)")
    return state


def _download(name: str) -> dict[str, Tensor]:
    try:
        weights = get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"backbone.weights={name}: neither a file nor a name that torchvision knows, such as "
            "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"
        ) from error
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"backbone.weights={name}: could not be downloaded ({error}).\n"
            f"  Put the file {Path(weights.url).name} (from {weights.url}) into {folder},\n"
            f"  or give its path: backbone.weights=/path/to/{Path(weights.url).name},\n"
            "  or train from a random start: backbone.weights=null"
        ) from error
    return state
