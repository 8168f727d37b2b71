"""What an evaluation is of: its data set, its protocol, and the name that tells it from others of a run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from agnn_lit.build import default_protocol
from agnn_lit.checks import check_data
from agnn_lit.config import (
    CONF_DIR,
    ConfigError,
    CrfBackend,
    DataConfig,
    EvaluateConfig,
    EvaluatedData,
    ProposalSource,
    References,
    SyntheticChanges,
    TrainConfig,
    plain,
    typed,
)
from agnn_lit.metrics.protocols import PROTOCOLS, Protocol
from agnn_lit.report_page.runtable import flatten

_LONGEST = 60  # characters of a folder's name that tell a changed data set


def describe(cfg: EvaluateConfig, trained: TrainConfig) -> tuple[DataConfig, Protocol, str]:
    """Return the data set, the protocol, and the name of an evaluation.

    Raises:
        ConfigError: a data set that is not complete, or a protocol that it cannot be scored with.
    """
    data = resolve_data(cfg.data, trained.data, cfg.split)
    check_data(data, 1)
    assert data.name is not None
    protocol = _protocol(cfg.protocol or default_protocol(data), several=looks_for_objects(cfg))
    changed = _unusual_data(data, trained.data, cfg.split)
    name = f"{data.name.value}-{cfg.split}-{protocol.name}" + (f"-{changed}" if changed else "")
    return data, protocol, name + _unusual(cfg)


def resolve_data(asked: EvaluatedData, trained: DataConfig, split: str) -> DataConfig:
    """Data set to evaluate on: the trained one with the fields that were asked for, or another one whole.

    The sequences that training was limited to stay in force unless a list of test sequences is evaluated, and the
    share of each that was left for the test unless such a list is asked for.
    """
    same = asked.name is None or asked.name is trained.name
    data = trained if same else DataConfig(asked.name)
    paths = ("root", "train_split", "test_split", "sequences", "train_range", "test_range")
    synthetic = replace(data.synthetic, **_given(asked.synthetic))
    data = replace(data, **{k: v for k, v in _given(asked).items() if k in paths}, synthetic=synthetic)
    if same and split == "test" and data.test_split is not None:
        data = replace(data, sequences=asked.sequences)
    if same and asked.test_split is not None:
        data = replace(data, test_range=asked.test_range)
    return data


def _given(changes: EvaluatedData | SyntheticChanges) -> dict[str, Any]:
    values = {f.name: getattr(changes, f.name) for f in fields(changes)}
    return {key: value for key, value in values.items() if value is not None}


def _unusual_data(data: DataConfig, trained: DataConfig, split: str) -> str:
    """Settings in which a data set differs from the training's, or from what is usual for it; its folder is none."""
    usual = resolve_data(EvaluatedData(), trained, split)
    if data.name is not None and data.name is not trained.name:
        usual = typed(OmegaConf.load(Path(CONF_DIR) / "data" / f"{data.name.value}.yaml"), DataConfig)  # type: ignore[arg-type]
    other = "test" if split == "train" else "train"
    now, before = flatten(plain(data)), flatten(plain(usual))
    changed = {k.removeprefix("synthetic."): v for k, v in now.items() if k not in ("name", "root") and v != before[k]}
    words = [f"{k}{v}" for k, v in changed.items() if not k.startswith(f"{other}_")]
    text = re.sub(r"[^A-Za-z0-9_.]+", "_", "_".join(words)).strip("_")
    return text if len(text) <= _LONGEST else f"data{_short(text)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _protocol(name: str, *, several: bool) -> Protocol:
    """Protocol of a name; one that tells objects apart needs masks of objects."""
    possible = [
        p.name for p in PROTOCOLS.values() if p.objects == "foreground" or (several and p.objects == "assigned")
    ]
    if name not in possible:
        tells_apart = name in PROTOCOLS and PROTOCOLS[name].objects == "assigned"
        hint = "; it scores objects: instances=parts looks for them" if tells_apart else ""
        raise ConfigError(f"protocol={name}: must be one of {', '.join(possible)}{hint}")
    return PROTOCOLS[name]


def _unusual(cfg: EvaluateConfig) -> str:
    """Settings in which an evaluation differs from the usual one, for its folder's name."""
    usual = EvaluateConfig()
    words = [f"{key}{getattr(cfg, key)}" for key in ("frames", "threshold") if getattr(cfg, key) != getattr(usual, key)]
    if cfg.references is References.random:
        words.append(f"random{cfg.seed}")
    if cfg.scales != usual.scales:
        words.append("scales" + "_".join(f"{scale:g}" for scale in cfg.scales))
    if cfg.flip:
        words.append("flip")
    if cfg.align_corners:
        words.append("corners")
    if cfg.dtype != usual.dtype:
        words.append(cfg.dtype)
    if cfg.crf.backend is not CrfBackend.none:
        changed = {k: v for k, v in plain(cfg.crf).items() if v != plain(usual.crf)[k] and k != "backend"}
        words.append("_".join(["crf", cfg.crf.backend.value, *(f"{k}{v:g}" for k, v in changed.items())]))
    if cfg.ckpt is not None and Path(cfg.ckpt).parent.name == "checkpoints" and Path(cfg.ckpt).stem != "best":
        words.append(Path(cfg.ckpt).stem)
    if looks_for_objects(cfg):
        kept = ("proposals", "source")
        changed = {k: v for k, v in plain(cfg.instances).items() if v != plain(usual.instances)[k] and k not in kept}
        path = Path(cfg.instances.source).resolve() if cfg.instances.source else None
        source = [] if path is None else [f"{path.name}{_short(str(path))}"]
        words.append("_".join([cfg.instances.proposals.value, *source, *(f"{k}{v:g}" for k, v in changed.items())]))
    return "".join(f"-{word}" for word in words)


def looks_for_objects(cfg: EvaluateConfig) -> bool:
    """Whether objects are looked for instead of one foreground."""
    return cfg.instances.proposals is not ProposalSource.none
