"""``agnn-dashboard``: the W&B workspace and report of a sweep, as code."""

from agnn_lit.commands.command_line import run_command
from agnn_lit.report.collect import ReportError
from agnn_lit.sweeps.dashboard import make_dashboard


def main() -> None:
    """Entry point of the command."""
    run_command("dashboard", make_dashboard, ReportError)


if __name__ == "__main__":
    main()
