"""``agnn-predict``: masks for any footage."""

import sys

from agnn_lit.commands.command_line import run_command
from agnn_lit.config import PredictConfig
from agnn_lit.data.video import DataError
from agnn_lit.inference.prediction import predict
from agnn_lit.shared.processes import interrupt, receiving


def _predict(cfg: PredictConfig) -> None:
    try:
        with receiving(interrupt):
            predict(cfg)
    except OSError as error:
        print(
            f"agnn-predict: {error}\nfinished files are kept; fix this, then repeat the command to continue",
            file=sys.stderr,
        )
        raise SystemExit(1) from error
    except KeyboardInterrupt as error:
        print("\ninterrupted; finished files are kept; repeat the command to continue", file=sys.stderr)
        raise SystemExit(130) from error


def main() -> None:
    """Entry point of the command."""
    run_command("predict", _predict, DataError)


if __name__ == "__main__":
    main()
