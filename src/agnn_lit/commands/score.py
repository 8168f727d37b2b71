"""``agnn-score``: score the masks of any method against annotations, sequences in parallel."""

from __future__ import annotations

import signal

import hydra
from omegaconf import DictConfig

from agnn_lit.commands.command_line import need_settings, refuse, run_command
from agnn_lit.config import CONF_DIR, ScoreConfig, typed
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.metrics.score_folders import score


def _stop(signum: int, frame: object) -> None:  # noqa: ARG001 - called by the interpreter
    raise SystemExit(128 + signum)


@hydra.main(config_path=CONF_DIR, config_name="score", version_base="1.3")
@refuse("agnn-score", ScoreError)
def _main(cfg: DictConfig) -> None:
    signal.signal(signal.SIGTERM, _stop)
    need_settings("score", cfg)
    score(typed(cfg, ScoreConfig))


def main() -> None:
    """Entry point of the command."""
    run_command("score", _main, ScoreError)


if __name__ == "__main__":
    main()
