"""``agnn-dashboard``: the W&B workspace and report of a sweep, as code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agnn_lit.config import ConfigError
from agnn_lit.config.commands import DashboardConfig
from agnn_lit.report.collect import RunRecord, Scores, find_folders, read_run
from agnn_lit.report.runtable import title_of
from agnn_lit.report.sweeps import Sweep, find_sweeps
from agnn_lit.shared.files import write_text
from agnn_lit.shared.packages import need_package

_STEP = "trainer/global_step"  # as Lightning logs it to W&B
_MEASURES = ("J", "F", "T")


@dataclass(frozen=True)
class LoggedSweep:
    """A sweep as read from disk, and where it was logged in W&B."""

    entity: str  # empty if unknown
    project: str
    group: str
    sweep: Sweep

    @property
    def scores(self) -> list[str]:
        """Names of the evaluations' J, F and T in the W&B summary, such as ``test/simple/raw/J``."""
        stages = dict.fromkeys(
            f"{_prefix(r, s)}/{s.summary.get('stage', 'raw')}" for r in self.sweep.runs for s in r.scores
        )
        return [f"{stage}/{measure}" for stage in stages or ("val",) for measure in _MEASURES]

    def names(self, kind: str) -> list[str]:
        """Names of the evaluations' tables (``sequences``) or pictures (``overlays``) in W&B."""
        return list(dict.fromkeys(f"{_prefix(r, s)}/{kind}" for r in self.sweep.runs for s in r.scores))


def _prefix(run: RunRecord, scores: Scores) -> str:
    """Prefix of the names of an evaluation in W&B, see ``log_scores``."""
    name = str(scores.summary.get("data"))
    usual = f"{run.config.get('data', {}).get('name')}-test-{scores.protocol}"
    return f"test/{scores.protocol}" if run.config.get("test") and name == usual else name


def read_sweep(cfg: DashboardConfig) -> LoggedSweep:
    """Read a sweep from disk.

    Raises:
        ReportError, ConfigError: no sweep in the folder, or its runs were not logged to one project and group.
    """
    runs = [read_run(folder) for folder in find_folders(cfg.sweep, "config.yaml")]
    sweeps = find_sweeps(runs)
    if len(sweeps) != 1:
        raise ConfigError(
            f"sweep={cfg.sweep}: {len(sweeps)} sweeps in it; expected a folder of runs that differ in settings or seeds"
        )
    logged = {key: _common_setting(runs, key, cfg.sweep) for key in ("project", "group", "entity")}
    if not logged["group"]:
        raise ConfigError(f"sweep={cfg.sweep}: its runs have no logger.group, so W&B cannot select them")
    project = cfg.project or logged["project"] or "agnn_lit"
    return LoggedSweep(cfg.entity or logged["entity"] or "", project, logged["group"], sweeps[0])


def _common_setting(runs: list[RunRecord], key: str, folder: str) -> str | None:
    found = {run.config.get("logger", {}).get(key) for run in runs}
    if len(found) > 1:
        raise ConfigError(
            f"sweep={folder}: its runs were logged to several values of logger.{key}: {sorted(map(str, found))}"
        )
    value = found.pop()
    return None if value is None else str(value)


