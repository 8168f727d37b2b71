"""``agnn-convert``: checkpoints of the released code to ours, and back."""

from agnn_lit.commands.command_line import run_command
from agnn_lit.model.conversion import convert


def main() -> None:
    """Entry point of the command."""
    run_command("convert", convert)


if __name__ == "__main__":
    main()
