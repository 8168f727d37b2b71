"""``agnn-export``: the network as ONNX or as a program of torch.export."""

from agnn_lit.commands.command_line import run_command
from agnn_lit.model.export import export


def main() -> None:
    """Entry point of the command."""
    run_command("export", export)


if __name__ == "__main__":
    main()
