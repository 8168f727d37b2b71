"""``agnn-benchmark``: speed and memory beside plain code, side by side in one run."""

from __future__ import annotations

import importlib
import json
import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from rich.table import Table

from agnn_lit.commands import refuse, run_command
from agnn_lit.config import CONF_DIR, ConfigError, typed
from agnn_lit.runs import versions, write_atomically
from agnn_lit.terminal import open_console

#: What can be measured: the function that returns ``{topic, rows: [{name, seconds, memory_mb}], ratios: {…}}``.
TOPICS = {
    "scoring": "agnn_lit.benchmark_scoring:run_scoring",
    "inference": "agnn_lit.benchmark_inference:run_inference",
    "crf": "agnn_lit.benchmark_crf:run_crf",
    "graph": "agnn_lit.benchmark_graph:run_graph",
    "data": "agnn_lit.benchmark_data:run_data",
    "objects": "agnn_lit.benchmark_objects:run_objects",
}


@dataclass
class BenchmarkConfig:
    """What is measured, how often, and where the result goes."""

    topic: str = MISSING  # one of TOPICS
    out: str | None = None  # JSON file; null: the table only
    repeats: int = 3  # rounds, in which the sides take turns; each side's fastest counts


ConfigStore.instance().store(name="benchmark_schema", node=BenchmarkConfig)


def print_result(result: dict[str, Any]) -> None:
    """Print the rows as a table, and the ratios below."""
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
        ConfigError: an unknown topic, or no repeats.
        RuntimeError: the fast code and the plain code disagree.
    """
    if cfg.topic not in TOPICS:
        raise ConfigError(f"topic={cfg.topic}: must be one of {', '.join(TOPICS)}")
    if cfg.repeats < 1:
        raise ConfigError(f"repeats={cfg.repeats}: must be 1 or more")
    module, _, name = TOPICS[cfg.topic].partition(":")
    run: Callable[[int], dict[str, Any]] = getattr(importlib.import_module(module), name)
    measured = run(cfg.repeats)
    rows = [{k: None if v != v else v for k, v in row.items()} for row in measured["rows"]]
    about = {"topic": cfg.topic, "repeats": cfg.repeats, "machine": platform.machine(), "versions": versions()}
    result = {**about, "rows": rows, "ratios": measured["ratios"]}
    print_result(result)
    if cfg.out is not None:
        write_atomically(Path(cfg.out), json.dumps(result, indent=2, allow_nan=False) + "\n")
        print(f"written to {cfg.out}")
    return result


@hydra.main(config_path=CONF_DIR, config_name="benchmark", version_base="1.3")
@refuse("agnn-benchmark", ConfigError)
def _main(cfg: DictConfig) -> None:
    if OmegaConf.missing_keys(cfg):
        raise ConfigError(f"topic= is needed: one of {', '.join(TOPICS)}")
    benchmark(typed(cfg, BenchmarkConfig))


def main() -> None:
    """Entry point of the command."""
    run_command("agnn-benchmark", _main, BenchmarkConfig)


if __name__ == "__main__":
    main()
