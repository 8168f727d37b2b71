"""Groups of comparable results, their names, and notes about them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agnn_lit.config import options
from agnn_lit.metrics.protocols import get_protocol
from agnn_lit.report.collect import ReportError, RunRecord, Scores, find_folders, mean_of, read_run, read_scores


def protocol_lines(protocol: str) -> list[tuple[str, str]]:
    """Description of a protocol as (subject, text) pairs; empty for an unknown protocol."""
    if protocol not in options("protocol"):
        return []
    lines = get_protocol(protocol).describe().splitlines()[1:]
    pairs = (line.strip().partition(": ") for line in lines)
    return [(subject, text) for subject, _, text in pairs]


def t_direction(protocol: str) -> int:
    """+1 if a higher T is better (an overlap), -1 if a lower one is (a cost), 0 without T."""
    stability = get_protocol(protocol).stability if protocol in options("protocol") else "none"
    return {"overlap": 1, "shape_context": -1}.get(stability, 0)


@dataclass(frozen=True)
class Group:
    """Methods scored with one protocol on overlapping sequences, best J&F first; ``common`` have all methods."""

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
        """Sequences of any method, sorted."""
        return tuple(sorted({s for m in self.methods for s in m.sequences}))

    @property
    def uniform(self) -> bool:
        """Whether all methods were scored on the same sequences."""
        return all(set(m.sequences) == set(self.common) for m in self.methods)

    def score(self, method: Scores) -> float:
        """J&F by which methods are ranked; over the common sequences if the methods' sequences differ."""
        if self.uniform:
            return method.mean("JF_mean")
        return mean_of((method.value(s, "J_mean") + method.value(s, "F_mean")) / 2 for s in self.common)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Shortest trailing parts of paths that are unique."""
    parts = [p.resolve().parts for p in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [str(p) for p in paths]


def load(runs: Sequence[str], scores: Sequence[str]) -> tuple[list[RunRecord], list[Scores]]:
    """Read the folders of a report.

    Args:
        runs: run folders, sweep folders or patterns.
        scores: score folders or patterns, each optionally ``NAME=FOLDER``.

    Returns:
        Runs, and score folders including the evaluations of the runs.

    Raises:
        ReportError: no folders, an incomplete folder, or two methods with the same name.
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
    given = Counter(name for _, name in named if name is not None)
    twice = [name for name, count in given.items() if count > 1]
    if twice:
        raise ReportError(f"scores: the name {', '.join(twice)} is given twice")
    return loaded, methods


def _fits(scores: Scores, members: Sequence[Scores]) -> bool:
    """Whether a folder has the protocol, the data set (if known) and a sequence in common with a group."""
    common = set(scores.sequences).intersection(*(other.sequences for other in members))
    known = {s.data for s in (scores, *members) if s.data is not None}
    return scores.protocol == members[0].protocol and len(known) <= 1 and bool(common)


def _name(members: Sequence[Scores]) -> list[Scores]:
    """Name evaluations after their run, followed by the evaluation if a run has several."""
    count = Counter(m.run for m in members)
    named = [
        m if m.run is None else replace(m, name=m.run if count[m.run] == 1 else f"{m.run} · {m.name}") for m in members
    ]
    taken = Counter(m.name for m in named)
    return [m if taken[m.name] == 1 else replace(m, name=f"{m.name} ({m.path})") for m in named]


def _notices(members: Sequence[Scores], common: set[str]) -> tuple[str, ...]:
    """Reasons why the means of a group are not comparable."""
    notices = []
    union = {s for m in members for s in m.sequences}
    if common != union:
        notices.append(
            f"The methods were scored on different sequences; {len(common)} of {len(union)} are common to all. Their "
            "means are not comparable; the ranking uses the common sequences."
        )
    differing = sorted(s for s in common if len({len(m.frames.get(s, ())) for m in members}) > 1)
    if differing:
        notices.append(f"The number of scored frames differs between methods in {', '.join(differing)}.")
    if len({m.summary["threshold"] for m in members if m.summary.get("threshold") is not None}) > 1:
        notices.append("The thresholds differ; see the column.")
    return tuple(notices)


def make_groups(methods: Sequence[Scores]) -> list[Group]:
    """Sort score folders into groups of comparable methods, in the given order."""
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
    """Give each run and method a colour number."""
    names = [run.name for run in runs] + sorted({m.name for g in groups for m in g.methods})
    return {name: index for index, name in enumerate(dict.fromkeys(names))}
