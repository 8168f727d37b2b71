"""The command: files written, errors, and that nothing of a folder's text becomes markup."""

from __future__ import annotations

import csv
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agnn_lit.commands.command_line import quote_text
from agnn_lit.commands.report import main
from agnn_lit.config import ConfigError, ReportConfig
from agnn_lit.report.collect import ReportError
from agnn_lit.report.report import make_report
from tests.command import call_command
from tests.report.folders import overlays, run_folder, score_folder

VOID = {"meta", "link", "img", "path", "use", "br"}


class Checker(HTMLParser):
    """Collects identifiers and addresses, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href"):
                self.addresses.append(value or "")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop() == tag


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three runs: two evaluated, one failed."""
    for k, j in ((0, 0.4), (3, 0.9)):
        folder = run_folder(tmp_path / "sweep" / f"rounds={k}", rounds=k)
        evaluation = folder / "evaluations" / "synthetic-test-simple"
        score_folder(evaluation, protocol="simple", J=j, data="synthetic-test-simple", threshold=0.5, stage="raw")
        overlays(evaluation)
    run_folder(tmp_path / "sweep" / "rounds=5", rounds=5, state="failed", metrics=False)
    return tmp_path / "sweep"


def test_page_of_a_sweep(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    page = make_report(ReportConfig(runs=[str(sweep)], out=str(out), title="A <sweep>"))
    assert sorted(p.name for p in out.iterdir()) == ["index.html", "report.md", "scores.csv", "sweep_sweep.csv"]
    printed = capsys.readouterr().out
    assert str(page.resolve()) in printed.replace("\n", "")
    assert "rounds=3" in printed
    text = page.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.stack == []
    assert len(checker.ids) == len(set(checker.ids))
    assert all(a.startswith(("#", "data:")) for a in checker.addresses)  # nothing is loaded from elsewhere
    assert {a[1:] for a in checker.addresses if a.startswith("#")} <= set(checker.ids)
    assert checker.tags.count("img") == 16
    assert "A &lt;sweep&gt;" in text
    assert "CUDA out of memory &lt;b&gt;" in text
    assert "state-failed" in text
    assert "3 training runs (1 not finished)" in text
    assert "not comparable with those of this report" in text


def test_runs_that_differ_in_their_seeds_alone_are_a_sweep_of_one_point(tmp_path: Path) -> None:
    for seed, j in ((0, 0.4), (1, 0.6)):
        folder = run_folder(tmp_path / "again" / f"seed={seed}")
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace("seed: 0", f"seed: {seed}"))
        score_folder(folder / "evaluations" / "synthetic-test-simple", protocol="simple", J=j, data="x", stage="raw")
    record = tmp_path / "record"
    page = make_report(ReportConfig(runs=[str(tmp_path / "again")], out=str(tmp_path / "out"), record=str(record)))
    assert "again: 2 seeds" in page.read_text(encoding="utf-8")
    rows = list(csv.DictReader((record / "results.csv").read_text().splitlines()))
    means = [float(row["J"]) for row in rows]
    assert [row["seed"] for row in rows] == ["0", "1"]
    (line,) = (record / "table.md").read_text().splitlines()[2:]
    assert f"{sum(means) / 2:.3f} ± {abs(means[1] - means[0]) / 2**0.5:.3f}" in line
    assert "all seeds" in (record / "figure.svg").read_text()


def test_a_seed_counts_once(tmp_path: Path) -> None:
    """A sweep that was given without seeds, and again with them, has seed 0 in two folders."""
    for name, seed, j in (("lr", 0, 0.4), ("lr+seed-0", 0, 0.4), ("lr+seed-1", 1, 0.6)):
        folder = run_folder(tmp_path / "again" / name)
        config = folder / "config.yaml"
        text = config.read_text().replace("seed: 0", f"seed: {seed}")
        config.write_text(text + f"retry_failed: {str(name == 'lr+seed-1').lower()}\n")
        score_folder(folder / "evaluations" / "synthetic-test-simple", protocol="simple", J=j, data="x", stage="raw")
    record = tmp_path / "record"
    page = make_report(ReportConfig(runs=[str(tmp_path / "again")], out=str(tmp_path / "out"), record=str(record)))
    assert [row["seed"] for row in csv.DictReader((record / "results.csv").read_text().splitlines())] == ["0", "1"]
    said = "because another run has the same settings and seed: lr+seed-0."
    for file in (page, tmp_path / "out/report.md", record / "table.md"):
        assert said in file.read_text()
    assert "again: 2 seeds" in page.read_text()


