"""``agnn-evaluate``: predict a data set with a trained model or all models of a sweep, and score the masks."""

from agnn_lit.commands.command_line import run_command
from agnn_lit.data.video import DataError
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.report.collect import ReportError
from agnn_lit.sweeps.evaluation import evaluate_runs


def main() -> None:
    """Entry point of the command."""
    run_command("evaluate", evaluate_runs, DataError, ScoreError, ReportError)


if __name__ == "__main__":
    main()
