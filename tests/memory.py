"""A prediction in a process of its own, whose peak memory is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CALL = """
import sys
from pathlib import Path
from agnn_lit.config import PredictConfig
from agnn_lit.predict import predict
run, source, out = sys.argv[1:4]
predict(PredictConfig(run=run, input=source, out=out, progress=False, threads=1, soft=True))
print([line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")][0])
"""


def peak_of_prediction(run: Path, source: Path, out: Path) -> float:
    """Peak memory in MB of predicting a video, masks, soft maps and overlay included."""
    done = subprocess.run([sys.executable, "-c", CALL, run, source, out], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024
