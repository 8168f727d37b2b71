"""Does a trained model give the same masks in bf16 as in fp32?

python experiments/inference/compare.py RUN [VIDEO_OR_FOLDER …]: the run's own test videos, and any footage besides.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from agnn_lit.config import InferenceConfig
from agnn_lit.data.footage import open_footage
from agnn_lit.data.open import open_videos
from agnn_lit.inference.load import Trained, find_checkpoint, open_trained
from agnn_lit.inference.video import predict_video


def compare(exact: Trained, fast: Trained, videos: list) -> tuple[float, float, float, int]:
    """Mean difference of the probabilities, mean and least IoU of a video's masks, and the number of frames."""
    differences, ious = [], []
    for video in videos:
        union = both = 0
        a, b = ({p.index: p.probability for p in predict_video(t.model, video, t.settings)} for t in (exact, fast))
        for i in a:
            differences.append(float(np.abs(a[i] - b[i]).mean()))
            union += ((a[i] > 0.5) | (b[i] > 0.5)).sum()
            both += ((a[i] > 0.5) & (b[i] > 0.5)).sum()
        ious.append(float(both / union) if union else 1.0)
    return float(np.mean(differences)), float(np.mean(ious)), min(ious), len(differences)


def main() -> None:
    """Print a line for each set of videos."""
    run, *footage = sys.argv[1:]
    exact, fast = (
        open_trained(find_checkpoint(InferenceConfig(run=run)), InferenceConfig(run=run, dtype=dtype))
        for dtype in ("fp32", "bf16")
    )
    sets = {"the run's test videos": list(open_videos(exact.cfg.data, "test", 1))}
    sets |= {Path(path).name: [open_footage(Path(path))] for path in footage}
    print(f"{'videos':24} frames  mean |p - p_fp32|  IoU of the masks: mean  least")
    for name, videos in sets.items():
        difference, mean, least, frames = compare(exact, fast, videos)
        print(f"{name:24} {frames:6}  {difference:17.5f}  {mean:22.4f}  {least:.4f}")


if __name__ == "__main__":
    main()
