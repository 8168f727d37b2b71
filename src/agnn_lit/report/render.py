"""Writes a report: ``index.html``, ``report.md`` and ``scores.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

import jinja2

from agnn_lit.report.cells import markdown_table
from agnn_lit.report.collect import MEASURES
from agnn_lit.report.sections import GroupSection, Report
from agnn_lit.report.svg import COLOURS
from agnn_lit.report.sweeps import sweep_csv
from agnn_lit.shared.files import write_text


def html(report: Report) -> str:
    """Return the page, which needs no other file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    return template.render(report=report, colour_count=COLOURS)


def _notes(texts: Iterable[str]) -> list[str]:
    return [f"> **Note.** {text}" for text in texts]


def _markdown_group(section: GroupSection) -> list[str]:
    return [
        f"## Scores: {section.group.title}",
        "\n".join(f"- {subject}: {text}" for subject, text in section.protocol_lines),
        *_notes(section.group.notices),
        markdown_table(section.ranking),
        f"### {section.sequences.caption}",
        markdown_table(section.sequences),
    ]


def markdown(report: Report) -> str:
    """Return the tables of a report as Markdown."""
    blocks = [f"# {report.title}", report.sentence]
    for sweep in report.sweeps:
        blocks.append(f"## Sweep {sweep.sweep.title}")
        blocks += _notes(sweep.sweep.notices)
        blocks += [markdown_table(sweep.table), f"```\n{sweep.commands}\n```"]
    for section in report.groups:
        blocks += _markdown_group(section)
    if report.runs is not None:
        blocks += ["## Runs", markdown_table(report.runs.table)]
        blocks += [f"> **{name}**: {problem}" for name, problem in report.runs.problems]
        blocks += ["### Configuration", markdown_table(report.runs.config)]
    blocks.append("## Published numbers")
    for comparison in report.comparisons:
        blocks += [f"### {comparison.published.title}", comparison.published.caption]
        if not comparison.relevant:
            blocks.append("*Not comparable: nothing in this report has this protocol and data.*")
        blocks += _notes(comparison.warnings)
        blocks.append(markdown_table(comparison.table))
    return "\n\n".join(b for b in blocks if b) + "\n"


def scores_csv(report: Report) -> str:
    """Return the rows of all ``per_sequence.csv``, with method, protocol and data set in the first columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "protocol", "data", "sequence", *MEASURES))
    for method in report.methods:
        for sequence, values in method.sequences.items():
            numbers = ("" if math.isnan(values[k]) else f"{values[k]:.10g}" for k in MEASURES)
            writer.writerow((method.name, method.protocol, method.data or "", sequence, *numbers))
    return text.getvalue()


def write_report(report: Report, out: Path) -> Path:
    """Write the page, its tables as Markdown, all scores and a table of each sweep; return the path of the page."""
    for name, text in (
        ("scores.csv", scores_csv(report)),
        ("report.md", markdown(report)),
        *((f"sweep_{section.sweep.name}.csv", sweep_csv(section.sweep)) for section in report.sweeps),
        ("index.html", html(report)),
    ):
        write_text(out / name, text)
    return out / "index.html"
