"""``--help``: the usage of a command, and every setting with its value, meaning and allowed values."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

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


def describe_settings(cfg: Any, values: dict[str, Any], width: int) -> str:
    """List all settings of a dataclass by group, with ``values`` by dotted key, in lines of ``width`` characters."""
    lines: list[str] = []
    by_group: dict[str, list[Entry]] = {key: [] for key, _ in groups(cfg)}
    titles = {key: (type(node).__doc__ or "").split("\n")[0] for key, node in groups(cfg)}
    for entry in entries(cfg):
        by_group[entry.key.rpartition(".")[0]].append(entry)
    for key in sorted(by_group, key=bool):  # the command's own settings first
        if not by_group[key]:
            continue
        lines += ["", f"{key or 'settings'}: {titles[key]}"]
        for entry in by_group[key]:
            word = f"  {entry.key}={shown(values.get(entry.key, entry.value))}"
            text = textwrap.wrap(describe(entry), max(30, width - _COLUMN))
            first = text.pop(0) if len(word) < _COLUMN - 1 else ""
            lines.append(f"{word:{_COLUMN}}{first}".rstrip())
            lines += [" " * _COLUMN + line for line in text]
    return "\n".join(lines).strip()


def help_text(command: str, overrides: Sequence[str]) -> str:
    """Return the text of ``agnn-<command> --help``, with the values that ``overrides`` compose to.

    Raises:
        hydra.errors.HydraException: overrides that do not compose.
    """
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        cfg = compose(command, overrides=list(overrides), return_hydra_config=True)
    usage = str(OmegaConf.to_container(cfg.hydra.help, resolve=False)["template"])  # type: ignore[index,call-overload]
    composed = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(composed, dict)
    values = flatten({str(key): value for key, value in composed.items() if key != "hydra"})
    import_plugins([str(name) for name in values.get("plugins") or ()])
    chosen = [str(key) for key in cfg.hydra.runtime.choices if key not in (None, "hydra")]
    width = min(_MOST, shutil.get_terminal_size((_MOST, 24)).columns)
    settings = describe_settings(SCHEMAS[command](), values, width)
    return usage.replace("$GROUPS", _describe_groups(chosen, width)).replace("$CONFIG", settings).rstrip()


def _describe_groups(names: Sequence[str], width: int) -> str:
    """List the options of Hydra's config groups: files in ``conf/``, and those registered in its store."""
    store = ConfigStore.instance().repo
    lines = []
    for name in sorted(names):
        found = {file.stem for file in (Path(CONF_DIR) / name).glob("*.yaml")}
        if not name.startswith("hydra/"):  # Hydra's own launchers and sweepers are not for these commands
            registered: Any = store
            for part in name.split("/"):
                registered = registered.get(part, {})
            found |= {str(key).removesuffix(".yaml") for key in registered}
        if found:
            start = f"  {name}: "
            text = textwrap.wrap(start + ", ".join(sorted(found)), width, subsequent_indent=" " * len(start))
            lines += text
    return "\n".join(lines)
