"""Optional packages."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agnn_lit.config import ConfigError


def need_package(package: str, extra: str, word: str) -> Any:
    """Import an optional package.

    Args:
        package: name of the package or of a module in it.
        extra: the extra of agnn-lit that installs it.
        word: command or setting that needs it, for the error.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f'{word} needs {package.partition(".")[0]}: pip install "agnn-lit[{extra}]"') from error
