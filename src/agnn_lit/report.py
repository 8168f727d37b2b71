"""``agnn-report``: runs and scored masks as one page, with tables, curves and published numbers."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from agnn_lit.commands import refuse, run_command
from agnn_lit.config import CONF_DIR, typed

if TYPE_CHECKING:
    from agnn_lit.report_page.sections import Report


@dataclass
class ReportConfig:
    """What is reported, and where to."""

    runs: list[str] = field(default_factory=list)  # folders of agnn-train, sweep folders, or patterns with *
    scores: list[str] = field(default_factory=list)  # of agnn-score or agnn-evaluate, optionally NAME=FOLDER
    out: str = "report"  # folder for index.html, report.md and scores.csv
    title: str = "AGNN report"
    frames: str | None = None  # <sequence>/<frame>.jpg, drawn behind the contours; null: grey
    record: str | None = None  # folder to record a sweep in: results.csv, table.md, figure.svg, runs.json
    thumbnails: int = 4  # pictures of lowest J under each sequence; 0: none


ConfigStore.instance().store(name="report_schema", node=ReportConfig)


def print_means(report: Report) -> None:
    """Print the means of every method, a table for each protocol and data set."""
    from rich.table import Table

    from agnn_lit.terminal import open_console

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
    """Read the folders, write the report, print the means and the page's path.

    Returns:
        Path of ``index.html``.

    Raises:
        ReportError: names the folder or file that is missing or unreadable, and the command that makes it.
    """
    from agnn_lit.report_page.collect import ReportError
    from agnn_lit.report_page.groups import load
    from agnn_lit.report_page.render import write_report
    from agnn_lit.report_page.sections import build_report
    from agnn_lit.report_page.sweeps import write_record

    if cfg.frames is not None and not Path(cfg.frames).is_dir():
        raise ReportError(f"frames={cfg.frames} is not a folder; expected <sequence>/<frame>.jpg in it")
    if cfg.thumbnails < 0:
        raise ReportError(f"thumbnails={cfg.thumbnails}: must be 0 or more")
    runs, methods = load(cfg.runs, cfg.scores)
    frames = None if cfg.frames is None else Path(cfg.frames)
    report = build_report(runs, methods, cfg.title, frames, cfg.thumbnails)
    page = write_report(report, Path(cfg.out))
    if cfg.record is not None:
        if len(report.sweeps) != 1:
            raise ReportError(
                f"record={cfg.record}: {len(report.sweeps)} sweeps in runs={list(cfg.runs)}; a record is of one: runs "
                "in one folder that differ in their settings or seeds"
            )
        write_record(report.sweeps[0].sweep, Path(cfg.record))
    print_means(report)
    if cfg.record is not None:
        print(f"record: {cfg.record}")
    print(f"report: {page.resolve()}")
    return page


@hydra.main(config_path=CONF_DIR, config_name="report", version_base="1.3")
def _main(cfg: DictConfig) -> None:
    from agnn_lit.report_page.collect import ReportError

    refuse("agnn-report", ReportError)(make_report)(typed(cfg, ReportConfig))


def quote_entries(argument: str) -> str:
    """Quote the entries of ``runs=…`` and ``scores=…``, which Hydra's grammar would trip over at ``=``.

    ``scores=[a=DIR,b=DIR]`` becomes ``scores=["a=DIR","b=DIR"]``, and a single ``runs=DIR`` a list of one.
    An argument with quotes in it is left as it is.
    """
    key, _, value = argument.partition("=")
    if key not in ("runs", "scores") or not value or any(quote in value for quote in "'\""):
        return argument
    listed = value.startswith("[") and value.endswith("]")
    entries = value[1:-1].split(",") if listed else [value]
    return f"{key}=[" + ",".join(f'"{entry.strip()}"' for entry in entries if entry.strip()) + "]"


def main() -> None:
    """Entry point of the command."""
    sys.argv[1:] = [quote_entries(argument) for argument in sys.argv[1:]]
    run_command("agnn-report", _main, ReportConfig)


if __name__ == "__main__":
    main()
