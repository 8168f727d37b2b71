"""``agnn-report``: read the folders, write the report, print the means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from agnn_lit.config import ReportConfig, check_values

if TYPE_CHECKING:
    from agnn_lit.report.sections import Report


def print_means(report: Report) -> None:
    """Print the means of all methods, a table for each protocol and data set."""
    from rich.table import Table

    from agnn_lit.shared.terminal import open_console

    console = open_console()
    for section in report.groups:
        table = Table(title=section.group.title)
        table.add_column("method", overflow="fold")
        for title in ("J&F", "J", "F", "T", "sequences"):
            table.add_column(title, justify="right")
        for method in section.group.methods:
            means = (method.mean(key) for key in ("JF_mean", "J_mean", "F_mean", "T"))
            shown = ["–" if math.isnan(mean) else f"{mean:.3f}" for mean in means]
            table.add_row(method.name, *shown, str(len(method.sequences)))
        console.print(table)


def make_report(cfg: ReportConfig) -> Path:
    """Read the folders, write the report, print the means and the path of ``index.html``, and return this path.

    Raises:
        ReportError: a folder or file is missing or unreadable.
    """
    from agnn_lit.report.collect import ReportError
    from agnn_lit.report.groups import load
    from agnn_lit.report.render import write_report
    from agnn_lit.report.sections import build_report
    from agnn_lit.report.sweeps import write_record

    if cfg.frames is not None and not Path(cfg.frames).is_dir():
        raise ReportError(f"frames={cfg.frames} is not a folder; expected <sequence>/<frame>.jpg in it")
    check_values(cfg)
    runs, methods = load(cfg.runs, cfg.scores)
    frames = None if cfg.frames is None else Path(cfg.frames)
    report = build_report(runs, methods, cfg.title, frames, cfg.thumbnails)
    page = write_report(report, Path(cfg.out))
    if cfg.record is not None:
        if len(report.sweeps) != 1:
            raise ReportError(
                f"record={cfg.record}: {len(report.sweeps)} sweeps in runs={list(cfg.runs)}; expected one: runs in one "
                "folder that differ in settings or seeds"
            )
        write_record(report.sweeps[0].sweep, Path(cfg.record))
    print_means(report)
    if cfg.record is not None:
        print(f"record: {cfg.record}")
    print(f"report: {page.resolve()}")
    return page
