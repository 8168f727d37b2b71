"""The built wheel holds everything: the demo trains from it in an empty folder."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agnn_lit.pretrained import DEFAULT
from tests import plugin
from tests.configs import SMALL
from tests.data.videos import write_video

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = built.glob("agnn_lit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_wheel_and_source_distribution_are_valid(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [file.name.split("-")[-1] for file in files] == ["any.whl", "0.1.0.tar.gz"]
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


@pytest.mark.slow
def test_an_empty_environment_has_what_the_commands_need(built: Path, tmp_path: Path) -> None:
    """Without the dev extras and a compiler: every command's help, and predict, score and train for real."""
    (wheel,) = built.glob("agnn_lit-*.whl")
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [place / "bin" / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel]
    subprocess.run(pip, check=True, env={**os.environ, "CC": "/bin/false", "CXX": "/bin/false"})
    scripts = sorted(file.name for file in (place / "bin").glob("agnn-*"))
    assert len(scripts) == 10
    env = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTHONPATH"))}

    def succeeds(name: str, *words: str) -> str:
        command = [str(place / "bin" / name), *words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name} {words}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    for name in scripts:
        assert f"usage: {name}" in succeeds(name, "--help")
    write_video(tmp_path / "walk.mp4")
    succeeds("agnn-predict", "input=walk.mp4", "out=walk", "progress=false", "crf=fast")
    assert len(list((tmp_path / "walk" / "masks").glob("*.png"))) == 12
    succeeds("agnn-score", "masks=walk/masks", "annotations=walk/masks", "protocol=simple", "out=scores")
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["J_mean"] == 1.0
    succeeds("agnn-train", "experiment=demo", "debug=limit", "logger=none", "hydra.run.dir=run")
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    for name, needs in (("agnn-app", "agnn-lit[app]"), ("agnn-export", "agnn-lit[onnx]")):
        command = [str(place / "bin" / name), *(["out=a.onnx"] if name == "agnn-export" else [])]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert needs in done.stderr


def run(installed: Path, cwd: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the wheel, which comes before the checkout in Python's path."""
    code = f"import agnn_lit, {module} as m; print(agnn_lit.__path__[0]); m.main()"
    # the wheel's files are copies of those whose coverage is measured
    env = {k: v for k, v in os.environ.items() if not k.startswith("COV")} | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_the_wheel_has_every_config_and_command(installed: Path) -> None:
    packed = {p.relative_to(installed / "agnn_lit" / "conf") for p in (installed / "agnn_lit" / "conf").rglob("*.yaml")}
    assert packed == {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    (metadata,) = installed.glob("*.dist-info/entry_points.txt")
    scripts = configparser.ConfigParser()
    scripts.read(metadata)
    for target in scripts["console_scripts"].values():
        assert (installed / (target.partition(":")[0].replace(".", "/") + ".py")).is_file()
    assert (installed / "agnn_lit" / "py.typed").is_file()
    assert not list(installed.rglob("tests"))


def test_the_wheel_has_the_weights_and_their_card(installed: Path) -> None:
    source, packed = ROOT / "src/agnn_lit/pretrained", installed / "agnn_lit" / "pretrained"
    names = {"__init__.py", "README.md", *(p.name for p in source.glob("*.safetensors"))}
    assert {p.name for p in packed.iterdir() if p.is_file()} == names
    assert all((packed / name).read_bytes() == (source / name).read_bytes() for name in names)


def test_an_installed_command_uses_the_weights_in_the_package(installed: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4")
    words = (f"input={video}", "out=walk", "overlay=false", "progress=false")
    done = run(installed, tmp_path, "agnn_lit.predict", *words)
    assert done.returncode == 0, done.stderr
    assert f"pretrained/{DEFAULT} on" in done.stdout
    assert len(list((tmp_path / "walk" / "masks").glob("*.png"))) == 12


def test_the_demo_trains_evaluates_reports_and_predicts_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    shorter = [word for word in SMALL if not word.startswith(("backbone=", "data=", "optim=", "trainer=cpu"))]
    done = run(installed, tmp_path, "agnn_lit.train", "experiment=demo", "trainer.check_val_every=1", *shorter)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    (folder,) = (p.parent for p in tmp_path.rglob("status.json"))
    assert folder.parent == tmp_path / "runs" / "demo"
    assert json.loads((folder / "status.json").read_text())["git"] == "unknown"
    done = run(installed, tmp_path, "agnn_lit.evaluate", f"run={folder}")
    assert done.returncode == 0, done.stderr
    done = run(installed, tmp_path, "agnn_lit.commands.report", f"runs={folder}")
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "report" / "index.html").read_text()
    video = write_video(tmp_path / "walk.mp4")
    done = run(installed, tmp_path, "agnn_lit.predict", f"input={video}", "out=walk", f"run={folder}", "crf=fast")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "walk" / "masks").glob("*.png"))) == 12
    assert (tmp_path / "walk" / "overlay.mp4").is_file()


def test_parts_of_a_users_own_train_evaluate_and_predict(installed: Path, tmp_path: Path) -> None:
    plugin.write_package(tmp_path)
    video = write_video(tmp_path / "walk.mp4")
    for module, words in (
        ("agnn_lit.train", (*plugin.WORDS, "name=mine", "hydra.run.dir=run")),
        ("agnn_lit.evaluate", ("run=run", "crf.backend=my_crf", "workers=1", "progress=false")),
        ("agnn_lit.predict", (f"input={video}", "out=walk", "run=run", "overlay=false", "progress=false")),
    ):
        done = run(installed, tmp_path, module, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(installed))
    (summary,) = (tmp_path / "run" / "evaluations").glob("my_videos-test-my_protocol-crf_my_crf/summary.json")
    assert json.loads(summary.read_text())["J_mean"] == 1.0
    assert len(list((tmp_path / "walk" / "masks").glob("*.png"))) == 12
