"""``agnn-app``: a page in the browser for films and their masks."""

import os

from agnn_lit.commands.command_line import run_command
from agnn_lit.config import AppConfig
from agnn_lit.data.video import DataError
from agnn_lit.shared.packages import need_package


def _serve(cfg: AppConfig) -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    need_package("gradio", "app", "agnn-app")
    from agnn_lit.app.page import serve

    serve(cfg)


def main() -> None:
    """Entry point of the command."""
    run_command("app", _serve, DataError)


if __name__ == "__main__":
    main()
