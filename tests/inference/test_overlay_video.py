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
from itertools import zip_longest

import av
import numpy as np
import pytest

from agnn_lit.inference.overlay_video import OverlayVideo
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


UNIT = Fraction(1, 24)


def write(path, order=range(24), parts=(0,), size=(48, 64), clock=(range(24), UNIT), aspect=Fraction(1)):
    with OverlayVideo(path, parts, clock, Fraction(24), aspect) as video:
        for t in order:
            video.add(t, picture(t, *size))


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
    write(tmp_path / "overlay.mp4", [t + k for t in range(8) for k in (0, 8, 16)], (0, 8, 16), size=(47, 63))
    (tmp_path / "page.html").write_text(PAGE)
    seen = visit(tmp_path)
    assert (seen["kind"], seen["error"]) == ("ended", None)
    assert (seen["width"], seen["height"]) == (64, 48)
    assert seen["duration"] == pytest.approx(1.0, abs=0.05)
    red, green, blue, _ = seen["mark"]
    assert green > red + 100
    assert green > blue + 100


@pytest.mark.parametrize(("parts", "unit"), [((0,), UNIT), ((0, 8, 16), UNIT), ((0, 9), Fraction(1, 90000))])
def test_the_parts_are_joined_in_order_of_time(tmp_path, parts, unit):
    """Frames come from all parts in turns; the film has them in order, at their times, and its bytes are the same."""
    stamps = list(range(24)) if unit == UNIT else [3003 * t + 500 * (t % 3) for t in range(24)]
    ends = [*parts[1:], 24]
    turns = [[t for t in range(24) if part <= t < end] for part, end in zip(parts, ends, strict=True)]
    order = [t for turn in zip_longest(*turns) for t in turn if t is not None]
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, order, parts, clock=(stamps, unit), aspect=Fraction(4, 3))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        frames = list(container.decode(stream))
        assert [frame.pts * stream.time_base for frame in frames] == [t * unit for t in stamps]
    for t, frame in enumerate(frames):
        assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture(t)).mean() < 6


def test_a_frame_before_the_last_one_of_its_part_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not later"):
        write(tmp_path / "a.mp4", [0, 2, 1])
    assert not list(tmp_path.iterdir())


def test_no_pictures_give_no_file(tmp_path):
    write(tmp_path / "a.mp4", ())
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path):
    def broken():
        yield 0
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "a.mp4", broken())
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file" / "a.mp4")