def _panels(shown: LoggedSweep) -> dict[str, list[Any]]:
    """Panels of each section that has some."""
    wr = need_package("wandb_workspaces.reports.v2", "dashboard", "agnn-dashboard")
    axes = shown.sweep.axes or ("seed",)
    spread = {"groupby": wr.Config(axes[0]), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    scores: list[Any] = []
    for name in shown.scores:
        title, metrics = f"{name} by {title_of(axes[0])}", [wr.SummaryMetric(name)]
        scores.append(wr.BarPlot(title=title, metrics=metrics, orientation="v", **spread))
        if name.endswith("/J"):
            scores += [
                wr.ScatterPlot(title=f"{name} against {title_of(a)}", x=wr.Config(a), y=wr.SummaryMetric(name))
                for a in axes
            ]
    curves = [
        wr.LinePlot(title=f"{metric} by {title_of(axes[0])}", x=_STEP, y=[metric], **spread)
        for metric in ("val/J", "val/F", "val/T", "train/loss")
    ]
    columns = [*map(wr.Config, axes), wr.SummaryMetric(shown.scores[0])]
    scores.append(wr.ParallelCoordinatesPlot(columns=[wr.ParallelCoordinatesPlotColumn(c) for c in columns]))
    sections = {
        "Scores": scores,
        "Curves": curves,
        "Sequences": [wr.WeavePanelSummaryTable(table_name=table) for table in shown.names("sequences")],
        "Pictures": [wr.MediaBrowser(media_keys=["val/overlays", *shown.names("overlays")], num_columns=3)],
        "Machine": [
            wr.LinePlot(title=f"system/{m}", y=[f"system/{m}"]) for m in ("cpu", "memory_percent", "gpu.0.gpu")
        ],
    }
    return {name: panels for name, panels in sections.items() if panels}


def build_workspace(shown: LoggedSweep) -> Any:
    """Return the workspace of a sweep, a ``wandb_workspaces.workspaces.Workspace``."""
    ws = need_package("wandb_workspaces.workspaces", "dashboard", "agnn-dashboard")
    return ws.Workspace(
        entity=shown.entity,
        project=shown.project,
        name=shown.sweep.title,
        sections=[
            ws.Section(name, panels, is_open=name in ("Scores", "Curves")) for name, panels in _panels(shown).items()
        ],
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Metric("group") == shown.group), groupby=[ws.Config(axis) for axis in shown.sweep.axes]
        ),
    )


def build_report(shown: LoggedSweep, *, online: bool) -> Any:
    """Return the report of a sweep, a ``wandb_workspaces.reports.v2.Report``; ``online`` looks its project up."""
    ws = need_package("wandb_workspaces.workspaces", "dashboard", "agnn-dashboard")
    wr = need_package("wandb_workspaces.reports.v2", "dashboard", "agnn-dashboard")
    place = {"entity": shown.entity, "project": shown.project} if online else {}
    runs = wr.Runset(**place, name=shown.group, filters=ws.And(ws.Metric("group") == shown.group))
    blocks: list[Any] = [
        wr.H1(shown.sweep.title),
        wr.P("Mean and standard deviation over seeds, by the axes of the sweep."),
    ]
    for name, panels in _panels(shown).items():
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(entity=shown.entity, project=shown.project, title=shown.sweep.title, blocks=blocks)


def specification(thing: Any) -> str:
    """Return a workspace or report as the JSON that W&B accepts.

    Raises:
        ConfigError: W&B's package does not read the same specification back.
    """
    model = thing._to_model()
    given = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    try:
        again = type(model).model_validate(given).model_dump_json(by_alias=True, exclude_none=True)
    except ValueError as error:
        raise ConfigError(f"W&B's package does not accept the specification: {error}") from error
    if not _contains(json.loads(again), given):
        raise ConfigError("W&B's package does not read the same specification back")
    return json.dumps(given, indent=1) + "\n"


def _contains(whole: Any, part: Any) -> bool:
    """Whether everything in ``part`` is in ``whole``, which may have more keys."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(_contains, whole, part))
    return bool(whole == part)


def make_dashboard(cfg: DashboardConfig) -> list[str]:
    """Write the specifications, and create workspace and report in W&B if there is an API key.

    Returns:
        Paths of the two files, and the addresses in W&B.

    Raises:
        ReportError, ConfigError: see :func:`read_sweep`; W&B cannot be reached or refuses the key.
    """
    from agnn_lit.training.loggers import wandb_mode

    shown = read_sweep(cfg)
    online = wandb_mode(cfg.mode) == "online"
    workspace, report = build_workspace(shown), build_report(shown, online=online)
    out = Path(cfg.out) if cfg.out else Path(cfg.sweep) / "dashboard"
    made = []
    for name, thing in (("workspace", workspace), ("report", report)):
        write_text(out / f"{name}.json", specification(thing))
        made.append(str(out / f"{name}.json"))
    if online:
        from wandb.errors import Error

        try:
            for thing in (workspace, report):
                thing.save()
                made.append(thing.url)
        except Error as error:
            raise ConfigError(f"W&B: {error} The specifications are written: {' '.join(made)}") from error
    else:
        print("no W&B key, or mode=offline: written and validated, not created")
    print("\n".join(made))
    return made
