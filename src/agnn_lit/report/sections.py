"""The sections of a report, computed but not rendered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from omegaconf import OmegaConf

from agnn_lit.report.cells import Table
from agnn_lit.report.collect import UNFINISHED, RunRecord, Scores, mean_of
from agnn_lit.report.comparison import Comparison, beside_sequences, compare
from agnn_lit.report.figures import Plot, frame_plot, training_plots
from agnn_lit.report.groups import Group, assign_colours, make_groups, protocol_lines
from agnn_lit.report.pictures import Picture, lowest_pictures, overlay_rows
from agnn_lit.report.runtable import config_table, run_table
from agnn_lit.report.sweeps import SweepSection, find_sweeps, sweep_section
from agnn_lit.report.tables import heat_table, ranking_table, sequence_table


@dataclass(frozen=True)
class SequenceCard:
    """Curves of J and F of a sequence, and its frames of lowest J."""

    sequence: str
    svg: Markup
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class GroupSection:
    """Results of the methods of a group."""

    group: Group
    protocol_lines: tuple[tuple[str, str], ...]
    ranking: Table
    heats: tuple[Table, ...]
    sequences: Table
    cards: tuple[SequenceCard, ...]
    overlays: tuple[tuple[str, list[tuple[str, list[Picture]]]], ...]


@dataclass(frozen=True)
class RunSection:
    """Tables and curves of the runs."""

    runs: Sequence[RunRecord]
    table: Table
    config: Table
    plots: tuple[Plot, ...]
    details: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """A report; ``colours`` are the colour numbers of runs and methods."""

    title: str
    sentence: str
    groups: tuple[GroupSection, ...]
    comparisons: tuple[Comparison, ...]
    runs: RunSection | None
    sweeps: tuple[SweepSection, ...]
    colours: Mapping[str, int]
    methods: tuple[Scores, ...]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def describe(runs: Sequence[RunRecord], groups: Sequence[Group]) -> str:
    """One or two sentences about the content of the report."""
    parts = []
    if runs:
        stopped = sum(run.state in UNFINISHED for run in runs)
        parts.append(_plural(len(runs), "training run") + (f" ({stopped} not finished)" if stopped else ""))
    folders = sum(m.run is None for g in groups for m in g.methods)
    if folders:
        parts.append(_plural(folders, "scored mask folder"))
    scored = [
        f"{_plural(len(g.methods), 'method')} with protocol {g.title} ({_plural(len(g.sequences), 'sequence')})"
        for g in groups
    ]
    tail = f" Scored: {'; '.join(scored)}." if scored else " Nothing has been evaluated yet."
    return " and ".join(parts).capitalize() + "." + tail


def _by_difficulty(group: Group) -> list[str]:
    """Sequences by their mean J over the methods, lowest first; those without J last."""
    means = {s: mean_of(m.value(s, "J_mean") for m in group.methods) for s in group.sequences}
    return sorted(means, key=lambda s: (math.isnan(means[s]), means[s], s))


def group_section(group: Group, colours: Mapping[str, int], frames: Path | None, thumbnails: int) -> GroupSection:
    """Compute the section of a group; see :func:`build_report` for the arguments."""
    heats = [heat_table(group, measure, colours) for measure in ("J_mean", "F_mean", "T")]
    cards = [
        SequenceCard(
            sequence,
            frame_plot(group, sequence, colours, f"{group.key}-{number}"),
            tuple(lowest_pictures(group, sequence, frames, thumbnails)) if thumbnails else (),
        )
        for number, sequence in enumerate(_by_difficulty(group))
    ]
    return GroupSection(
        group,
        tuple(protocol_lines(group.protocol)),
        ranking_table(group, colours),
        tuple(t for t in heats if not t.empty),
        sequence_table(group, beside_sequences(group)),
        tuple(cards),
        tuple((m.name, overlay_rows(m)) for m in group.methods if m.overlays),
    )


def run_section(runs: Sequence[RunRecord], colours: Mapping[str, int]) -> RunSection:
    """Compute the section on runs."""
    problems = [(run.name, problem) for run in runs for problem in run.problems]
    problems += [(run.name, f"{run.state}: {run.status['error']}") for run in runs if run.status.get("error")]
    details = tuple((run.name, OmegaConf.to_yaml({"config": run.config, "status": run.status})) for run in runs)
    plots = tuple(training_plots(runs, colours))
    return RunSection(runs, run_table(runs, colours), config_table(runs), plots, details, tuple(problems))


def build_report(
    runs: Sequence[RunRecord], methods: Sequence[Scores], title: str, frames: Path | None = None, thumbnails: int = 4
) -> Report:
    """Compute the content of a report; ``methods`` are all score folders, including those of the runs.

    Masks are drawn on ``<sequence>/<frame>.jpg`` in the folder ``frames``, or on grey if it is None. For each sequence
    there are at most ``thumbnails`` pictures of lowest J.
    """
    groups = make_groups(methods)
    colours = assign_colours(runs, groups)
    return Report(
        title,
        describe(runs, groups),
        tuple(group_section(g, colours, frames, thumbnails) for g in groups),
        tuple(compare(groups, colours)),
        run_section(runs, colours) if runs else None,
        tuple(sweep_section(sweep, f"w{n}") for n, sweep in enumerate(find_sweeps(runs))),
        colours,
        tuple(m for g in groups for m in g.methods),
    )
