"""A prediction in a process of its own, whose peak memory is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CALL = """
import sys
from pathlib import Path
from agnn_lit.inference.prediction import predict
from tests.configs import predict_config
predict(predict_config(*sys.argv[1:], "threads=1", "soft=true"))
print([line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")][0])
"""


def peak_of_prediction(run: Path, source: Path, out: Path, *overrides: str) -> float:
    """Peak memory in MB of predicting a video, masks, soft maps and overlay included."""
    words = [sys.executable, "-c", CALL, run, source, out, *overrides]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return int(done.stdout.split()[-1]) / 1024
