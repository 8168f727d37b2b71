"""``agnn-score`` from its settings to its files, as a command and as a function."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from agnn_lit.config.registry import ConfigError
from agnn_lit.metrics import parallel
from agnn_lit.metrics.mask_files import SequenceFiles
from agnn_lit.metrics.protocols import ScoreError, get_protocol
from agnn_lit.metrics.score_folders import ScoreConfig, score, wanted_sequences
from agnn_lit.report.report import ReportConfig, make_report
from agnn_lit.shared import processes
from tests.metrics.masks import save, save_sequence, star
from tests.wandb_files import read_offline_run

FILES = {"per_frame.csv", "per_sequence.csv", "summary.json"}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Masks and annotations of three sequences; ``cows`` is one that davis2016 takes T of."""
    for number, name in enumerate(("bear", "camel", "cows")):
        save_sequence(tmp_path / "truth" / name, [star(0.1 * t) for t in range(5)])
        save_sequence(tmp_path / "masks" / name, [star(0.1 * t, shift=number + 1) for t in range(5)])
    return tmp_path


def config(folder: Path, protocol: str = "davis2016", out: str = "out", **more: object) -> ScoreConfig:
    paths = (str(folder / "masks"), str(folder / "truth"), protocol, str(folder / out))
    return ScoreConfig(*paths, **{"workers": 1, "progress": False, **more})  # type: ignore[arg-type]


def words(folder: Path, *more: str) -> list[str]:
    paths = [f"masks={folder / 'masks'}", f"annotations={folder / 'truth'}", f"out={folder / 'out'}"]
    return [sys.executable, "-m", "agnn_lit.commands.score", *paths, *more]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words(folder, *more), capture_output=True, text=True, cwd=folder, check=False)


def test_the_three_files_hold_what_the_function_returns(folders: Path) -> None:
    scores, result = score(config(folders))
    out = folders / "out"
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "summary.json").read_text()) == result
    assert (result["masks"], result["annotations"]) == (str(folders / "masks"), str(folders / "truth"))
    with (out / "per_sequence.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["sequence"] for row in table] == ["bear", "camel", "cows"]
    assert [row["T"] == "" for row in table] == [True, False, False]
    assert float(table[1]["J_mean"]) == pytest.approx(scores[1].J_mean, abs=1e-9)
    with (out / "per_frame.csv").open() as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == 9
    assert result["J_mean"] == pytest.approx(np.mean([s.J_mean for s in scores]))
    assert result["T"] == pytest.approx(np.mean([s.T for s in scores[1:]]))


def test_any_number_of_processes_gives_the_same_bytes(folders: Path) -> None:
    for workers in (1, 2):
        score(config(folders, out=f"out{workers}", workers=workers))
    for name in FILES:
        assert (folders / "out1" / name).read_bytes() == (folders / "out2" / name).read_bytes()


@pytest.mark.parametrize("encoding", ["1", "bit", "palette", "16", "rgb"])
def test_the_encoding_of_files_does_not_matter(folders: Path, encoding: str) -> None:
    _, expected = score(config(folders))
    for name in ("bear", "camel", "cows"):
        for file in (folders / "masks" / name).iterdir():
            save(file, star(0.1 * int(file.stem), shift=("bear", "camel", "cows").index(name) + 1), encoding)
    assert score(config(folders))[1] == expected


def test_the_report_draws_the_frames_of_lowest_j(folders: Path) -> None:
    score(config(folders))
    page = make_report(ReportConfig(scores=[f"ours={folders / 'out'}"], out=str(folders / "report")))
    text = page.read_text()
    assert text.count("data:image/jpeg") == 3
    assert "ours, cows frame " in text


def test_wrong_settings_say_what_was_given(folders: Path) -> None:
    with pytest.raises(ConfigError, match="protocol=best: must be one of simple, davis2016"):
        score(config(folders, "best"))
    with pytest.raises(ConfigError, match="workers=0: must be 1 or more"):
        score(config(folders, workers=0))


def test_sequences_are_named_listed_or_read_from_a_file(folders: Path) -> None:
    (folders / "val.txt").write_text("cows\nbear\n")
    for given, expected in (("cows", ["cows"]), (["bear"], ["bear"]), (str(folders / "val.txt"), ["bear", "cows"])):
        scores, _ = score(config(folders, sequences=given))
        assert [s.name for s in scores] == expected
    assert wanted_sequences(None) is None
    (folders / "480p.txt").write_text("/JPEGImages/480p/cows/00000.jpg /Annotations/480p/cows/00000.png\n" * 2)
    assert wanted_sequences(str(folders / "480p.txt")) == ["cows"]


def test_the_command_says_what_counts_before_any_number(folders: Path) -> None:
    done = run(folders, "protocol=davis2016")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("protocol davis2016\n  frames: first and last frame of each sequence dropped")
    assert done.stdout.index("averaged over") < done.stdout.index("cows") < done.stdout.index("mean  ")
    assert {path.name for path in (folders / "out").iterdir()} == FILES


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("protocol=best", "protocol=best: must be one of"),
        (
            "progress=true",
            "protocol= is needed; one of simple, davis2016, davis2017_unsupervised, davis2017_semisupervised, "
            "youtube_objects; agnn-score --help shows how",
        ),
        ("protocol=simple sequences=goat", "sequences=goat: no such folder"),
    ],
)
def test_the_command_refuses_in_one_line(folders: Path, setting: str, message: str) -> None:
    done = run(folders, *setting.split())
    assert done.returncode == 2
    assert done.stderr.startswith(f"agnn-score: {message}")
    assert "Traceback" not in done.stderr
    assert not (folders / "out").exists()


