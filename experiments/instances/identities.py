"""How much do the tracks lose against perfect identities?

python experiments/instances/identities.py RUN [RUN …]: evaluates each run's test videos twice with instances=parts,
once as always and once with every candidate named after the annotated object that it overlaps most. Writes
identities.csv and objects.jpg, frames of a video of each run, into experiments/instances.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from agnn_lit.config import EvaluateConfig, InstancesConfig
from agnn_lit.data.open import open_videos
from agnn_lit.inference import evaluation as commands
from agnn_lit.inference.postprocess import write_mask
from agnn_lit.instances.candidates import Candidates, candidates_file
from agnn_lit.instances.video import link_video
from agnn_lit.shared.pictures import draw_overlay, jpeg
from agnn_lit.shared.runs import Run

_SHOWN = 1  # number of the video


def link_perfectly(video, folder, mask_of, cfg, advance=None) -> int:  # noqa: ARG001 - as link_video
    """Write the masks of a video with the identities of its annotation."""
    for index in range(len(video)):
        name, annotation = video.frame_name(index), video.objects(index)
        ids = np.zeros_like(annotation)
        for mask in Candidates.load(candidates_file(folder, name)).masks[::-1]:  # the strongest is drawn last
            counts = np.bincount(annotation[mask], minlength=2).astype(float)
            unions = [np.count_nonzero(mask | (annotation == k)) for k in range(1, len(counts))]
            if counts[1:].any():
                ids[mask] = 1 + int(np.argmax(counts[1:] / unions))
        write_mask(mask_of(name), ids)
    shutil.rmtree(folder)
    return 0


def strip(video, masks: Path) -> np.ndarray:
    """Every other frame of a video with its objects in their colours, side by side."""
    cells = []
    for index in range(0, len(video), 2):
        with Image.open(masks / video.name / f"{video.frame_name(index)}.png") as mask:
            picture = draw_overlay(video.frame(index), np.asarray(mask), video.mask(index), 190, objects=True)
        cells.append(cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.concatenate(cells, axis=1)


def main() -> None:
    """Write a row for each run and kind of identities."""
    rows, strips = [], []
    for folder in sys.argv[1:]:
        data = Run(Path(folder)).load_config().data
        for kind, link in (("perfect", link_perfectly), ("tracked", link_video)):
            commands.link_video = link
            with tempfile.TemporaryDirectory() as out:
                cfg = EvaluateConfig(run=folder, protocol="davis2017_unsupervised", out=out, progress=False)
                cfg.instances = InstancesConfig("parts")
                summary, _ = commands.evaluate(cfg)
                if link is link_video:
                    strips.append(strip(open_videos(data, "test", 1)[_SHOWN], Path(out) / "masks"))
            values = [f"{summary[key]:.4f}" for key in ("J_mean", "F_mean", "JF_mean")]
            rows.append([data.synthetic.primaries, kind, *values, summary["identity_switches"]])
    target = Path(__file__).with_name("identities.csv")
    with target.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerows([["primaries", "identities", "J", "F", "J&F", "switches"], *rows])
    Path(__file__).with_name("objects.jpg").write_bytes(jpeg(np.concatenate(strips, axis=0)))
    print(target.read_text())


if __name__ == "__main__":
    main()
