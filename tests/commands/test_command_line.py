"""Wrong words on a command line: one sentence, code 2, and what may have been meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from agnn_lit.commands.command_line import quote_text
from agnn_lit.config import ConvertConfig, ScoreConfig, TrainConfig, keys_of
from agnn_lit.metrics.score_folders import score
from tests.command import call_command, run_command, run_python
from tests.configs import SMALL
from tests.metrics.masks import save_sequence, star


@pytest.mark.parametrize("run", [call_command, run_command], ids=["called", "process"])
def test_a_misspelt_setting_is_one_sentence(tmp_path, run):
    done = run("train", "modle.rounds=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "agnn-train: there is no setting modle.rounds; did you mean model.rounds?"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train model.round=3", "agnn-train: there is no setting model.round; did you mean model.rounds?"),
        ("train experiment=demo +trainer.max_epoch=1", "trainer.max_epoch; did you mean trainer.max_epochs?"),
        ("train rounds=3", "agnn-train: there is no setting rounds; did you mean model.rounds?"),
        ("train xyzzy=3", "agnn-train: there is no setting xyzzy; --help lists all settings"),
        ("train model.rounds=abc", "agnn-train: model.rounds=abc: Value 'abc' of type 'str' could not be converted"),
        ("train model.gate=chanel", "model.gate=chanel: must be one of channel, spatial, none; did you mean channel?"),
        ("train backbone=foo", "deeplabv3_resnet50"),
        ("train experiment=demoo", "demo"),
        (
            "train experiment=official_test",
            "experiment=official_test is for another command: this one has no group crf",
        ),
        ("convert ofical=x out=y", "agnn-convert: there is no setting ofical; did you mean official?"),
        ("train run=nowhere", "agnn-train: run=nowhere: no such run"),
        ("evaluate tresh=1", "agnn-evaluate: there is no setting tresh; did you mean threshold?"),
        ("evaluate run=nowhere", "agnn-evaluate: run=nowhere: no such run"),
        ("predict foo", "agnn-predict: foo: settings are written key=value, without spaces; "),
        ("predict input=a out=b crf=quick", "pydensecrf"),
        ("score masks=nowhere annotations=nowhere protocol=simple out=o", "agnn-score: annotations=nowhere"),
        ("report socres=x", "agnn-report: there is no setting socres; did you mean scores?"),
        ("benchmark topic=crf repeat=2", "agnn-benchmark: there is no setting repeat; did you mean repeats?"),
    ],
)
def test_wrong_words(tmp_path, words, said):
    command, *rest = words.split()
    done = call_command(command, *rest, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    for foreign in ("Traceback", "HYDRA_FULL_ERROR", "+model", "Config search path"):
        assert foreign not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*")), "a refused command leaves nothing behind"


@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_a_name_that_no_folder_can_have(tmp_path, more):
    done = call_command("train", *more, *SMALL, f"name={'a' * 300}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("agnn-train: File name too long, give a shorter one: runs/aaa")


@pytest.mark.long
def test_a_refused_job_of_a_sweep_does_not_stop_the_others(tmp_path):
    done = run_command("train", "-m", *SMALL, "trainer.max_epochs=1", "model.rounds=-1,0", cwd=tmp_path)
    found = [json.loads(file.read_text()) for file in (tmp_path / "runs").rglob("status.json")]
    assert sorted((status["state"], status.get("error")) for status in found) == [
        ("done", None),
        ("failed", "model.rounds=-1: must be 0 or more"),
    ]
    assert done.returncode == 1
    assert "agnn-train: 1 failed of 2" in done.stderr
    assert "must be 0 or more" in done.stdout.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_keys_are_all_of_them():
    keys = keys_of(TrainConfig)
    assert {"model.rounds", "backbone.name", "data.synthetic.size", "trainer.max_epochs", "seed"} <= set(keys)


def test_help_may_go_to_a_pipe_that_closes_early():
    code = "import sys; sys.argv = ['agnn-train', '--help']; from agnn_lit.commands.train import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        done.stdout.close()
        _, said = done.communicate(timeout=60)
    assert (done.returncode, said) == (0, "")


#: Names that people give, and that Hydra's grammar refuses or reads as something else.
NAMES = (
    "Büro",
    "猫",
    "a=b",
    "copy (1)",
    "a,b",
    "#1",
    "it's",
    'a "b"',
    "'q",
    "[x]",
    "{x}",
    "a:b",
    "50%",
    "back\\slash",
    "ends\\",
    "12e345",
    "1_000",
    "true",
    "0x10",
    "choice",
    "range(1)",
    "glob(x)",
    " spaces ",
)


def parsed(words: list[str], schema: type, *, swept: bool = False) -> list[object]:
    found = OverridesParser.create().parse_overrides(quote_text(words, schema, swept=swept))
    return [list(o.sweep_iterator()) if o.is_sweep_override() else o.value() for o in found]


@pytest.mark.parametrize("name", NAMES)
def test_text_is_taken_as_typed(name):
    """In every place where text may stand."""
    values = parsed(
        [
            f"data.root={name}",
            f"++data.root={name}",
            f"name={name}",
            f"logger.group={name}",
            f"static.roots=[x,{name}]",
        ],
        TrainConfig,
    )
    entries = ["x", *name.split(",")]
    assert [str(value) for value in values[:4]] == [name] * 4
    assert [str(value) for value in values[4]] == [entry.strip() for entry in entries]
    assert str(parsed([f"out={name}"], ConvertConfig)[0]) == name


@pytest.mark.parametrize(
    "name", [name for name in NAMES if "," not in name and name.strip() == name and name[-3:] not in ("(1)", "(x)")]
)
def test_text_is_taken_as_typed_in_a_sweep(name):
    """A comma separates the values of a sweep."""
    words = [f"data.root={name},/other", f"static.roots=[{name}],[x,y]", "seed=range(0,3)", "data.root=choice(a,b)"]
    roots, lists, seeds, choices = parsed(words, TrainConfig, swept=True)
    assert [getattr(root, "text", root) for root in roots] == [name, "/other"]
    assert len(lists) == 2
    assert len(seeds) == 3
    assert [str(choice) for choice in choices] == ["a", "b"]


def test_what_is_no_text_stays():
    words = ["seed=1e1", "threshold=0.5", "run=null", "-m", "experiment", "hydra/launcher=parallel", "name=", "x.y=a b"]
    assert quote_text(words, TrainConfig) == words


@pytest.mark.parametrize("word", ["demo", "bf16-mixed", "lite0", "channel", "_x", "v1.2"])
def test_plain_words_stay_as_they_are(word):
    """So that tables of sweeps show them as they were typed."""
    words = [f"name={word}", f"backbone={word}", f"logger.tags=[{word}]"]
    assert quote_text(words, TrainConfig) == words
    assert quote_text(words, TrainConfig, swept=True) == words


def test_home_is_expanded_in_paths_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words = ["data.root=~/DAVIS", "static.roots=[~/a,'~/b']", "name=~x"]
    assert quote_text(words, TrainConfig) == [
        "data.root='/home/me/DAVIS'",
        "static.roots=['/home/me/a','~/b']",
        "name='~x'",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train precision=16", "precision/16"),
        ("train model=3", "model/3"),
        ("train logger=false", "logger/false"),
        ("train data=null", "data/null"),
        ("evaluate ckpt=x crf=true", "crf/true"),
        ("evaluate ckpt=x instances=true", "instances/true"),
        ("predict input=x out=y crf=1.5", "crf/1.5"),
        ("train experiment=demo trainer.accelerator=gpu", "trainer.accelerator=gpu"),
        ("score masks=a annotations=a protocol=simple out=file/x", "file"),
        ("report scores=[scores] out=file/x", "file"),
        ("train experiment=demo runs_dir=file", "file"),
        ("predict input=a/bear out=file/x", "file"),
    ],
)
def test_wrong_options_and_places_are_no_tracebacks(tmp_path, words, said):
    if "gpu" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (tmp_path / "file").write_text("kept")
    save_sequence(tmp_path / "a" / "bear", [star()] * 3)
    score(ScoreConfig(str(tmp_path / "a"), str(tmp_path / "a"), "simple", str(tmp_path / "scores"), progress=False))
    command, *rest = words.split()
    done = call_command(command, *rest, cwd=tmp_path)
    assert done.returncode in (1, 2), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "kept"
    assert not list(tmp_path.rglob("status.json"))


#: Runs a command whose work is interrupted, as by Ctrl-C.
INTERRUPTED = """
import sys
from importlib import import_module
command, place, name, *words = sys.argv[1:]
module = import_module(place)
def interrupted(*_, **__):
    raise KeyboardInterrupt
