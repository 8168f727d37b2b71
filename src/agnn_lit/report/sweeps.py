"""What a sweep says: means and deviations over seeds along the axes in which its runs differ."""

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
from agnn_lit.report.cells import Cell, Column, MISSING, Table, mark_best, markdown_table, text_cell
from agnn_lit.report.collect import RunRecord, Scores, UNFINISHED, number
from agnn_lit.report.figures import Plot
from agnn_lit.report.groups import short_names, t_direction
from agnn_lit.report.pictures import Picture, overlay_picture
from agnn_lit.report.runtable import MAIN_SETTINGS, differing_settings, duration, shown, title_of
from agnn_lit.report.svg import MUTED, new_figure, series_colour, series_dash, standalone, to_svg
from agnn_lit.shared.files import write_text

_MEASURES = (("J", "J_mean"), ("F", "F_mean"), ("T", "T"))
#: What runs differ in that is no axis: repetitions, and how fast they were computed.
_NO_AXIS = keys(TrainConfig, Changes.seed, Changes.speed)
_SEEDS = "all seeds"  # the only point where nothing else differs
_UNSCORED = "validation"  # stands for an evaluation where there is none


@dataclass(frozen=True)
class Point:
    """Runs that differ in their seeds alone.

    Attributes:
        values: of the axes.
        runs: all of them, failed ones too.
    """

    values: tuple[Any, ...]
    runs: tuple[RunRecord, ...]

    @property
    def unfinished(self) -> list[RunRecord]:
        """Runs without a result."""
        return [run for run in self.runs if run.state in UNFINISHED]


@dataclass(frozen=True)
class Sweep:
    """Runs of one folder.

    Attributes:
        name: of the folder.
        axes: settings in which the runs differ, one for each thing that varies; none where only seeds do.
        points: in the order of the axes' values.
        evaluations: names of the evaluations that the runs have.
        repeats: runs that are left out, since another one has their settings and seed.
    """

    name: str
    axes: tuple[str, ...]
    points: tuple[Point, ...]
    evaluations: tuple[str, ...]
    repeats: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the numbers should know."""
        if not self.repeats:
            return ()
        return (f"Left out, since another run has their settings and seed: {', '.join(self.repeats)}.",)

    @property
    def title(self) -> str:
        """Name, and how much there is of it."""
        seeds = max(len(point.runs) for point in self.points)
        count = f"{seeds} seed{'s' if seeds > 1 else ''}"
        if not self.axes:
            return f"{self.name}: {count}"
        return f"{self.name}: {', '.join(map(axis_title, self.axes))}, {count} each"


@dataclass(frozen=True)
class SweepSection:
    """Everything on a sweep."""

    sweep: Sweep
    table: Table
    plots: tuple[Plot, ...]
    pictures: tuple[tuple[str, list[Picture]], ...]
    commands: str


def axis_title(axis: str) -> str:
    """What an axis is called in words."""
    return title_of(axis)


def _order(value: Any) -> tuple[int, float, str]:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if numeric else (1, 0.0, str(value))


def find_axes(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Settings that tell the runs apart, but for seeds; one of several that go together."""
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
    """Runs whose folders lie side by side and that differ in their settings or seeds."""
    folders: dict[Path, list[RunRecord]] = {}
    for run in runs:
        folders.setdefault(run.path.resolve().parent, []).append(run)
    sweeps = []
    for name, members in zip(short_names(list(folders)), folders.values(), strict=True):
        axes = find_axes(members)
        if not axes and len({repr(run.config.get("seed")) for run in members}) < 2:
            continue
        points: dict[str, list[RunRecord]] = {}
        values: dict[str, tuple[Any, ...]] = {}
        for run in members:
            flat = flatten(run.config)
            found = tuple(flat.get(axis) for axis in axes)
            points.setdefault(repr(found), []).append(run)
            values[repr(found)] = found
        ordered = sorted(points, key=lambda k: [_order(v) for v in values[k]])
        by_seed = {k: _one_a_seed(runs) for k, runs in points.items()}
        kept = {run.name for runs in by_seed.values() for run in runs}
        repeats = tuple(run.name for run in members if run.name not in kept)
        evaluations = tuple(dict.fromkeys(scores.name for run in members for scores in run.scores)) or (_UNSCORED,)
        found_points = tuple(Point(values[k], by_seed[k]) for k in ordered)
        sweeps.append(Sweep(name.replace("/", "-"), axes, found_points, evaluations, repeats))
    return sweeps


def _one_a_seed(runs: Sequence[RunRecord]) -> tuple[RunRecord, ...]:
    """Runs in the order of their seeds; of several with one seed (``seed=0`` and none), the first with a result."""
    found: dict[str, RunRecord] = {}
    for run in sorted(runs, key=lambda r: (_order(r.config.get("seed")), r.state in UNFINISHED)):
        found.setdefault(repr(run.config.get("seed")), run)
    return tuple(found.values())


