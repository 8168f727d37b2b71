"""Results of a sweep: means and standard deviations over seeds, by the settings in which its runs differ."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agnn_lit.config import Changes, TrainConfig, flatten, keys
from agnn_lit.report.cells import MISSING, Cell, Column, Table, count_cell, mark_best, markdown_table, text_cell
from agnn_lit.report.collect import UNFINISHED, RunRecord, finite, number
from agnn_lit.report.figures import Plot
from agnn_lit.report.groups import short_names, t_direction
from agnn_lit.report.pictures import Picture, overlay_picture
from agnn_lit.report.runtable import MAIN_SETTINGS, differing_settings, duration_cell, shown, title_of
from agnn_lit.report.svg import MUTED, new_figure, series_colour, series_dash, standalone, to_svg
from agnn_lit.shared.files import write_text

_MEASURES = (("J", "J_mean"), ("F", "F_mean"), ("T", "T"))
#: Settings that are not an axis: the seed, and those that change only the speed.
_NO_AXIS = keys(TrainConfig, Changes.seed, Changes.speed)
_SEEDS = "all seeds"  # name of the only point if runs differ in nothing else
_UNSCORED = "validation"  # stands for an evaluation if there is none


@dataclass(frozen=True)
class Point:
    """Runs that differ only in their seed."""

    values: tuple[Any, ...]  # of the axes
    runs: tuple[RunRecord, ...]  # including failed ones

    @property
    def unfinished(self) -> list[RunRecord]:
        """Runs that are not done."""
        return [run for run in self.runs if run.state in UNFINISHED]

    def measured(self, evaluation: str, measure: str) -> list[float]:
        """J, F or T of each run, see :func:`value_of`."""
        return [value_of(run, evaluation, measure) for run in self.runs]

    def mean_status(self, key: str) -> float:
        """Mean of a value in ``status.json`` over the runs that are done; NaN without any."""
        done = [run for run in self.runs if run.state not in UNFINISHED]
        return mean_and_deviation([number(run.status.get(key)) for run in done])[0]


@dataclass(frozen=True)
class Sweep:
    """Runs of one folder."""

    name: str  # of the folder
    axes: tuple[
        str, ...
    ]  # settings in which the runs differ, one of those that vary together; empty if only seeds vary
    points: tuple[Point, ...]  # sorted by the values of the axes
    evaluations: tuple[str, ...]  # names of the evaluations of the runs
    repeats: tuple[str, ...] = ()  # names of runs left out, because another run has the same settings and seed

    @property
    def runs(self) -> list[RunRecord]:
        """Runs of all points."""
        return [run for point in self.points for run in point.runs]

    @property
    def notices(self) -> tuple[str, ...]:
        """Notes about the numbers."""
        if not self.repeats:
            return ()
        return (f"Left out, because another run has the same settings and seed: {', '.join(self.repeats)}.",)

    @property
    def title(self) -> str:
        """Name, axes and number of seeds."""
        seeds = max(len(point.runs) for point in self.points)
        count = f"{seeds} seed{'s' if seeds > 1 else ''}"
        if not self.axes:
            return f"{self.name}: {count}"
        return f"{self.name}: {', '.join(map(title_of, self.axes))}, {count} each"


@dataclass(frozen=True)
class SweepSection:
    """Table, figures, pictures and commands of a sweep."""

    sweep: Sweep
    table: Table
    plots: tuple[Plot, ...]
    pictures: tuple[tuple[str, list[Picture]], ...]
    commands: str


def _order(value: Any) -> tuple[int, float, str]:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if numeric else (1, 0.0, str(value))


def find_axes(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Settings in which the runs differ, except seeds; one of those that vary together."""
    flat = [flatten(run.config) for run in runs]
    differing = [k for k in differing_settings(runs) if k not in _NO_AXIS]
    differing.sort(key=lambda k: MAIN_SETTINGS.index(k) if k in MAIN_SETTINGS else len(MAIN_SETTINGS))
    axes: list[str] = []
    parts = 1
    for key in differing:
        finer = len({tuple(repr(f.get(k)) for k in (*axes, key)) for f in flat})
        if finer > parts:
            axes.append(key)
            parts = finer
    return tuple(axes)


