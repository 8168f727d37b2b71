"""``agnn-convert``: checkpoints of the released code to ours, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from agnn_lit.build import build_model
from agnn_lit.commands import quote_paths, refuse, run_command
from agnn_lit.config import CONF_DIR, ConfigError, TrainConfig, plain, stored, typed


@dataclass
class ConvertConfig:
    """What is converted, and where to."""

    official: str | None = None  # file of the released code: the trained model, or the encoder's start values
    ckpt: str | None = None  # or a file of agnn-train or agnn-convert, to be written as one of the released code
    out: str = MISSING  # file to write
    overwrite: bool = False  # replace out


ConfigStore.instance().store(name="convert_schema", node=ConvertConfig)

#: Settings that change what the released tensors would compute, or which there are.
_SWITCHES = {
    "model": (
        *("frames", "channels", "loop_edge", "loop_reduction", "line_edge", "gate", "aggregation", "update"),
        *("readout", "auxiliary"),
    ),
    "backbone": ("name", "stride", "preprocessing"),
}


def official_config() -> TrainConfig:
    """Return what ``model=agnn_official backbone=deeplab_official`` composes."""
    folder = Path(CONF_DIR)
    model = OmegaConf.merge(*(OmegaConf.load(folder / "model" / f"{name}.yaml") for name in ("agnn", "agnn_official")))
    backbone = OmegaConf.load(folder / "backbone" / "deeplab_official.yaml")
    assert isinstance(model, DictConfig)
    del model["defaults"]
    cfg: TrainConfig = typed({"model": model, "backbone": backbone, "name": "official"})
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
        said = f"{len(ours)} tensors of the encoder's start values; {use} trains from them"
        about = {"agnn_lit": part.value, "preprocessing": official.backbone.preprocessing.value}
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
        hint = (
            "; official= takes files of the released code" if isinstance(content, dict) and "model" in content else ""
        )
        raise ConfigError(f"ckpt={file}: not a file of agnn-train or agnn-convert (no state_dict){hint}")
    part = Part.encoder if content.get("agnn_lit") == Part.encoder.value else Part.model
    note = ""
    if part is Part.model:
        if "config" not in content.get("hyper_parameters", {}):
            raise ConfigError(f"ckpt={file}: not a checkpoint of agnn-train or agnn-convert (no configuration)")
        trained = stored(content["hyper_parameters"]["config"])
        others = _differences(trained, official)
        if others:
            raise ConfigError(
                f"ckpt={file}: the released code computes something else than it was trained with:\n  {others}"
            )
        if trained.model.rounds != official.model.rounds:
            note = (
                f"; trained with K = {trained.model.rounds}: change the released code's {official.model.rounds} to that"
            )
    state = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
    try:
        said = f"{len(state)} tensors of the {part.value}, by their released names{note}"
        return to_released(state, part, expected), said
    except ConfigError as error:
        raise ConfigError(f"ckpt={file}: {error}") from error


def _differences(trained: TrainConfig, official: TrainConfig) -> str:
    """List the switches that differ from the released code's."""
    ours, theirs = plain(trained), plain(official)
    return "\n  ".join(
        f"{group}.{key}={ours[group][key]}, released: {theirs[group][key]}"
        for group, keys in _SWITCHES.items()
        for key in keys
        if ours[group][key] != theirs[group][key]
    )


def convert(cfg: ConvertConfig) -> Path:
    """Convert a file in the direction that is asked for; nothing is written unless every tensor has its place.

    Returns:
        The file written.

    Raises:
        ConfigError: no input or two, an output that exists or cannot be written, a file that is not safe to load, a
            model that the released code cannot compute, or tensors that are missing, unexpected, or of another shape
            or type.
    """
    import torch

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
    with torch.device("meta"):  # names, shapes and types without memory
        expected = build_model(official, pretrained=False).state_dict()
    if cfg.official is None:
        content, said = _to_official(Path(cfg.ckpt or ""), official, expected)
    else:
        content, said = _from_official(Path(cfg.official), out, official, expected)
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            torch.save(content, stream)
        partial.replace(out)
    except OSError as error:
        raise ConfigError(f"out={out}: cannot be written ({error})") from error
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
    print(f"{out}: {said}")
    return out


@hydra.main(config_path=CONF_DIR, config_name="convert", version_base="1.3")
@refuse("agnn-convert", ConfigError)
def _main(cfg: DictConfig) -> None:
    if OmegaConf.is_missing(cfg, "out"):
        raise ConfigError("out= is needed; agnn-convert --help shows how")
    convert(typed(cfg, ConvertConfig))


def main() -> None:
    """Entry point of the command."""
    quote_paths("official", "ckpt", "out")
    run_command("agnn-convert", _main, ConvertConfig, ConfigError)


if __name__ == "__main__":
    main()
