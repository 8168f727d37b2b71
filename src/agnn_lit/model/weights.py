"""Start values of a backbone: by torchvision's name for them, or from a local file; tensors compared by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_weight

from agnn_lit.config import ConfigError

#: Tensors of the published files that have no place here: classifiers of the original tasks.
_DROPPED = ("fc.", "classifier.4.", "aux_classifier.")


class WeightsError(ConfigError):
    """Start values that cannot be had, or do not fit the network."""


def list_mismatches(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Say which tensors are missing, unexpected, or of another shape or type; empty when all fit.

    Counters of batches may be missing: they came with PyTorch 0.4.1 and change no result.

    Args:
        given: names to tensors.
        expected: likewise, for their names, shapes and types.
    """
    problems = [f"missing: {k}" for k in sorted(expected.keys() - given.keys()) if "num_batches" not in k]
    problems += [f"unexpected: {k}" for k in sorted(given.keys() - expected.keys())]
    for name in sorted(given.keys() & expected.keys()):
        found, wanted = given[name], expected[name]
        if found.shape != wanted.shape:
            problems.append(f"{name}: shape {tuple(found.shape)}, expected {tuple(wanted.shape)}")
        elif found.dtype != wanted.dtype:
            problems.append(f"{name}: type {found.dtype}, expected {wanted.dtype}")
    return "\n  ".join(problems)


def load_backbone_weights(
    encoder: nn.Module,
    weights: str,
    auxiliary: nn.Module | None = None,
    preprocessing: str = "imagenet",
) -> None:
    """Load start values into an encoder, from a segmentation or a classification network, or from agnn-convert.

    A classification network fills the body and leaves ASPP and head at their random start; a loop edge in the
    encoder, which torchvision's networks do not have, stays at its start as well.

    Args:
        encoder: to load into.
        weights: a torchvision name, for example ``DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1`` or
            ``ResNet50_Weights.IMAGENET1K_V2``, the path of a file with such a state dict, or an encoder file of
            agnn-convert.
        auxiliary: the auxiliary mask's classifier, which an encoder file holds, too.
        preprocessing: of the run; the file must have been trained with the same, torchvision's with imagenet.

    Raises:
        WeightsError: unknown name, no network, unreadable file, another preprocessing, or tensors that are missing,
            unexpected, or of another shape or type, all of them listed.
    """
    file = Path(weights).expanduser()
    content = _read(file) if file.suffix in (".pth", ".pt", ".ckpt") or file.exists() else download(weights)
    converted = content.get("agnn_lit") == "encoder"
    trained = content["preprocessing"] if converted else "imagenet"
    if trained != preprocessing:
        raise WeightsError(
            f"backbone.weights={weights} was trained with backbone.preprocessing={trained}, not {preprocessing}"
        )
    expected = encoder.state_dict()
    straight: dict[str, Tensor] = {}
    if converted:
        ours, straight = _split(content["state_dict"], with_loop_edge="loop_edge.alpha" in expected)
        needed = expected
    else:
        ours, whole = _translate(content)
        kept = {k: v for k, v in expected.items() if not k.startswith("loop_edge.")}
        needed = kept if whole else {k: v for k, v in kept.items() if k.startswith("body.")}
    problems = list_mismatches(ours, needed)
    if converted and auxiliary is not None and not problems:
        problems = list_mismatches(straight, auxiliary.state_dict())
    if problems:
        raise WeightsError(f"backbone.weights={weights} does not fit the backbone:\n  {problems}")
    encoder.load_state_dict(ours, strict=False)
    if converted and auxiliary is not None:
        auxiliary.load_state_dict(straight)


def _split(state: dict[str, Tensor], *, with_loop_edge: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors of an encoder file by their names in the encoder, and those of the auxiliary mask's classifier."""
    encoder = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    if not with_loop_edge:
        encoder = {k: v for k, v in encoder.items() if not k.startswith("loop_edge.")}
    return encoder, {k.removeprefix("auxiliary."): v for k, v in state.items() if k.startswith("auxiliary.")}


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


def read_tensors(file: Path) -> Any:
    """Read what torch has saved, as weights only: nothing in the file is run.

    Raises:
        WeightsError: no such file, or one that cannot be loaded so, with the reason.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: no such file")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a broken file leads its unpickler into
        held = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        reason = f"it holds {held[1]}, which is no tensor and could run code" if held else str(error).split("\n")[0]
        raise WeightsError(f"{file}: cannot be loaded as weights only ({reason})") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        state = read_tensors(file)
    except WeightsError as error:
        raise WeightsError(f"backbone.weights={error}") from error
    if isinstance(state, dict) and (state.get("agnn_lit") or all(isinstance(v, Tensor) for v in state.values())):
        return state
    if isinstance(state, dict) and "hyper_parameters" in state:
        raise WeightsError(f"backbone.weights={file}: holds a whole model; model.weights={file} trains on from it")
    if isinstance(state, dict) and "model" in state:
        raise WeightsError(
            f"backbone.weights={file}: looks like a file of the released code; convert it with "
            f"agnn-convert official={file} out=FILE and take that"
        )
    raise WeightsError(f"backbone.weights={file}: holds no state dict (names to tensors)")


def download(name: str, key: str = "backbone.weights") -> dict[str, Any]:
    """Return torchvision's tensors of a name, from its cache or the network.

    Args:
        name: such as ``ResNet50_Weights.IMAGENET1K_V2``.
        key: setting that named them, for messages.

    Raises:
        WeightsError: unknown name, or they cannot be had; says which file to put where.
    """
    try:
        weights = get_weight(name)
    except (ValueError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"{key}={name}: neither a file nor a name that torchvision knows, such as "
            "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"
        ) from error
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        state: dict[str, Any] = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{key}={name}: could not be downloaded ({error}).\n"
            f"  Put the file {Path(weights.url).name} (from {weights.url}) into {folder},\n"
            f"  or give its path: {key}=/path/to/{Path(weights.url).name}"
            + (",\n  or train from a random start: backbone.weights=null" if key == "backbone.weights" else "")
        ) from error
    return state