def find_sweeps(runs: Sequence[RunRecord]) -> list[Sweep]:
    """Sweeps: runs in the same parent folder that differ in settings or seeds."""
    folders: dict[Path, list[RunRecord]] = {}
    for run in runs:
        folders.setdefault(run.path.resolve().parent, []).append(run)
    sweeps = []
    for name, members in zip(short_names(list(folders)), folders.values(), strict=True):
        axes = find_axes(members)
        if not axes and len({repr(run.config.get("seed")) for run in members}) < 2:
            continue
        groups: dict[str, tuple[tuple[Any, ...], list[RunRecord]]] = {}
        for run in members:
            flat = flatten(run.config)
            values = tuple(flat.get(axis) for axis in axes)
            groups.setdefault(repr(values), (values, []))[1].append(run)
        points = [Point(values, _one_per_seed(same)) for values, same in groups.values()]
        points.sort(key=lambda point: [_order(value) for value in point.values])
        kept = {run.name for point in points for run in point.runs}
        repeats = tuple(run.name for run in members if run.name not in kept)
        evaluations = tuple(dict.fromkeys(scores.name for run in members for scores in run.scores)) or (_UNSCORED,)
        sweeps.append(Sweep(name.replace("/", "-"), axes, tuple(points), evaluations, repeats))
    return sweeps


