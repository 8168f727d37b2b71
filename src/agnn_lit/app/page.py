"""The page, made with Gradio (https://www.gradio.app): one visitor at a time uses the network, the others wait."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from agnn_lit.api import ConfigError, DataError, Model, load
from agnn_lit.app.visit import SCALES, CancelledError, Choices, Report, Visit, describe
from agnn_lit.config import AppConfig, check_values
from agnn_lit.config.setting import require
from agnn_lit.shared.processes import interrupt, receiving

_WORDS = {"network": "network", "frames": "masks", "objects": "objects", "overlay": "overlay"}
_ABOUT = """# Masks of the main objects of your video

Upload a video or record one, up to {frames:,} frames and {mb:,} MB, and press **Segment**. It stays on this machine
and is removed when you leave the page.
"""
_SCRIPTS = """<script>
// Some browsers know the type of film.mov, but not of FILM.MOV, and Gradio refuses files without a type.
function typed(files) {
  const kept = new DataTransfer();
  for (const file of files) {
    const suffix = file.name.split(".").pop().toLowerCase();
    const type = file.type || "video/" + (suffix === "mov" ? "quicktime" : suffix);
    kept.items.add(file.type ? file : new File([file], file.name, {type}));
  }
  return kept.files;
}
document.addEventListener("change", event => {
  const input = event.target;
  if (input.type === "file" && [...input.files].some(file => !file.type)) input.files = typed(input.files);
}, true);
document.addEventListener("drop", event => {
  const files = event.dataTransfer && event.dataTransfer.files;
  if (!files || ![...files].some(file => !file.type)) return;
  const area = event.target.closest(".block");
  const input = area && area.querySelector("input[type=file]");
  if (!input) return;
  event.preventDefault();
  event.stopPropagation();
  input.files = typed(files);
  input.dispatchEvent(new Event("change", {bubbles: true}));
}, true);
// A film that the browser cannot play (HEVC of some phones) is no error: it can be segmented.
new MutationObserver(() => {
  for (const toast of document.querySelectorAll(".toast-body.error")) {
    const texts = [...toast.querySelectorAll(".toast-message-text")];
    const hidden = texts.map(text => text.textContent.includes("Video not playable"));
    texts.forEach((text, k) => { text.style.display = hidden[k] ? "none" : ""; });
    toast.style.display = hidden.length && hidden.every(Boolean) ? "none" : "";
  }
}).observe(document.documentElement, {childList: true, characterData: true, subtree: true});
// On a phone the progress and the result lie below what is first seen.
document.addEventListener("click", event => {
  const overlay = document.getElementById("overlay");
  if (event.target.closest("#segment")) setTimeout(() => overlay.scrollIntoView({block: "center"}), 100);
});
</script>"""


class Page:
    """The page and its visits.

    Args:
        model: the model.
        root: folder for all files of the page.
        max_frames: maximum length of a film.
    """

    def __init__(self, model: Model, root: Path, max_frames: int) -> None:
        self._model, self._root, self.max_frames = model, root, max_frames
        self._visits: dict[str, Visit] = {}
        self._left: set[str] = set()
        self._changing = threading.Lock()

    def _visit(self, session: str) -> Visit:
        with self._changing:
            if session in self._left:  # its work was still waiting
                raise CancelledError
            if session not in self._visits:
                self._visits[session] = Visit(self._model, self._root, self.max_frames)
            return self._visits[session]

    def uploaded(self, session: str, film: str | None) -> None:
        """Remember an upload, which is removed after the visit."""
        if film is not None:
            self._visit(session).uploads.add(Path(film))

    def segment(self, session: str, film: str | None, choices: Choices, report: Report) -> Visit:
        """Make the masks of a film; see :meth:`Visit.segment`."""
        if film is None:
            raise ConfigError("there is no video yet: upload or record one first")
        self.uploaded(session, film)
        visit = self._visit(session)
        visit.segment(Path(film), choices, report)
        return visit

    def visit(self, session: str) -> Visit | None:
        """Return a visit, if it has begun."""
        return self._visits.get(session)

    def leave(self, session: str) -> None:
        """End a visit and remove its files."""
        with self._changing:
            self._left.add(session)
            visit = self._visits.pop(session, None)
            if visit is None:
                return
            visit.close()
            used = {upload for other in self._visits.values() for upload in other.uploads}
            for upload in visit.uploads - used:  # the same file may have been uploaded by another visitor
                shutil.rmtree(upload.parent, ignore_errors=True)

    def close(self) -> None:
        """End all visits."""
        with self._changing:
            sessions = list(self._visits)
        for session in sessions:
            self.leave(session)


def explain(error: BaseException) -> str:
    """Return a sentence for the visitor."""
    if isinstance(error, (ConfigError, DataError)):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk of this machine is full; nothing was kept. Try a shorter video, or again later."
    traceback.print_exception(error, file=sys.stderr)
    return f"Something went wrong here: {type(error).__name__}. Try again; the server's output has the details."


def _reporter(progress: Callable[..., Any]) -> Report:
    """Show what is being done, frames per second and the remaining time."""
    begun: dict[str, tuple[float, int]] = {}

    def report(what: str, done: int, total: int) -> None:
        start, first = begun.setdefault(what, (time.monotonic(), done - 1))
        seconds = time.monotonic() - start
        rate = (done - first) / seconds if seconds > 0.5 else 0.0
        left = f", {rate:.1f} frames/s, {(total - done) / rate:.0f} s left" if rate else ""
        progress((done, total), desc=f"{_WORDS[what]}{left}", unit="frames")

    return report


def _session(request: gr.Request) -> str:
    return str(request.session_hash)


def build_page(page: Page, max_mb: int) -> Any:
    """Return the Gradio Blocks of a page; ``max_mb`` is the largest upload, which :func:`launch` limits."""

    def segment(
        asked: bool,  # by the button; a changed setting only repeats what was asked for before
        film: str | None,
        scales: str,
        threshold: float,
        crf: str,
        objects: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio replaces it
    ) -> Any:
        before = page.visit(_session(request))
        if not asked and (before is None or before.result is None):
            return (gr.skip(),) * 6
        choices = Choices(scales, threshold, crf, objects == "several")
        try:
            visit = page.segment(_session(request), film, choices, _reporter(progress))
        except CancelledError:
            hidden = gr.Image(value=None, visible=False)
            files = gr.Files(value=None, visible=False)
            return None, gr.Slider(visible=False), hidden, hidden, files, "Cancelled."
        except Exception as error:
            raise gr.Error(explain(error), title="This did not work", duration=None, print_exception=False) from error
        assert visit.result is not None
        result = visit.result
        middle = result.frames // 2
        return (
            gr.Video(value=str(result.files[0]), visible=True),
            gr.Slider(maximum=max(1, result.frames - 1), value=middle, visible=result.frames > 1),
            *look(middle, objects, request),
            gr.Files(value=[str(file) for file in result.files], visible=True),
            result.summary,
        )

    def look(index: float, objects: str, request: gr.Request) -> Any:
        visit = page.visit(_session(request))
        try:
            shown = visit and visit.pictures(int(index), Choices(objects=objects == "several"))
        except (DataError, IndexError, OSError):  # an unreadable frame, or masks that are being replaced
            shown = None
        return tuple(gr.Image(value=str(p), visible=True) for p in shown) if shown else (gr.skip(), gr.skip())

    def cancel(request: gr.Request) -> None:
        visit = page.visit(_session(request))
        if visit is not None:
            visit.cancel()

    def uploaded(film: str | None, request: gr.Request) -> Any:
        page.uploaded(_session(request), film)
        return gr.Button(interactive=film is not None), "" if film is None else describe(Path(film))

    def leave(request: gr.Request) -> None:
        page.leave(_session(request))

    buttons: list[Any] = ["download", "fullscreen"]
    with gr.Blocks(title="agnn_lit", analytics_enabled=False, delete_cache=(600, 86400)) as blocks:
        gr.Markdown(_ABOUT.format(frames=page.max_frames, mb=max_mb))
        with gr.Row():
            with gr.Column():
                film = gr.Video(label="Your video", sources=["upload", "webcam"], height=320)
                facts = gr.Markdown()
                with gr.Row():
                    # It cannot be pressed until there is a film.
                    start = gr.Button("Segment", variant="primary", interactive=False, elem_id="segment")
                    stop = gr.Button("Cancel")
                with gr.Accordion("Settings", open=False):
                    threshold = gr.Slider(
                        0.05, 0.95, 0.5, step=0.05, label="Threshold", info="foreground above this probability"
                    )
                    objects = gr.Radio(
                        [("one foreground", "one"), ("separate objects", "several")], value="one", label="Objects"
                    )
                    crf = gr.Radio(
                        [("none", "none"), ("along edges", "band")],
                        value="none",
                        label="Refinement",
                        info="outlines follow the edges of the picture",
                    )
                    scales = gr.Radio(
                        list(SCALES), value="one", label="Input scales", info="three: slower, a little better"
                    )
            with gr.Column():
                overlay = gr.Video(
                    label="Overlay", interactive=False, autoplay=True, loop=True, height=320, elem_id="overlay"
                )
                summary = gr.Markdown()
                frame = gr.Slider(0, 1, 0, step=1, label="Frame", visible=False)
                with gr.Row():
                    mask = gr.Image(label="Frame with its mask", visible=False, interactive=False, buttons=buttons)
                    heat_map = gr.Image(label="Probability", visible=False, interactive=False, buttons=buttons)
                files = gr.Files(label="Downloads", visible=False, interactive=False)
        chosen = [film, scales, threshold, crf, objects]
        shown = [overlay, frame, mask, heat_map, files, summary]
        network: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1, "show_progress_on": [overlay]}
        start.click(lambda: "", None, summary, queue=False, show_progress="hidden")
        start.click(segment, [gr.State(True), *chosen], shown, **network)
        gr.on(
            [threshold.change, crf.change, objects.change, scales.change],
            segment,
            [gr.State(False), *chosen],
            shown,
            trigger_mode="always_last",
            **network,
        )
        frame.change(look, [frame, objects], [mask, heat_map], show_progress="hidden", trigger_mode="always_last")
        stop.click(cancel, None, None, queue=False)
        film.change(uploaded, [film], [start, facts], queue=False, show_progress="hidden")
        blocks.unload(leave)
    return blocks.queue(max_size=20, api_open=False)


def serve(cfg: AppConfig) -> None:
    """Serve the page until the process is interrupted.

    Raises:
        ConfigError: wrong settings, or Gradio is not installed.
    """
    check_values(cfg)
    require(cfg.run is None or cfg.ckpt is None, f"run={cfg.run} ckpt={cfg.ckpt}: give one of them, or none")
    with tempfile.TemporaryDirectory(prefix="agnn-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "uploads")
        tempfile.tempdir = folder  # probabilities, too
        model = load(cfg.run or cfg.ckpt or "pretrained", device=cfg.device, dtype=cfg.dtype, threads=cfg.threads)
        results = Path(folder) / "results"
        results.mkdir()
        page = Page(model, results, cfg.max_frames)
        blocks = build_page(page, cfg.max_mb)
        try:
            launch(blocks, results, cfg)
            print(f"agnn-app: {blocks.local_url} with {model!r}; Ctrl-C stops it", flush=True)
            with receiving(interrupt):
                threading.Event().wait()
        except KeyboardInterrupt:
            print("agnn-app: stopped; all files of visits are removed", flush=True)
        finally:
            page.close()
            blocks.close(verbose=False)


def launch(blocks: gr.Blocks, results: Path, cfg: AppConfig) -> None:
    """Start the server of a page in a thread.

    Args:
        blocks: the page.
        results: folder whose files it may show.
        cfg: address and limits.

    Raises:
        ConfigError: the port is in use, or the address is not this machine's.
    """
    gr.set_static_paths([results])  # served as they are, not copied
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        blocks.launch(
            server_name=cfg.host,
            server_port=cfg.port,
            inbrowser=cfg.browser,
            quiet=True,
            show_error=True,
            max_file_size=f"{cfg.max_mb}mb",
            theme=theme,
            footer_links=[],
            head=_SCRIPTS,
            ssr_mode=False,
            prevent_thread_lock=True,
        )
    except OSError as error:
        why = str(error)
        if "empty port" in why:
            why = f"the port is in use, perhaps by another agnn-app; take another one, such as port={cfg.port + 1}"
        raise ConfigError(f"host={cfg.host} port={cfg.port}: {why}") from error
