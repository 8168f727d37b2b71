"""``python -m agnn_lit.report`` is the command agnn-report, although this package has its name."""

import runpy

runpy.run_module("agnn_lit.commands.report", run_name="__main__", alter_sys=True)
