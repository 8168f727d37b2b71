"""Curves as SVG, and pictures."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from agnn_lit.report.collect import FrameScore, ReportError, read_run, read_scores
from agnn_lit.report.figures import frame_plot, frame_positions, lowest_frame, running_mean, training_plots
from agnn_lit.report.groups import make_groups
from agnn_lit.report.pictures import draw_frame, lowest_pictures, overlay_picture, overlay_rows
from agnn_lit.report.svg import series_colour, series_dash
from tests.report.folders import overlays, run_folder, score_folder


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


def masks_on_disk(root: Path, shape: tuple[int, int] = (40, 60)) -> None:
    """Annotation: a square of id 2; prediction: the same square, one pixel further right."""
    for kind, shift in (("annotations", 0), ("masks", 1)):
        mask = np.zeros(shape, np.uint8)
        mask[10:30, 10 + shift : 30 + shift] = 2
        for sequence in ("blackswan", "dog"):
            (root / kind / sequence).mkdir(parents=True)
            for frame in range(6):
                image = Image.fromarray(mask)
                image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
                image.save(root / kind / sequence / f"{frame:05d}.png")


def decode(uri: str) -> np.ndarray:
    import base64

    image = cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1]


def test_lowest_frames_are_drawn_with_contours(tmp_path: Path) -> None:
    masks_on_disk(tmp_path)
    folder = score_folder(tmp_path / "scores", masks=str(tmp_path / "masks"), annotations=str(tmp_path / "annotations"))
    (group,) = make_groups([read_scores(folder)])
    (picture,) = lowest_pictures(group, "dog", None, 4)
    assert picture.frame in ("00002", "00003")
    image = decode(picture.uri).astype(int)
    assert np.abs(image[5, 5] - 168).max() < 12  # grey ground
    y, x = image.shape[0] // 2, image.shape[1] // 3
    assert image[y, x, 0] > image[y, x, 1] + 20  # magenta inside
    assert ((image[..., 1] > image[..., 0] + 80) & (image[..., 1] > 150)).any()  # green outline
    frames = tmp_path / "frames"
    (frames / "dog").mkdir(parents=True)
    cv2.imwrite(str(frames / "dog" / f"{picture.frame}.jpg"), np.full((20, 30, 3), (255, 0, 0), np.uint8))
    (on_frame,) = lowest_pictures(group, "dog", frames, 4)
    assert decode(on_frame.uri)[5, 5, 2] > 200  # blue ground, enlarged to the annotation's size
    assert lowest_pictures(group, "dog", None, 0) == []


def test_objects_are_told_apart(tmp_path: Path) -> None:
    masks_on_disk(tmp_path)
    score = FrameScore("00000", 0.5, 0.5)
    paths = {"masks": str(tmp_path / "masks"), "annotations": str(tmp_path / "annotations")}
    scores = read_scores(
        score_folder(tmp_path / "s", sequences=("dog_1", "dog_2"), protocol="davis2017_unsupervised", **paths)
    )

    def green(sequence: str) -> bool:
        picture = draw_frame(scores, sequence, score, None)
        assert picture is not None
        image = decode(picture.uri).astype(int)
        return bool(((image[..., 1] > image[..., 0] + 80) & (image[..., 1] > 150)).any())

    assert green("dog_2")
    assert not green("dog_1")  # object 1 is not in the annotation


def test_pictures_that_cannot_be_drawn_are_left_out(tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "scores")
    scores = read_scores(folder)
    assert draw_frame(scores, "dog", scores.frames["dog"][0], None) is None
    (folder / "masks").mkdir()
    (folder / "annotations").mkdir()
    assert draw_frame(scores, "dog", scores.frames["dog"][0], None) is None


def test_overlays_are_embedded_and_made_smaller(tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "scores")
    overlays(folder)
    big = folder / "overlays" / "worst_00_blackswan_00000.jpg"
    cv2.imwrite(str(big), np.zeros((400, 800, 3), np.uint8))
    scores = read_scores(folder)
    rows = overlay_rows(scores)
    assert [(kind, len(pictures)) for kind, pictures in rows] == [("best", 2), ("median", 2), ("worst", 2)]
    assert decode(rows[0][1][0].uri).shape == (36, 64, 3)
    assert decode(rows[2][1][0].uri).shape == (240, 480, 3)
    big.write_bytes(b"no image")
    with pytest.raises(ReportError, match="is not a readable image"):
        overlay_picture(scores, scores.overlays[4])


def test_overlay_of_the_lowest_frame_stands_in(tmp_path: Path) -> None:
    folder = score_folder(tmp_path / "scores")
    overlays(folder)
    lowest = read_scores(folder).frames["blackswan"]
    frame = lowest[lowest_frame(lowest) or 0].frame
    index = folder / "overlays" / "overlays.json"
    entries = json.loads(index.read_text())
    entries[0]["frame"] = frame
    index.write_text(json.dumps(entries))
    (group,) = make_groups([read_scores(folder)])
    assert [p.frame for p in lowest_pictures(group, "blackswan", None, 4)] == [frame]
    assert lowest_pictures(group, "dog", None, 4) == []
