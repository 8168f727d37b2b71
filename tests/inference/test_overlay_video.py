"""``overlay.mp4``: the same bytes for the same pictures, and played by a browser."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest

from agnn_lit.inference.overlay_video import write_video
from tests.data.videos import picture

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PAGE = """<!DOCTYPE html>
<body>
<video src="overlay.mp4" muted></video>
<script>
const video = document.querySelector("video");
function say(kind) {
  const seen = document.createElement("canvas").getContext("2d");
  seen.drawImage(video, 0, 0);
  const error = video.error && video.error.message;
  fetch("result", { method: "POST", body: JSON.stringify({
    kind: kind, error: error, width: video.videoWidth, height: video.videoHeight, duration: video.duration,
    time: video.currentTime, mark: Array.from(seen.getImageData(8, 3, 1, 1).data),
  }) });
}
video.addEventListener("error", () => say("error"));
video.addEventListener("ended", () => say("ended"));
video.play().catch(e => say("refused: " + e));
</script>
</body>"""


def pictures(count=24, size=(48, 64)):
    return ((t, picture(t, *size)) for t in range(count))


def visit(folder):
    """Serve a folder, open its page, and return what the page posts."""
    answers = queue.Queue()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self):
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder / 'profile'}"),
            f"http://127.0.0.1:{server.server_port}/page.html",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                return answers.get(timeout=60)
            finally:
                browser.terminate()
                browser.wait(timeout=30)
                server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
def test_a_browser_plays_it_to_the_end(tmp_path):
    write_video(tmp_path / "overlay.mp4", pictures(size=(47, 63)), Fraction(1, 24), Fraction(24))
    (tmp_path / "page.html").write_text(PAGE)
    seen = visit(tmp_path)
    assert (seen["kind"], seen["error"]) == ("ended", None)
    assert (seen["width"], seen["height"]) == (64, 48)
    assert seen["duration"] == pytest.approx(1.0, abs=0.05)
    red, green, blue, _ = seen["mark"]
    assert green > red + 100
    assert green > blue + 100


def test_the_same_pictures_give_the_same_bytes(tmp_path):
    first, second = (tmp_path / "a.mp4", tmp_path / "b.mp4")
    for path in (first, second):
        assert write_video(path, pictures(), Fraction(1, 24), Fraction(24)) == 24
    assert first.read_bytes() == second.read_bytes()
    with av.open(str(first)) as container:
        for t, frame in enumerate(container.decode(video=0)):
            assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture(t)).mean() < 6


def test_no_pictures_give_no_file(tmp_path):
    assert write_video(tmp_path / "a.mp4", iter(()), Fraction(1, 24), Fraction(24)) == 0
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path):
    def broken():
        yield 0, picture(0)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_video(tmp_path / "a.mp4", broken(), Fraction(1, 24), Fraction(24))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_video(tmp_path / "file" / "a.mp4", pictures(), Fraction(1, 24), Fraction(24))
