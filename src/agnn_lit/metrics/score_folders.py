"""Scores of the masks of any method against annotations, sequences in parallel."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import TimeRemainingColumn
from rich.table import Table

from agnn_lit.config import ConfigError, ScoreConfig, check_values
from agnn_lit.metrics.mask_files import collect, listed_names
from agnn_lit.metrics.parallel import score_all
from agnn_lit.metrics.protocols import Protocol, ScoreError, UnscorableError, get_protocol
from agnn_lit.metrics.summary import COLUMNS, SequenceScore, frame_rows, notes, summarise, without_nan, write_scores
from agnn_lit.shared.processes import usable_processors
from agnn_lit.shared.terminal import open_console, print_notes, progress_bar


def wanted_sequences(sequences: Any) -> list[str] | None:
    """Read the names asked for: None for all, a list, one name, or a text file with a name a line."""
    if sequences is None or isinstance(sequences, list):
        return sequences
    if Path(str(sequences)).is_file():
        return listed_names(Path(str(sequences)))
    return [str(sequences)]


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) and value == value else "–"


def print_scores(scores: Sequence[SequenceScore], summary: dict[str, Any], console: Console) -> None:
    """Print a row a sequence or object, and the averages."""
    title = f"{summary['protocol']}: {summary['sequences']} sequences or objects, {summary['frames']} frames"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("sequence", overflow="fold", min_width=min(20, max(len(score.name) for score in scores)))
    for column in COLUMNS:
        letter, _, statistic = column.partition("_")
        table.add_column(letter if statistic in ("", "mean") else statistic, justify="right", no_wrap=True)
    for score in scores:
        table.add_row(score.name, *map(_cell, score.columns().values()))
    table.add_section()
    table.add_row("mean", *(_cell(summary[column]) for column in COLUMNS), style="bold")
    console.print(table)
    for key, value in summary.items():
        if key not in COLUMNS and isinstance(value, float):
            console.print(f"{key} {_cell(value)}", highlight=False)


def log_to_wandb(scores: Sequence[SequenceScore], summary: dict[str, Any], cfg: ScoreConfig) -> None:
    """Log the tables and the summary to a W&B run, with its files in the output folder."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    rows = [[s.name, *s.columns().values()] for s in scores]
    frames = [list(row) for row in frame_rows(scores)]
    config = {"masks": cfg.masks, "annotations": cfg.annotations, "protocol": cfg.protocol}
    with wandb.init(
        project=cfg.project,
        mode="online" if cfg.wandb == "online" else "offline",
        dir=cfg.out,
        config=config,
        job_type="score",
        name=Path(cfg.out).name,
    ) as run:
        run.log(
            {
                "per_sequence": wandb.Table(columns=["sequence", *COLUMNS], data=rows),
                "per_frame": wandb.Table(columns=["sequence", "frame", "J", "F"], data=frames),
            }
        )
        run.summary.update({key: value for key, value in summary.items() if value is not None})


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a folder of masks.

    Attributes:
        per_sequence: scores in the order of the sequences' names.
        protocol: how they were scored.
        notes: what a reader of the scores should know, such as sequences that could not be scored.
        about: further entries of the summary: the folders.
    """

    per_sequence: tuple[SequenceScore, ...]
    protocol: Protocol
    notes: tuple[str, ...]
    about: Mapping[str, float | str]

    @property
    def summary(self) -> dict[str, Any]:
        """Averages over the sequences (objects, where the protocol tells them apart), as in ``summary.json``."""
        return without_nan(summarise(self.per_sequence, self.protocol) | dict(self.about))

    @property
    def sequences(self) -> Any:
        """A row for each sequence or object, columns as in ``per_sequence.csv``.

        A pandas DataFrame if pandas is installed, else a list of dictionaries.
        """
        return _table([{"sequence": s.name, **s.columns()} for s in self.per_sequence])

    @property
    def frames(self) -> Any:
        """A row for each counted frame, columns as in ``per_frame.csv``; see :attr:`sequences`."""
        columns = ("sequence", "frame", "J", "F")
        return _table([dict(zip(columns, row, strict=True)) for row in frame_rows(self.per_sequence)])

    def save(self, out: str | Path) -> Path:
        """Write ``per_frame.csv``, ``per_sequence.csv`` and ``summary.json`` into a folder, and return it."""
        write_scores(Path(out), self.per_sequence, self.protocol, **self.about)
        return Path(out)

    def __repr__(self) -> str:
        found = self.summary
        means = ", ".join(f"{key} {_cell(found[f'{key}_mean'])}" for key in "JF")
        return f"<Scores of {found['sequences']} sequences or objects by {self.protocol.name}: {means}>"


def _table(rows: list[dict[str, Any]]) -> Any:
    if importlib.util.find_spec("pandas") is None:
        return rows
    import pandas

    return pandas.DataFrame(rows)


def score_folder(cfg: ScoreConfig, console: Console) -> Scores:
    """Score a folder of masks as configured; nothing is written.

    Raises:
        ConfigError: wrong settings. ScoreError: files that cannot be scored.
    """
    check_values(cfg)
    protocol = get_protocol(cfg.protocol)
    if cfg.threshold is not None and protocol.objects != "foreground":
        raise ConfigError(f"threshold={cfg.threshold:g}: protocol={cfg.protocol} compares object ids, not soft maps")
    files, aside = collect(Path(cfg.masks), Path(cfg.annotations), protocol, wanted_sequences(cfg.sequences))
    console.print(protocol.describe(), highlight=False, soft_wrap=True)
    done: dict[str, list[SequenceScore]] = {}
    unscorable: list[UnscorableError] = []
    workers = cfg.workers or usable_processors()
    with (
        score_all(files, protocol, workers, cfg.threshold) as results,  # before the bar starts its thread
        progress_bar(console, TimeRemainingColumn(), shown=cfg.progress) as bar,
    ):
        task = bar.add_task("sequences", total=len(files))
        for result in results:
            if isinstance(result, UnscorableError):
                unscorable.append(result)
            else:
                done[result[0].name] = result
            bar.advance(task)
    refused = sorted(map(str, unscorable))
    if not done:
        raise ScoreError("no sequence can be scored: " + "; ".join(refused[:3]) + ("; …" if len(refused) > 3 else ""))
    scores = tuple(s for name in sorted(done) for s in done[name])
    left = [f"{len(refused)} sequences NOT SCORED: {'; '.join(refused)}"] if refused else []
    paths = {"masks": str(Path(cfg.masks).resolve()), "annotations": str(Path(cfg.annotations).resolve())}
    given = {} if cfg.threshold is None else {"mask_threshold": cfg.threshold}
    return Scores(scores, protocol, (*aside, *notes(scores), *left), {**paths, **given})


def score(cfg: ScoreConfig) -> tuple[list[SequenceScore], dict[str, Any]]:
    """Score a folder of masks as configured, print the scores and write the three files.

    Returns:
        the scores in the order of their sequences' names, and the summary.

    Raises:
        ConfigError: wrong settings. ScoreError: files that cannot be scored.
    """
    console = open_console()
    found = score_folder(cfg, console)
    found.save(cfg.out)
    scores, summary = list(found.per_sequence), found.summary
    print_notes(console, found.notes)
    print_scores(scores, summary, console)
    if cfg.wandb != "disabled":
        log_to_wandb(scores, summary, cfg)
    console.print(f"written to {cfg.out}", highlight=False, soft_wrap=True)
    return scores, summary
