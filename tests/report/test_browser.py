"""The page in headless Chromium: no console errors, tables sort, nothing is wider than a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agnn_lit.report.report import ReportConfig, make_report
from tests.report.folders import overlays, run_folder, score_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")

# Clicks every heading of every table, twice, and reports columns whose rows are then out of order.
PROBE = """
<script>
addEventListener("load", function () {
  const wrong = [], values = (table, i) => Array.from(table.tBodies[0].rows, r => r.cells[i].dataset.v);
  let clicks = 0;
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  document.querySelectorAll("table.sortable").forEach(function (table, t) {
    const foot = table.tFoot ? table.tFoot.innerText : "";
    Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells).forEach(function (head, i) {
      const rows = table.tBodies[0].rows.length;
      for (const turn of [0, 1]) {
        head.querySelector("button").click();
        clicks += 1;
        const up = head.getAttribute("aria-sort") === "ascending", column = values(table, i);
        const there = column.filter(v => v !== undefined);
        if (column.slice(0, there.length).includes(undefined)) wrong.push([t, i, "missing not last"]);
        if (up === (turn === 0) && head.classList.contains("num")) wrong.push([t, i, "direction"]);
        for (let k = 1; k < there.length; k += 1) {
          const order = head.classList.contains("num") ? there[k] - there[k - 1]
            : there[k].localeCompare(there[k - 1], "en", { numeric: true });
          if (up ? order < 0 : order > 0) wrong.push([t, i, there[k - 1], there[k]]);
        }
        if (table.tBodies[0].rows.length !== rows) wrong.push([t, i, "rows lost"]);
      }
    });
    if (table.tFoot && table.tFoot.innerText !== foot) wrong.push([t, "foot moved"]);
  });
  const broken = Array.from(document.images).filter(i => i.loading !== "lazy" && !i.naturalWidth).length;
  const width = document.documentElement;
  parent.postMessage(JSON.stringify({
    clicks: clicks, wrong: wrong, broken: broken, page: width.scrollWidth, window: width.clientWidth,
    heads: Math.max(...Array.from(
      document.querySelectorAll("tbody th, thead tr:last-child th:first-child"), e => e.offsetWidth)),
    columns: Math.max(...Array.from(document.querySelectorAll("thead tr:last-child th"), e => e.offsetWidth)),
    tall: Math.max(...Array.from(document.querySelectorAll("thead th"), e => e.offsetHeight)),
    sticky: Array.from(document.querySelectorAll("tbody th"), e => getComputedStyle(e).position)
      .filter(p => p === "sticky").length,
  }), "*");
});
</script></body>"""
FRAME = """<!DOCTYPE html>
<body>
<iframe src="page.html" width="WIDTH" height="900"></iframe>
<pre id="result"></pre>
<script>
addEventListener("message", e => { document.getElementById("result").textContent = e.data; });
</script>
</body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every kind of section."""
    root = tmp_path_factory.mktemp("browser")
    for k, j in ((0, 0.4), (1, 0.7), (3, 0.9)):
        evaluation = run_folder(root / "sweep" / f"rounds={k}", rounds=k) / "evaluations" / "davis2017-val-simple"
        score_folder(evaluation, ("blackswan", "cows", "india", "x"), "simple", j, data="davis2017-val-simple")
        overlays(evaluation)
    run_folder(root / "sweep" / "rounds=5", rounds=5, state="failed", metrics=False)
    names = tuple(f"a-sequence-with-a-long-name-{i:02d}" for i in range(24))
    scores = [f"{n}={score_folder(root / n, names, J=j, T=t)}" for n, j, t in (("a", 0.5, None), ("b", 0.6, 0.3))]
    return make_report(ReportConfig(runs=[str(root / "sweep")], scores=scores, out=str(root / "out")))


def visit(page: Path, tmp_path: Path, width: int) -> tuple[dict[str, Any], list[str]]:
    """Open the page in a frame of ``width`` pixels; return what the probe found, and console messages."""
    text = page.read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(text.replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--enable-logging=stderr", "--virtual-time-budget=8000", f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1280,1000", "--dump-dom", (tmp_path / "frame.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    assert found.group(1), f"the page did not answer: {done.stderr[-2000:]}"
    messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found.group(1))), messages


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose runs, methods and sequences have names of 100 letters, with and without places to wrap."""
    root = tmp_path_factory.mktemp("long")
    letters = "abcdefghijklmnopqrstuvwxyz" * 4
    runs = [("x" + letters)[:100], ("model.rounds-3+seed-1+" * 5)[:100], ("a long name of words " * 5)[:99] + "x"]
    for k, name in enumerate(runs):
        evaluation = run_folder(root / "sweep" / name, rounds=k) / "evaluations" / "davis2017-val-simple"
        score_folder(evaluation, (f"{letters}{k}"[-100:], "cows"), "simple", 0.5 + 0.1 * k, data="davis2017-val-simple")
        overlays(evaluation)
    scores = [f"{n}={score_folder(root / str(k), (letters[:100], 'cows', 'dog'), J=0.5)}" for k, n in enumerate(runs)]
    return make_report(ReportConfig(runs=[str(root / "sweep")], scores=scores, out=str(root / "out")))


@pytest.mark.parametrize("width", [316, 390, 1200])
def test_long_names_leave_room_for_the_numbers(long_names: Path, tmp_path: Path, width: int) -> None:
    result, console = visit(long_names, tmp_path, width)
    assert console == []
    assert result["page"] <= result["window"] <= width
    assert result["sticky"] > 10
    assert 60 < result["heads"] <= result["window"] / 2
    assert result["columns"] <= result["window"] / 2
    assert result["tall"] < 400


@pytest.mark.parametrize("width", [1200, 390])
def test_page_in_a_browser(page: Path, tmp_path: Path, width: int) -> None:
    result, console = visit(page, tmp_path, width)
    assert console == []
    assert result["clicks"] > 100
    assert result["wrong"] == []
    assert result["broken"] == 0
    assert result["page"] <= result["window"] <= width


def test_the_probe_notices(page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace("descending ? -order", "descending ? order")
    broken.write_text(text.replace("</main>", '<div style="width:2000px">x</div></main>'), encoding="utf-8")
    result, _ = visit(broken, tmp_path, 390)
    assert result["wrong"]
    assert result["page"] > result["window"]
