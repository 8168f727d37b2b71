"""``agnn-benchmark``: time and memory beside plain code."""

from agnn_lit.benchmarks.run import benchmark
from agnn_lit.commands.command_line import run_command


def main() -> None:
    """Entry point of the command."""
    run_command("benchmark", benchmark)


if __name__ == "__main__":
    main()
