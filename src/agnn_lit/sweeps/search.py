"""``agnn-train -m hydra/sweeper=optuna``: search over settings instead of a grid.

Hydra's own Optuna sweeper requires Optuna 2. This one has the same syntax for the search space (``choice(…)``,
``range(…)``, ``interval(…)``, ``tag(log, interval(…))``), prunes runs, and keeps its study in SQLite beside the runs:
an interrupted search continues.

Used instead of Optuna's own parallel search, whose trials are function calls: here a trial is a run like any other,
composed before it starts, trained in its own process, and resumed with the search.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from agnn_lit.config import ConfigError
from agnn_lit.shared.files import write_text
from agnn_lit.shared.packages import need_package
from agnn_lit.shared.runs import Run, exclusive
from agnn_lit.sweeps.launcher import Job, SweepLauncher

if TYPE_CHECKING:
    import optuna

_OBJECTIVE = "val/J"  # on held-out training videos, never on the reported split


def parse_space(overrides: Sequence[Override]) -> tuple[dict[str, Callable[[optuna.Trial], Any]], list[str]]:
    """Separate the searched settings from the fixed ones; the last override of a setting counts.

    Returns:
        For each searched setting a function that suggests its value for a trial, and the fixed overrides.

    Raises:
        ConfigError: no setting is searched.
    """
    last = {override.get_key_element(): override for override in overrides}  # the command line comes after conf/
    suggest = {key: _suggestion(override) for key, override in last.items() if override.is_sweep_override()}
    fixed = [override.input_line or "" for override in last.values() if not override.is_sweep_override()]
    if not suggest:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to search; give settings such as 'optim.lr=tag(log, interval(1e-4, 1e-2))' "
            "or 'model.rounds=choice(1,2,3)'"
        )
    return suggest, fixed


def _suggestion(override: Override) -> Callable[[optuna.Trial], Any]:
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        low, high, log = float(value.start or 0.0), float(value.end or 0.0), "log" in value.tags
        if "int" in value.tags:
            return lambda trial: trial.suggest_int(key, int(low), int(high), log=log)
        return lambda trial: trial.suggest_float(key, low, high, log=log)
    if isinstance(value, RangeSweep) and isinstance(value.start, int) and isinstance(value.stop, int):
        first, last, step = value.start, value.stop - 1, int(value.step)
        return lambda trial: trial.suggest_int(key, first, last - (last - first) % step, step=step)
    if isinstance(value, ChoiceSweep):
        choices = [Override._get_value_element_as_str(v) for v in value.list]
        return lambda trial: trial.suggest_categorical(key, choices)
    raise ConfigError(f"{override.input_line}: must be choice(…), interval(…) or a range(…) of whole numbers")


def objective_values(run: Run) -> list[tuple[int, float]]:
    """Steps and validation J of a run so far."""
    file = run.folder / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return [(int(row["step"]), float(row[_OBJECTIVE])) for row in csv.DictReader(stream) if row.get(_OBJECTIVE)]


@dataclass(eq=False)
class OptunaSweeper(Sweeper):
    """Hydra sweeper that searches with Optuna's TPE sampler.

    ``conf/hydra/sweeper/optuna.yaml`` explains the settings.
    """

    trials: int = 20
    at_a_time: int = 1
    seed: int = 0
    startup: int = 5
    prune: bool = True
    params: Mapping[str, str] | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra with the composed configuration."""
        self._context = hydra_context
        self._config = config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the trials, print them, and return the settings of the best.

        Raises:
            ConfigError: nothing to search, or not a launcher of this package.
            BusyError: another process is running this search.
            SystemExit: 1 if the search was stopped before its last trial.
        """
        optuna = need_package("optuna", "search", "hydra/sweeper=optuna")
        if not isinstance(self._launcher, SweepLauncher):
            raise ConfigError("hydra/sweeper=optuna needs one of this package's launchers; see docs/sweeps.md")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        given = [f"{key}={value}" for key, value in (self.params or {}).items()]
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        suggest, fixed = parse_space(parser.parse_overrides([*given, *arguments]))
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / "study.lock", f"{folder}: another process is running this search"):
            return self._search(optuna, folder, suggest, fixed)

    def _search(self, optuna: Any, folder: Path, suggest: Mapping[str, Callable[[Any], Any]], fixed: list[str]) -> Any:
        launcher = self._launcher
        assert isinstance(launcher, SweepLauncher)
        study = optuna.create_study(
            study_name=folder.name,
            storage=f"sqlite:///{folder / 'study.db'}",
            direction="maximize",
            load_if_exists=True,
        )
        # With the same seed, a continued search would choose the same settings again.
        seed = self.seed + len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.startup, constant_liar=True)
        pruners = optuna.pruners
        study.pruner = pruners.MedianPruner(n_startup_trials=self.startup) if self.prune else pruners.NopPruner()
        _requeue_running(optuna, study)
        while (left := self.trials - _ended(optuna, study)) > 0:
            batch = [study.ask() for _ in range(min(left, self.at_a_time))]
            chosen = [tuple(f"{key}={value(trial)}" for key, value in suggest.items()) for trial in batch]
            distinct = list(dict.fromkeys(chosen))  # two trials may have the same settings
            prepared = launcher.prepare([[*fixed, *words] for words in distinct], first=batch[0].number)
            jobs = [prepared[distinct.index(words)] for words in chosen]
            trials = {job.run.folder: trial for job, trial in zip(jobs, batch, strict=True)}
            waiting = [job for job in prepared if job.skipped is None]
            if waiting:
                launcher.run_jobs(waiting, partial(_should_prune, trials))
            pruned = {folder for folder, trial in trials.items() if trial.user_attrs.get("pruned")}
            ended = [
                _tell(optuna, study, trial, job, pruned=job.run.folder in pruned)
                for job, trial in zip(jobs, batch, strict=True)
            ]
            if not all(ended):
                _print_study(study, folder)
                left = self.trials - _ended(optuna, study)
                print(f"agnn-train: {left} trials are left; repeat the command to continue", file=sys.stderr)
                raise SystemExit(1)
        return _print_study(study, folder)


def _requeue_running(optuna: Any, study: Any) -> None:
    """Try the settings of trials that an earlier command left unfinished first; their runs continue."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _ended(optuna: Any, study: Any) -> int:
    """Number of trials with an end; a failed one counts if its run failed, not if it was queued again."""
    state = optuna.trial.TrialState
    trials = study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED, state.FAIL))
    return sum(trial.state != state.FAIL or "error" in trial.user_attrs for trial in trials)


