"""Options by name: each backbone, data set, loss, … is registered where it is defined.

    @register("model.gate", "channel")
    class ChannelGate(nn.Module): ...

Names and facts (keyword arguments, which must be literals) are read from the source without importing it, so that
``--help`` and the checks of a configuration need no torch. A user's own module registers its options in the same way;
the setting ``plugins`` names it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

Part = TypeVar("Part")


class ConfigError(ValueError):
    """A configuration with wrong values, or values that contradict each other."""


#: Settings with registered options, and the module or package that defines them.
PLACES = {
    "backbone.name": "model/backbones",
    "model.gate": "model/messages.py",
    "model.aggregation": "model/messages.py",
    "model.update": "model/conv_gru.py",
    "model.readout": "model/readout.py",
    "data.name": "data/datasets",
    "loss.name": "training/losses.py",
    "crf.backend": "inference/crf.py",
    "instances.proposals": "instances/proposals.py",
    "protocol": "metrics/protocols.py",
    "topic": "benchmarks",
}
#: Meaning of the setting ``plugins`` of several commands.
PLUGINS = "your own modules, imported first, that register backbones, data sets, gates, …"
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Option:
    """An option ``name`` of a setting, defined in ``module``; its ``facts`` are known without importing it."""

    setting: str
    name: str
    module: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """Import the module and return the registered object."""
        import_module(self.module)
        return _parts[self.setting, self.name]


_parts: dict[tuple[str, str], Any] = {}
_options: dict[tuple[str, str], Option] = {}
_plugins: list[str] = []


def register(setting: str, name: str, **facts: Any) -> Callable[[Part], Part]:
    """Decorator that registers an object as the option ``name`` of a setting.

    Args:
        setting: one of :data:`PLACES`.
        name: as given on the command line.
        facts: literals; the declaration of the setting lists the ones it uses.

    Raises:
        ConfigError: a setting without options, or a name that another module has registered.
    """
    if setting not in PLACES:
        raise ConfigError(f"register({setting!r}, {name!r}): must be one of {', '.join(PLACES)}")

    module = str(sys._getframe(1).f_globals["__name__"])  # of the caller

    def add(part: Part) -> Part:
        earlier = options(setting).get(name)
        if earlier is not None and earlier.module != module:
            raise ConfigError(f"{setting}={name} is registered by {earlier.module} and by {module}: rename one of them")
        _parts[setting, name] = part
        if earlier is None:
            _options[setting, name] = Option(setting, name, module, facts)
        return part

    return add


@cache
def _shipped(setting: str) -> dict[str, Option]:
    """Find the options that this package registers, from its source."""
    place = _PACKAGE / PLACES[setting]
    found: dict[str, Option] = {}
    for file in sorted(place.glob("*.py")) if place.is_dir() else [place]:
        module = ".".join(("agnn_lit", *file.relative_to(_PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda call: call.lineno):
            if not (isinstance(node.func, ast.Name) and node.func.id == "register"):
                continue
            words = [ast.literal_eval(word) for word in node.args]
            if words[0] == setting:
                facts = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
                found[words[1]] = Option(setting, words[1], module, facts)
    return found


def options(setting: str) -> dict[str, Option]:
    """Return all options of a setting by name, those of plugins last."""
    return _shipped(setting) | {o.name: o for (of, _), o in _options.items() if of == setting}


def option(setting: str, name: str) -> Option:
    """Return an option by name.

    Raises:
        ConfigError: no such option; the message suggests a similar name.
    """
    found = options(setting)
    if name not in found:
        raise ConfigError(not_one_of(setting, name, tuple(found)))
    return found[name]


def not_one_of(setting: str, value: object, names: tuple[str, ...]) -> str:
    """Return the message for a value that is not allowed, with a suggestion."""
    near = get_close_matches(str(value), names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    if not near and setting in PLACES:
        hint = "; a part of your own needs plugins=[MODULE]"
    return f"{setting}={value}: must be one of {', '.join(names)}{hint}"


def import_plugins(modules: list[str]) -> None:
    """Import a user's own modules, which register their options; the current folder is searched, too.

    Raises:
        ConfigError: a module cannot be imported.
    """
    folder = str(Path.cwd())
    if modules and folder not in sys.path:
        sys.path.append(folder)
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"plugins: {name} cannot be imported ({error}); install it, or run the command in its folder"
            ) from error
        if name not in _plugins:
            _plugins.append(name)


def imported_plugins() -> tuple[str, ...]:
    """Return the plugins of this process, for its child processes to import."""
    return tuple(_plugins)
