"""``--help``: the usage of a command, and every setting with its value, meaning and allowed values."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from agnn_lit.config.compose import CONF_DIR, SCHEMAS, flatten
from agnn_lit.config.registry import import_plugins
from agnn_lit.config.setting import Entry, entries, groups

_COLUMN = 34  # width of the column of settings, in characters
_MOST = 100  # maximum width of the help text


def describe(entry: Entry) -> str:
    """Return a setting's meaning, unit and allowed values."""
    words = entry.about.meaning
    about = [word for word in (entry.about.unit, entry.about.possible) if word]
    return f"{words} ({'; '.join(about)})" if about else words


def shown(value: Any) -> str:
    """Return a value as it is written on the command line; empty for one that must be given."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return "" if value == "???" else str(value)


def grouped(cfg: Any) -> list[tuple[str, str, list[Entry]]]:
    """Return the groups of a dataclass that have settings, its own first: key, title and settings."""
    by_group: dict[str, list[Entry]] = {key: [] for key, _ in groups(cfg)}
    titles = {key: (type(node).__doc__ or "").split("\n")[0] for key, node in groups(cfg)}
    for entry in entries(cfg):
        by_group[entry.key.rpartition(".")[0]].append(entry)
    return [(key, titles[key], by_group[key]) for key in sorted(by_group, key=bool) if by_group[key]]


def describe_settings(cfg: Any, values: dict[str, Any], width: int) -> str:
    """List all settings of a dataclass by group, with ``values`` by dotted key, in lines of ``width`` characters."""
    lines: list[str] = []
    for key, title, found in grouped(cfg):
        lines += ["", f"{key or 'settings'}: {title}"]
        for entry in found:
            word = f"  {entry.key}={shown(values.get(entry.key, entry.value))}"
            text = textwrap.wrap(describe(entry), max(30, width - _COLUMN))
            first = text.pop(0) if len(word) < _COLUMN - 1 else ""
            lines.append(f"{word:{_COLUMN}}{first}".rstrip())
            lines += [" " * _COLUMN + line for line in text]
    return "\n".join(lines).strip()


def composed(command: str, overrides: Sequence[str] = ()) -> tuple[DictConfig, dict[str, Any]]:
    """Return what a command composes, Hydra's part included, and the values of its settings by dotted key.

    Raises:
        hydra.errors.HydraException: overrides that do not compose.
    """
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        cfg = compose(command, overrides=list(overrides), return_hydra_config=True)
    values = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(values, dict)
    return cfg, flatten({str(key): value for key, value in values.items() if key != "hydra"})


def help_text(command: str, overrides: Sequence[str]) -> str:
    """Return the text of ``agnn-<command> --help``, with the values that ``overrides`` compose to.

    Raises:
        hydra.errors.HydraException: overrides that do not compose.
    """
    cfg, values = composed(command, overrides)
    usage = str(OmegaConf.to_container(cfg.hydra.help, resolve=False)["template"])  # type: ignore[index,call-overload]
    import_plugins([str(name) for name in values.get("plugins") or ()])
    width = min(_MOST, shutil.get_terminal_size((_MOST, 24)).columns)
    settings = describe_settings(SCHEMAS[command](), values, width)
    return usage.replace("$GROUPS", _describe_groups(group_options(cfg), width)).replace("$CONFIG", settings).rstrip()


def group_options(cfg: DictConfig) -> dict[str, list[str]]:
    """Return the options of a composed command's config groups: files in ``conf/``, and those in Hydra's store."""
    store = ConfigStore.instance().repo
    options = {}
    for name in sorted(str(key) for key in cfg.hydra.runtime.choices if key not in (None, "hydra")):
        found = {file.stem for file in (Path(CONF_DIR) / name).glob("*.yaml")}
        if not name.startswith("hydra/"):  # Hydra's own launchers and sweepers are not for these commands
            registered: Any = store
            for part in name.split("/"):
                registered = registered.get(part, {})
            found |= {str(key).removesuffix(".yaml") for key in registered}
        if found:
            options[name] = sorted(found)
    return options


def _describe_groups(options: dict[str, list[str]], width: int) -> str:
    lines = []
    for name, found in options.items():
        start = f"  {name}: "
        lines += textwrap.wrap(start + ", ".join(found), width, subsequent_indent=" " * len(start))
    return "\n".join(lines)
