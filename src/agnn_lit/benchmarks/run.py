"""``agnn-benchmark``: measures a topic, prints a table and writes a JSON file."""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path
from typing import Any

from rich.table import Table

from agnn_lit.config import BenchmarkConfig, check_values, option
from agnn_lit.shared.files import write_text
from agnn_lit.shared.provenance import versions
from agnn_lit.shared.terminal import open_console


def print_result(result: dict[str, Any]) -> None:
    """Print the rows as a table, followed by the ratios."""
    console = open_console()
    table = Table(title=f"{result['topic']}: the fastest of {result['repeats']} rounds, taken in turns")
    for title in ("what", "seconds", "peak memory in MB"):
        table.add_column(title, justify="left" if title == "what" else "right")
    for row in result["rows"]:
        memory = row["memory_mb"]
        shown = "–" if memory is None or math.isnan(memory) else f"{memory:.0f}"
        table.add_row(row["name"], f"{row['seconds']:.4g}", shown)
    console.print(table)
    for name, ratio in result["ratios"].items():
        console.print(f"{name} {ratio:.2f}", highlight=False)


def benchmark(cfg: BenchmarkConfig) -> dict[str, Any]:
    """Measure a topic, print the table, and write the JSON file.

    Returns:
        ``{topic, repeats, machine, versions, rows: [{name, seconds, memory_mb}], ratios: {…}}``; unknown memory is
        None.

    Raises:
        ConfigError: unknown topic, or ``repeats`` below 1.
        RuntimeError: our values and those of the plain implementation differ.
    """
    check_values(cfg)
    measured: dict[str, Any] = option("topic", cfg.topic).load()(cfg.repeats)
    rows = [{k: None if v != v else v for k, v in row.items()} for row in measured["rows"]]
    about = {"topic": cfg.topic, "repeats": cfg.repeats, "machine": platform.machine(), "versions": versions()}
    result = {**about, "rows": rows, "ratios": measured["ratios"]}
    print_result(result)
    if cfg.out is not None:
        write_text(Path(cfg.out), json.dumps(result, indent=2, allow_nan=False) + "\n")
        print(f"written to {cfg.out}")
    return result
