"""Every command of the README, the pages of docs/ and the records, run as it is written, on small data and networks.

Each document has a folder with a copy of the repository in which ``conf/`` and the sizes that scripts have built in
are small; commands follow each other as in the document. What a document takes for granted (the demo's run, a video,
the authors' files) is put there first.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from agnn_lit.config import TrainConfig, typed
from agnn_lit.model.build import build_model
from tests.data.disk import make_davis, make_photos, make_static
from tests.data.videos import write_video
from tests.model.released import Draw, encoder_state, model_state
from tests.test_readme import ROOT, commands

pytestmark = pytest.mark.xdist_group("documents")  # one test process makes the copy, once

COPIED = ("src", "conf", "docs", "experiments", "Makefile", "README.md", "pyproject.toml", "constraints.txt")
SEQUENCES = (
    "bmx-trees", "breakdance", "camel", "cows", "dog", "goat", "libby", "parkour", "blackswan", "car-shadow",
)  # fmt: skip
#: Merged into every training, after its experiment and before what the command says.
MINIATURE = """
# @package _global_
model: {channels: 8}
backbone: {weights: null}
data: {synthetic: {train_videos: 8, test_videos: 2, length: 6, size: [32, 32]}}
clips: {size: [32, 32], batch_size: 2, workers: 0, clips_per_video: 2}
trainer: {max_epochs: 1, log_every: 1, progress: false}
logger: {mode: disabled}
"""
#: What is changed in the copy, for the most part sizes that scripts and benchmarks have built in.
SIZES = {
    "conf/train.yaml": (("experiment: null\n", "experiment: null\n  - miniature\n"),),
    "src/agnn_lit/benchmarks/graph.py": (("grid: tuple[int, int] = (60, 60)", "grid: tuple[int, int] = (9, 9)"),),
    "src/agnn_lit/benchmarks/data.py": (
        ("= (473, 473)", "= (65, 65)"),
        ("= (480, 854)", "= (96, 128)"),
        ("(224, 384), steps=12", "(65, 65), steps=2"),
    ),
    "src/agnn_lit/benchmarks/inference.py": (("= (473, 473)", "= (65, 65)"), ("= (480, 854)", "= (96, 128)")),
    "src/agnn_lit/benchmarks/runtimes.py": (
        ('"deeplabv3_resnet50"  # encoder', '"tiny"  # encoder'),
        ("channels: int = 256", "channels: int = 8"),
        ("= (288, 512)", "= (65, 65)"),
        ("= (480, 854)", "= (96, 128)"),
    ),
    "src/agnn_lit/benchmarks/video.py": (("= (480, 854)", "= (96, 128)"), ("length: int = 72", "length: int = 6")),
    "experiments/graph_or_not/picture.py": (
        ('("test-0004", "test-0012"), (0, 4, 8)', '("test-0000", "test-0001"), (0, 2, 4)'),
    ),
    "experiments/graph_cost/measure.py": (
        ("for frames in range(2, 9)", "for frames in (2, 3)"),
        ("(frames, 60)", "(frames, 8)"),
        ("(30, 45, 60)", "(4, 6, 8)"),
    ),
    "experiments/start_up/measure.py": (("ROUNDS = 3", "ROUNDS = 1"),),
    "experiments/paper_vs_official/costs.py": (
        ("3, (473, 473), (60, 60)", "3, (65, 65), (9, 9)"),
        ("FRAMES, 256, *GRID", "FRAMES, 8, *GRID"),
    ),
}
#: Not run: commands that install, run this, or serve until they are stopped (tests/app), and launchers and servers that
#: a machine may lack (tests/sweeps).
SKIPPED = (
    "pip install",
    "make test",
    "agnn-app",
    "agnn-train -m hydra/launcher=slurm",
    "agnn-train -m hydra/launcher=ray",
    "agnn-predict input=clips out=masks hydra/launcher=slurm",
    "agnn-predict input=clips out=masks hydra/launcher=ray",
    "wandb s",
    "wandb agent",
)
#: Words that are added to a command.
MORE = {
    # The launchers that every machine has.
    "python experiments/launchers/compare.py --epochs 4": ["sequential", "parallel"],
    # As wide as the weights that it starts from.
    "agnn-train experiment=davis16_lite": ["model.channels=96"],
    "agnn-train experiment=finetune": ["model.channels=96"],
    # A network that is exported in seconds; tests/model/test_export.py exports the one in the package.
    "agnn-export out=agnn.onnx": ["run=runs/demo/default"],
}
#: Pages and records with short commands. `make test-all` runs these and the README, `make test-slow` the rest.
PAGES = ("index", "train", "scores", "extend")
QUICK = ("davis16", "davis16_photos", "feeding", "graph_or_not", "inference", "instances", "line_edge", "overfit_davis")


def documents() -> list[str]:
    """The documents that have commands to run."""
    return list(
        dict.fromkeys(name for name, line in commands() if not line.startswith(SKIPPED) and name != "CONTRIBUTING.md")
    )


def environment(folder: Path) -> dict[str, str]:
    # Of `make test-all ARGS=…`, which runs this, a document's own make must not inherit the arguments.
    make = ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL")
    # What runs in the copy is not the code whose coverage is measured.
    dropped = ("AGNN_DAVIS_ROOT", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START", *make)
    kept = {k: v for k, v in os.environ.items() if k not in dropped}
    return {**kept, "PYTHONPATH": str(folder / "src"), "PATH": f"{folder / '.venv/bin'}:{kept['PATH']}"}


def run(folder: Path, words: list[str], more: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        words, cwd=folder, env={**environment(folder), **(more or {})}, capture_output=True, text=True, check=False
    )
    said = (done.stdout + done.stderr)[-4000:]
    assert done.returncode == 0, f"{shlex.join(words)}: code {done.returncode}\n{said}"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The small copy, with data."""
    folder = tmp_path_factory.mktemp("documents")
    for name in COPIED:
        copy: Callable[..., object] = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "conf/miniature.yaml").write_text(MINIATURE.lstrip())
    for name, changes in SIZES.items():
        text = (folder / name).read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{name}: {old}"
            text = text.replace(old, new)
        (folder / name).write_text(text)
    davis = make_davis(folder / "DAVIS", SEQUENCES, length=6, val=2)
    shutil.copytree(davis / "ImageSets/2016", davis / "ImageSets/2017")
    for name in ("things", "animals_and_people"):
        make_photos(folder / name, 10)
    make_static(folder / "MSRA10K")
    make_static(folder / "DUTS-TR", "DUTS-TR-Image", "DUTS-TR-Mask", 3)
    shutil.copytree(davis / "Annotations/480p", folder / "results/osvos")
    for method in ("rvos", "osvos"):
        shutil.copytree(davis / "Annotations/480p", folder / "results/davis2017" / method)
    shutil.copytree(davis / "JPEGImages/480p", folder / "mine/images")
    shutil.copytree(davis / "Annotations/480p", folder / "mine/masks")
    for split, names in (("train", SEQUENCES[:4]), ("test", SEQUENCES[4:6])):  # the layout of the example in extend.md
        for name in names:
            shutil.copytree(davis / "JPEGImages/480p" / name, folder / "my_set" / split / name)
            shutil.copytree(davis / "Annotations/480p" / name, folder / "my_set" / split / name, dirs_exist_ok=True)
    shutil.copytree(davis / "JPEGImages/480p/blackswan", folder / "frames")
    shutil.copytree(davis / "Annotations/480p/blackswan", folder / "proposals")
    write_video(folder / "holiday.mp4")
    (folder / "clips").mkdir()
    for name in ("a", "b"):
        write_video(folder / f"clips/{name}.mp4", frames=4)
    (folder / "films.txt").write_text("clips/a.mp4\nholiday.mp4\n")
    return folder


