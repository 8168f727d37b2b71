"""``agnn-evaluate``: predict a data set with a trained model, and score the masks."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agnn_lit.commands.command_line import refuse, run_command
from agnn_lit.config import CONF_DIR, EvaluateConfig, typed
from agnn_lit.data.video import DataError
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.report.collect import ReportError
from agnn_lit.sweeps.evaluation import evaluate_all, evaluate_run, sweep_members


@hydra.main(config_path=CONF_DIR, config_name="evaluate", version_base="1.3")
@refuse("agnn-evaluate", DataError, ScoreError, ReportError)
def _main(cfg: DictConfig) -> None:
    settings = typed(cfg, EvaluateConfig)
    members = sweep_members(settings.run)
    if members:
        evaluate_all(settings, members)
    else:
        evaluate_run(settings)


def main() -> None:
    """Entry point of the command."""
    run_command("evaluate", _main, DataError, ScoreError, ReportError)


if __name__ == "__main__":
    main()
