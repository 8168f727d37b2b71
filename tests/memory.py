"""A prediction in a process of its own, whose peak memory is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CALL = """
import sys
from pathlib import Path
from hydra import compose, initialize_config_dir
from agnn_lit import config
from agnn_lit.predict import predict
run, source, out, *more = sys.argv[1:]
words = [f"run='{run}'", f"input='{source}'", f"out='{out}'", "progress=false", "threads=1", "soft=true", *more]
with initialize_config_dir(config.CONF_DIR, version_base="1.3"):
    cfg = config.typed(compose("predict", overrides=words), config.PredictConfig)
predict(cfg)
print([line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")][0])
"""


def peak_of_prediction(run: Path, source: Path, out: Path, *overrides: str) -> float:
    """Peak memory in MB of predicting a video, masks, soft maps and overlay included."""
    words = [sys.executable, "-c", CALL, run, source, out, *overrides]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024