@pytest.fixture(scope="module")
def trained(base) -> Path:
    """Runs that documents take for granted."""
    more = {"AGNN_DAVIS_ROOT": str(base / "DAVIS")}
    for words in ("experiment=demo", "experiment=overfit_davis", ""):
        run(base, ["agnn-train", *words.split()], more)
    shutil.move(base / "runs", base / "trained")
    return base / "trained"


def look(folder: Path, words: list[str]) -> None:
    """Run a program that draws on a terminal, and leave it with its key q once a curve is there."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    env = {**environment(folder), "TERM": "xterm-256color"}
    child = subprocess.Popen(words, cwd=folder, env=env, stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    drawn, end = b"", time.monotonic() + 60
    while b"lr/graph" not in drawn and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            drawn += os.read(terminal, 1 << 16)
    assert b"lr/graph" in drawn, f"{shlex.join(words)}: {drawn!r}"
    os.write(terminal, b"q")
    with suppress(OSError):  # Linux's way to say that the program has closed its terminal
        while os.read(terminal, 1 << 16):
            pass
    os.close(terminal)
    assert child.wait(timeout=60) == 0


def shrink(file: Path) -> None:
    """Make a checkpoint's network as small as the models that are trained here, with random weights."""
    content = torch.load(file, weights_only=True)
    config = content["hyper_parameters"]["config"]
    config["model"]["channels"], config["clips"]["size"] = 8, [32, 32]
    model = build_model(typed(config, TrainConfig), pretrained=False)
    content["state_dict"] = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(content, file)


