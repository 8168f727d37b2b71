"""The page in a browser: a visit from upload to download, and what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

import agnn_lit
from agnn_lit.app.page import Page, explain
from agnn_lit.app.visit import CancelledError, Choices
from agnn_lit.config import ConfigError
from agnn_lit.shared.runs import Run
from tests.command import call_command, run_command
from tests.data.videos import write_video

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Gradio's, when it is imported


#: Count the parts of a recording that hold something.
_COUNT_RECORDED = """() => {
  window.recorded = 0;
  const start = MediaRecorder.prototype.start;
  MediaRecorder.prototype.start = function (...times) {
    this.addEventListener("dataavailable", event => { window.recorded += event.data.size > 0; });
    return start.apply(this, times);
  };
}"""


#: Notice whether the progress of the work was in view.
_WATCH_OVERLAY = """() => {
  window.seen = false;
  setInterval(() => {
    const place = document.querySelector("#overlay .progress-text, #overlay .progress-level")?.getBoundingClientRect();
    window.seen ||= Boolean(place && place.top >= 0 && place.bottom <= innerHeight);
  }, 20);
}"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_video(folder / "walk.mp4")
    shutil.copy(folder / "walk.mp4", folder / "WALK.MOV")
    write_video(folder / "long.mp4", frames=201)
    (folder / "notes.mp4").write_text("no film " * 100)
    return folder


