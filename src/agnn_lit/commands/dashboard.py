"""``agnn-dashboard``: the W&B workspace and report of a sweep, as code."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agnn_lit.commands.command_line import need_settings, refuse, run_command
from agnn_lit.config import CONF_DIR, DashboardConfig, typed
from agnn_lit.report.collect import ReportError
from agnn_lit.sweeps.dashboard import make_dashboard


@hydra.main(config_path=CONF_DIR, config_name="dashboard", version_base="1.3")
@refuse("agnn-dashboard", ReportError)
def _main(cfg: DictConfig) -> None:
    need_settings("dashboard", cfg)
    make_dashboard(typed(cfg, DashboardConfig))


def main() -> None:
    """Entry point of the command."""
    run_command("dashboard", _main, ReportError)


if __name__ == "__main__":
    main()
