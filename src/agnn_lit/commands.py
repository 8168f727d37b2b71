"""What all commands share: a wrong word on the command line ends with one sentence and code 2."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from agnn_lit.config import ConfigError, unknown_key

Function = TypeVar("Function", bound=Callable[..., Any])


def refuse(name: str, *errors: type[Exception]) -> Callable[[Function], Function]:
    """Decorate the body of a Hydra main: errors that a user can put right are shown as their text alone.

    Args:
        name: of the command.
        errors: exceptions that end it with code 2.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def guarded(*args: Any) -> Any:
            try:
                return function(*args)
            except errors as error:
                if HydraConfig.get().mode is RunMode.MULTIRUN:
                    raise  # the other jobs of a sweep go on; run_command says it at the end
                print(f"{name}: {error}", file=sys.stderr)
                raise SystemExit(2) from error

        return cast(Function, guarded)

    return decorate


def run_command(name: str, main: Callable[[], None], schema: type[Any], *errors: type[Exception]) -> None:
    """Call a Hydra main, and say in a sentence what is wrong with its overrides.

    Args:
        name: of the command, for messages.
        main: the function that Hydra decorated.
        schema: dataclass of its settings; a misspelt key is compared with its fields.
        errors: exceptions that a job of a sweep may end with.

    Raises:
        SystemExit: 2 when the overrides cannot be composed, and for ``errors``; otherwise what ``main`` ends with.
    """
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print
    try:
        main()
    except (HydraException, OmegaConfBaseException) as error:
        if full == "1":
            raise
        print(f"{name}: {explain(error, schema)}", file=sys.stderr)
        raise SystemExit(2) from error
    except errors as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # of a folder that Hydra makes
            raise
        print(f"{name}: {error.strerror}, give a shorter one: {error.filename}", file=sys.stderr)
        raise SystemExit(2) from error
    finally:
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


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
        raise ConfigError(f"{word} needs {package}: pip install 'agnn-lit[{extra}]'") from error


def quote_path(argument: str, *keys: str) -> str:
    """Quote the value of a setting that is a path, for Hydra's grammar, and expand ``~``."""
    key, equals, value = argument.partition("=")
    if key not in keys or not equals or value in ("", "null") or value[0] in "'\"":
        return argument
    path = str(Path(value).expanduser())
    # Backslashes stand for themselves but before a quote.
    return f"{key}='" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), path) + "'"


def quote_paths(*keys: str) -> None:
    """Let the paths of some settings on the command line be any file name."""
    sys.argv[1:] = [quote_path(argument, *keys) for argument in sys.argv[1:]]


def explain(error: BaseException, schema: type[Any]) -> str:
    """Say what is wrong with an override, and what may have been meant."""
    text = str(error)
    cause = error.__cause__ or error.__context__
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and cause is not None and "not in" in str(cause):
        return unknown_key(unknown[1], schema)
    elsewhere = re.search(r"In 'experiment/(\w+)': Could not override '([\w/]+)'", text)
    if elsewhere:
        return f"experiment={elsewhere[1]} is for another command: this one has no group {elsewhere[2]}"
    wrong = re.search(r"Error merging override (.+)", text)
    if wrong and cause is not None:
        return f"{wrong[1].splitlines()[0]}: {str(cause).splitlines()[0]}"
    return text.split("\nConfig search path")[0].strip()
