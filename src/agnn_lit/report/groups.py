"""Which results may stand side by side, under which names, and what must be said about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agnn_lit.config import options
from agnn_lit.metrics.protocols import get_protocol
from agnn_lit.report.collect import ReportError, RunRecord, Scores, find_folders, read_run, read_scores


def protocol_lines(protocol: str) -> list[tuple[str, str]]:
    """What a protocol counts, as (subject, text) pairs; empty for a protocol unknown here."""
    if protocol not in options("protocol"):
        return []
    lines = get_protocol(protocol).describe().splitlines()[1:]
    pairs = (line.strip().partition(": ") for line in lines)
    return [(subject, text) for subject, _, text in pairs]


def t_direction(protocol: str) -> int:
    """+1 where a higher T is steadier (an overlap), -1 where a lower one is (a cost), 0 without a T."""
    stability = get_protocol(protocol).stability if protocol in options("protocol") else "none"
    return {"overlap": 1, "shape_context": -1}.get(stability, 0)


@dataclass(frozen=True)
class Group:
    """Methods scored with one protocol on overlapping sequences, best mean of J and F first.

    ``common`` are the sequences that every method has.
    """

    key: str
    protocol: str
    data: str | None
    methods: tuple[Scores, ...]
    common: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def title(self) -> str:
        """Protocol and data set."""
        return self.protocol + (f" on {self.data}" if self.data and self.data != self.protocol else "")

    @property
    def sequences(self) -> tuple[str, ...]:
        """Every sequence that some method has, sorted."""
        return tuple(sorted({s for m in self.methods for s in m.sequences}))

    @property
    def uniform(self) -> bool:
        """Whether all methods were scored on the same sequences."""
        return all(set(m.sequences) == set(self.common) for m in self.methods)

    def score(self, method: Scores) -> float:
        """Mean of J and F that methods are ranked by: over the common sequences where the sets differ."""
        if self.uniform:
            return method.mean("JF_mean")
        values = [(method.sequences[s]["J_mean"] + method.sequences[s]["F_mean"]) / 2 for s in self.common]
        finite = [v for v in values if not math.isnan(v)]
        return sum(finite) / len(finite) if finite else math.nan


def short_names(paths: Sequence[Path]) -> list[str]:
    """Shortest trailing parts of paths that tell them apart."""
    parts = [p.resolve().parts for p in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [str(p) for p in paths]


def load(runs: Sequence[str], scores: Sequence[str]) -> tuple[list[RunRecord], list[Scores]]:
    """Read everything that a report is asked to show.

    Args:
        runs: run folders, sweep folders or patterns.
        scores: score folders or patterns, each optionally ``NAME=FOLDER``.

    Returns:
        Runs, and the score folders including the runs' evaluations.

    Raises:
        ReportError: nothing was asked for, a folder is incomplete, or two methods have one name.
    """
    if not runs and not scores:
        raise ReportError("nothing to report: give runs=[FOLDER,…], scores=[NAME=FOLDER,…], or both")
    folders = list(dict.fromkeys(p for entry in runs for p in find_folders(entry, "config.yaml")))
    loaded = [read_run(p, name) for p, name in zip(folders, short_names(folders), strict=True)]
    named: list[tuple[Path, str | None]] = []
    for entry in scores:
        name, separator, rest = entry.partition("=")
        if separator and not Path(entry).exists():
            named.append((Path(rest).expanduser(), name))
        else:
            named += [(p, None) for p in find_folders(entry, "summary.json")]
    unnamed = iter(short_names([p for p, name in named if name is None]))
    methods = [s for run in loaded for s in run.scores]
    methods += [read_scores(p, name or next(unnamed)) for p, name in named]
    given = [name for _, name in named if name is not None]
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice:
        raise ReportError(f"scores: the name {', '.join(twice)} is given twice")
    return loaded, methods


def _fits(scores: Scores, members: Sequence[Scores]) -> bool:
    """Whether a folder has the protocol, the data set where known, and a sequence in common with a group."""
    common = set(scores.sequences)
    for other in members:
        common &= set(other.sequences)
    known = {s.data for s in (scores, *members) if s.data is not None}
    return scores.protocol == members[0].protocol and len(known) <= 1 and bool(common)


def _name(members: Sequence[Scores]) -> list[Scores]:
    """Call a run's evaluation by the run, with the evaluation's label where the run has several."""
    count = Counter(m.run for m in members if m.run is not None)
    named = []
    for m in members:
        if m.run is not None:
            m = replace(m, name=m.run if count[m.run] == 1 else f"{m.run} · {m.name}")
        named.append(m)
    taken = Counter(m.name for m in named)
    return [m if taken[m.name] == 1 else replace(m, name=f"{m.name} ({m.path})") for m in named]


def _notices(members: Sequence[Scores], common: set[str]) -> tuple[str, ...]:
    """Sentences on why means of a group do not compare."""
    notices = []
    union = {s for m in members for s in m.sequences}
    if common != union:
        notices.append(
            f"The methods were not scored on the same sequences: {len(common)} of {len(union)} are common "
            "to all. Their means do not compare; the ranking is over the common sequences."
        )
    differing = sorted(s for s in common if len({len(m.frames.get(s, ())) for m in members}) > 1)
    if differing:
        notices.append(f"The number of scored frames differs between methods in {', '.join(differing)}.")
    if len({m.summary["threshold"] for m in members if m.summary.get("threshold") is not None}) > 1:
        notices.append("Masks were cut at different thresholds; see the column.")
    return tuple(notices)


def make_groups(methods: Sequence[Scores]) -> list[Group]:
    """Sort score folders into groups whose methods compare, in the order in which they were given."""
    parts: list[list[Scores]] = []
    for scores in methods:
        home = next((part for part in parts if _fits(scores, part)), None)
        if home is None:
            parts.append([scores])
        else:
            home.append(scores)
    groups = []
    for index, part in enumerate(parts, start=1):
        common = set.intersection(*(set(m.sequences) for m in part))
        data = next((m.data for m in part if m.data is not None), None)
        named = tuple(_name(part))
        notices = _notices(named, common)
        group = Group(f"g{index}", part[0].protocol, data, named, tuple(sorted(common)), notices)
        ranked = sorted(named, key=lambda m: (math.isnan(group.score(m)), -group.score(m), m.name))
        groups.append(replace(group, methods=tuple(ranked)))
    return groups


def assign_colours(runs: Sequence[RunRecord], groups: Sequence[Group]) -> dict[str, int]:
    """Give each run and method one colour number, the same wherever it appears."""
    names = [run.name for run in runs] + sorted({m.name for g in groups for m in g.methods})
    return {name: index for index, name in enumerate(dict.fromkeys(names))}
