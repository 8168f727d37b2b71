"""Run folders: name, state, provenance and resume.

A run folder holds ``config.yaml`` (resolved), ``status.json``, ``metrics.csv``, ``checkpoints/best.ckpt``
and ``checkpoints/last.ckpt``, ``overlays/`` (validation frames), ``wandb/`` and ``evaluations/``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from agnn_lit.config import Changes, ConfigError, TrainConfig, keys, plain, stored
from agnn_lit.shared.files import write_text
from agnn_lit.shared.overrides import is_list, listed, unquoted
from agnn_lit.shared.processes import is_first_process
from agnn_lit.shared.provenance import git_revision, versions

#: Settings that do not change the result: not part of a run's name, and free to change on resume.
_FREE = keys(TrainConfig, Changes.command, Changes.place)
_LOCK = ".lock"

#: Exit code of agnn-train when another process is training the run.
BUSY = 75

_LONGEST = 150  # characters of a folder name; file systems allow 255 bytes


def run_name(overrides: Iterable[str]) -> str:
    """Name a run by its sorted overrides, such as ``model.rounds-3+seed-1``; ``default`` without any.

    Overrides that do not change the result are left out, and so are characters that a shell or Hydra would need quoted.
    An override that has such characters ends in a digest, so that ``a-b`` and ``a+b``, or two names in Chinese, are two
    names.
    """
    kept = sorted(o.lstrip("+~") for o in overrides if o.lstrip("+~").split("=")[0] not in {"experiment", *_FREE})
    name = "+".join(map(_word, kept)) or "default"
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{_short(name)}"
    return name


#: Values that another value cannot have the same word as.
_PLAIN = re.compile(r"[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*")
_PLAIN_ENTRY = re.compile(r"[A-Za-z0-9_.]+")


def _word(override: str) -> str:
    """Return a name for an override."""
    key, equals, value = override.partition("=")
    if is_list(value):
        entries = [unquoted(entry) for entry in listed(value[1:-1])]
        plain, value = all(map(_PLAIN_ENTRY.fullmatch, entries)), f"[{','.join(entries)}]"
    else:
        value = unquoted(value)
        plain = _PLAIN.fullmatch(value if equals else key) is not None
    text = key + equals + value
    word = re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-")
    return word if plain else f"{word}-{_short(text)}".lstrip("-")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def run_dir(root: str, name: str, overrides: Iterable[str]) -> str:
    """Folder of a run: ``<root>/<name>/<overrides>``, or the one given as ``run=``."""
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "run" and value not in ("", "null"):
            return unquoted(value)
    return str(Path(root) / name / run_name(overrides))


def register_resolvers() -> None:
    """Register ``${agnn.run_name:…}`` and ``${agnn.run_dir:…}`` with OmegaConf, for ``conf/hydra``."""
    OmegaConf.register_new_resolver("agnn.run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("agnn.run_dir", run_dir, replace=True)


class RunError(RuntimeError):
    """Training cannot continue; its files are kept."""


class BusyError(ConfigError):
    """Another process is training the run."""


@contextmanager
def exclusive(file: Path, message: str) -> Iterator[None]:
    """Hold a lock file during the ``with`` block; the system frees it when this process ends, however it ends.

    On a file system that cannot lock, a warning is printed and the block runs without the lock.

    Args:
        file: the lock file; created if missing, in a folder that exists.
        message: of the error when another process holds the lock.

    Raises:
        BusyError: another process holds the lock.
        OSError: the file cannot be written.
    """
    from filelock import FileLock, Timeout  # imported here: most commands take no lock

    file.touch()  # so that an OSError below means that the file system cannot lock
    with ExitStack() as held:
        try:
            # Its soft lock, a marker file, would outlive a process that is killed.
            held.enter_context(FileLock(file, timeout=0, fallback_to_soft=False))
        except Timeout as error:
            raise BusyError(message) from error
        except OSError as error:
            print(f"{file.parent}: cannot be locked against other processes: {error}", file=sys.stderr)
        yield


class Run:
    """A run folder, which may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = time.monotonic()
        self._earlier = float(self.status.get("seconds", 0.0))

    @property
    def best(self) -> Path:
        """Checkpoint with the best validation score; without validation, the last one."""
        best = self.folder / "checkpoints" / "best.ckpt"
        return self.last if self.last.is_file() and not best.is_file() else best

    @property
    def last(self) -> Path:
        """Checkpoint of the last epoch."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def status(self) -> dict[str, Any]:
        """Contents of ``status.json``; empty if it does not exist yet."""
        file = self.folder / "status.json"
        return json.loads(file.read_text()) if file.is_file() else {}

    def update(self, **changes: Any) -> None:
        """Change entries of ``status.json``, and its ``seconds``, which add up over resumes.

        Of several processes only the first one writes, unless the state is ``failed``.
        """
        if not is_first_process() and changes.get("state") != "failed":
            return
        seconds = round(self._earlier + time.monotonic() - self._started, 1)
        status = {**self.status, **changes, "seconds": seconds}
        write_text(self.folder / "status.json", json.dumps(status, indent=2) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other training processes; in distributed training the first process does.

        Raises:
            BusyError: another process is training this run.
        """
        if not is_first_process():
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / _LOCK, f"{self.folder}: another process is training this run"):
            yield

    def unlock(self) -> None:
        """Remove the lock file, so that an empty folder can be removed."""
        (self.folder / _LOCK).unlink(missing_ok=True)

    def _write_config(self, cfg: TrainConfig) -> None:
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plain(cfg))))

    def wait(self, cfg: TrainConfig, command: str) -> None:
        """Write the configuration of a run to be trained later, and the command that trains it alone."""
        self._write_config(cfg)
        self.update(state="waiting", command=command)

    def begin(self, cfg: TrainConfig) -> None:
        """Write configuration and provenance; in distributed training the first process does."""
        if not is_first_process():
            return
        self._write_config(cfg)
        command = self.status.get("command") or shlex.join(["agnn-train", *sys.argv[1:]])
        about = {"git": git_revision(), "versions": versions(), "command": command}
        self.update(state="running", error=None, **about)

    def load_config(self) -> TrainConfig:
        """Read the configuration; ConfigError if the folder is not a run."""
        file = self.folder / "config.yaml"
        if self._is_empty():  # Hydra creates the folder given as run=
            raise ConfigError(f"run={self.folder}: no such run; expected a folder made by agnn-train")
        if not file.is_file():
            raise ConfigError(f"run={self.folder}: no {file.name} in it; expected a folder made by agnn-train")
        return stored(OmegaConf.load(file))  # type: ignore[arg-type]

    def clear(self) -> None:
        """Remove the files of an earlier run; ConfigError if the folder holds other files."""
        if self._is_empty():
            return
        if not (self.folder / "status.json").is_file():
            raise ConfigError(f"overwrite=true: {self.folder} is not a run folder; its files are left alone")
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _LOCK:  # this process may hold it
                path.unlink()
        self._earlier = 0.0

    def check_same(self, cfg: TrainConfig) -> None:
        """Raise ConfigError if the run has another configuration; settings that do not change the result may differ."""
        free = tuple(f"{key}:" for key in (*_FREE, "separate_streams"))  # a run keeps its random streams
        changed = [line for line in differences(plain(self.load_config()), plain(cfg)) if not line.startswith(free)]
        if changed:
            raise ConfigError(
                f"{self.folder} holds a run with another configuration:\n  " + "\n  ".join(changed) + "\n"
                "continue it with run=DIR, replace it with overwrite=true, or choose another name=…"
            )

    def _is_empty(self) -> bool:
        return not self.folder.is_dir() or all(path.name == _LOCK for path in self.folder.iterdir())


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """List the keys whose values differ between two plain configs, as ``key: old -> new``."""
    found: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found
