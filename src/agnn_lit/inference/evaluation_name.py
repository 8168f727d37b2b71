"""Data set and protocol of an evaluation, and its name, which is unique among the evaluations of a run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from agnn_lit.config import (
    CONF_DIR,
    Changes,
    ConfigError,
    DataConfig,
    EvaluateConfig,
    EvaluatedData,
    TrainConfig,
    check_data,
    default_protocol,
    flatten,
    options,
    plain,
    typed,
)
from agnn_lit.metrics.protocols import Protocol, get_protocol

_LONGEST = 60  # characters for the settings of a changed data set; longer ones are hashed


def resolve_evaluation(cfg: EvaluateConfig, trained: TrainConfig) -> tuple[DataConfig, Protocol, str]:
    """Return the data set, the protocol, and the name of an evaluation.

    Raises:
        ConfigError: an incomplete data set, or a protocol that does not fit the masks.
    """
    data = resolve_data(cfg.data, trained.data, cfg.split)
    check_data(data, 1)
    assert data.name is not None
    protocol = _protocol(cfg.protocol or default_protocol(data), several=cfg.instances.proposals != "none")
    changed = _unusual_data(data, trained.data, cfg.split)
    name = f"{data.name}-{cfg.split}-{protocol.name}" + (f"-{changed}" if changed else "")
    return data, protocol, name + _unusual(cfg)


def resolve_data(asked: EvaluatedData, trained: DataConfig, split: str) -> DataConfig:
    """Return the data set to evaluate: the trained one with the given changes, or another one.

    ``sequences`` of the training does not apply to a list of test sequences, nor ``test_range`` to a newly given list.
    """
    same = asked.name is None or asked.name == trained.name
    data = trained if same else DataConfig(asked.name)
    synthetic = replace(data.synthetic, **_given(asked.synthetic))
    data = replace(data, **{**_given(asked), "synthetic": synthetic})
    if same and split == "test" and data.test_split is not None:
        data = replace(data, sequences=asked.sequences)
    if same and asked.test_split is not None:
        data = replace(data, test_range=asked.test_range)
    return data


def _given(changes: Any) -> dict[str, Any]:
    values = {f.name: getattr(changes, f.name) for f in fields(changes)}
    return {key: value for key, value in values.items() if value is not None}


def _unusual_data(data: DataConfig, trained: DataConfig, split: str) -> str:
    """Settings of a data set that differ from the training's or its defaults; data.root is ignored."""
    usual = resolve_data(EvaluatedData(), trained, split)
    if data.name is not None and data.name != trained.name:
        file = Path(CONF_DIR) / "data" / f"{data.name}.yaml"
        usual = typed(OmegaConf.load(file), DataConfig) if file.is_file() else DataConfig(data.name)  # type: ignore[arg-type]
    other = "test" if split == "train" else "train"
    now, before = flatten(plain(data)), flatten(plain(usual))
    changed = {k.removeprefix("synthetic."): v for k, v in now.items() if k not in ("name", "root") and v != before[k]}
    words = [f"{k}{v}" for k, v in changed.items() if not k.startswith(f"{other}_")]
    text = re.sub(r"[^A-Za-z0-9_.]+", "_", "_".join(words)).strip("_")
    return text if len(text) <= _LONGEST else f"data{_short(text)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _protocol(name: str, *, several: bool) -> Protocol:
    """Return a protocol; one that scores objects needs masks of objects (``several``)."""
    kinds = {key: get_protocol(key).objects for key in options("protocol")}
    possible = [key for key, kind in kinds.items() if kind == "foreground" or (several and kind == "assigned")]
    if name not in possible:
        hint = "; it scores objects: instances=parts looks for them" if kinds.get(name) == "assigned" else ""
        raise ConfigError(f"protocol={name}: must be one of {', '.join(possible)}{hint}")
    return get_protocol(name)


def _unusual(cfg: EvaluateConfig) -> str:
    """Settings of an evaluation that differ from the defaults, for its folder's name."""
    words = _changed(cfg, EvaluateConfig())
    if cfg.references == "random":
        words[words.index("random")] = f"random{cfg.seed}"
    if cfg.ckpt is not None and Path(cfg.ckpt).parent.name == "checkpoints" and Path(cfg.ckpt).stem != "best":
        words.append(Path(cfg.ckpt).stem)
    return "".join(f"-{word}" for word in words)


def _changed(cfg: Any, usual: Any) -> list[str]:
    """One word for each setting that changes the result and is not at its default, and for each such group."""
    words = []
    for f in fields(cfg):
        about, value, before = f.metadata["setting"], getattr(cfg, f.name), getattr(usual, f.name)
        label = f.name if about.label is None else about.label
        named = about.changes is Changes.result and f.name not in ("data", "split", "protocol")
        if value == before or not named:
            continue
        if is_dataclass(value):
            # A group's first setting turns it on; otherwise the others have no effect.
            first = fields(value)[0].name
            if getattr(value, first) != getattr(before, first):
                words.append("_".join([word for word in (label, *_changed(value, before)) if word]))
        else:
            words.append(label + _in_a_name(value, path=about.path) if value is not True else label)
    return words


def _in_a_name(value: Any, *, path: bool) -> str:
    if path and value is not None:
        whole = Path(value).resolve()
        return f"{whole.name}{_short(str(whole))}"
    if isinstance(value, list | tuple):
        return "_".join(_in_a_name(v, path=path) for v in value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)