def test_markdown_and_csv(sweep: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    make_report(ReportConfig(runs=[str(sweep)], out=str(out)))
    text = (out / "report.md").read_text(encoding="utf-8")
    for heading in (
        "# AGNN report",
        "## Scores: simple on synthetic",
        "## Runs",
        "### Configuration",
        "## Published",
    ):
        assert heading in text
    assert "| COSNet | 0.805 | 0.795 | 0.184 |" in text
    assert "✕ failed" in text
    rows = list(csv.DictReader((out / "scores.csv").read_text(encoding="utf-8").splitlines()))
    assert [(r["method"], r["sequence"]) for r in rows] == [
        ("rounds=3", "blackswan"), ("rounds=3", "dog"), ("rounds=0", "blackswan"), ("rounds=0", "dog"),
    ]  # fmt: skip
    assert float(rows[0]["J_mean"]) > float(rows[2]["J_mean"])


def test_same_input_gives_the_same_bytes(sweep: Path, tmp_path: Path) -> None:
    pages = [make_report(ReportConfig(runs=[str(sweep)], out=str(tmp_path / name))).read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_scores_beside_runs_of_another_protocol(sweep: Path, tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "pdb", T=None)
    page = make_report(ReportConfig(runs=[str(sweep)], scores=[f"pdb={folder}"], out=str(tmp_path / "out")))
    text = page.read_text(encoding="utf-8")
    assert "Numbers of different groups are not comparable" in text
    assert "2 of the 20 sequences" in text


def test_run_without_evaluation(tmp_path: Path) -> None:
    page = make_report(ReportConfig(runs=[str(run_folder(tmp_path / "r"))], out=str(tmp_path / "out")))
    assert "Nothing has been evaluated yet" in page.read_text(encoding="utf-8")


def test_refusals(tmp_path: Path) -> None:
    folder = str(score_folder(tmp_path / "pdb"))
    with pytest.raises(ReportError, match="frames=nowhere is not a folder"):
        make_report(ReportConfig(scores=[folder], frames="nowhere", out=str(tmp_path / "o")))
    with pytest.raises(ConfigError, match="thumbnails=-1"):
        make_report(ReportConfig(scores=[folder], thumbnails=-1, out=str(tmp_path / "o")))
    assert not (tmp_path / "o").exists()


def test_quoting_of_entries() -> None:
    def quoted(word):
        return quote_text([word], ReportConfig)[0]

    assert quoted("scores=[a=/x/y,b=z]") == "scores=['a=/x/y','b=z']"
    assert quoted("runs=runs/rounds=3,seed=1") == "runs=['runs/rounds=3,seed=1']"
    assert quoted("runs=[]") == "runs=[]"
    assert quoted("runs=['a,b']") == "runs=['a,b']"
    assert quoted("runs=[it's,b]") == "runs=['it\\'s','b']"
    assert quoted("runs=['a,b',c,\"d\"]") == "runs=['a,b','c',\"d\"]"
    assert quoted("+runs=[/a(1)]") == "+runs=['/a(1)']"
    assert quoted("out='q") == "out='\\'q'"
    assert quoted("out=[x]") == "out='[x]'"
    assert quoted("out='a' and 'b'") == "out='\\'a\\' and \\'b\\''"
    assert quoted("out=a=b") == "out='a=b'"
    assert quoted("--help") == "--help"


def test_command_line(sweep: Path, tmp_path: Path) -> None:
    done = call_command("report", "runs=sweep", "title=Rounds of message passing", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "index.html").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report", "sweep"]  # Hydra leaves nothing behind
    failed = call_command("report", "scores=[mine=sweep/nothing]", cwd=tmp_path)
    assert failed.returncode == 2
    assert failed.stderr.startswith("agnn-report: sweep/nothing is not a folder")
    misspelt = call_command("report", "socres=[x]", cwd=tmp_path)
    assert misspelt.returncode != 0
    assert "socres" in misspelt.stderr
    assert "usage: agnn-report" in call_command("report", "--help", cwd=tmp_path).stdout


def test_main(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["agnn-report", "runs=sweep/rounds=3"])
    main()
    assert (tmp_path / "report" / "index.html").is_file()
    monkeypatch.setattr(sys, "argv", ["agnn-report"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "agnn-report: nothing to report" in capsys.readouterr().err


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, agnn_lit.report.report, agnn_lit.report.sections, agnn_lit.report.render\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
