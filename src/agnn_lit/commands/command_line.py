"""What all commands share: help, quoting of text, and short error messages with exit code 2."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from agnn_lit.config import CONF_DIR, SCHEMAS, ConfigError, entries, register_schemas, typed, unknown_key
from agnn_lit.shared.overrides import is_list, is_quoted, listed, quoted
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
    register_schemas(command)
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

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names need not be text
            stream.reconfigure(errors="backslashreplace")
    if "--version" in sys.argv[1:]:
        print(f"{name} {version('agnn-lit')}")
        return
    helps = bool({"-h", "--help"} & set(sys.argv[1:]))
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of print
    try:
        check_words(name, sys.argv[1:])
        sys.argv[1:] = quote_text(sys.argv[1:], schema, swept=bool({"-m", "--multirun"} & set(sys.argv[1:])))
        if helps:
            from agnn_lit.config.help import help_text

            print(help_text(command, [word for word in sys.argv[1:] if not word.startswith("-")]), flush=True)
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
    except BrokenPipeError:  # the reader of a pipe, such as ``| head``, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        raise SystemExit(0 if helps else 141) from None  # 128 + SIGPIPE
    except OSError as error:
        if full == "1":
            raise
        shorter = ", give a shorter one" if error.errno == errno.ENAMETOOLONG else ""
        where = f": {error.filename}" if error.filename else ""
        print(f"{name}: {error.strerror or error}{shorter}{where}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


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


#: Options of Hydra with one and with two dashes, of which these are followed by a word.
_WITH_WORD = (
    *("--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd"),
    *("--package", "-p", "--info", "-i", "--cfg", "-c"),
)
_OPTIONS = ("--help", "-h", "--hydra-help", "--multirun", "-m", "--run", "-r", "--resolve", "--shell-completion", "-sc")


def check_words(name: str, words: list[str]) -> None:
    """Raise ConfigError for a word of the command line that is no setting, with what was probably meant."""
    after = ""
    for word in words:
        option, _, value = word.partition("=")
        if word.startswith("-"):
            if option not in _WITH_WORD + _OPTIONS and not option.startswith("--experimental"):
                meant = option.lstrip("-").replace("-", "_")
                raise ConfigError(f"{word}: settings have no dashes, write {meant}={value or 'VALUE'}; {name} --help")
        elif "=" not in word and not word.startswith("~") and after not in _WITH_WORD:
            example = f", such as input={word}" if Path(word).exists() else ""
            raise ConfigError(f"{word}: settings are written key=value, without spaces{example}; {name} --help")
        elif word[0] in "'\"":
            raise ConfigError(f'{word}: the quotes have become part of the word; on Windows use double quotes, "…"')
        elif word.startswith("="):
            raise ConfigError(f"{word}: settings are written key=value, without spaces; {name} --help")
        after = word


def quote_text(arguments: list[str], schema: type[Any], *, swept: bool = False) -> list[str]:
    """Quote settings that are text, and names of options, so that they are taken as typed.

    Hydra would refuse many file names, and read ``12e345`` or ``true`` as a number or a truth value. ``~`` of paths is
    expanded. Of a list ``key=[a,b]`` each entry is quoted; a single value of a list setting becomes a list. Quoted
    values are left as they are, and so is ``null``.

    Args:
        arguments: words of the command line.
        schema: settings of the command.
        swept: in a sweep, a comma outside brackets separates values, and ``choice(…)`` stays.
    """
    texts = {entry.key: entry for entry in entries(schema()) if entry.is_text}
    options = {folder.name for folder in Path(CONF_DIR).iterdir() if folder.is_dir()} - {"hydra"}
    done = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.lstrip("+")
        entry = texts.get(name)
        if not equals or not value or (entry is None and name not in options):
            done.append(argument)
            continue
        several = entry is not None and entry.kind.startswith("list")
        brackets = several or entry is None or entry.kind == "Any"
        if swept and _FUNCTION.fullmatch(value):
            done.append(argument)
            continue
        if entry is None and value == "null":  # no option has this name; Hydra would fail with a traceback
            value = quoted(value)
        path = entry is not None and entry.about.path
        values = listed(value) if swept else [value]
        done.append(f"{key}={','.join(_quote(v, path, brackets, several and not swept) for v in values)}")
    return done


#: Hydra's functions on the values of a sweep.
_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list|int|float|str|bool|json_str)\(.*\)")


def _is_word(value: str) -> bool:
    """Whether Hydra reads a value as the text that it is, without quotes."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value)) and value.lower() not in _OTHERS


#: Words that are no text to Hydra.
_OTHERS = ("true", "false", "null", "nan", "inf")


def _quote(value: str, path: bool, brackets: bool, becomes_list: bool) -> str:
    """Quote one value; with ``brackets``, what is in brackets is a list."""
    if value == "null":
        return value
    if brackets and is_list(value):
        return f"[{','.join(_quote(entry, path, False, False) for entry in listed(value[1:-1]))}]"
    if not is_quoted(value) and (path or not _is_word(value)):
        value = quoted(str(Path(value).expanduser()) if path and value.startswith("~") else value)
    return f"[{value}]" if becomes_list else value


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
    several = re.search(r"Ambiguous value for argument '([^'=]+)=([^']*)'", text)
    if several:
        key, value = several.groups()
        return (
            f"{key}={value}: a comma separates the values of a sweep (-m); a list needs brackets, {key}=[{value}], and "
            "a number a decimal point"
        )
    wrong = re.search(r"Error merging override (.+)", text)
    if wrong and cause is not None and "is not a ListConfig" in str(cause):
        key, _, value = wrong[1].splitlines()[0].partition("=")
        return f"{key}={value}: must be a list in brackets, such as {key}=[{value},{value}]"
    if wrong and cause is not None:
        return f"{wrong[1].splitlines()[0]}: {str(cause).splitlines()[0]}"
    return text.split("\nConfig search path")[0].strip()