def _scores(run: RunRecord, evaluation: str) -> Scores | None:
    return next((scores for scores in run.scores if scores.name == evaluation), None)


def value_of(run: RunRecord, evaluation: str, measure: str) -> float:
    """A run's J, F or T in an evaluation; where there is none, the last of held-out training videos."""
    if run.state in UNFINISHED:
        return math.nan
    if evaluation == _UNSCORED:
        return number(run.status.get("metrics", {}).get(f"val/{measure}"))
    scores = _scores(run, evaluation)
    return math.nan if scores is None else scores.mean(dict(_MEASURES)[measure])


def finite(values: Sequence[float]) -> list[float]:
    """Values that are numbers."""
    return [v for v in values if not math.isnan(v)]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of the values that are numbers; NaN where there are too few."""
    kept = finite(values)
    mean = statistics.mean(kept) if kept else math.nan
    return mean, statistics.stdev(kept) if len(kept) > 1 else math.nan


def _spread_cell(values: Sequence[float]) -> Cell:
    mean, deviation = mean_and_deviation(values)
    if math.isnan(mean):
        return Cell(MISSING)
    text = f"{mean:.3f}" + ("" if math.isnan(deviation) else f" ± {deviation:.3f}")
    return Cell(text.replace("-", "−"), mean)


def _count_cell(point: Point, values: Sequence[float]) -> Cell:
    """How many runs the means are of, and what became of the others."""
    states = [run.state for run in point.unfinished]
    tag = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    count = len(finite(values))
    text = str(count) if count == len(point.runs) else f"{count} of {len(point.runs)}"
    return Cell(text, float(count), f"state-{states[0]}" if states else "", tag=tag)


def sweep_table(sweep: Sweep) -> Table:
    """A row for each point and evaluation: mean ± standard deviation over seeds, time and memory of a run."""
    several = len(sweep.evaluations) > 1
    columns = [Column(axis_title(axis), hint=axis, numeric=False) for axis in sweep.axes]
    if several:
        columns.append(Column("evaluation", numeric=False))
    columns.append(Column("runs", hint="with a result; failed, interrupted and waiting ones are marked"))
    protocol = next((s.protocol for p in sweep.points for r in p.runs for s in r.scores), "simple")
    directions = {"J": 1, "F": 1, "T": t_direction(protocol)}
    columns += [Column(measure, hint="mean ± standard deviation over seeds") for measure in directions]
    columns += [
        Column("time of a run"),
        Column("memory", hint="largest of a run, mean over seeds"),
        Column("parameters"),
    ]
    places = [(point, evaluation) for point in sweep.points for evaluation in sweep.evaluations]
    measured: dict[str, list[Cell]] = {}
    for measure, direction in directions.items():
        cells = [_spread_cell([value_of(run, e, measure) for run in p.runs]) for p, e in places]
        measured[measure] = cells if several else mark_best(cells, direction)
    rows = []
    for index, (point, evaluation) in enumerate(places):
        done = [run for run in point.runs if run.state not in UNFINISHED]
        seconds, memory, parameters = (
            mean_and_deviation([number(run.status.get(key)) for run in done])[0]
            for key in ("seconds", "memory_mb", "parameters")
        )
        cells = [shown(value) for value in point.values]
        if several:
            cells.append(text_cell(evaluation))
        cells.append(_count_cell(point, [value_of(run, evaluation, "J") for run in point.runs]))
        cells += [measured[measure][index] for measure in directions]
        cells.append(Cell(duration(seconds), None if math.isnan(seconds) else seconds))
        cells.append(Cell(MISSING) if math.isnan(memory) else Cell(f"{memory:.0f} MB", memory))
        cells.append(
            Cell(MISSING) if math.isnan(parameters) else Cell(f"{parameters:,.0f}".replace(",", "\u2009"), parameters)
        )
        rows.append(tuple(cells))
    return Table(f"Sweep {sweep.title}", tuple(columns), tuple(rows))


def _first(point: Point) -> str:
    return repr(point.values[:1])


def _label(value: Any) -> str:
    return shown(value).text


def _draw(axes: Axes, sweep: Sweep, evaluation: str, measure: str) -> None:
    """One measure against the first axis; further axes are lines of their own."""
    values = {_first(point): point.values[0] if sweep.axes else _SEEDS for point in sweep.points}
    firsts = list(values)
    numeric = all(_order(v)[0] == 0 for v in values.values())
    places = {key: float(values[key]) if numeric else float(n) for n, key in enumerate(firsts)}
    lines: dict[tuple[Any, ...], list[Point]] = {}
    for point in sweep.points:
        lines.setdefault(point.values[1:], []).append(point)
    for index, (rest, points) in enumerate(lines.items()):
        colour = series_colour(index)
        found = [
            (places[_first(p)], *mean_and_deviation([value_of(r, evaluation, measure) for r in p.runs])) for p in points
        ]
        x, means, deviations = (list(column) for column in zip(*found, strict=True))
        axes.errorbar(
            x, means, [0.0 if math.isnan(d) else d for d in deviations], color=colour, marker="o", markersize=4,
            capsize=3, linestyle=series_dash(index) if numeric else "none", label=", ".join(map(_label, rest)) or None,
        )  # fmt: skip
        for point, place in zip(points, x, strict=True):
            dots = finite([value_of(run, evaluation, measure) for run in point.runs])
            axes.plot([place] * len(dots), dots, "o", color=colour, markersize=2.5, alpha=0.5, linestyle="none")
            if point.unfinished:
                axes.plot([place], [0.0], "x", color=MUTED, markersize=5, clip_on=False)
    axes.set_ylabel(measure, rotation=0, labelpad=8, va="center", fontweight="bold")
    axes.set_xticks(list(places.values()), [_label(values[key]) for key in places])
    axes.margins(x=0.08)


def sweep_figure(sweep: Sweep, evaluation: str) -> Figure:
    """J, F and T against the first axis, with deviations over seeds; a cross marks points with unfinished runs."""
    measures = [
        m for m, _ in _MEASURES if finite([value_of(r, evaluation, m) for p in sweep.points for r in p.runs])
    ] or ["J"]
    figure, panels = new_figure(4.6, 0.5 + 1.4 * len(measures), rows=len(measures))
    for axes, measure in zip(panels, measures, strict=True):
        _draw(axes, sweep, evaluation, measure)
        axes.set_ylim(bottom=0.0, top=max(1.0, axes.get_ylim()[1]) if measure != "T" else None)
    if sweep.axes:
        panels[-1].set_xlabel(axis_title(sweep.axes[0]))
    if len(sweep.axes) > 1:
        panels[0].legend(frameon=False, fontsize=7, title=", ".join(map(axis_title, sweep.axes[1:])), title_fontsize=7)
    return figure


def _point_name(sweep: Sweep, point: Point) -> str:
    return ", ".join(f"{axis_title(a)} {_label(v)}" for a, v in zip(sweep.axes, point.values, strict=True)) or _SEEDS


def _pictures(sweep: Sweep, point: Point) -> list[Picture]:
    """Best and worst frame of a point's first run that has any."""
    for run in point.runs:
        for scores in run.scores:
            best = [o for o in scores.overlays if o.kind == "best"][:1]
            worst = [o for o in scores.overlays if o.kind == "worst"][-1:]
            if best or worst:
                named = replace(scores, name=_point_name(sweep, point))
                return [overlay_picture(named, o, width=240) for o in (*best, *worst)]
    return []


