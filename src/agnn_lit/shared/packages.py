"""What all commands share: a wrong word on the command line ends with one sentence and code 2."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agnn_lit.config import ConfigError


def need_package(package: str, extra: str, word: str) -> Any:
    """Import a package that is installed with an extra of this one.

    Args:
        package: its name.
        extra: of this package.
        word: of the command line that needs it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f"{word} needs {package.partition('.')[0]}: pip install 'agnn-lit[{extra}]'") from error
