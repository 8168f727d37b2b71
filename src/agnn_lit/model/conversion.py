"""Convert checkpoints of the released code to ours and back, and ours to weights files."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

from agnn_lit.config import ConfigError, TrainConfig, check_values, flatten, plain, stored, typed
from agnn_lit.config.commands import ConvertConfig
from agnn_lit.config.model import released_model
from agnn_lit.shared.files import write_bytes


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
    from agnn_lit.model.weights_file import read_checkpoint

    content: Any = read_checkpoint(file)
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


def _to_weights_file(file: Path, out: Path, cfg: ConvertConfig, about: dict[str, str | None]) -> tuple[bytes, str]:
    from agnn_lit.inference.load import load_checkpoint
    from agnn_lit.model.weights_file import pack

    trained, model = load_checkpoint(file)
    if cfg.size is not None:
        trained.clips.size = (cfg.size[0], cfg.size[1])
    if cfg.pool is not None:
        trained.model.pool = cfg.pool
    content = pack(trained, model.state_dict(), {"data": trained.data.name, **about})
    digest = hashlib.sha256(content).hexdigest()
    use = f"agnn-predict input=VIDEO out=DIR ckpt={out}"
    return content, f"{len(content) / 1e6:.1f} MB, sha256 {digest}; {use} uses it"


def _to_bytes(content: dict[str, Any]) -> bytes:
    import torch

    stream = BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _check(cfg: ConvertConfig) -> None:
    """Raise ConfigError unless there is one input, and an output that may be written."""
    check_values(cfg)
    given = [value for value in (cfg.official, cfg.run, cfg.ckpt) if value is not None]
    if len(given) != 1:
        raise ConfigError(
            f"official={cfg.official} run={cfg.run} ckpt={cfg.ckpt}: give one of them, official=FILE of the released "
            "code, or run=DIR or ckpt=FILE of agnn-train"
        )
    out = Path(cfg.out)
    if out.is_dir():
        raise ConfigError(f"out={out} is a folder; give a file in it, such as {out / 'official.ckpt'}")
    if out.exists() and not cfg.overwrite:
        raise ConfigError(f"out={out} exists; overwrite=true replaces it")
    packed = out.suffix == ".safetensors"
    if packed and cfg.official is not None:
        raise ConfigError(f"out={out}: official= is converted to a checkpoint, such as {out.with_suffix('.ckpt')}")
    if not packed and any(value is not None for value in (cfg.size, cfg.pool, cfg.note, cfg.licence)):
        raise ConfigError(
            f"out={out}: size=, pool=, note= and licence= are kept in weights files, which end in .safetensors"
        )


def convert(cfg: ConvertConfig) -> Path:
    """Convert a file as configured, and return the written file.

    Raises:
        ConfigError: not exactly one input, an output that exists or cannot be written, a file that is not safe to load,
            a model that the released code cannot compute, or tensors that do not fit.
    """
    _check(cfg)
    out = Path(cfg.out)
    content: dict[str, Any] | bytes
    if out.suffix == ".safetensors":
        from agnn_lit.inference.load import find_checkpoint

        about = {"note": cfg.note, "licence": cfg.licence}
        content, said = _to_weights_file(find_checkpoint(cfg), out, cfg, about)
    else:
        content, said = _with_released(cfg, out)
    try:
        write_bytes(out, content if isinstance(content, bytes) else _to_bytes(content))
    except OSError as error:
        raise ConfigError(f"out={out}: cannot be written ({error})") from error
    print(f"{out}: {said}")
    return out


def _with_released(cfg: ConvertConfig, out: Path) -> tuple[dict[str, Any], str]:
    """Convert from or to the released code."""
    import torch

    from agnn_lit.inference.load import find_checkpoint
    from agnn_lit.model.build import build_model

    official = official_config()
    with torch.device("meta"):  # names, shapes and types only
        expected = build_model(official, pretrained=False).state_dict()
    if cfg.official is not None:
        return _from_official(Path(cfg.official), out, official, expected)
    return _to_official(find_checkpoint(cfg), official, expected)