def commands(sweep: Sweep) -> str:
    """Command of each run, and the versions that they ran with."""
    lines = [str(run.status.get("command", "")) for point in sweep.points for run in point.runs]
    versions = {
        f"{package} {version}"
        for point in sweep.points
        for run in point.runs
        for package, version in (run.status.get("versions") or {}).items()
    }
    revisions = {str(run.status["git"]) for point in sweep.points for run in point.runs if run.status.get("git")}
    about = [f"# revision {', '.join(sorted(revisions))}"] if revisions else []
    about += [f"# {', '.join(sorted(versions))}"] if versions else []
    return "\n".join([*about, *(line for line in lines if line)])


def sweep_section(sweep: Sweep, name: str) -> SweepSection:
    """Compute the section of a sweep; ``name`` begins its figures' identifiers."""
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
    """Return a row for each run and evaluation: axes, seed, state, J, F, T, time, memory, parameters."""
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
    """Write what an experiment has found: what is kept of a sweep when its runs are gone.

    ``results.csv`` has a row for each run, ``table.md`` means and deviations, ``figure.svg`` shows them (one for each
    evaluation where there are several), and ``runs.json`` tells where each run came from. Paths of data are left out.

    Args:
        sweep: with all of its runs.
        folder: such as ``experiments/<question>``; files of other names in it stay.
    """
    write_text(folder / "results.csv", sweep_csv(sweep))
    write_text(
        folder / "table.md", markdown_table(sweep_table(sweep)) + "\n" + "".join(f"\n{n}\n" for n in sweep.notices)
    )
    for evaluation in sweep.evaluations:
        name = "figure" if len(sweep.evaluations) == 1 else "figure-" + evaluation.replace(" ", "-").replace("+", "")
        write_text(folder / f"{name}.svg", standalone(sweep_figure(sweep, evaluation)))
    kept = ("state", "error", "command", "seconds", "memory_mb", "parameters", "git", "versions")
    runs = {run.name: {k: run.status.get(k) for k in kept} for point in sweep.points for run in point.runs}
    about = {"hardware": f"{platform.machine()} CPU, {os.cpu_count()} cores", "runs": runs}
    write_text(folder / "runs.json", json.dumps(about, indent=1) + "\n")
