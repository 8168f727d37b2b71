"""Pictures of the report: frames with contours, and overlays."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from agnn_lit.report.collect import FrameScore, ReportError, read_scores
from agnn_lit.report.figures import lowest_frame
from agnn_lit.report.groups import make_groups
from agnn_lit.report.pictures import draw_frame, lowest_pictures, overlay_picture, overlay_rows
from tests.report.folders import overlays, score_folder


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
