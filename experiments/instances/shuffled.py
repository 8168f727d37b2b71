"""Are the identities of other people's masks found again once they are lost?

AGNN_DAVIS_ROOT=DIR python experiments/instances/shuffled.py MODEL RESULTS [SEQUENCE …], MODEL a run folder, a
checkpoint or pretrained: takes the masks of RVOS in
RESULTS/rvos/SEQUENCE, gives their objects other indices in every frame, and has agnn-predict follow them through the
frames. Both are scored as davis2017_unsupervised against DAVIS-2016's annotations where a sequence has one object, else
against RESULTS/osvos/SEQUENCE, which tells how many it has. Writes experiments/instances/shuffled.csv.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import agnn_lit
from agnn_lit.data.video import DiskVideo
from agnn_lit.metrics.mask_image import read_ids
from agnn_lit.metrics.protocols import get_protocol
from agnn_lit.metrics.sequence import score_sequence

_SEED = 0


def score(sequence: str, masks: Path, annotations: Path) -> float:
    """Mean J&F over the objects of a sequence."""
    files = sorted(annotations.glob("*.png"))
    names = [file.stem for file in files]
    video = DiskVideo(sequence, (), tuple(files))
    true = (video.objects(index) for index in range(len(files)))
    found = (read_ids(masks / f"{name}.png") for name in names)
    scores = score_sequence(sequence, names, found, true, get_protocol("davis2017_unsupervised"))
    return float(np.mean([(s.J_mean + s.F_mean) / 2 for s in scores]))


def main() -> None:
    """Write a row for each sequence, and the mean."""
    source, results, *sequences = sys.argv[1:]
    model = agnn_lit.load(source)
    davis = Path(os.environ["AGNN_DAVIS_ROOT"])
    rows = []
    there = sorted(p.name for p in (davis / "Annotations/480p").iterdir() if (Path(results) / "rvos" / p.name).is_dir())
    for sequence in sequences or there:
        original = Path(results) / "rvos" / sequence
        annotations = Path(results) / "osvos" / sequence
        if read_ids(min(annotations.glob("*.png"))).max() == 1:
            annotations = davis / "Annotations/480p" / sequence
        with tempfile.TemporaryDirectory() as folder:
            rng = np.random.default_rng(_SEED)
            shuffled = Path(folder) / "shuffled"
            shuffled.mkdir()
            for file in sorted(original.glob("*.png")):
                other = np.array([0, *(1 + rng.permutation(20))], np.uint8)  # at most 20 objects
                Image.fromarray(other[read_ids(file)], mode="L").save(shuffled / file.name)
            instances = agnn_lit.InstancesConfig("masks", str(shuffled), agreement=0.0, min_area=0.0)
            segmented = model.segment(davis / "JPEGImages/480p" / sequence, instances=instances)
            out = segmented.save(f"{folder}/out", overlay=False)
            values = [score(sequence, masks, annotations) for masks in (original, shuffled, out / "masks")]
        rows.append([sequence, "OSVOS" if annotations.is_relative_to(results) else "DAVIS", *values])
        print(f"{sequence}: original {values[0]:.3f}, shuffled {values[1]:.3f}, tracked {values[2]:.3f}", flush=True)
    means = np.mean([row[2:] for row in rows], axis=0)
    print(f"mean: {means[2] / means[0]:.3f} of the original's {means[0]:.3f}; shuffled {means[1] / means[0]:.3f}")
    with Path(__file__).with_name("shuffled.csv").open("w", newline="") as file:
        out_file = csv.writer(file, lineterminator="\n")
        out_file.writerow(["sequence", "annotation", "original J&F", "shuffled J&F", "tracked J&F"])
        for name, kind, *values in [*rows, ["mean", "", *means]]:
            out_file.writerow([name, kind, *(f"{value:.4f}" for value in values)])


if __name__ == "__main__":
    main()
