"""Data set and protocol of an evaluation, and its name, which is unique among the evaluations of a run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
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
from agnn_lit.data.video import DiskVideo, Video
from agnn_lit.metrics.protocols import Protocol, get_protocol
from agnn_lit.shared.files import sha256

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
    words = [data.name, cfg.split, protocol.name, _other_root(data, trained.data), changed]
    return data, protocol, "-".join(word for word in words if word) + _unusual(cfg)


def evaluation_digest(cfg: EvaluateConfig, trained: TrainConfig, videos: Sequence[Video], checkpoint: Path) -> str:
    """Return a digest of all that decides the numbers of an evaluation.

    It covers the content of the checkpoint, the settings, and the videos: their names, their frames by size and time
    of change, and the content of their annotations, which people correct.
    """
    data, protocol, name = resolve_evaluation(cfg, trained)
    digest = hashlib.sha256(f"{name}\n{protocol}\n{plain(data)}\n{sha256(checkpoint)}\n".encode())
    for video in videos:
        digest.update(f"{video.name} {len(video)}\n".encode("utf-8", "surrogateescape"))
        if not isinstance(video, DiskVideo):
            continue  # generated from the settings, or a plugin's
        for frame, mask in zip(video.frames, video.masks, strict=True):
            about = frame.stat()
            digest.update(f"{frame} {about.st_size} {about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
            digest.update(b"-" if mask is None else mask.read_bytes())
    return digest.hexdigest()


def _other_root(data: DataConfig, trained: DataConfig) -> str:
    """Name and digest of a data root that is not the training's; empty if it is."""
    if data.root is None:
        return ""
    root = Path(data.root).expanduser().resolve()
    same = trained.root is not None and data.name == trained.name and root == Path(trained.root).expanduser().resolve()
    return "" if same else _named(root.name, str(root))


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
    """Settings of a data set that differ from the training's or its defaults, but for data.root."""
    usual = resolve_data(EvaluatedData(), trained, split)
    if data.name is not None and data.name != trained.name:
        file = Path(CONF_DIR) / "data" / f"{data.name}.yaml"
        usual = typed(OmegaConf.load(file), DataConfig) if file.is_file() else DataConfig(data.name)  # type: ignore[arg-type]
    other = "test" if split == "train" else "train"
    now, before = flatten(plain(data)), flatten(plain(usual))
    changed = {k.removeprefix("synthetic."): v for k, v in now.items() if k not in ("name", "root") and v != before[k]}
    words = [f"{k}{v}" for k, v in changed.items() if not k.startswith(f"{other}_")]
    text = re.sub(r"[^A-Za-z0-9_.]+", "_", "_".join(words)).strip("_")
    if len(text) > _LONGEST:
        return f"data{_short(text)}"
    return text if all(map(_is_plain, changed.values())) else _named(text, "_".join(words))


def _is_plain(value: Any) -> bool:
    """Whether no other value has the same word in a name: a number, a word, or a list of them."""
    if isinstance(value, list | tuple):
        return all(re.fullmatch(r"[A-Za-z0-9.]+", str(entry)) for entry in value)
    return re.fullmatch(r"[A-Za-z0-9_.]+", str(value)) is not None


def _named(text: str, exact: str) -> str:
    """Return a readable name with a digest of what it stands for."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text).strip("_") + _short(exact)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


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
        return _named(whole.name, str(whole))
    if isinstance(value, list | tuple):
        return "_".join(_in_a_name(v, path=path) for v in value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)