setattr(module, name, interrupted)
sys.argv = [f"agnn-{command}", *words]
import_module(f"agnn_lit.commands.{command}").main()
"""


@pytest.mark.parametrize(
    ("command", "place", "name", "words"),
    [
        (
            "score",
            "agnn_lit.metrics.parallel",
            "score_sequence",
            "masks=a annotations=a protocol=simple out=o workers=1",
        ),
        ("evaluate", "agnn_lit.sweeps.evaluation", "evaluate", "ckpt=pretrained"),
        ("report", "agnn_lit.report.groups", "load", "scores=[a]"),
    ],
)
def test_an_interruption_is_one_line(tmp_path, command, place, name, words):
    save_sequence(tmp_path / "a" / "bear", [star()] * 3)
    if command == "report":
        score(ScoreConfig(str(tmp_path / "a"), str(tmp_path / "a"), "simple", str(tmp_path / "a"), progress=False))
    done = run_python("-c", INTERRUPTED, command, place, name, *words.split(), cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == f"agnn-{command}: interrupted"


def test_scoring_may_go_to_a_pipe_that_closes_early(tmp_path):
    for k in range(12):
        save_sequence(tmp_path / "a" / f"bear{k}", [star()] * 3)
    words = ["masks=a", "annotations=a", "protocol=simple", "out=o"]
    with subprocess.Popen(
        [sys.executable, "-m", "agnn_lit.score", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as done:
        assert done.stdout is not None
        done.stdout.close()
        _, said = done.communicate(timeout=60)
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="file names of other systems are always text")
def test_names_that_are_no_utf_8_are_scored(tmp_path):
    """Folders and sequences from zip files of Chinese Windows."""
    truth, name = tmp_path / os.fsdecode(b"\xb9\xb7"), os.fsdecode(b"\xc3\xa8\xa4")
    for folder in (truth, tmp_path / "masks"):
        save_sequence(folder / name, [star()] * 3)
    words = [
        f"masks={tmp_path / 'masks'}",
        f"annotations={truth}",
        "protocol=simple",
        f"out={tmp_path / os.fsdecode(b'o' + bytes([0xB9]))}",
    ]
    done = run_python("-m", "agnn_lit.score", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (out,) = tmp_path.glob("o*")
    assert json.loads((out / "summary.json").read_text())["J_mean"] == 1
    assert r"è\udca4" in (out / "per_sequence.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["film.mp4"], "film.mp4: settings are written key=value, without spaces, such as input=film.mp4; "),
        (["crf", "=", "fast"], "crf: settings are written key=value, without spaces; "),
        (["out=x", "=fast"], "=fast: settings are written key=value"),
        (["--input", "film.mp4"], "--input: settings have no dashes, write input=VALUE; "),
        (["--on-error=skip"], "--on-error=skip: settings have no dashes, write on_error=skip; "),
        (["input=film.mp4", "out=x", "threshold=0,3"], "threshold=0,3: a comma separates the values of a sweep"),
        (["input=film.mp4", "out=x", "size=480"], "size=480: must be a list in brackets, such as size=[480,480]"),
        (["input=", "out=x"], "input=: is empty; give a file or folder"),
        (
            ["'input=film.mp4'"],
            "'input=film.mp4': the quotes have become part of the word; on Windows use double quotes",
        ),
        (["input=film.mp4", "output=x"], "there is no setting output; did you mean out?"),
        (["input=film.mp4", "device=gpu"], "there is no setting device; did you mean accelerator?"),
        (["input=film.mp4", "out=film.mp4"], "out=film.mp4 is a file; give a folder"),
    ],
)
def test_words_that_are_no_settings_are_explained(tmp_path, words, said):
    (tmp_path / "film.mp4").touch()
    done = call_command("predict", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"agnn-predict: {said}")


def test_options_of_hydra_stay(tmp_path):
    words = ["--cfg", "job", "--package", "crf", "input=film.mp4", "out=x"]
    assert "backend: none" in call_command("predict", *words, cwd=tmp_path).stdout
    done = call_command("predict", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"agnn-predict {version('agnn-lit')}\n")
