"""What all commands share: help, quoting of paths, and short error messages with exit code 2."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from agnn_lit.config import CONF_DIR, SCHEMAS, ConfigError, entries, register_schemas, typed, unknown_key
from agnn_lit.shared.runs import register_resolvers


def run_command(command: str, work: Callable[[Any], Any], *errors: type[Exception]) -> None:
    """Compose the settings of a command and call its function; errors of the user are printed without a traceback.

    Args:
        command: name of the file in ``conf/`` and of the schema, such as ``train``.
        work: called with the settings; returns what Hydra's sweepers optimise.
        errors: exceptions of the user, besides ConfigError.

    Raises:
        SystemExit: 2 if the settings cannot be composed, and for errors of the user.
    """
    register_schemas()
    register_resolvers()
    name, schema = f"agnn-{command}", SCHEMAS[command]
    caught: tuple[type[Exception], ...] = (ConfigError, *errors)

    @hydra.main(config_path=CONF_DIR, config_name=command, version_base="1.3")
    def task(cfg: DictConfig) -> Any:
        try:
            _need_settings(command, cfg)
            return work(typed(cfg, schema))
        except caught as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise  # printed below, once for the sweep
            print(f"{name}: {error}", file=sys.stderr)
            remove_empty(Path(HydraConfig.get().runtime.output_dir))
            raise SystemExit(2) from error

    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of print
    try:
        if not {"-m", "--multirun"} & set(sys.argv[1:]):  # in a sweep a comma separates values
            sys.argv[1:] = quote_paths(sys.argv[1:], schema)
        if {"-h", "--help"} & set(sys.argv[1:]):
            from agnn_lit.config.help import help_text

            _print(help_text(command, [word for word in sys.argv[1:] if not word.startswith("-")]))
            return
        task()
    except (HydraException, OmegaConfBaseException) as error:
        if full == "1":
            raise
        print(f"{name}: {explain(error, schema)}", file=sys.stderr)
        raise SystemExit(2) from error
    except caught as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # raised when Hydra creates the run folder
            raise
        print(f"{name}: {error.strerror}, give a shorter one: {error.filename}", file=sys.stderr)
        raise SystemExit(2) from error
    finally:
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


def _print(text: str) -> None:
    """Print a text that may go to a pipe, such as ``| head``, which closes early."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end


def remove_empty(folder: Path) -> None:
    """Remove a run folder that Hydra created, and the two folders above it, if they are empty."""
    with suppress(OSError):
        for made in (folder, folder.parent, folder.parent.parent):
            if made.resolve() != Path.cwd():
                made.rmdir()


def _need_settings(command: str, cfg: DictConfig) -> None:
    """Raise ConfigError if a required setting is missing."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        possible = {entry.key: entry.about.possible for entry in entries(SCHEMAS[command]())}.get(missing[0])
        one_of = f"one of {possible}; " if possible else ""
        raise ConfigError(f"{missing[0]}= is needed; {one_of}agnn-{command} --help shows how")


def quote_paths(arguments: list[str], schema: type[Any]) -> list[str]:
    """Quote settings that are paths, so that Hydra accepts any file name, and expand ``~``.

    A list ``key=[a,b]`` is quoted entry by entry; a single value of a list setting becomes a list. Quoted values are
    left as they are.
    """
    paths = {entry.key: entry.default for entry in entries(schema()) if entry.about.path}
    quoted = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        in_brackets = value[:1] == "[" and value[-1:] == "]"
        is_quoted = value[:1] in ("'", '"') or (in_brackets and any(quote in value for quote in "'\""))
        if key not in paths or not equals or value in ("", "null") or is_quoted:
            quoted.append(argument)
        elif isinstance(paths[key], list) or in_brackets:
            listed = value[1:-1].split(",") if in_brackets else [value]
            quoted.append(f"{key}=[{','.join(_quote(entry.strip()) for entry in listed if entry.strip())}]")
        else:
            quoted.append(f"{key}={_quote(value)}")
    return quoted


def _quote(path: str) -> str:
    expanded = str(Path(path).expanduser()) if path.startswith("~") else path
    # Hydra unescapes backslashes only before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), expanded) + "'"


def explain(error: BaseException, schema: type[Any]) -> str:
    """Explain what is wrong with an override, with a suggestion for a misspelt key."""
    text = str(error)
    cause = error.__cause__ or error.__context__
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown and cause is not None and "not in" in str(cause):
        return unknown_key(unknown[1], schema)
    foreign = re.search(r"In 'experiment/(\w+)': Could not override '([\w/]+)'", text)
    if foreign:
        return f"experiment={foreign[1]} is for another command: this one has no group {foreign[2]}"
    wrong = re.search(r"Error merging override (.+)", text)
    if wrong and cause is not None:
        return f"{wrong[1].splitlines()[0]}: {str(cause).splitlines()[0]}"
    return text.split("\nConfig search path")[0].strip()
