"""Exported networks give the probabilities of the network, at any size, and agnn-predict runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import agnn_lit
from agnn_lit.config import ConfigError, ExportConfig
from agnn_lit.inference.exported import read_config
from agnn_lit.inference.load import load_checkpoint
from agnn_lit.inference.prediction import predict
from agnn_lit.metrics.mask_image import read_ids
from agnn_lit.model.export import export
from tests.command import run_command, run_python
from tests.configs import predict_config
from tests.data.videos import write_video

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("export"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
SIZES = ((32, 32), (40, 56), (64, 24))


@pytest.fixture(scope="module")
def onnx_file(run, tmp_path_factory) -> Path:
    return export(ExportConfig(run=str(run.folder), out=str(tmp_path_factory.mktemp("onnx") / "tiny.onnx")))


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4")


def probabilities(run, images: torch.Tensor) -> np.ndarray:
    _, model = load_checkpoint(run.best)
    with torch.inference_mode():
        return torch.sigmoid(model(images)).numpy()


#: OpenVINO runs in a process of its own: pytest's captured output is closed some time after it is loaded.
OPENVINO = """
import sys
import numpy as np, openvino
compiled = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save("openvino.npy", compiled(np.load("images.npy"))[0])
"""


@pytest.mark.parametrize("size", SIZES)
def test_onnx_runtime_and_openvino_agree_with_torch_at_any_size(run, onnx_file, size, tmp_path):
    import onnxruntime

    images = torch.randn(1, 3, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = probabilities(run, images)
    session = onnxruntime.InferenceSession(str(onnx_file))
    np.testing.assert_allclose(session.run(["probability"], {"frames": images.numpy()})[0], expected, atol=1e-5)
    np.save(tmp_path / "images.npy", images.numpy())
    done = run_python("-c", OPENVINO, str(onnx_file), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "openvino.npy"), expected, atol=1e-4)


@pytest.mark.parametrize("any_size", [True, False])
def test_a_program_of_torch_export(run, tmp_path, any_size):
    file = export(ExportConfig(run=str(run.folder), out=str(tmp_path / "tiny.pt2"), any_size=any_size))
    program = torch.export.load(file).module()
    for size in SIZES if any_size else SIZES[:1]:
        images = torch.randn(1, 3, 3, *size, generator=torch.Generator().manual_seed(1))
        np.testing.assert_allclose(program(images).detach().numpy(), probabilities(run, images), atol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "openvino"])
@pytest.mark.parametrize("words", [[], ["scales=[0.75,1]", "flip=true"]])
def test_agnn_predict_runs_the_file(run, onnx_file, film, tmp_path, backend, words):
    expected = predict(predict_config(run.folder, film, tmp_path / "torch", "dtype=fp32", *words))
    out = tmp_path / "onnx"
    more = (f"backend={backend}", "overlay=false", "progress=false", *words)
    done = run_command("predict", f"input={film}", f"out={out}", f"ckpt={onnx_file}", *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    different = [
        np.count_nonzero(read_ids(mask) != read_ids(expected / "masks" / mask.name))
        for mask in sorted((out / "masks").iterdir())
    ]
    assert len(different) == 12
    assert sum(different) <= 12, "pixels at the threshold, of 37 thousand"


def test_python_loads_the_file(onnx_file, film):
    model = agnn_lit.load(onnx_file)
    assert repr(model) == f"<Model {onnx_file} on cpu in fp32>"
    assert sum(1 for _ in model.segment(film)) == 12


def test_the_file_says_what_it_is(run, onnx_file):
    trained, frames = read_config(onnx_file)
    assert (frames, trained.model, trained.clips.size) == (3, load_checkpoint(run.best)[0].model, (32, 32))
    (frames_in,), (probability,) = (
        m for m in (onnx.load(str(onnx_file)).graph.input, onnx.load(str(onnx_file)).graph.output)
    )
    assert (frames_in.name, probability.name) == ("frames", "probability")
    assert [d.dim_value for d in frames_in.type.tensor_type.shape.dim][:3] == [1, 3, 3]


def test_what_does_not_fit_is_refused(run, onnx_file, film, tmp_path):
    def words(*more: str):
        cfg = predict_config(run.folder, film, tmp_path / "out", *more)
        cfg.run, cfg.ckpt = None, str(onnx_file)
        return cfg

    with pytest.raises(ConfigError, match=r"frames=2: .*tiny\.onnx was exported for 3"):
        predict(words("frames=2"))
    with pytest.raises(ConfigError, match="instances=parts needs node features"):
        predict(words("instances=parts"))
    with pytest.raises(ConfigError, match=r"backend=torch: .* is an exported network"):
        predict(words("backend=torch"))
    with pytest.raises(ConfigError, match=r"backend=openvino: needs ckpt=FILE\.onnx"):
        predict(predict_config(run.folder, film, tmp_path / "out", "backend=openvino"))
    other = tmp_path / "other.onnx"
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), str(other))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    for file, message in (
        (other, "not an ONNX file of agnn-export"),
        (broken, "cannot be read as ONNX"),
        (tmp_path / "nowhere.onnx", "no such file; agnn-export writes one"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_config(file)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": "agnn.pb"}, r"out=agnn\.pb: must end in \.onnx or \.pt2"),
        ({"out": "there.pt2"}, r"out=there\.pt2 exists: choose another file, or overwrite=true"),
        ({"out": "a.pt2", "ckpt": "nowhere.ckpt"}, "run=.* ckpt=nowhere.ckpt: give one of them"),
    ],
)
def test_wrong_settings_are_refused(run, given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pt2").touch()
    with pytest.raises(ConfigError, match=message):
        export(ExportConfig(run=str(run.folder), **given))
