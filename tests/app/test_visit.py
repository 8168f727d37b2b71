"""A visit without a browser: what is computed again, what is refused, and that nothing is left."""

from __future__ import annotations

import errno
import json
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

import agnn_lit
from agnn_lit.app import visit as visit_module
from agnn_lit.app.visit import CancelledError, Choices, Visit, heat
from agnn_lit.data.video import DataError
from agnn_lit.inference import video as inference_video
from tests.data.videos import damage, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4")


@pytest.fixture
def visit(trained, tmp_path):
    made = Visit(agnn_lit.load(trained.folder), tmp_path, max_frames=20)
    yield made
    made.close()
    assert not list(tmp_path.iterdir()), "a visit leaves nothing"


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Number of frames that each call of the network encodes."""
    seen: list[int] = []
    original = inference_video._encode

    def count(model, loaded, *rest):
        seen.append(sum(map(len, loaded.step.encode)))
        return original(model, loaded, *rest)

    monkeypatch.setattr(inference_video, "_encode", count)
    return seen


def nothing(what: str, done: int, total: int) -> None:
    """Report nothing."""


def test_masks_overlay_and_archive(visit, film):
    steps = []
    result = visit.segment(film, Choices(), lambda *step: steps.append(step))
    overlay, archive, record = result.files
    assert (result.frames, result.summary) == (12, "12 frames of 64×48")
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == [f"{t:05d}.png" for t in range(12)]
    assert overlay.stat().st_size > 0
    assert json.loads(record.read_text())["state"] == "done"
    for what in ("network", "frames", "overlay"):
        assert [done for name, done, _ in steps if name == what][-1] == 12
    sizes = []
    for file in visit.pictures(3, Choices()):
        with Image.open(file) as picture:
            sizes.append(picture.size)
    assert sizes == [(960, 720), (64, 48)]


def test_only_what_follows_the_network_is_done_again(visit, film, encoded):
    first = visit.segment(film, Choices(), nothing)
    assert sum(encoded) == 12
    results = [
        visit.segment(film, Choices(threshold=0.9), nothing),
        visit.segment(film, Choices(crf="fast"), nothing),
        visit.segment(film, Choices(objects=True, threshold=0.2), nothing),
    ]
    assert sum(encoded) == 12
    assert "objects" in results[-1].summary
    assert not first.files[0].exists(), "the files of earlier settings are removed"
    visit.segment(film, Choices(scales="three"), nothing)
    assert sum(encoded) == 12 + 3 * 12


def test_cancelling_stops_the_network(visit, film, encoded):
    def leave(what: str, done: int, total: int) -> None:
        if done == 4:
            visit.cancel()

    with pytest.raises(CancelledError):
        visit.segment(film, Choices(), leave)
    assert sum(encoded) < 12
    assert visit.result is None
    assert visit.pictures(0, Choices()) is None
    assert visit.segment(film, Choices(), nothing).frames == 12, "it can be begun again"


def test_leaving_while_it_works(trained, film, tmp_path):
    visit = Visit(agnn_lit.load(trained.folder), tmp_path, max_frames=20)
    begun, ended = threading.Event(), []

    def wait(what: str, done: int, total: int) -> None:
        begun.set()
        threading.Event().wait(0.05)

    def work() -> None:
        with pytest.raises(CancelledError):
            visit.segment(film, Choices(), wait)
        ended.append(True)

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(30)
    visit.close()
    worker.join(30)
    assert ended
    assert not list(tmp_path.iterdir())
    with pytest.raises(CancelledError):
        visit.segment(film, Choices(), nothing)


def test_leaving_while_pictures_are_drawn(trained, film, tmp_path, monkeypatch):
    visit = Visit(agnn_lit.load(trained.folder), tmp_path, max_frames=20)
    visit.segment(film, Choices(), nothing)
    begun, go_on, drawn = threading.Event(), threading.Event(), []
    original = visit_module.draw_overlay

    def draw(*args, **settings):
        begun.set()
        assert go_on.wait(30)
        return original(*args, **settings)

    monkeypatch.setattr(visit_module, "draw_overlay", draw)
    looking = threading.Thread(target=lambda: drawn.append(visit.pictures(3, Choices())))
    looking.start()
    assert begun.wait(30)
    leaving = threading.Thread(target=visit.close)
    leaving.start()
    leaving.join(0.2)
    assert leaving.is_alive(), "the film is open while pictures are made of it"
    go_on.set()
    leaving.join(30)
    looking.join(30)
    assert len(drawn[0]) == 2
    assert not list(tmp_path.iterdir())
    assert visit.pictures(3, Choices()) is None


def test_films_that_are_none_or_too_long_are_explained(visit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    (folder / "notes.mp4").write_text("no film " * 100)
    with pytest.raises(DataError, match=r"^notes\.mp4: cannot be opened as a video"):
        visit.segment(folder / "notes.mp4", Choices(), nothing)
    long = write_video(folder / "long.mp4", frames=21)
    with pytest.raises(agnn_lit.ConfigError, match=r"long\.mp4 has 21 frames, and this page takes 20 at most"):
        visit.segment(long, Choices(), nothing)
    broken = damage(write_video(folder / "a.avi", "mjpeg", pix_fmt="yuvj420p"), 5)
    assert visit.segment(broken, Choices(), nothing).summary == "12 frames of 64×48; 1 unreadable frames left out"


def test_a_full_disk_keeps_nothing_and_does_not_end_the_visit(visit, film, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", full)
        with pytest.raises(OSError, match="No space left"):
            visit.segment(film, Choices(), nothing)
    assert visit.result is None
    assert visit.segment(film, Choices(), nothing).frames == 12


def test_the_heat_map_runs_from_blue_to_red():
    low, high = (heat(np.zeros((2, 2, 3), np.uint8), np.full((2, 2), p, np.uint8))[0, 0].astype(int) for p in (20, 235))
    assert low[2] > low[0]
    assert high[0] > high[2]
