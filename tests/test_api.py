"""The package from Python: three lines do what the commands do, with their errors."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import agnn_lit
from agnn_lit import api
from agnn_lit.config import ScoreConfig
from agnn_lit.metrics.score_folders import score
from agnn_lit.shared.files import write_mask
from tests.data.videos import write_video

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A current folder with a film, and masks that are half right."""
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "holiday.mp4", frames=3, times=[0, 250, 500])
    whole, half = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    whole[10:30, 10:50], half[10:30, 10:30] = 1, 1
    for t in range(4):
        write_mask(tmp_path / "annotations" / "walk" / f"{t:05d}.png", whole)
        write_mask(tmp_path / "predictions" / "walk" / f"{t:05d}.png", half)
    return tmp_path


def test_the_examples_run(place):
    done = doctest.testmod(api, raise_on_error=False)
    assert (done.failed, done.attempted) == (0, 7)


@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_the_examples_of_the_documents_run(place, document):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    code = "".join(block for block in blocks if "register(" not in block)  # your own parts: tests/test_plugins.py
    (place / "results").mkdir()
    (place / "predictions").rename(place / "results" / "osvos")
    names: dict[str, object] = {}
    exec(code.replace("/data/DAVIS/Annotations/480p", "annotations"), names)
    saved = [len(list(folder.iterdir())) for folder in sorted((place / "masks").glob("*/masks"))]
    assert saved == [3] * (1 if document == "README.md" else 2)


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, agnn_lit; heavy = {'torch', 'hydra', 'numpy', 'cv2', 'pytorch_lightning'} & sys.modules.keys();"
        "print(heavy or 'light', agnn_lit.load.__name__, 'load' in dir(agnn_lit), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["light", "load", "True", "False"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "nowhere.ckpt"}, "nowhere.ckpt: no such checkpoint"),
        ({"source": "pretrained/smal"}, "ckpt=pretrained/smal: must be one of"),
        ({"device": "tpu"}, "device=tpu: must be one of auto, cpu, cuda, mps"),
        ({"dtype": "fp8"}, "dtype=fp8: must be one of auto, fp32, bf16, fp16"),
        ({"threads": "two"}, "threads: Value 'two' of type 'str' could not be converted to Integer"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_explained(given, message):
    with pytest.raises(agnn_lit.ConfigError, match=message):
        agnn_lit.load(**given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.5}, r"threshold=1\.5: must lie in \(0, 1\)"),
        ({"crf": "fats"}, "crf.backend=fats: must be one of .*; did you mean fast"),
        ({"instances": "masks"}, "instances.source is not set"),
        ({"scales": [0.0]}, "scales=.*0.0"),
        ({"scales": "big"}, r"scales\[0\]: Value 'b'"),
        ({"size": (8,)}, r"size=\[8\]: must be 2 numbers"),
    ],
)
def test_wrong_settings_are_refused_before_the_footage_is_opened(trained, settings, message):
    model = agnn_lit.load(trained.folder)
    with pytest.raises(agnn_lit.ConfigError, match=message):
        model.segment("nowhere.mp4", **settings)


def test_footage_that_cannot_be_read_is_named(trained):
    with pytest.raises(agnn_lit.DataError, match=r"input=nowhere\.mp4: no such file or folder"):
        agnn_lit.load(trained.folder).segment("nowhere.mp4")


def test_the_network_can_be_called(trained):
    import torch

    model = agnn_lit.load(trained.folder, dtype="fp32")
    assert repr(model) == f"<Model {trained.best} on cpu in fp32>"
    assert model.config.model.rounds == 1
    with torch.inference_mode():
        logits = model.network(torch.zeros(1, model.config.model.frames, 3, 32, 32))
    assert logits.shape == (1, model.config.model.frames, 32, 32)


def test_scores_are_those_of_the_command(place, tmp_path):
    found = agnn_lit.score("predictions", "annotations", protocol="davis2016")
    expected, summary = score(
        ScoreConfig("predictions", "annotations", "davis2016", str(tmp_path / "a"), progress=False)
    )
    assert found.summary == summary
    assert [s.name for s in found.per_sequence] == [s.name for s in expected]
    found.save(tmp_path / "b")
    for name in ("per_frame.csv", "per_sequence.csv", "summary.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    assert repr(found) == "<Scores of 1 sequences or objects by davis2016: J 0.500, F {:.3f}>".format(summary["F_mean"])


def test_tables_are_rows_or_data_frames(place, monkeypatch):
    found = agnn_lit.score("predictions", "annotations", protocol="simple", sequences=["walk"])
    rows = [dict(row) for row in found.frames] if isinstance(found.frames, list) else found.frames.to_dict("records")
    assert [(row["sequence"], row["frame"], row["J"]) for row in rows] == [("walk", f"{t:05d}", 0.5) for t in range(4)]

    class Pandas:
        DataFrame = staticmethod(lambda rows: ("frame", len(rows)))

    monkeypatch.setattr(api.score_folder.__globals__["importlib"].util, "find_spec", lambda name: name == "pandas")
    monkeypatch.setitem(sys.modules, "pandas", Pandas)
    assert found.sequences == ("frame", 1)


def test_masks_that_cannot_be_scored_are_named(place):
    with pytest.raises(agnn_lit.ScoreError, match="nowhere"):
        agnn_lit.score("nowhere", "annotations", protocol="davis2016")
    with pytest.raises(agnn_lit.ConfigError, match="protocol=davis: must be one of"):
        agnn_lit.score("predictions", "annotations", protocol="davis")
