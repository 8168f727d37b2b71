"""Callbacks and loggers that a configuration names by their class (``_target_``), made by Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from agnn_lit.config import ConfigError

_RUN = "<run>"


def make_parts(key: str, parts: Mapping[str, Any], folder: Path, kind: type[Any]) -> list[Any]:
    """Make the objects that a setting describes.

    Args:
        key: the setting, for errors.
        parts: arguments by name, with the class as ``_target_``; ``<run>`` in a text stands for the run folder.
        folder: the run folder.
        kind: class that all must have.

    Raises:
        ConfigError: a class cannot be imported or made, or is of another kind.
    """
    made = []
    for name, arguments in parts.items():
        target = arguments["_target_"]
        try:
            part = instantiate(_placed(arguments, folder), _convert_="all")
        except InstantiationException as error:
            cause = error.__cause__ or error
            raise ConfigError(f"{key}.{name}._target_={target}: {' '.join(str(cause).split())}") from error
        if not isinstance(part, kind):
            raise ConfigError(f"{key}.{name}._target_={target}: must be a {kind.__name__} of Lightning")
        made.append(part)
    return made


def _placed(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return {name: _placed(one, folder) for name, one in value.items()}
    if isinstance(value, list):
        return [_placed(one, folder) for one in value]
    return value.replace(_RUN, str(folder)) if isinstance(value, str) else value
