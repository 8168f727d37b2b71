"""Tables of runs: how each ended, and how each was configured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agnn_lit.report_page.cells import MISSING, Cell, Column, Table, text_cell, value_cell
from agnn_lit.report_page.collect import UNFINISHED, Run, number

#: Settings that are always shown; others appear when runs differ in them.
MAIN_SETTINGS = (
    "seed", "data.name", "model.frames", "model.rounds", "model.channels", "model.loop_edge",
    "model.line_edge", "model.gate", "model.aggregation", "model.update", "model.readout",
    "backbone.name", "backbone.weights", "clips.size", "clips.batch_size", "loss.eta", "optim.name",
    "optim.lr", "optim.schedule", "trainer.max_epochs", "trainer.max_minutes", "trainer.precision",
    "trainer.accelerator",
)  # fmt: skip
#: What settings are called in words.
MEANING = {
    "model.frames": "frames of a graph N'",
    "model.rounds": "rounds K",
    "model.channels": "channels C",
    "data.name": "data set",
    "clips.size": "input, height × width",
}
#: Where and how a run was logged, which changes nothing in its result.
_IGNORED = ("name", "run", "overwrite", "retry_failed", "logger.", "trainer.progress")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def shown(value: Any) -> Cell:
    """Cell of a setting's value."""
    if value is None:
        return Cell(MISSING)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(f"{value:g}" if isinstance(value, float) else str(value), float(value))
    if isinstance(value, list):
        return text_cell(" × ".join(map(str, value)) if value else MISSING)
    return text_cell(str(value))


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Keys whose values differ between runs, apart from where and how they were logged."""
    flat = [flatten(run.config) for run in runs]
    keys = list(dict.fromkeys(key for f in flat for key in f))
    return [k for k in keys if not k.startswith(_IGNORED) and len({repr(f.get(k)) for f in flat}) > 1]


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


def _state_cell(run: Run) -> Cell:
    state = run.state
    symbol = {"done": "✓", "failed": "✕", "interrupted": "‖", "running": "…", "waiting": "·"}.get(state, "?")
    mark = "state-done" if state not in UNFINISHED else f"state-{state}"
    return Cell(f"{symbol} {state}", state, mark)


def _best(run: Run, key: str) -> float:
    curve = run.curves.get(key)
    finite = [v for v in curve.values if not math.isnan(v)] if curve is not None else []
    return max(finite, default=math.nan)


def _last(run: Run, key: str) -> float:
    curve = run.curves.get(key)
    return curve.values[-1] if curve is not None and curve.values else math.nan


def run_table(runs: Sequence[Run], colours: Mapping[str, int]) -> Table:
    """One row a run: state, the settings in which runs differ, size, time and how far training came."""
    differing = differing_settings(runs)
    columns = [Column("run", numeric=False), Column("state", numeric=False)]
    columns += [Column(MEANING.get(k, k), hint=k) for k in differing]
    columns += [
        Column("parameters"),
        Column("time"),
        Column("best J", hint="highest val/J during training, on held-out training videos"),
        Column("last loss", hint="last train/loss"),
    ]
    rows = []
    for run in runs:
        flat = flatten(run.config)
        parameters, seconds = number(run.status.get("parameters")), number(run.status.get("seconds"))
        known = not math.isnan(parameters)
        rows.append(
            (
                text_cell(run.name, colour=colours.get(run.name)),
                _state_cell(run),
                *(shown(flat.get(k)) for k in differing),
                Cell(f"{int(parameters):,}".replace(",", "\u2009"), parameters) if known else Cell(MISSING),
                Cell(duration(seconds), None if math.isnan(seconds) else seconds),
                value_cell(_best(run, "val/J")),
                value_cell(_last(run, "train/loss")),
            )
        )
    return Table("Runs", tuple(columns), tuple(rows))


def config_table(runs: Sequence[Run]) -> Table:
    """One row a setting, one column a run; settings in which runs differ are marked."""
    flat = [flatten(run.config) for run in runs]
    differing = differing_settings(runs)
    present = [k for k in MAIN_SETTINGS if any(k in f for f in flat)]
    rows = []
    for key in [*present, *(k for k in differing if k not in present)]:
        mark = "differs" if key in differing else ""
        label = Cell(key, key, mark, tag=MEANING.get(key, ""))
        cells = (shown(f[key]) if key in f else Cell(MISSING) for f in flat)
        rows.append((label, *(Cell(c.text, c.sort, mark) for c in cells)))
    for title, key in (("code revision", "git"), ("torch", "torch"), ("agnn-lit", "agnn-lit")):
        found = [run.status.get(key) or (run.status.get("versions") or {}).get(key) for run in runs]
        if any(found):
            rows.append((Cell(title, title), *(text_cell(_short(v)) if v else Cell(MISSING) for v in found)))
    columns = (Column("setting", numeric=False), *(Column(run.name, numeric=False) for run in runs))
    return Table("Configuration", columns, tuple(rows), kind="config")


def _short(revision: str) -> str:
    """Shorten a git revision to twelve digits, with what follows a ``+`` set apart."""
    head, plus, rest = str(revision).partition("+")
    is_hash = len(head) == 40 and all(c in "0123456789abcdef" for c in head)
    return head[:12] + (f" + {rest}" if plus else "") if is_hash else str(revision)
