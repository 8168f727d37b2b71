"""``agnn-convert``: checkpoints of the released code to ours, and back."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agnn_lit.commands.command_line import need_settings, refuse, run_command
from agnn_lit.config import CONF_DIR, ConvertConfig, typed
from agnn_lit.model.conversion import convert


@hydra.main(config_path=CONF_DIR, config_name="convert", version_base="1.3")
@refuse("agnn-convert")
def _main(cfg: DictConfig) -> None:
    need_settings("convert", cfg)
    convert(typed(cfg, ConvertConfig))


def main() -> None:
    """Entry point of the command."""
    run_command("convert", _main)


if __name__ == "__main__":
    main()
