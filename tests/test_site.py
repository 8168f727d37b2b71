"""The documentation site: it builds without a warning, lists every setting, and can be searched as files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agnn_lit.config import SCHEMAS, entries, options
from tests.report.test_browser import CHROMIUM

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("site")]
ROOT = Path(__file__).parents[1]


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout as `make docs` does."""
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


def test_every_setting_and_every_option_is_listed(site):
    text = (site / "settings.html").read_text()
    for schema in SCHEMAS.values():
        for entry in entries(schema()):
            assert f"<td><code>{entry.key}</code></td>" in text, entry.key
    for option in ("agnn_official", "deeplab_official"):  # options of groups that are no file in conf/
        assert f"<code>{option}</code>" in text
    for setting in ("backbone.name", "data.name", "crf.backend", "instances.proposals", "protocol", "topic"):
        assert [name for name in options(setting) if not re.search(rf"\b{name}\b", text)] == []


def test_records_and_the_card_of_the_weights_are_pages(site):
    for record in (ROOT / "experiments").glob("*/README.md"):
        assert (site / "results" / record.parent.name / "index.html").is_file()
    assert "SHA-256" in (site / "weights.html").read_text()
    assert 'href="results/davis16/index.html"' in (site / "results.html").read_text()
    assert 'src="results/davis16/frames.jpg"' in (site / "index.html").read_text()


def test_classes_are_documented(site):
    text = (site / "reference" / "model.html").read_text()
    assert 'id="agnn_lit.model.edges.LineEdge.forward"' in text
    assert 'href="reference/model.html#agnn_lit.model.edges.LineEdge"' in (site / "model.html").read_text()


def test_broken_links_fail(tmp_path):
    for name in ("docs", "experiments", "mkdocs.yml", "CONTRIBUTING.md"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tmp_path / name)
    for name in ("src", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    mistakes = ("[nowhere](nowhere.md)", "[gone](train.md#gone)", "[`x`][agnn_lit.gone]", "![p](../experiments/no.jpg)")
    with (tmp_path / "docs" / "scores.md").open("a") as page:
        page.write("\n\n".join(("", *mistakes)))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for named in ("nowhere.md", "train.md#gone", "agnn_lit.gone", "results/no.jpg"):
        assert named in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
def test_pages_fit_a_phone_and_search_needs_no_network(site):
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            for name in ("index", "train", "settings", "results", "results/davis16/index", "reference/model"):
                page.goto(f"file://{site}/{name}.html")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"file://{site}/index.html")
        page.fill("input.md-search__input", "onlookers")
        page.wait_for_selector(".md-search-result__item")
        assert page.locator(".md-search-result__item").count() >= 2
        browser.close()
    assert said == []
