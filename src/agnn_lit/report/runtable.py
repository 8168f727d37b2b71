"""Tables of runs: state and result, and configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agnn_lit.config import Changes, TrainConfig, entries, flatten, keys
from agnn_lit.report.cells import MISSING, Cell, Column, Table, count_cell, text_cell, value_cell
from agnn_lit.report.collect import UNFINISHED, RunRecord, finite, number

_SETTINGS = {entry.key: entry.about for entry in entries(TrainConfig())}
#: Settings that are always shown; others only if runs differ in them.
MAIN_SETTINGS = tuple(key for key, about in _SETTINGS.items() if about.shown)
#: Settings of where and how a run is logged.
_IGNORED = keys(TrainConfig, Changes.command, Changes.extra, Changes.place)


def title_of(key: str) -> str:
    """Title of a setting; its key without one."""
    return (_SETTINGS[key].title if key in _SETTINGS else "") or key


def shown(value: Any) -> Cell:
    """Cell of the value of a setting."""
    if value is None:
        return Cell(MISSING)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(f"{value:g}" if isinstance(value, float) else str(value), float(value))
    if isinstance(value, list):
        return text_cell(" × ".join(map(str, value)) if value else MISSING)
    return text_cell(str(value))


def differing_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Settings in which runs differ, without those of where and how they are logged."""
    flat = [flatten(run.config) for run in runs]
    keys = list(dict.fromkeys(key for f in flat for key in f))
    return [k for k in keys if k not in _IGNORED and len({repr(f.get(k)) for f in flat}) > 1]


def duration(seconds: float) -> str:
    """Return a time as ``12 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if math.isnan(seconds):
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def duration_cell(seconds: float) -> Cell:
    """Cell of a time, sorted by its seconds."""
    return Cell(duration(seconds), None if math.isnan(seconds) else seconds)


def _state_cell(run: RunRecord) -> Cell:
    state = run.state
    symbol = {"done": "✓", "failed": "✕", "interrupted": "‖", "running": "…", "waiting": "·"}.get(state, "?")
    mark = "state-done" if state not in UNFINISHED else f"state-{state}"
    return Cell(f"{symbol} {state}", state, mark)


def _values(run: RunRecord, key: str) -> list[float]:
    return run.curves[key].values if key in run.curves else []


def run_table(runs: Sequence[RunRecord], colours: Mapping[str, int]) -> Table:
    """One row per run: state, settings in which runs differ, parameters, time, best J and last loss."""
    differing = differing_settings(runs)
    columns = [Column("run", numeric=False), Column("state", numeric=False)]
    columns += [Column(title_of(k), hint=k) for k in differing]
    columns += [
        Column("parameters"),
        Column("time"),
        Column("best J", hint="highest val/J during training, on held-out training videos"),
        Column("last loss", hint="last train/loss"),
    ]
    rows = []
    for run in runs:
        flat = flatten(run.config)
        rows.append(
            (
                text_cell(run.name, colour=colours.get(run.name)),
                _state_cell(run),
                *(shown(flat.get(k)) for k in differing),
                count_cell(number(run.status.get("parameters"))),
                duration_cell(number(run.status.get("seconds"))),
                value_cell(max(finite(_values(run, "val/J")), default=math.nan)),
                value_cell((math.nan, *_values(run, "train/loss"))[-1]),
            )
        )
    return Table("Runs", tuple(columns), tuple(rows))


def config_table(runs: Sequence[RunRecord]) -> Table:
    """One row per setting and one column per run; settings in which runs differ are marked."""
    flat = [flatten(run.config) for run in runs]
    differing = differing_settings(runs)
    present = [k for k in MAIN_SETTINGS if any(k in f for f in flat)]
    rows = []
    for key in [*present, *(k for k in differing if k not in present)]:
        mark = "differs" if key in differing else ""
        label = Cell(key, key, mark, tag=_SETTINGS[key].title if key in _SETTINGS else "")
        cells = (shown(f[key]) if key in f else Cell(MISSING) for f in flat)
        rows.append((label, *(Cell(c.text, c.sort, mark) for c in cells)))
    for title, key in (("code revision", "git"), ("torch", "torch"), ("agnn-lit", "agnn-lit")):
        found = [run.status.get(key) or (run.status.get("versions") or {}).get(key) for run in runs]
        if any(found):
            rows.append((Cell(title, title), *(text_cell(_short(v)) if v else Cell(MISSING) for v in found)))
    columns = (Column("setting", numeric=False), *(Column(run.name, numeric=False) for run in runs))
    return Table("Configuration", columns, tuple(rows), kind="config")


def _short(revision: str) -> str:
    """Shorten a git revision to twelve digits, followed by ``+ changes`` if it has that suffix."""
    head, plus, rest = str(revision).partition("+")
    is_hash = len(head) == 40 and all(c in "0123456789abcdef" for c in head)
    return head[:12] + (f" + {rest}" if plus else "") if is_hash else str(revision)
