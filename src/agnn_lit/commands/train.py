"""``agnn-train``: train a model, or continue an interrupted run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from agnn_lit.commands.command_line import remove_empty, run_command
from agnn_lit.config import ConfigError, TrainConfig, check_train
from agnn_lit.data.video import DataError
from agnn_lit.shared.overrides import unquoted
from agnn_lit.shared.processes import is_first_process
from agnn_lit.shared.runs import BUSY, BusyError, Run, RunError
from agnn_lit.sweeps.local import LAUNCHERS
from agnn_lit.training.fit import train


def _is_done(run: Run) -> bool:
    done = run.status.get("state") == "done"
    if done:
        print(f"{run.folder}: already trained; add overwrite=true to train again")
    return done


def _prepare(cfg: TrainConfig, run: Run, overrides: list[str]) -> TrainConfig | None:
    """Return the configuration of a new or resumed run; None if there is nothing to do."""
    if not is_first_process():  # the first process checks
        return cfg if cfg.run is None else run.load_config()
    if cfg.run is not None:
        others = [o for o in overrides if not o.startswith("run=")]
        if others:
            raise ConfigError(f"run={cfg.run} resumes a run with its own configuration; leave out {' '.join(others)}")
        return None if _is_done(run) else run.load_config()
    if cfg.overwrite:
        check_train(cfg)
        run.clear()
        return cfg
    if not (run.folder / "config.yaml").is_file():
        return cfg
    run.check_same(cfg)
    return None if _is_done(run) else replace(cfg, separate_streams=run.load_config().separate_streams)


def _attempt(run: Run, prepare: Callable[[], TrainConfig | None]) -> float | None:
    """Train as ``prepare`` says (None: nothing to do) and return the last val/J; exit with a message if it fails."""
    cfg = None
    try:
        with run.locked():
            cfg = prepare()
            metrics = run.status.get("metrics", {}) if cfg is None else train(cfg, run)
    except BusyError as error:
        print(f"agnn-train: {error}", file=sys.stderr)
        raise SystemExit(BUSY) from error
    except (ConfigError, DataError) as error:
        # A job of a sweep, or a run that cannot resume: replace the state of its last process.
        if run.status.get("state") in ("waiting", *(() if cfg is None else ("interrupted", "running"))):
            run.update(state="failed", error=str(error))
        with suppress(OSError):
            run.unlock()
        remove_empty(run.folder)
        raise
    except KeyboardInterrupt as error:
        if not is_first_process():
            raise SystemExit(0) from error  # on any other code Lightning kills the first process
        print(f"\ninterrupted; continue with: agnn-train run={run.folder}", file=sys.stderr)
        raise SystemExit(128 + (error.args[0] if error.args else signal.SIGINT)) from error
    except (RunError, OSError) as error:
        print(f"agnn-train: {error}", file=sys.stderr)
        if isinstance(error, OSError):
            print(f"files are kept; fix this, then continue with: agnn-train run={run.folder}", file=sys.stderr)
        raise SystemExit(1) from error
    value = metrics.get("val/J")
    return None if value is None else float(value)


def _train(cfg: TrainConfig) -> float | None:
    hydra_cfg = HydraConfig.get()
    if hydra_cfg.mode is RunMode.MULTIRUN:
        raise ConfigError(
            f"hydra/launcher={hydra_cfg.runtime.choices['hydra/launcher']}: must be one of {', '.join(LAUNCHERS)}; "
            "other launchers train several runs in one process"
        )
    run = Run(_relative(Path(hydra_cfg.runtime.output_dir)))
    return _attempt(run, lambda: _prepare(cfg, run, list(hydra_cfg.overrides.task)))


def _relative(folder: Path) -> Path:
    """The path relative to the working folder, if it is inside it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _continue(folder: Path) -> None:
    """Resume a run with the configuration in its folder; ``conf/`` is not read."""
    run = Run(_relative(folder))
    run.load_config()  # raises ConfigError if there is none
    _attempt(run, lambda: None if is_first_process() and _is_done(run) else run.load_config())


def main() -> None:
    """Entry point of the command."""
    words = sys.argv[1:]
    key, _, value = words[0].partition("=") if len(words) == 1 else ("", "", "")
    if key == "run" and value not in ("", "null"):
        try:
            _continue(Path(unquoted(value)).expanduser())
        except (ConfigError, DataError) as error:
            print(f"agnn-train: {error}", file=sys.stderr)
            raise SystemExit(2) from error
        return
    run_command("train", _train, DataError)


if __name__ == "__main__":
    main()
