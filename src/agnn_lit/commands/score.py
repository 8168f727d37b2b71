"""``agnn-score``: score the masks of any method against annotations."""

import signal

from agnn_lit.commands.command_line import run_command
from agnn_lit.config import ScoreConfig
from agnn_lit.metrics.protocols import ScoreError


def _stop(signum: int, frame: object) -> None:  # noqa: ARG001 - called by the interpreter
    raise SystemExit(128 + signum)


def _score(cfg: ScoreConfig) -> None:
    from agnn_lit.metrics.score_folders import score  # not for --help, which would wait for it

    signal.signal(signal.SIGTERM, _stop)
    score(cfg)


def main() -> None:
    """Entry point of the command."""
    run_command("score", _score, ScoreError)


if __name__ == "__main__":
    main()
