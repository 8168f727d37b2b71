"""Convert composed or stored configurations to typed settings, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError

from agnn_lit.config.commands import (
    AppConfig,
    BenchmarkConfig,
    ConvertConfig,
    DashboardConfig,
    ExportConfig,
    ReportConfig,
    ScoreConfig,
)
from agnn_lit.config.inference import EvaluateConfig, PredictConfig
from agnn_lit.config.model import default_preprocessing, default_weights, released_model
from agnn_lit.config.registry import ConfigError, import_plugins
from agnn_lit.config.setting import entries, groups
from agnn_lit.config.training import TrainConfig

_PACKAGED = Path(__file__).parents[1] / "conf"
_CHECKOUT = Path(__file__).parents[3] / "conf"
#: Folder of the Hydra configs: inside the installed package, else beside ``src`` in a checkout.
CONF_DIR: str = str(_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT)

#: Settings of each command, by the name of its file in ``conf/``.
SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "score": ScoreConfig,
    "app": AppConfig,
    "report": ReportConfig,
    "benchmark": BenchmarkConfig,
    "convert": ConvertConfig,
    "export": ExportConfig,
    "dashboard": DashboardConfig,
}


def register_schemas(*commands: str) -> None:
    """Register the schemas that ``conf/*.yaml`` start from, and the released code's variant, with Hydra.

    Args:
        commands: those whose schemas are needed; all of them if none is given.
    """
    store = ConfigStore.instance()
    for name in commands or SCHEMAS:
        store.store(name=f"{name}_schema", node=SCHEMAS[name])
    released = released_model()
    store.store(group="model", name="agnn_official", node=released["model"])
    store.store(group="backbone", name="deeplab_official", node={**released["backbone"], "weights": None})


def typed(cfg: DictConfig | Mapping[str, Any], schema: type[Any] = TrainConfig) -> Any:
    """Return ``cfg`` as an instance of ``schema``, with all interpolations resolved and its plugins imported.

    Raises:
        ConfigError: a key that the schema lacks, or a plugin that cannot be imported.
        omegaconf.errors.OmegaConfBaseException: a value of the wrong type.
    """
    given = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else dict(cfg)
    try:
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given))
    except ConfigKeyError as error:
        raise ConfigError(unknown_key(str(error.full_key), schema)) from error
    _lists_to_tuples(made, schema)
    import_plugins(list(getattr(made, "plugins", ())))
    if isinstance(made, TrainConfig) and made.backbone.name != "???":
        made.backbone.weights = default_weights(made.backbone)
        made.backbone.preprocessing = default_preprocessing(made.backbone)
    return made


def _lists_to_tuples(made: Any, schema: type[Any]) -> None:
    """Convert the lists of YAML back to tuples, so that equal settings compare equal."""
    for f in fields(schema):
        value = getattr(made, f.name)
        if is_dataclass(value):
            _lists_to_tuples(value, type(value))
        elif isinstance(value, list) and "tuple" in str(f.type).lower():
            setattr(made, f.name, tuple(value))


def stored(config: DictConfig | Mapping[str, Any]) -> TrainConfig:
    """As :func:`typed`, for the configuration of a run folder or checkpoint, including those of earlier versions."""
    given = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    streams: dict[Any, Any] = {"separate_streams": False}  # as in version 0.1, which does not store it
    cfg: TrainConfig = typed(streams | dict(given))  # type: ignore[arg-type]
    return cfg


def keys_of(schema: type[Any]) -> list[str]:
    """Return all dotted keys of a schema, groups included."""
    return [key for key, _ in groups(schema()) if key] + [entry.key for entry in entries(schema())]


#: What other programs call a setting.
_MEANT = {"output": "out", "device": "accelerator", "video": "input", "film": "input", "file": "input"}


def unknown_key(key: str, schema: type[Any]) -> str:
    """Return the message for a key that a schema lacks, with suggestions."""
    known = keys_of(schema)
    near = [_MEANT[key]] if _MEANT.get(key) in known else get_close_matches(key, known, n=1, cutoff=0.7)
    last = key.split(".")[-1]
    near += [k for k in known if k.split(".")[-1] == last and k not in near]  # the right word in another group
    if not near:
        lasts = get_close_matches(last, {k.split(".")[-1] for k in known}, n=1, cutoff=0.7)
        near = [k for k in known if k.split(".")[-1] in lasts]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "--help lists all settings"
    return f"there is no setting {key}; {hint}"


def plain(cfg: Any) -> dict[str, Any]:
    """Return a config as plain dicts, lists, strings and numbers."""
    container = OmegaConf.to_container(OmegaConf.structured(cfg), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
