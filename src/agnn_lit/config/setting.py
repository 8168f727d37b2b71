"""What is known of a setting, said once, where the setting is declared.

Checks, ``--help``, the names of runs and evaluations, report columns, loading of partial weights and the conversion of
released checkpoints are derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

from agnn_lit.config.registry import ConfigError, not_one_of, option, options


class Changes(Enum):
    """What another value of a setting changes."""

    result = "result"  # masks, scores or weights
    seed = "seed"  # repeats the same experiment with other random numbers
    digits = "digits"  # the last digits of the result, and how fast it is computed
    speed = "speed"  # how fast the result is computed
    extra = "extra"  # what is logged or written beside the result
    place = "place"  # where something is read or written
    command = "command"  # how one call of the command behaves


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; each end may be open or left out."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"
        if isinstance(self.low, int) and isinstance(self.high, int) and not (self.open_low or self.open_high):
            return f"in {self.low}..{self.high}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


def at_least(low: float) -> Range:
    """Range of ``low`` and more."""
    return Range(low)


def above(low: float) -> Range:
    """Range of more than ``low``."""
    return Range(low, open_low=True)


#: Probabilities and shares.
SHARE = Range(0.0, 1.0)


@dataclass(frozen=True)
class Setting:
    """What is known of a setting.

    Attributes:
        meaning: a phrase for ``--help`` and the documentation.
        unit: of a number.
        within: values that are possible; of a list, of each of its elements.
        choices: values that are possible, for one that is a word.
        options: the registry that holds the choices, for one that names a part; see :mod:`agnn_lit.config.registry`.
        changes: what another value changes.
        shown: reports show it even where runs do not differ in it.
        title: what reports call it; empty: its key.
        tensors: beginnings of the names of the model's tensors that another value leaves no use for.
        released: its value in the authors' released code; None where that has no such setting.
        label: of its value in the name of an evaluation; None: its key.
        path: the value is a file or folder.
    """

    meaning: str
    unit: str = ""
    within: Range | None = None
    choices: tuple[str, ...] = ()
    options: str = ""
    changes: Changes = Changes.result
    shown: bool = False
    title: str = ""
    tensors: tuple[str, ...] = ()
    released: Any = None
    label: str | None = None
    path: bool = False

    @property
    def possible(self) -> str:
        """Values that are possible, in words; empty where any is."""
        names = self.choices or (tuple(options(self.options)) if self.options else ())
        return ", ".join(names) if names else (str(self.within) if self.within is not None else "")

    def check(self, key: str, value: Any) -> None:
        """Raise ConfigError where a value is none of those possible; None means that nothing is set."""
        if value is None or value == "???":
            return
        if self.choices and value not in self.choices:
            raise ConfigError(not_one_of(key, value, self.choices))
        if self.options:
            found = options(self.options)
            if value not in found:
                raise ConfigError(not_one_of(key, value, tuple(found)))
        several = isinstance(value, list | tuple)
        if self.within is not None and any(v not in self.within for v in (value if several else (value,))):
            shown = list(value) if several else value
            word = "lie" if str(self.within).startswith("in ") else "be"
            raise ConfigError(f"{key}={shown}: must {word} {self.within}{' each' if several else ''}")


def setting(default: Any, meaning: str, **about: Any) -> Any:
    """Declare a field of a configuration; see :class:`Setting` for what can be said about it."""
    described = {"setting": Setting(meaning, **about)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=described)
    return field(default=default, metadata=described)


def group(schema: type[Any], meaning: str, **about: Any) -> Any:
    """Declare a group of settings, a dataclass of its own."""
    return field(default_factory=schema, metadata={"setting": Setting(meaning, **about)})


@dataclass(frozen=True)
class Entry:
    """A setting at its place in a configuration.

    Attributes:
        key: with dots, such as ``model.rounds``.
        about: what is known of it.
        value: in the configuration.
        default: None for one that must be given.
    """

    key: str
    about: Setting
    value: Any
    default: Any


def entries(cfg: Any, prefix: str = "") -> Iterator[Entry]:
    """All settings of a configuration (a dataclass), nested ones with dots, in the order of their declaration."""
    for f in fields(cfg):
        value = getattr(cfg, f.name)
        if is_dataclass(value):
            yield from entries(value, f"{prefix}{f.name}.")
        else:
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            yield Entry(f"{prefix}{f.name}", f.metadata["setting"], value, default)


def groups(cfg: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All groups of a configuration: their keys (empty for the configuration itself) and dataclasses."""
    yield prefix, cfg
    for f in fields(cfg):
        value = getattr(cfg, f.name)
        if is_dataclass(value):
            yield from groups(value, f"{prefix}.{f.name}".lstrip("."))


def keys(schema: type[Any], *changes: Changes) -> frozenset[str]:
    """Keys of the settings of a configuration that change what is named."""
    return frozenset(entry.key for entry in entries(schema()) if entry.about.changes in changes)


def check_values(cfg: Any) -> None:
    """Raise ConfigError for the first value that is not possible by itself."""
    for entry in entries(cfg):
        entry.about.check(entry.key, entry.value)


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with a message unless a condition holds."""
    if not condition:
        raise ConfigError(message)


__all__ = [
    "SHARE", "Changes", "ConfigError", "Entry", "Range", "Setting", "above", "at_least", "check_values", "entries",
    "group", "groups", "keys", "option", "require", "setting",
]  # fmt: skip
