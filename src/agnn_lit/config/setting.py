"""Declaration of a setting: everything about it is stated once, where it is declared.

Checks, ``--help``, the names of runs and evaluations, report columns, loading of partial weights and the conversion of
released checkpoints are derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

from agnn_lit.config.registry import ConfigError, not_one_of, options


class Changes(Enum):
    """What another value of a setting changes."""

    result = "result"  # masks, scores or weights
    seed = "seed"  # repeats the same experiment with other random numbers
    digits = "digits"  # the last digits of the result, and how fast it is computed
    speed = "speed"  # how fast the result is computed
    extra = "extra"  # what else is logged or written
    place = "place"  # where something is read or written
    command = "command"  # how one call of the command behaves


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; each end may be open or infinite."""

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
    """Return the range [low, ∞)."""
    return Range(low)


def above(low: float) -> Range:
    """Return the range (low, ∞)."""
    return Range(low, open_low=True)


#: Probabilities and shares.
SHARE = Range(0.0, 1.0)


@dataclass(frozen=True)
class Setting:
    """Everything about a setting.

    Attributes:
        meaning: a phrase for ``--help`` and the documentation.
        unit: unit of a number.
        within: allowed numbers; for a list, of each element.
        choices: allowed words.
        options: the setting whose registered options are allowed; see :mod:`agnn_lit.config.registry`.
        changes: what another value changes.
        shown: reports show it even if all runs have the same value.
        title: its name in reports; empty: the key.
        tensors: name prefixes of the model's tensors that cannot be reused with another value.
        released: value in the authors' released code; None if it has no such setting.
        label: prefix of the value in the name of an evaluation; None: the key.
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
        """Allowed values in words; empty if all are."""
        return ", ".join(self._names) or ("" if self.within is None else str(self.within))

    @property
    def _names(self) -> tuple[str, ...]:
        return self.choices or (tuple(options(self.options)) if self.options else ())

    def check(self, key: str, value: Any) -> None:
        """Raise ConfigError if a value is not allowed; None (not set) always is."""
        if value is None or value == "???":
            return
        if self.path and value == "":
            raise ConfigError(f"{key}=: is empty; give a file or folder")
        if self._names and value not in self._names:
            raise ConfigError(not_one_of(key, value, self._names))
        several = isinstance(value, list | tuple)
        if self.within is not None and any(v not in self.within for v in (value if several else (value,))):
            shown = list(value) if several else value
            word = "lie" if str(self.within).startswith("in ") else "be"
            raise ConfigError(f"{key}={shown}: must {word} {self.within}{' each' if several else ''}")


def setting(default: Any, meaning: str, **about: Any) -> Any:
    """Declare a field of a configuration; ``about`` are attributes of :class:`Setting`."""
    described = {"setting": Setting(meaning, **about)}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=described)
    return field(default=default, metadata=described)


def group(schema: type[Any], meaning: str, **about: Any) -> Any:
    """Declare a group of settings, which has its own dataclass."""
    return field(default_factory=schema, metadata={"setting": Setting(meaning, **about)})


@dataclass(frozen=True)
class Entry:
    """A setting in a configuration: its dotted key, its description, its value, its default, and its declared type."""

    key: str
    about: Setting
    value: Any
    default: Any
    kind: str

    @property
    def is_text(self) -> bool:
        """Whether the values are text, or lists of text."""
        return self.about.path or self.kind.removesuffix(" | None") in ("str", "list[str]")

    @property
    def length(self) -> int | None:
        """Number of values that a list must have, such as 2 for height and width; None: any, or no list."""
        fixed = self.kind.startswith("tuple[") and "..." not in self.kind
        return self.kind.count(",") + 1 if fixed else None


def entries(cfg: Any, prefix: str = "") -> Iterator[Entry]:
    """Yield all settings of a configuration (a dataclass), nested ones included, in the order of declaration."""
    for f in fields(cfg):
        value = getattr(cfg, f.name)
        if is_dataclass(value):
            yield from entries(value, f"{prefix}{f.name}.")
        else:
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            yield Entry(f"{prefix}{f.name}", f.metadata["setting"], value, default, str(f.type))


def groups(cfg: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the groups of a configuration: dotted key (empty for the configuration itself) and dataclass."""
    yield prefix, cfg
    for f in fields(cfg):
        value = getattr(cfg, f.name)
        if is_dataclass(value):
            yield from groups(value, f"{prefix}.{f.name}".lstrip("."))


def keys(schema: type[Any], *changes: Changes) -> frozenset[str]:
    """Return the keys of the settings with one of these ``changes``."""
    return frozenset(entry.key for entry in entries(schema()) if entry.about.changes in changes)


def check_values(cfg: Any) -> None:
    """Raise ConfigError for the first value that is not allowed."""
    for entry in entries(cfg):
        length = entry.length
        if length is not None and entry.value is not None:
            require(len(entry.value) == length, f"{entry.key}={list(entry.value)}: must be {length} numbers")
        entry.about.check(entry.key, entry.value)


def require(condition: bool, message: str) -> None:
    """Raise ConfigError unless a condition holds."""
    if not condition:
        raise ConfigError(message)
