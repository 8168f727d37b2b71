"""``agnn-predict``: masks for any footage."""

import sys
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate

from agnn_lit.commands.command_line import run_command
from agnn_lit.config import ConfigError, PredictConfig
from agnn_lit.data.films import find_films
from agnn_lit.data.video import DataError
from agnn_lit.inference.films import predict_films
from agnn_lit.inference.prediction import predict
from agnn_lit.shared.processes import interrupt, receiving

if TYPE_CHECKING:
    from agnn_lit.sweeps.launcher import SweepLauncher


def _launcher() -> "SweepLauncher | None":
    """Return the launcher of several workers that was asked for; None if there is to be one."""
    from agnn_lit.sweeps.local import LAUNCHERS

    hydra_cfg = HydraConfig.get()
    name = hydra_cfg.runtime.choices["hydra/launcher"]
    if name in ("basic", "sequential"):
        return None
    if name not in LAUNCHERS:
        raise ConfigError(f"hydra/launcher={name}: must be one of {', '.join(LAUNCHERS)}")
    found: Any = instantiate(hydra_cfg.launcher)
    return found  # type: ignore[no-any-return]


def _predict(cfg: PredictConfig) -> None:
    try:
        with receiving(interrupt):
            films = find_films(cfg.input)
            if films is None:
                predict(cfg)
            else:
                predict_films(cfg, films, _launcher())
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
