"""Parts of somebody's own train, evaluate and predict without touching the package."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from agnn_lit.config import ConfigError, option, options, register
from tests.plugin import WORDS, write_package

pytestmark = pytest.mark.long


def run(folder: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a console script in a folder, which is not in Python's path of itself."""
    code = f"import sys; sys.path = [p for p in sys.path if p]; from agnn_lit.commands.{command} import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, and a run that is trained with its parts."""
    folder = tmp_path_factory.mktemp("home")
    write_package(folder)
    done = run(folder, "train", *WORDS, "name=mine", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    return folder


def test_an_encoder_a_gate_a_data_set_and_a_loss_train_evaluate_and_predict(home):
    metrics = json.loads((home / "run" / "status.json").read_text())["metrics"]
    assert metrics["val/J"] > 0.8  # a bright square is easy
    done = run(home, "evaluate", "run=run", "crf.backend=my_crf", "workers=1", "progress=false")
    assert done.returncode == 0, done.stderr
    out = home / "run" / "evaluations" / "my_videos-test-my_protocol-crf_my_crf"
    assert summary(out)["protocol"] == "my_protocol"
    # its worker process has the plugin, too: the CRF makes the square exact
    assert summary(out)["J_mean"] == 1.0
    assert summary(out / "stages" / "raw")["J_mean"] < 1.0
    (home / "frames").mkdir()
    for index in range(3):
        Image.new("RGB", (48, 32), (10 * index, 0, 0)).save(home / "frames" / f"{index}.png")
    done = run(home, "predict", "input=frames", "out=out", "run=run", "overlay=false", "progress=false")
    assert done.returncode == 0, done.stderr
    assert len(list((home / "out" / "masks").glob("*.png"))) == 3


def test_a_sweep_trains_them_in_processes_of_their_own(home):
    done = run(home, "train", "-m", *WORDS, "name=sweep", "trainer.max_epochs=1", "model.rounds=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    states = [json.loads(file.read_text())["state"] for file in home.glob("runs/sweep/*/status.json")]
    assert states == ["done", "done"]


def test_a_missing_plugin_is_named(home, tmp_path):
    done = run(tmp_path, "evaluate", f"run={home / 'run'}")
    assert done.returncode == 2
    assert "plugins: my_pkg.parts cannot be imported (No module named 'my_pkg')" in done.stderr
    Image.new("RGB", (48, 32)).save(tmp_path / "a.png")
    done = run(
        tmp_path, "predict", f"ckpt={home / 'run/checkpoints/best.ckpt'}", f"input={tmp_path / 'a.png'}", "out=o"
    )
    assert done.returncode == 2
    assert "best.ckpt: plugins: my_pkg.parts cannot be imported" in done.stderr


def test_help_and_errors_list_them(home):
    said = run(home, "train", "plugins=[my_pkg.parts]", "--help").stdout
    assert "my_encoder" in said
    done = run(home, "train", *WORDS, "model.gate=my_gat")
    assert done.returncode == 2
    assert "model.gate=my_gat: must be one of channel, spatial, none, my_gate; did you mean my_gate?" in done.stderr


def test_a_name_belongs_to_one_module(monkeypatch):
    option("model.gate", "channel").load()
    with pytest.raises(ConfigError, match=r"model\.gate=channel is registered by agnn_lit\.model\.messages and by"):
        register("model.gate", "channel")(object)
    with pytest.raises(
        ConfigError, match=r"register\('model\.frames', 'x'\): must be one of backbone\.name, model\.gate"
    ):
        register("model.frames", "x")


def test_facts_and_names_are_read_without_importing():
    code = (
        "import sys, agnn_lit.config as c\n"
        "found = {s: sorted(c.options(s)) for s in ('backbone.name', 'loss.name', 'topic', 'crf.backend')}\n"
        "assert 'torch' not in sys.modules\n"
        "for setting, names in found.items():\n"
        "    for name in names: c.option(setting, name).load()\n"
        "print(found)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == {
        s: sorted(options(s)) for s in ("backbone.name", "loss.name", "topic", "crf.backend")
    }
