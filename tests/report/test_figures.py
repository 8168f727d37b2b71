"""Curves as SVG, and pictures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from agnn_lit.report.collect import FrameScore, read_run, read_scores
from agnn_lit.report.figures import frame_plot, frame_positions, lowest_frame, running_mean, training_plots
from agnn_lit.report.groups import make_groups
from agnn_lit.report.svg import series_colour, series_dash
from tests.report.folders import run_folder, score_folder


def test_training_plots_one_per_metric_in_order(tmp_path: Path) -> None:
    runs = [read_run(run_folder(tmp_path / f"k{k}", rounds=k, steps=200)) for k in (0, 3)]
    plots = training_plots(runs, {"k0": 0, "k3": 1})
    assert [p.title for p in plots] == [
        "Loss",
        "J, validation",
        "F, validation",
        "T, validation",
        "Learning rate",
    ]
    for plot in plots:
        root = ET.fromstring(str(plot.svg))
        assert root.get("role") == "img"
        assert root.get("viewBox")
    assert "var(--s0)" in plots[0].svg
    assert "var(--s1)" in plots[0].svg
    assert "DejaVu" not in plots[0].svg
    assert "#0" not in re.sub(r'(?:href="|url\()#[^")]+', "", plots[0].svg)  # no placeholder colour is left


def test_identifiers_are_unique_and_output_is_deterministic(tmp_path: Path) -> None:
    runs = [read_run(run_folder(tmp_path / "r"))]
    first, second = (training_plots(runs, {"r": 0}) for _ in range(2))
    assert [p.svg for p in first] == [p.svg for p in second]
    ids = re.findall(r'\bid="([^"]+)"', "".join(p.svg for p in first))
    assert len(ids) == len(set(ids))
    for plot in first:
        for target in re.findall(r'(?:href="#|url\(#)([^")]+)', plot.svg):
            assert f'id="{target}"' in plot.svg


def test_other_metrics_stand_apart(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "r")
    (folder / "metrics.csv").write_text("step,epoch,train/loss,val/loss,grad/norm\n0,0,1,,3\n1,0,0.5,0.7,2\n")
    plots = training_plots([read_run(folder)], {"r": 0})
    assert [(p.title, p.main) for p in plots] == [("Loss", True), ("grad/norm", False)]
    assert "validation" in plots[0].note


def test_running_mean_is_a_mean_over_what_is_there() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(30)
    values[7] = np.nan
    expected = [np.nanmean(values[max(0, i - 2) : i + 3]) for i in range(30)]
    np.testing.assert_allclose(running_mean(values, 5), expected)


def test_frame_plot_and_lowest_frame(tmp_path: Path) -> None:
    methods = [read_scores(score_folder(tmp_path / n, J=j)) for n, j in (("a", 0.8), ("b", 0.6))]
    (group,) = make_groups(methods)
    svg = frame_plot(group, "dog", {"a": 0, "b": 1}, "f")
    ET.fromstring(str(svg))
    assert "dog: a, b" in svg
    nan = float("nan")
    assert lowest_frame([FrameScore("0", nan, nan), FrameScore("1", 0.4, 1), FrameScore("2", 0.4, 1)]) == 1
    assert lowest_frame([FrameScore("0", nan, nan)]) is None
    assert frame_positions([FrameScore("00010", 1, 1), FrameScore("00020", 1, 1)]) == [10, 20]
    assert frame_positions([FrameScore("a", 1, 1), FrameScore("b", 1, 1)]) == [0, 1]


def test_more_methods_than_colours_differ_in_dashes() -> None:
    styles = {(series_colour(i), str(series_dash(i))) for i in range(28)}
    assert len(styles) == 28
