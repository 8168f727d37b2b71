"""Initial weights of a backbone, by torchvision name or from a file; comparison of tensors by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_weight

from agnn_lit.config import ConfigError

#: Prefixes in torchvision's segmentation networks, and ours.
_SEGMENTATION = (
    ("backbone", "body"),
    ("classifier.0", "aspp"),
    ("classifier.1", "head.0"),
    ("classifier.2", "head.1"),
)


class WeightsError(ConfigError):
    """Weights that cannot be loaded or do not fit the network."""


def list_mismatches(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """List the tensors of ``given`` that are missing, unexpected, or of another shape or type; empty if all fit.

    ``num_batches_tracked`` may be missing: PyTorch 0.4.1 introduced it, and it changes no result.
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
    """Load the weights of a segmentation or classification network, or a file of agnn-convert, into an encoder.

    A classification network only fills the body. ASPP, head and a loop edge, if the weights lack them, stay random.

    Args:
        encoder: network to load into.
        weights: a torchvision name, such as ``DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1`` or
            ``ResNet50_Weights.IMAGENET1K_V2``, a file with such a state dict, or an encoder file of agnn-convert.
        auxiliary: classifier of the auxiliary mask, which an encoder file also holds.
        preprocessing: input normalisation of the run, which must be that of the weights (torchvision: imagenet).

    Raises:
        WeightsError: unknown name, failed download, unreadable file, another preprocessing, or tensors that do not fit.
    """
    content = read_state(Path(weights).expanduser()) if is_file(weights) else download(weights)
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
    """Split an encoder file into the tensors of the encoder and of the auxiliary classifier."""
    encoder = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    if not with_loop_edge:
        encoder = {k: v for k, v in encoder.items() if not k.startswith("loop_edge.")}
    return encoder, {k.removeprefix("auxiliary."): v for k, v in state.items() if k.startswith("auxiliary.")}


def _translate(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Rename torchvision's tensors to ours, without classifiers; True if ASPP and head are among them."""
    if any(key.startswith("classifier.0.convs.") for key in state):
        dropped = ("fc.", "classifier.4.", "aux_classifier.")
        return {replace_prefix(k, _SEGMENTATION): v for k, v in state.items() if not k.startswith(dropped)}, True
    kept = {k: v for k, v in state.items() if not k.startswith(("fc.", "classifier."))}
    return {"body." + k.removeprefix("features."): v for k, v in kept.items()}, False


def replace_prefix(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Replace the first matching prefix (whole parts of a dotted name) by its counterpart."""
    return next((new + name[len(old) :] for old, new in pairs if f"{name}.".startswith(f"{old}.")), name)


def read_tensors(file: Path) -> Any:
    """Read a file of safetensors, or of torch.save as weights only, which executes no code.

    Raises:
        WeightsError: the file does not exist, or cannot be loaded as weights only.
    """
    if not file.is_file():
        raise WeightsError(f"{file}: no such file")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can make the unpickler raise any error
        held = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        reason = f"it holds {held[1]}, which is not a tensor and could run code" if held else str(error).split("\n")[0]
        raise WeightsError(f"{file}: cannot be loaded as weights only ({reason})") from error


def is_file(weights: str) -> bool:
    """Return True if ``backbone.weights`` is a file, rather than a name."""
    file = Path(weights).expanduser()
    return file.suffix in (".pth", ".pt", ".ckpt", ".safetensors", ".bin") or file.exists()


def read_state(file: Path) -> dict[str, Any]:
    """Read ``backbone.weights`` from a file: a state dict, or an encoder file of agnn-convert.

    Raises:
        WeightsError: see :func:`read_tensors`; or the file holds something else.
    """
    try:
        state = read_tensors(file)
    except WeightsError as error:
        raise WeightsError(f"backbone.weights={error}") from error
    if isinstance(state, dict) and (state.get("agnn_lit") or all(isinstance(v, Tensor) for v in state.values())):
        return state
    if isinstance(state, dict) and "hyper_parameters" in state:
        raise WeightsError(
            f"backbone.weights={file}: holds a whole model; model.weights={file} starts training from it"
        )
    if isinstance(state, dict) and "model" in state:
        raise WeightsError(
            f"backbone.weights={file}: looks like a file of the released code; convert it with "
            f"agnn-convert official={file} out=FILE and use that file"
        )
    raise WeightsError(f"backbone.weights={file}: holds no state dict (names to tensors)")


def download(name: str, key: str = "backbone.weights") -> dict[str, Any]:
    """Return torchvision's weights by name, such as ``ResNet50_Weights.IMAGENET1K_V2``, from its cache or the network.

    Raises:
        WeightsError: unknown name, or a failed download; states the setting ``key`` and where to put the file.
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
            + (",\n  or train from random weights: backbone.weights=null" if key == "backbone.weights" else "")
        ) from error
    return state
