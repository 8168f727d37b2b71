"""Compare our scores of published mask sets with the official benchmark's values.

usage: AGNN_SHARED=DIR python experiments/official_scores/compare.py

AGNN_SHARED holds data/DAVIS, data/results/davis2016/<method>, data/results/davis2017/{rvos,osvos} and
reference/{davis2016_official,davis2017_unsupervised}.json. Writes results.csv beside this file.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from agnn_lit.metrics.score_folders import ScoreConfig, score

SHARED = Path(os.environ["AGNN_SHARED"])
ANNOTATIONS = SHARED / "data" / "DAVIS" / "Annotations" / "480p"
RESULTS = SHARED / "data" / "results"


def davis2016(out: str) -> list[list[object]]:
    """A row for each method: values that differ at the official three decimals, and T."""
    reference = json.loads((SHARED / "reference" / "davis2016_official.json").read_text())
    rows: list[list[object]] = []
    for method, official in reference["methods"].items():
        cfg = ScoreConfig(str(RESULTS / "davis2016" / method), str(ANNOTATIONS), "davis2016", out, progress=False)
        scores, summary = score(cfg)
        values = differing = 0
        for s in scores:
            for letter in "JF":
                ours = np.array([f"{v:.3f}" for v in getattr(s, letter)], float)
                values += len(ours)
                differing += int((ours != np.array(official["per_frame"][s.name][letter])).sum())
        means = {f"{k[0]}{k[2:]}": v for k, v in summary.items() if k[:2] in ("J_", "F_")}
        wrong = [k for k, v in official["summary"].items() if k != "T" and f"{means[k]:.3f}" != f"{v:.3f}"]
        T = official["summary"]["T"]
        rows.append([method, values, differing, len(wrong), T, f"{summary['T']:.4f}", f"{summary['T'] - T:+.4f}"])
    _, summary = score(ScoreConfig(str(ANNOTATIONS), str(ANNOTATIONS), "davis2016", out, progress=False))
    T = float(reference["T_ground_truth"])
    rows.append(["annotations", "", "", "", T, f"{summary['T']:.4f}", f"{summary['T'] - T:+.4f}"])
    return rows


def davis2017(out: str) -> list[object]:
    """Largest difference over all objects and values of the unsupervised evaluation."""
    expected = json.loads((SHARED / "reference" / "davis2017_unsupervised.json").read_text())["per_object"]
    folders = [str(RESULTS / "davis2017" / name) for name in ("rvos", "osvos")]
    names = sorted({key.rpartition("_")[0] for key in expected})
    scores, _ = score(ScoreConfig(*folders, "davis2017_unsupervised", out, sequences=names, progress=False))
    differences = [abs(s.columns()[k] - v) for s in scores for k, v in expected[s.name].items()]
    return ["rvos", len(differences), sum(d > 1e-6 for d in differences), "", "", "", f"{max(differences):.1e}"]


def main() -> None:
    """Entry point."""
    header = ["method", "values", "values that differ", "summary values that differ", "T published", "T", "difference"]
    with tempfile.TemporaryDirectory() as out:
        rows = [["davis2016", *row] for row in davis2016(out)]
        rows.append(["davis2017_unsupervised", *davis2017(out)])
    file = Path(__file__).with_name("results.csv")
    with file.open("w", newline="") as table:
        csv.writer(table, lineterminator="\n").writerows([["protocol", *header], *rows])
    print(file.read_text())


if __name__ == "__main__":
    main()
