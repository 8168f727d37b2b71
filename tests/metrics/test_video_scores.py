"""Scores of whole videos as a torchmetrics metric, in one process and in two."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agnn_lit.config import ConfigError
from agnn_lit.metrics.protocols import ScoreError, get_protocol
from agnn_lit.metrics.sequence import score_sequence
from agnn_lit.metrics.summary import summarise
from agnn_lit.metrics.video_scores import VideoScores
from tests.metrics.masks import masks, star

FRAMES = ["00000", "00001", "00002", "00003"]
Video = tuple[str, list[str], list[np.ndarray], list[np.ndarray]]


def video(number: int, name: str = "") -> Video:
    """A video whose scores are its own."""
    annotations = [star(0.2 * t, spikes=4 + number) for t in range(4)]
    predictions = [star(0.2 * t + 0.3, spikes=4 + number, shift=2 + number) for t in range(4)]
    return name or f"v{number}", FRAMES, predictions, annotations


def summary(videos: list[Video], protocol: str) -> dict[str, float]:
    """The same means by the functions that score folders of masks."""
    chosen = get_protocol(protocol)
    found = summarise([s for v in videos for s in score_sequence(*v, chosen)], chosen)
    return {"J": float(found["J_mean"]), "F": float(found["F_mean"]), "T": float(found["T"])}


def computed(metric: VideoScores) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


pairs = st.tuples(st.lists(masks((9, 11)), min_size=3, max_size=5), st.randoms(use_true_random=False))


@settings(deadline=None, max_examples=40)
@given(st.lists(pairs, min_size=1, max_size=7))
def test_one_process_gives_the_bits_of_the_summary(drawn: list[Any]) -> None:
    videos = []
    for number, (truth, random) in enumerate(drawn):
        predictions = [random.choice(truth) for _ in truth]
        videos.append((f"v{number}", [str(t) for t in range(len(truth))], predictions, truth))
    metric = VideoScores("simple")
    for one in videos:
        metric.update(*one)
    assert computed(metric) == summary(videos, "simple")  # equal, not close


def test_tensors_count_as_arrays_do() -> None:
    name, frames, predictions, annotations = video(1)
    metric = VideoScores()
    metric.update(name, frames, torch.from_numpy(np.stack(predictions)).bool(), map(torch.from_numpy, annotations))
    assert computed(metric) == summary([video(1)], "simple")


def test_the_protocol_says_what_counts() -> None:
    videos = [video(0, "blackswan"), video(1, "breakdance")]  # T counts for the first alone
    metric = VideoScores("davis2016")
    for name, frames, predictions, truth in videos:
        metric.update(name, frames, [None, *predictions[1:3], None], truth)
    assert computed(metric) == summary(videos, "davis2016")
    (score,) = score_sequence(*videos[0], get_protocol("davis2016"))
    assert metric.compute()["T"] == score.T
    with pytest.raises(ConfigError, match="davis2016"):
        VideoScores("davis2061")
    with pytest.raises(ScoreError, match="no prediction"):
        metric.update("v", FRAMES, [None] * 4, videos[0][3])


def test_objects_are_averaged_one_by_one() -> None:
    annotations = [np.hstack([star(0.1 * t), 2 * star(0.2 * t, spikes=4)]) for t in range(4)]
    predictions = [np.roll(a, 3, axis=1) for a in annotations]
    protocol = get_protocol("davis2017_unsupervised")
    metric = VideoScores(protocol)
    metric.update("v", FRAMES, predictions, annotations)
    scores = score_sequence("v", FRAMES, predictions, annotations, protocol)
    assert len(scores) == 2
    found = computed(metric)
    assert found["J"] == np.mean([s.J_mean for s in scores])
    assert found["F"] == np.mean([s.F_mean for s in scores])
    assert math.isnan(found["T"])


def test_what_no_video_has_is_nan() -> None:
    metric = VideoScores("youtube_objects")
    empty = [np.zeros((5, 6), np.uint8)] * 4
    metric.update("a/b", FRAMES, empty, empty)  # not one frame has an object
    assert all(math.isnan(value) for value in computed(metric).values())
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert all(math.isnan(value) for value in computed(metric).values())


def test_reset_forgets_and_the_state_dict_has_nothing() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    before = list(module.state_dict())
    module.scores = VideoScores()
    module.scores.update(*video(0))
    assert list(module.state_dict()) == before
    assert copy.deepcopy(module).scores.compute() == module.scores.compute()
    module.scores.reset()
    module.scores.update(*video(1))
    assert computed(module.scores) == summary([video(1)], "simple")
    module.half()
    assert module.scores.compute()["J"].dtype is torch.float64


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*treespec, LeafSpec.*")
def test_another_module_can_use_it() -> None:
    import pytorch_lightning as pl  # here: the processes of the test below need none

    class Other(pl.LightningModule):
        """The example of the docstring."""

        def __init__(self) -> None:
            super().__init__()
            self.scores = VideoScores("simple")

        def validation_step(self, batch: Video, batch_idx: int) -> None:
            self.scores.update(*batch)

        def on_validation_epoch_end(self) -> None:
            self.log_dict({f"val/{name}": value for name, value in self.scores.compute().items()})
            self.scores.reset()

    videos = [video(k) for k in range(3)]
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    loader = torch.utils.data.DataLoader(videos, batch_size=None, collate_fn=lambda v: v)  # type: ignore[arg-type]
    (found,) = trainer.validate(Other(), loader, verbose=False)
    for name, value in summary(videos, "simple").items():
        assert found[f"val/{name}"] == pytest.approx(value, rel=1e-7)


def _score_share(rank: int, folder: Path) -> None:
    """What one of two processes computes of none to four videos, shared out as the data module does."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    found = []
    for count in (3, 1, 4, 0):
        metric = VideoScores("simple").to("cpu")  # a move must not change the type of what an idle process sends
        for number in range(rank, count, 2):
            metric.update(*video(number))
        own = len(metric.J)
        means = computed(metric)
        assert len(metric.J) == own  # each has its own again after it is computed
        found.append(means)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.long
def test_two_processes_have_the_means_of_all_videos(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_score_share, (tmp_path,), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert str(first) == str(second)  # NaN is not equal to itself
    for count, found in zip((3, 1, 4), first, strict=False):
        assert found == pytest.approx(summary([video(k) for k in range(count)], "simple"), rel=1e-14)
    assert all(math.isnan(value) for value in first[3].values())


def test_scores_of_folders_need_no_torch() -> None:
    code = "import sys, agnn_lit.metrics, agnn_lit.metrics.score_folders as s; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
