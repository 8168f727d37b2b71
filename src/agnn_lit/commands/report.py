"""``agnn-report``: runs and scored masks as one page, with tables, curves and published numbers."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agnn_lit.commands.command_line import need_settings, refuse, run_command
from agnn_lit.config import CONF_DIR, ReportConfig, typed
from agnn_lit.report.collect import ReportError
from agnn_lit.report.report import make_report


@hydra.main(config_path=CONF_DIR, config_name="report", version_base="1.3")
@refuse("agnn-report", ReportError)
def _main(cfg: DictConfig) -> None:
    need_settings("report", cfg)
    make_report(typed(cfg, ReportConfig))


def main() -> None:
    """Entry point of the command."""
    run_command("report", _main, ReportError)


if __name__ == "__main__":
    main()