@pytest.fixture
def page(trained, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    made = Page(agnn_lit.load(trained.folder), results, max_frames=40)
    yield made
    made.close()
    assert not list(results.iterdir())


@contextmanager
def serving(run: Run, folder: Path, *module: str):
    """Start a server whose files are in a folder, and give its address."""
    port = free_port()
    env = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    settings = [f"run={run.folder}", f"port={port}", "max_frames=200"]
    words = [sys.executable, "-m", *(module or ("agnn_lit.app",)), *settings]
    with subprocess.Popen(words, env=env, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().startswith(f"agnn-app: http://127.0.0.1:{port}/ with <Model ")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            rest, _ = server.communicate(timeout=60)
    assert (server.returncode, rest) == (0, "agnn-app: stopped; all files of visits are removed\n")
    assert not list(folder.glob("agnn-app-*"))


@pytest.fixture
def address(trained, tmp_path):
    with serving(trained, tmp_path) as found:
        yield found


def files(folder: Path, kind: str) -> list[Path]:
    """Files of visits, which a server keeps in a folder: results or uploads."""
    return sorted(file for file in folder.glob(f"agnn-app-*/{kind}/**/*") if file.is_file())


@contextmanager
def browsing(address: str, width: int = 1280):
    """A page of a browser, and what it writes to its console that is an error."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        tab = browser.new_page(viewport={"width": width, "height": 900}, permissions=["camera", "microphone"])
        errors: list[str] = []
        tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda e: errors.append(str(e)))
        tab.goto(address)
        tab.wait_for_selector("button:has-text('Segment')")
        yield tab, errors
        browser.close()


def upload(tab, film: Path) -> None:
    tab.set_input_files("input[type=file]", str(film))
    tab.wait_for_selector("video >> nth=0", state="attached", timeout=30_000)


def segment(tab) -> None:
    tab.click("button:has-text('Segment')")
    tab.wait_for_selector("a:has-text('KB'), .toast-body.error", timeout=60_000)
    assert tab.query_selector_all("a:has-text('KB')"), tab.inner_text(".toast-body.error")


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_from_upload_to_download(address, films, tmp_path, width):
    with browsing(address, width) as (tab, errors):
        upload(tab, films / "WALK.MOV")  # as phones write it; Chromium on Linux knows no type of it
        tab.wait_for_selector("text=WALK.MOV: 64×48, 0.5 s.", timeout=30_000)
        tab.evaluate(_WATCH_OVERLAY)
        segment(tab)
        assert tab.evaluate("seen"), "the progress is in view while the network runs"
        assert tab.inner_text("body").count("12 frames of 64×48") == 1
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("document.getElementById('overlay').getBoundingClientRect().bottom <= innerHeight")
        tab.click("text=Settings")
        tab.wait_for_timeout(1000)  # the settings unfold; before, a typed value would be replaced by the slider's own
        number = tab.locator("input[type=number]").first
        number.fill("0.55")
        number.press("Enter")
        tab.wait_for_selector("a[href*='WALK-2/masks.zip']", timeout=60_000)
        (record,) = (file for file in files(tmp_path, "results") if file.name == "predict.json")
        assert json.loads(record.read_text())["identity"]["threshold"] == pytest.approx(0.55)
        with tab.expect_download() as download:
            tab.click("a[href*='WALK-2/masks.zip']")
        download.value.save_as(tmp_path / "masks.zip")
        with zipfile.ZipFile(tmp_path / "masks.zip") as file:
            assert len(file.namelist()) == 12
        assert errors == []
    end = time.monotonic() + 30
    while files(tmp_path, "results") and time.monotonic() < end:  # the closed page is noticed
        time.sleep(0.2)
    assert (files(tmp_path, "results"), files(tmp_path, "uploads")) == ([], [])


@needs_chromium
def test_a_film_that_browsers_do_not_play_is_no_error(address, tmp_path):
    with browsing(address, 390) as (tab, _):
        tab.set_input_files("input[type=file]", str(write_video(tmp_path / "phone.mov", "hevc")))
        tab.wait_for_selector("text=Browsers may not play HEVC; it can be segmented all the same.", timeout=30_000)
        tab.wait_for_timeout(1000)
        assert not any(toast.is_visible() for toast in tab.query_selector_all(".toast-body"))
        tab.click("button:has-text('Segment')")
        tab.wait_for_selector("a:has-text('KB')", timeout=60_000)


@needs_chromium
@pytest.mark.parametrize(
    ("film", "sentence"),
    [
        ("notes.mp4", "notes.mp4: cannot be opened as a video"),
        ("long.mp4", "long.mp4 has 201 frames, and this page takes 200 at most"),
    ],
)
def test_a_film_that_cannot_be_segmented_is_explained(address, films, film, sentence):
    with browsing(address) as (tab, _):
        assert tab.is_disabled("button:has-text('Segment')")  # there is no film yet
        tab.set_input_files("input[type=file]", str(films / film))
        tab.click("button:has-text('Segment')")
        tab.wait_for_selector(f"text={sentence}", timeout=30_000)


@needs_chromium
def test_a_large_film_and_one_from_the_camera(address, tmp_path):
    with browsing(address) as (tab, errors):
        upload(tab, write_video(tmp_path / "large.mp4", frames=3, size=(2160, 3840)))
        segment(tab)
        assert tab.inner_text("body").count("3 frames of 3840×2160") == 1
        assert errors == []
    with browsing(address) as (tab, errors):
        tab.click("button[aria-label='Capture from camera']")
        tab.click("text=Click to Access Webcam")
        tab.wait_for_function("document.querySelector('video')?.videoWidth > 0")  # the camera is on
        tab.evaluate(_COUNT_RECORDED)
        tab.click("button[aria-label='start recording']")
        # A busy machine records late, and Gradio drops the last part.
        tab.wait_for_function("recorded >= 5", timeout=60_000)
        tab.click("[title='stop recording']")
        tab.wait_for_selector("button[aria-label='Clear']", timeout=30_000)
        segment(tab)
        assert re.search(r"\d+ frames of \d+×\d+", tab.inner_text("body"))


@needs_chromium
def test_cancel_stops_and_two_visitors_do_not_disturb_each_other(trained, films, tmp_path):
    counted = tmp_path / "encoded"
    counted.touch()

    def encoded() -> int:
        return counted.stat().st_size

    with serving(trained, tmp_path, "tests.app.serve", str(counted)) as address, browsing(address) as (tab, _):
        upload(tab, films / "walk.mp4")
        tab.click("button:has-text('Segment')")
        while not encoded():
            tab.wait_for_timeout(50)
        tab.click("button:has-text('Cancel')")
        tab.wait_for_selector("text=Cancelled.", timeout=30_000)
        seen = encoded()
        tab.wait_for_timeout(1000)
        assert encoded() == seen < 4
        second = tab.context.browser.new_page()
        second.goto(address)
        second.wait_for_selector("button:has-text('Segment')")
        upload(second, films / "walk.mp4")
        for one in (tab, second):
            one.click("button:has-text('Segment')")
        for one in (tab, second):
            one.wait_for_selector("a:has-text('KB')", timeout=60_000)
        masks: dict[str, set[bytes]] = {}
        for file in files(tmp_path, "results"):
            if file.parent.name == "masks":
                masks.setdefault(str(file.parents[1]), set()).add(file.read_bytes())
        first, other = masks.values()
        assert first == other


def test_a_visit_that_ends_leaves_the_upload_of_another(page, films, tmp_path):
    uploads = [tmp_path / "uploads" / name / "walk.mp4" for name in ("a", "b")]
    for file in uploads:
        file.parent.mkdir(parents=True)
        shutil.copy2(films / "walk.mp4", file)
    page.segment("one", str(uploads[0]), Choices(), lambda *_: None)
    page.uploaded("one", str(uploads[1]))
    page.uploaded("two", str(uploads[0]))
    page.uploaded("two", None)
    page.leave("one")
    assert [file.exists() for file in uploads] == [True, False]
    page.leave("two")
    page.leave("nobody")
    with pytest.raises(CancelledError):  # its work was still in the queue
        page.segment("two", str(uploads[0]), Choices(), lambda *_: None)
    assert not uploads[0].exists()


def test_errors_are_sentences(capsys):
    assert explain(ConfigError("too long")) == "too long"
    assert explain(OSError(errno.ENOSPC, "No space left on device")).startswith("The disk of this machine is full")
    assert explain(ValueError("unforeseen")).startswith("Something went wrong here: ValueError.")
    assert "unforeseen" in capsys.readouterr().err


def test_a_port_in_use_is_named(trained, tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        done = run_command("app", f"run={trained.folder}", f"port={port}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"agnn-app: host=127.0.0.1 port={port}: " in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["port=0"], "port=0: must"),
        (["run=a", "ckpt=b"], "run=a ckpt=b: give one of them, or none"),
        (["ckpt=nowhere.ckpt"], "nowhere.ckpt: no such checkpoint"),
    ],
)
def test_wrong_settings_are_refused(words, message, tmp_path):
    done = call_command("app", *words, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_the_command_serves_the_page_and_cleans_up(trained, tmp_path):
    with serving(trained, tmp_path) as address:
        with urllib.request.urlopen(address) as answer:
            assert b"agnn_lit" in answer.read()
        assert list(tmp_path.glob("agnn-app-*"))
