"""``agnn-report``: one page about runs and scored masks, with tables, curves and published numbers."""

from agnn_lit.commands.command_line import run_command
from agnn_lit.report.collect import ReportError
from agnn_lit.report.report import make_report


def main() -> None:
    """Entry point of the command."""
    run_command("report", make_report, ReportError)


if __name__ == "__main__":
    main()