def put(folder: Path, trained: Path, line: str) -> None:
    """Put there what a command takes for granted."""
    for name in re.findall(r"runs/(\w+/default)", line):
        if not (folder / "runs" / name).is_dir() and (trained / name).is_dir():
            shutil.copytree(trained / name, folder / "runs" / name)
    if "ckpt=best.ckpt" in line:
        shutil.copy2(trained / "demo/default/checkpoints/best.ckpt", folder / "best.ckpt")
    if "official=attention_agnn_51.pth" in line:
        torch.save({"model": model_state()}, folder / "attention_agnn_51.pth")
    if "backbone.weights=deeplab_davis.ckpt" in line:
        draw = Draw(0)
        encoder_state(draw)
        torch.save({"epoch": 12, "model": draw.state}, folder / "deeplab_davis_12_0.pth")
        run(folder, ["agnn-convert", "official=deeplab_davis_12_0.pth", "out=deeplab_davis.ckpt"])
        content = torch.load(folder / "deeplab_davis.ckpt", weights_only=True)
        for name, value in content["state_dict"].items():  # as narrow as the model is made here
            if name.startswith("encoder.head.") and value.ndim:
                content["state_dict"][name] = value[:8].clone()
            elif name == "auxiliary.weight":
                content["state_dict"][name] = value[:, :8].clone()
        torch.save(content, folder / "deeplab_davis.ckpt")
    if "ckpt=agnn_51.ckpt" in line:
        shrink(folder / "agnn_51.ckpt")
    if "run=runs/demo/default" in MORE.get(line, ()):
        put(folder, trained, "run=runs/demo/default")
    crowds = folder / "runs/davis16_lite_crowds"
    if f"{crowds.name}/default" in line and not (crowds / "default").is_dir():  # it was given its initial weights
        shutil.copytree(next(crowds.iterdir()), crowds / "default")
    if line.startswith("wandb leet"):  # other runs are trained here without a logger
        run(folder, ["agnn-train", "experiment=demo", "logger.mode=offline"])
        shutil.copytree(folder / "runs/demo/logger.mode-offline/wandb", folder / "runs/demo/default/wandb")
    if "ours=scores/ours" in line:
        shutil.copytree(folder / "scores/osvos", folder / "scores/ours")


def documents_with_markers() -> list[object]:
    quick = ["README.md", *(f"docs/{page}.md" for page in PAGES), *(f"experiments/{name}/README.md" for name in QUICK)]
    return [pytest.param(d, marks=pytest.mark.long if d in quick else pytest.mark.slow) for d in documents()]


@pytest.mark.parametrize("document", documents_with_markers())
def test_the_commands_of_a_document_run_as_they_are_written(document, base, trained, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(base, folder, symlinks=True, ignore=shutil.ignore_patterns("trained"))
    for file, code in re.findall(r"```python\n# (my_pkg/\w+\.py)\n(.*?)```", (ROOT / document).read_text(), re.DOTALL):
        (folder / "my_pkg").mkdir(exist_ok=True)
        (folder / file).write_text(code)
    shared = os.environ.get("AGNN_SHARED")
    ran = []
    for name, line in commands():
        if name != document or line.startswith(SKIPPED):
            continue
        if "/data/shared" in line and shared is None:
            pytest.skip("needs the published mask sets: AGNN_SHARED is not set")
        put(folder, trained, line)
        written = line
        # One place for all documents' DAVIS: runs that a document takes for granted were trained there.
        root = f"{shared}/data/DAVIS" if "/data/shared" in line else base / "DAVIS"
        here = {"/data/shared": shared, "/data/DAVIS": root, "/data": folder}
        parts = re.split(r"(/data/shared|/data/DAVIS|/data)(?=[/\s,\]']|$)", line)
        line = "".join(str(here.get(part, part)) for part in parts)
        words = shlex.split(line)
        more = {"AGNN_DAVIS_ROOT": str(root)} if "make sweep" not in line else {}
        while "=" in words[0]:
            key, _, value = words.pop(0).partition("=")
            more[key] = value
        if words[0] == "make":
            words[1:1] = ["--old-file=.venv/.installed"]
        words += next((added for start, added in MORE.items() if written.startswith(start)), [])
        if words[:2] == ["wandb", "leet"]:
            look(folder, words)
        else:
            run(folder, words, more)
        ran.append(line)
    assert ran
    states = [json.loads(file.read_text())["state"] for file in (folder / "runs").rglob("status.json")]
    failing = 2 if "launchers" in document else 0  # a run of each launcher is made to fail
    assert [state for state in states if state != "done"] == ["failed"] * failing
