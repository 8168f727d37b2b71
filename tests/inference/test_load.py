"""The trained model, ready for inference: the size of its input."""

from __future__ import annotations

import numpy as np
import pytest

from agnn_lit.config import ConfigError
from agnn_lit.data.open import open_videos
from agnn_lit.inference.evaluation_name import resolve_evaluation
from agnn_lit.inference.load import open_trained
from agnn_lit.inference.video import predict_video
from tests.configs import evaluate_config


def test_the_input_has_the_training_size_unless_another_is_asked_for(trained):
    words = f"run='{trained.folder}'", "dtype=fp32"
    usual, larger = (open_trained(trained.best, evaluate_config(*words, *more)) for more in ((), ("size=[48,64]",)))
    assert usual.settings.size == usual.cfg.clips.size == (32, 32)
    assert larger.settings.size == (48, 64)
    video = open_videos(usual.cfg.data, "test", 1)[0]
    first, second = (next(iter(predict_video(one.model, video, one.settings))).probability for one in (usual, larger))
    assert first.shape == second.shape == video.size
    assert not np.allclose(first, second, atol=1e-3)


def test_another_size_is_another_evaluation(trained):
    config = trained.load_config()
    names = [resolve_evaluation(evaluate_config("run=x", *more), config)[2] for more in ((), ("size=[48,64]",))]
    assert names[1] == f"{names[0]}-size48_64"


def test_an_input_smaller_than_the_stride_is_refused(trained):
    with pytest.raises(ConfigError, match=r"0\.5 x size=\[6, 40\] leaves no pixels for a feature stride of 4"):
        open_trained(trained.best, evaluate_config("run=x", "size=[6,40]", "scales=[0.5,1]"))
    with pytest.raises(ConfigError, match=r"0\.1 x clips\.size=\[32, 32\] leaves no pixels"):
        open_trained(trained.best, evaluate_config("run=x", "scales=[0.1,1]"))