def test_a_broken_file_in_a_worker_is_named(folders: Path) -> None:
    broken = folders / "masks" / "cows" / "00002.png"
    broken.write_bytes(broken.read_bytes()[:60])
    done = run(folders, "protocol=simple", "workers=2")
    assert done.returncode == 2
    assert f"agnn-score: {broken}: cannot be read as a PNG image" in done.stderr
    assert not (folders / "out").exists()


def test_workers_start_after_opencv_has_used_its_threads(folders: Path) -> None:
    code = """
import cv2, numpy as np, sys
from agnn_lit.commands.score import main
cv2.setNumThreads(4)
cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (0, 0), 5)
main()
"""
    command = [sys.executable, "-c", code, *words(folders, "protocol=simple", "workers=2")[3:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folders, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_interruption_while_workers_start_is_kept_for_afterwards() -> None:
    """What is raised in the hooks of a fork is dropped; here the signal comes in one."""
    code = """
import os, signal, sys
from agnn_lit.shared.processes import signals_deferred
def stop(signum, frame):
    raise SystemExit(7)
signal.signal(signal.SIGTERM, stop)
os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGTERM))
with signals_deferred():
    if os.fork() == 0:
        os._exit(0)
    print("forked", flush=True)
print("lost")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 7, done.stderr
    assert done.stdout == "forked\n"


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
@pytest.mark.parametrize("wait", [0.0, 0.1])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_half_written(folders: Path, stop: signal.Signals, wait: float) -> None:
    save_sequence(folders / "one", [star(0, 240, 320)] * 3)
    for k in range(3000):  # more than is scored while this process waits for its turn
        for kind in ("truth", "masks"):
            (folders / kind / f"more-{k:04d}").symlink_to(folders / "one")
    with subprocess.Popen(words(folders, "protocol=simple", "workers=2"), cwd=folders, stderr=subprocess.PIPE) as child:
        begun = time.monotonic()
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        while len(children.read_text().split()) < 2:
            assert time.monotonic() - begun < 60, "the workers did not start"
            time.sleep(0.01)
        workers = [int(pid) for pid in children.read_text().split()]
        time.sleep(wait)  # 0: before the first result is asked for
        os.kill(child.pid, stop)
        try:
            child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        assert child.returncode not in (0, None)
    assert not any(path.suffix in (".csv", ".json") for path in folders.rglob("out/**/*"))
    begun = time.monotonic()
    while not all(map(gone, workers)):
        assert time.monotonic() - begun < 10, "workers live on"
        time.sleep(0.05)


def test_a_failed_write_leaves_the_earlier_file(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score(config(folders))
    before = {name: (folders / "out" / name).read_bytes() for name in FILES}
    save_sequence(folders / "masks" / "bear", [star(shift=9)] * 5)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        score(config(folders))
    assert {path.name: path.read_bytes() for path in (folders / "out").iterdir()} == before


def test_tables_are_logged_to_wandb(folders: Path) -> None:
    score(config(folders, wandb="offline", project="tests"))
    found = read_offline_run(folders / "out")
    assert found["project"] == "tests"
    assert found["config"]["protocol"] == "davis2016"
    logged = {key for row in found["history"] for key in row}
    assert {"per_sequence", "per_frame"} <= logged or any(key.startswith("per_sequence") for key in logged)
    assert len(list((folders / "out").rglob("media/table/*.table.json"))) == 2


@pytest.mark.long
def test_memory_does_not_grow_with_the_length_of_a_sequence(tmp_path: Path) -> None:
    """A sequence of 10,000 frames, made of links to two files, in a process of its own."""
    mask = np.zeros((480, 854), np.uint8)
    mask[200:240, 300:360] = 1
    files = [save(tmp_path / f"{k}.png", np.roll(mask, 3 * k, axis=1)) for k in range(2)]
    code = (
        "import sys, resource; from pathlib import Path; from agnn_lit.metrics.mask_files import SequenceFiles\n"
        "from agnn_lit.metrics.parallel import score_files\n"
        "n = int(sys.argv[1]); files = tuple(Path(sys.argv[2 + i % 2]) for i in range(n))\n"
        "names = tuple(f'{i:05d}' for i in range(n))\n"
        "(s,) = score_files(SequenceFiles('cows', names, files, files[::-1], 0), 'davis2016')\n"
        "assert len(s.J) == n - 2\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(frames: int) -> int:
        command = [sys.executable, "-c", code, str(frames), *map(str, files)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    short, long = peak(100), peak(10_000)
    assert long - short < 20 * 1024  # KiB; 10,000 masks would take 4 GiB


def test_workers_are_spawned_beside_threads_and_forked_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.threading, "active_count", lambda: 1)
    assert parallel._start() == ("fork" if sys.platform == "linux" else "spawn")
    monkeypatch.setattr(parallel.threading, "active_count", lambda: 2)
    assert parallel._start() == "spawn"


def test_the_longest_sequences_begin_first(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files(name: str, frames: int) -> SequenceFiles:
        path = folders / "truth" / "bear" / "00000.png"
        return SequenceFiles(name, tuple(map(str, range(frames))), (path,) * frames, (path,) * frames, 0)

    given = [files("bear", 6), files("cows", 3), files("dog", 9)]
    with parallel.score_all(given, get_protocol("davis2016"), 1) as results:
        assert [s.name for (s,) in results] == ["cows", "dog", "bear"]  # T counts for cows
    monkeypatch.delattr(os, "sched_getaffinity")
    assert processes.usable_processors() == os.cpu_count()


def test_soft_maps_are_scored_at_a_threshold(folders: Path) -> None:
    """Around the mask the map falls off to 0; at 127 it is the mask."""
    for name in ("bear", "camel", "cows"):
        for t in range(5):
            soft = np.clip(cv2.GaussianBlur(255.0 * star(0.1 * t), (15, 15), 0), 0, 255).astype(np.uint8)
            Image.fromarray(soft).save(folders / "masks" / name / f"{t:05d}.png")
    with pytest.raises(ScoreError, match=r"a soft map, not a mask; give threshold=127"):
        score(config(folders))
    by_value, summary = score(config(folders, threshold=127))
    by_share, _ = score(config(folders, threshold=0.5))
    assert summary["mask_threshold"] == 127
    assert min(s.J_mean for s in by_value) > 0.8
    assert [s.J.tolist() for s in by_value] == [s.J.tolist() for s in by_share]
    with pytest.raises(ConfigError, match="threshold=127: protocol=davis2017_unsupervised compares object ids"):
        score(config(folders, "davis2017_unsupervised", threshold=127))


@pytest.mark.parametrize("protocol", ["simple", "davis2016"])
def test_void_beside_ids_leaves_both_masks_in_protocols_of_foregrounds(tmp_path: Path, protocol: str) -> None:
    truth, masks = [], []
    for t in range(4):
        mask = star(0.1 * t).astype(np.uint8)
        annotation = mask.copy()
        annotation[:6] = 255
        truth.append(np.where(annotation == 1, 1 + t % 2, annotation) if t != 2 else 255 * (annotation > 0))
        truth[-1] = truth[-1].astype(np.uint8)
        if t == 2:
            truth[-1] = np.where(annotation == 255, 255, 0).astype(np.uint8)  # the object is hidden, void is left
            mask = np.zeros_like(mask)
        masks.append(mask)
    save_sequence(tmp_path / "masks" / "bear", masks)
    (tmp_path / "truth" / "bear").mkdir(parents=True)
    for t, annotation in enumerate(truth):
        Image.fromarray(annotation).save(tmp_path / "truth" / "bear" / f"{t:05d}.png")
    (found,), _ = score(config(tmp_path, protocol))
    assert found.J.tolist() == [1.0] * len(found.J)
    assert found.F.tolist() == [1.0] * len(found.F)


@pytest.mark.parametrize("workers", [1, 2])
def test_sequences_that_cannot_be_scored_are_named_together(
    folders: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {name: [star()] * 5 for name in ("bear", "camel", "cows")}
    contents |= {"short": [star()] * 2, "late": [np.zeros_like(star()), star(), star(), star()]}
    for name, content in contents.items():
        for part in ("truth", "masks"):
            save_sequence(folders / part / name, content, "1")
    scores, _ = score(config(folders, "davis2017_semisupervised", workers=workers))
    assert [s.name for s in scores] == ["bear_1", "camel_1", "cows_1"]
    said = capsys.readouterr().out
    assert "2 sequences NOT SCORED: late/00000: no object ids in the first annotation" in said
    assert "sequence short has 2 frames: protocol davis2017_semisupervised needs at least 3" in said
    with pytest.raises(ScoreError, match="sequence short has 2 frames"):
        score(config(folders, sequences=["short"]))
