"""``agnn-benchmark``: speed and memory beside plain code, side by side in one run."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agnn_lit.benchmarks.run import benchmark
from agnn_lit.commands.command_line import need_settings, refuse, run_command
from agnn_lit.config import CONF_DIR, BenchmarkConfig, typed


@hydra.main(config_path=CONF_DIR, config_name="benchmark", version_base="1.3")
@refuse("agnn-benchmark")
def _main(cfg: DictConfig) -> None:
    need_settings("benchmark", cfg)
    benchmark(typed(cfg, BenchmarkConfig))


def main() -> None:
    """Entry point of the command."""
    run_command("benchmark", _main)


if __name__ == "__main__":
    main()
