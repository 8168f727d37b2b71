"""``agnn-predict``: masks for any footage."""

from __future__ import annotations

import signal
import sys

import hydra
from omegaconf import DictConfig

from agnn_lit.commands.command_line import need_settings, refuse, run_command
from agnn_lit.config import CONF_DIR, PredictConfig, typed
from agnn_lit.data.video import DataError
from agnn_lit.inference.prediction import predict


def _stop(signum: int, frame: object) -> None:  # noqa: ARG001 - called by the interpreter
    raise KeyboardInterrupt


@hydra.main(config_path=CONF_DIR, config_name="predict", version_base="1.3")
@refuse("agnn-predict", DataError)
def _main(cfg: DictConfig) -> None:
    signal.signal(signal.SIGTERM, _stop)
    try:
        need_settings("predict", cfg)
        predict(typed(cfg, PredictConfig))
    except OSError as error:
        print(
            f"agnn-predict: {error}\nwhat is written stays; once that is mended, the same command goes on",
            file=sys.stderr,
        )
        raise SystemExit(1) from error
    except KeyboardInterrupt as error:
        print("\ninterrupted; what is written stays, and the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from error


def main() -> None:
    """Entry point of the command."""
    run_command("predict", _main, DataError)


if __name__ == "__main__":
    main()
