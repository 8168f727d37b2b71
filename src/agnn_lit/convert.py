"""``agnn-convert``: checkpoints of the released code to ours, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from agnn_lit.build import build_model
from agnn_lit.checks import check_model
from agnn_lit.commands import quote_paths, refuse, run_command
from agnn_lit.config import CONF_DIR, BackboneConfig, ConfigError, ModelConfig, TrainConfig, plain, typed


@dataclass
class ConvertConfig:
    """What is converted, and where to."""

    official: str | None = None  # file of the released code: the trained model, or the encoder's start values
    ckpt: str | None = None  # or a file of agnn-train or agnn-convert, to be written as one of the released code
    out: str = MISSING  # file to write
    overwrite: bool = False  # replace out
    model: ModelConfig = field(default_factory=ModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)


ConfigStore.instance().store(name="convert_schema", node=ConvertConfig)


def _from_official(cfg: ConvertConfig, expected: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from agnn_lit.model.official import Part, from_released, read_released

    file = Path(cfg.official or "")
    state, part = read_released(file)
    try:
        ours = from_released(state, part, expected)
    except ConfigError as error:
        raise ConfigError(f"official={file}: {error}") from error
    if part is Part.encoder:
        use = f"agnn-train model=agnn_official backbone=deeplab_official backbone.weights={cfg.out}"
        said = f"{len(ours)} tensors of the encoder's start values; {use} trains from them"
        about = {"agnn_lit": part.value, "preprocessing": cfg.backbone.preprocessing.value}
        return {**about, "state_dict": ours, "converted_from": file.name}, said
    config = plain(TrainConfig(model=cfg.model, backbone=cfg.backbone, name="official"))
    named = {f"model.{name}": tensor for name, tensor in ours.items()}
    use = f"agnn-evaluate ckpt={cfg.out} data=davis2016 experiment=official_test"
    said = f"{len(ours)} tensors of the model; {use} scores it"
    return {"hyper_parameters": {"config": config}, "state_dict": named, "converted_from": file.name}, said


def _to_official(cfg: ConvertConfig, expected: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from agnn_lit.model.official import Part, to_released
    from agnn_lit.model.weights import read_tensors

    file = Path(cfg.ckpt or "")
    content: Any = read_tensors(file)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ConfigError(f"ckpt={file}: not a file of agnn-train or agnn-convert (no state_dict)")
    part = Part.encoder if content.get("agnn_lit") == Part.encoder.value else Part.model
    state = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
    try:
        return to_released(state, part, expected), f"{len(state)} tensors of the {part.value}, by their released names"
    except ConfigError as error:
        raise ConfigError(f"ckpt={file}: {error}") from error


def convert(cfg: ConvertConfig) -> Path:
    """Convert a file in the direction that is asked for; nothing is written unless every tensor has its place.

    Returns:
        The file written.

    Raises:
        ConfigError: no input or two, an output that exists, a file that is not safe to load, or tensors that are
            missing, unexpected, or of another shape or type.
    """
    import torch

    if (cfg.official is None) == (cfg.ckpt is None):
        raise ConfigError(
            f"official={cfg.official} ckpt={cfg.ckpt}: give one of them, official=FILE or ckpt=FILE of agnn-train"
        )
    check_model(cfg.model, cfg.backbone)
    out = Path(cfg.out)
    if out.exists() and not cfg.overwrite:
        raise ConfigError(f"out={out} exists; overwrite=true replaces it")
    with torch.device("meta"):  # names, shapes and types without memory
        expected = build_model(TrainConfig(model=cfg.model, backbone=cfg.backbone), pretrained=False).state_dict()
    content, said = (_to_official if cfg.official is None else _from_official)(cfg, expected)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    torch.save(content, partial)
    partial.replace(out)
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
