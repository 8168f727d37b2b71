"""Convert checkpoints of the released code to ours, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agnn_lit.config import ConfigError, TrainConfig, flatten, plain, stored, typed
from agnn_lit.config.commands import ConvertConfig
from agnn_lit.config.model import released_model
from agnn_lit.shared.files import atomic_path


def official_config() -> TrainConfig:
    """Return the configuration of ``model=agnn_official backbone=deeplab_official``."""
    cfg: TrainConfig = typed({**released_model(), "name": "official"})
    return cfg


def _from_official(
    file: Path, out: Path, official: TrainConfig, expected: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    from agnn_lit.model.official import Part, from_released, read_released

    state, part = read_released(file)
    try:
        ours = from_released(state, part, expected)
    except ConfigError as error:
        raise ConfigError(f"official={file}: {error}") from error
    content: dict[str, Any] = {"converted_from": file.name}
    if part is Part.encoder:
        use = f"agnn-train model=agnn_official backbone=deeplab_official backbone.weights={out}"
        said = f"{len(ours)} tensors of initial encoder weights; {use} trains from them"
        about = {"agnn_lit": part.value, "preprocessing": official.backbone.preprocessing}
        return {**content, **about, "state_dict": ours}, said
    named = {f"model.{name}": tensor for name, tensor in ours.items()}
    use = f"agnn-evaluate ckpt={out} data=davis2016 protocol=davis2016 experiment=official_test"
    said = f"{len(ours)} tensors of the model; {use} scores it"
    return {**content, "hyper_parameters": {"config": plain(official)}, "state_dict": named}, said


def _to_official(file: Path, official: TrainConfig, expected: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from agnn_lit.model.official import Part, to_released
    from agnn_lit.model.weights import read_tensors

    content: Any = read_tensors(file)
    if not isinstance(content, dict) or "state_dict" not in content:
        released = isinstance(content, dict) and "model" in content
        hint = "; official= takes files of the released code" if released else ""
        raise ConfigError(f"ckpt={file}: not a file of agnn-train or agnn-convert (no state_dict){hint}")
    part = Part.encoder if content.get("agnn_lit") == Part.encoder.value else Part.model
    note = ""
    if part is Part.model:
        if "config" not in content.get("hyper_parameters", {}):
            raise ConfigError(f"ckpt={file}: not a checkpoint of agnn-train or agnn-convert (no configuration)")
        trained = stored(content["hyper_parameters"]["config"])
        others = _differences(trained, official)
        if others:
            raise ConfigError(f"ckpt={file}: differs from the released code's model:\n  {others}")
        if trained.model.rounds != official.model.rounds:
            usual = official.model.rounds
            note = f"; trained with K = {trained.model.rounds}: set it in the released code, which has {usual}"
    state = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
    try:
        said = f"{len(state)} tensors of the {part.value}, by their released names{note}"
        return to_released(state, part, expected), said
    except ConfigError as error:
        raise ConfigError(f"ckpt={file}: {error}") from error


def _differences(trained: TrainConfig, official: TrainConfig) -> str:
    """List the settings that differ from the released code's; the number of rounds affects no tensor."""
    ours, theirs = flatten(plain(trained)), flatten(plain(official))
    keys = [f"{group}.{key}" for group, values in released_model().items() for key in values]
    return "\n  ".join(
        f"{key}={ours[key]}, released: {theirs[key]}"
        for key in keys
        if key != "model.rounds" and ours[key] != theirs[key]
    )


def convert(cfg: ConvertConfig) -> Path:
    """Convert a file to or from the released code, and return the written file.

    Raises:
        ConfigError: not exactly one input, an output that exists or cannot be written, a file that is not safe to load,
            a model that the released code cannot compute, or tensors that do not fit.
    """
    import torch

    from agnn_lit.model.build import build_model

    if (cfg.official is None) == (cfg.ckpt is None):
        raise ConfigError(
            f"official={cfg.official} ckpt={cfg.ckpt}: give one of them, official=FILE or ckpt=FILE of agnn-train"
        )
    out = Path(cfg.out)
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder; give a file in it, such as {out / 'official.ckpt'}")
    if out.exists() and not cfg.overwrite:
        raise ConfigError(f"out={out} exists; overwrite=true replaces it")
    official = official_config()
    with torch.device("meta"):  # names, shapes and types only
        expected = build_model(official, pretrained=False).state_dict()
    if cfg.official is None:
        content, said = _to_official(Path(cfg.ckpt or ""), official, expected)
    else:
        content, said = _from_official(Path(cfg.official), out, official, expected)
    try:
        with atomic_path(out) as temporary, temporary.open("wb") as stream:
            torch.save(content, stream)
    except OSError as error:
        raise ConfigError(f"out={out}: cannot be written ({error})") from error
    print(f"{out}: {said}")
    return out
