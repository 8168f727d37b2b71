"""Feeding of the recipe of the model in the package alone: ``python experiments/feeding/measure_lite.py FILE.json``."""

import json
import sys
from pathlib import Path

from agnn_lit.benchmarks.data import LITE, run_data

Path(sys.argv[1]).write_text(json.dumps(run_data(2, LITE), indent=1, default=str) + "\n")
