"""``python -m agnn_lit.report`` is the command agnn-report."""

from agnn_lit.commands.report import main

main()
