"""``python -m agnn_lit.app`` is the command agnn-app."""

from agnn_lit.commands.app import main

main()