def _one_per_seed(runs: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Runs sorted by seed; of several with the same seed, the first that is done."""
    found: dict[str, RunRecord] = {}
    for run in sorted(runs, key=lambda r: (_order(r.config.get("seed")), r.state in UNFINISHED)):
        found.setdefault(repr(run.config.get("seed")), run)
    return tuple(found.values())


def value_of(run: RunRecord, evaluation: str, measure: str) -> float:
    """J, F or T of a run in an evaluation; without any, its last validation score."""
    if run.state in UNFINISHED:
        return math.nan
    if evaluation == _UNSCORED:
        return number(run.status.get("metrics", {}).get(f"val/{measure}"))
    means = (scores.mean(dict(_MEASURES)[measure]) for scores in run.scores if scores.name == evaluation)
    return next(means, math.nan)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of the values that are not NaN; NaN if there are too few."""
    kept = finite(values)
    mean = statistics.mean(kept) if kept else math.nan
    return mean, statistics.stdev(kept) if len(kept) > 1 else math.nan


def _spread_cell(values: Sequence[float]) -> Cell:
    mean, deviation = mean_and_deviation(values)
    if math.isnan(mean):
        return Cell(MISSING)
    text = f"{mean:.3f}" + ("" if math.isnan(deviation) else f" ± {deviation:.3f}")
    return Cell(text.replace("-", "−"), mean)


def _memory_cell(megabytes: float) -> Cell:
    return Cell(MISSING) if math.isnan(megabytes) else Cell(f"{megabytes:.0f} MB", megabytes)


def _count_cell(point: Point, values: Sequence[float]) -> Cell:
    """Number of runs with a result, and the states of the others."""
    states = [run.state for run in point.unfinished]
    tag = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    count = len(finite(values))
    text = str(count) if count == len(point.runs) else f"{count} of {len(point.runs)}"
    return Cell(text, float(count), f"state-{states[0]}" if states else "", tag=tag)


def sweep_table(sweep: Sweep) -> Table:
    """One row per point and evaluation: mean ± standard deviation over seeds, time and memory of a run."""
    places = [(point, evaluation) for point in sweep.points for evaluation in sweep.evaluations]
    several = len(sweep.evaluations) > 1
    columns = [Column(title_of(axis), hint=axis, numeric=False) for axis in sweep.axes]
    body = [[shown(point.values[n]) for point, _ in places] for n in range(len(sweep.axes))]
    if several:
        columns.append(Column("evaluation", numeric=False))
        body.append([text_cell(evaluation) for _, evaluation in places])
    columns.append(Column("runs", hint="runs with a result; the states of the others are given"))
    body.append([_count_cell(point, point.measured(evaluation, "J")) for point, evaluation in places])
    protocol = next((scores.protocol for run in sweep.runs for scores in run.scores), "simple")
    for measure, direction in (("J", 1), ("F", 1), ("T", t_direction(protocol))):
        columns.append(Column(measure, hint="mean ± standard deviation over seeds"))
        cells = [_spread_cell(point.measured(evaluation, measure)) for point, evaluation in places]
        body.append(cells if several else mark_best(cells, direction))
    columns += [Column("time of a run"), Column("memory", hint="peak of a run, mean over seeds"), Column("parameters")]
    body.append([duration_cell(point.mean_status("seconds")) for point, _ in places])
    body.append([_memory_cell(point.mean_status("memory_mb")) for point, _ in places])
    body.append([count_cell(point.mean_status("parameters")) for point, _ in places])
    return Table(f"Sweep {sweep.title}", tuple(columns), tuple(zip(*body, strict=True)))


def _first(point: Point) -> str:
    return repr(point.values[:1])


def _label(value: Any) -> str:
    return shown(value).text


def _draw(axes: Axes, sweep: Sweep, evaluation: str, measure: str) -> None:
    """Draw a measure against the first axis, with a line for each value of the other axes."""
    values = {_first(point): point.values[0] if sweep.axes else _SEEDS for point in sweep.points}
    firsts = list(values)
    numeric = all(_order(v)[0] == 0 for v in values.values())
    places = {key: float(values[key]) if numeric else float(n) for n, key in enumerate(firsts)}
    lines: dict[tuple[Any, ...], list[Point]] = {}
    for point in sweep.points:
        lines.setdefault(point.values[1:], []).append(point)
    for index, (rest, points) in enumerate(lines.items()):
        colour = series_colour(index)
        found = [(places[_first(p)], *mean_and_deviation(p.measured(evaluation, measure))) for p in points]
        x, means, deviations = (list(column) for column in zip(*found, strict=True))
        axes.errorbar(
            x, means, [0.0 if math.isnan(d) else d for d in deviations], color=colour, marker="o", markersize=4,
            capsize=3, linestyle=series_dash(index) if numeric else "none", label=", ".join(map(_label, rest)) or None,
        )  # fmt: skip
        for point, place in zip(points, x, strict=True):
            dots = finite(point.measured(evaluation, measure))
            axes.plot([place] * len(dots), dots, "o", color=colour, markersize=2.5, alpha=0.5, linestyle="none")
            if point.unfinished:
                axes.plot([place], [0.0], "x", color=MUTED, markersize=5, clip_on=False)
    axes.set_ylabel(measure, rotation=0, labelpad=8, va="center", fontweight="bold")
    axes.set_xticks(list(places.values()), [_label(values[key]) for key in places])
    axes.margins(x=0.08)


def sweep_figure(sweep: Sweep, evaluation: str) -> Figure:
    """J, F and T against the first axis, with standard deviations over seeds; a cross marks unfinished runs."""
    measures = [m for m, _ in _MEASURES if finite(value_of(run, evaluation, m) for run in sweep.runs)] or ["J"]
    figure, panels = new_figure(4.6, 0.5 + 1.4 * len(measures), rows=len(measures))
    for axes, measure in zip(panels, measures, strict=True):
        _draw(axes, sweep, evaluation, measure)
        axes.set_ylim(bottom=0.0, top=max(1.0, axes.get_ylim()[1]) if measure != "T" else None)
    if sweep.axes:
        panels[-1].set_xlabel(title_of(sweep.axes[0]))
    if len(sweep.axes) > 1:
        panels[0].legend(frameon=False, fontsize=7, title=", ".join(map(title_of, sweep.axes[1:])), title_fontsize=7)
    return figure


def _point_name(sweep: Sweep, point: Point) -> str:
    return ", ".join(f"{title_of(a)} {_label(v)}" for a, v in zip(sweep.axes, point.values, strict=True)) or _SEEDS


def _pictures(sweep: Sweep, point: Point) -> list[Picture]:
    """Best and worst frame of the first run of a point that has pictures."""
    for run in point.runs:
        for scores in run.scores:
            best = [o for o in scores.overlays if o.kind == "best"][:1]
            worst = [o for o in scores.overlays if o.kind == "worst"][-1:]
            if best or worst:
                named = replace(scores, name=_point_name(sweep, point))
                return [overlay_picture(named, o, width=240) for o in (*best, *worst)]
    return []


def commands(sweep: Sweep) -> str:
    """Git revisions, package versions and the command of each run."""
    lines = [str(run.status.get("command", "")) for run in sweep.runs]
    versions = {
        f"{package} {version}" for run in sweep.runs for package, version in (run.status.get("versions") or {}).items()
    }
    revisions = {str(run.status["git"]) for run in sweep.runs if run.status.get("git")}
    about = [f"# revision {', '.join(sorted(revisions))}"] if revisions else []
    about += [f"# {', '.join(sorted(versions))}"] if versions else []
    return "\n".join([*about, *(line for line in lines if line)])


def sweep_section(sweep: Sweep, name: str) -> SweepSection:
    """Compute the section of a sweep; ``name`` is the prefix of the identifiers in its figures."""
    plots = tuple(
        Plot(
            "J, F and T over seeds" if len(sweep.evaluations) == 1 else evaluation,
            to_svg(sweep_figure(sweep, evaluation), f"{name}-{n}", f"J, F and T of {sweep.title}, {evaluation}"),
        )
        for n, evaluation in enumerate(sweep.evaluations)
    )
    pictures = ((_point_name(sweep, point), _pictures(sweep, point)) for point in sweep.points)
    return SweepSection(sweep, sweep_table(sweep), plots, tuple(p for p in pictures if p[1]), commands(sweep))


def sweep_csv(sweep: Sweep) -> str:
    """Return a CSV with a row per run and evaluation: axes, seed, state, J, F, T, time, memory, parameters."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    about = ("seconds", "memory_mb", "parameters")
    out.writerow([*sweep.axes, "seed", "state", "evaluation", *(m for m, _ in _MEASURES), *about])
    for point in sweep.points:
        for run in point.runs:
            for evaluation in sweep.evaluations:
                values = [value_of(run, evaluation, m) for m, _ in _MEASURES]
                cells = ["" if math.isnan(v) else f"{v:.4f}" for v in values]
                known = (run.status.get(key, "") for key in about)
                out.writerow([*point.values, run.config.get("seed"), run.state, evaluation, *cells, *known])
    return text.getvalue()


def write_record(sweep: Sweep, folder: Path) -> None:
    """Write the results of a sweep, to keep when its runs are deleted.

    ``results.csv`` has a row per run, ``table.md`` means and standard deviations, ``figure.svg`` (one per evaluation)
    plots them, and ``runs.json`` has the provenance of each run, without paths of data. Other files in the folder stay.
    """
    write_text(folder / "results.csv", sweep_csv(sweep))
    write_text(folder / "table.md", "\n\n".join([markdown_table(sweep_table(sweep)), *sweep.notices]) + "\n")
    for evaluation in sweep.evaluations:
        name = "figure" if len(sweep.evaluations) == 1 else "figure-" + evaluation.replace(" ", "-").replace("+", "")
        write_text(folder / f"{name}.svg", standalone(sweep_figure(sweep, evaluation)))
    kept = ("state", "error", "command", "seconds", "memory_mb", "parameters", "git", "versions")
    runs = {run.name: {k: run.status.get(k) for k in kept} for run in sweep.runs}
    about = {"hardware": f"{platform.machine()} CPU, {os.cpu_count()} cores", "runs": runs}
    write_text(folder / "runs.json", json.dumps(about, indent=1) + "\n")