def _should_prune(trials: Mapping[Path, Any], job: Job) -> bool:
    """Report new validation scores of a run to its trial, and decide whether to prune it."""
    trial = trials[job.run.folder]
    reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for step, value in objective_values(job.run):
        if step not in reported:
            trial.report(value, step)
    if not trial.should_prune():
        return False
    trial.set_user_attr("pruned", True)
    return True


def _tell(optuna: Any, study: Any, trial: Any, job: Job, *, pruned: bool) -> bool:
    """Tell the study the result of a run; False if the run is unfinished, and its settings are queued again."""
    status = job.run.status
    trial.set_user_attr("run", str(job.run.folder))
    state, value = status.get("state"), status.get("metrics", {}).get(_OBJECTIVE)
    if state == "done" and value is not None:
        study.tell(trial, value)
    elif pruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    elif state in ("interrupted", "waiting", "running"):
        study.enqueue_trial(trial.params)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return False
    else:
        trial.set_user_attr("error", str(status.get("error") or f"no {_OBJECTIVE}: clips.val_share=0").splitlines()[-1])
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return True


def _print_study(study: Any, folder: Path) -> dict[str, Any]:
    """Print and write the trials, best first; return the settings of the best."""
    from rich.table import Table

    from agnn_lit.shared.terminal import open_console

    trials = [t for t in study.get_trials() if t.value is not None or "run" in t.user_attrs]
    trials.sort(key=lambda t: -(t.value if t.value is not None else -1.0))
    keys = list(dict.fromkeys(k for t in trials for k in t.params))
    table = Table(title=f"{folder}: {len(trials)} trials")
    for column in ("trial", "state", _OBJECTIVE, *keys):
        table.add_column(column, justify="left" if column == "state" else "right")
    lines = [",".join(("trial", "state", _OBJECTIVE, *keys, "run"))]
    for t in trials:
        value = "" if t.value is None else f"{t.value:.4f}"
        cells = [str(t.number), t.state.name.lower(), value, *(str(t.params.get(k, "")) for k in keys)]
        table.add_row(*cells)
        lines.append(",".join([*cells, str(t.user_attrs.get("run", ""))]))
    write_text(folder / "trials.csv", "\n".join(lines) + "\n")
    open_console().print(table)
    best: dict[str, Any] = study.best_params if any(t.value is not None for t in trials) else {}
    return best
