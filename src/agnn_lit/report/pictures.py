"""Pictures in the page: frames of lowest J, and the overlays of agnn-evaluate."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.metrics.mask_files import frame_files
from agnn_lit.metrics.mask_image import Annotations, read_foreground, read_ids
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.report.collect import FrameScore, Overlay, ReportError, Scores
from agnn_lit.report.figures import lowest_frame
from agnn_lit.report.groups import Group
from agnn_lit.shared.pictures import draw_overlay, jpeg

KINDS = ("best", "median", "worst")
_FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Picture:
    """An embedded picture of a frame with its scores."""

    uri: str
    method: str
    sequence: str
    frame: str
    J: float
    F: float

    @property
    def description(self) -> str:
        """Alternative text."""
        return f"{self.method}, {self.sequence} frame {self.frame}: J {self.J:.3f}, F {self.F:.3f}"


def data_uri(data: bytes, kind: str = "jpeg") -> str:
    """Return an image file as a ``data:`` URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _read_frame(root: Path | None, sequence: str, frame: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """RGB frame (H, W, 3) at the size of the annotation; grey if the file is missing."""
    if root is not None:
        for suffix in _FRAME_SUFFIXES:
            path = root / sequence / f"{frame}{suffix}"
            if path.is_file():
                with Image.open(path) as image:
                    return np.asarray(image.convert("RGB").resize(shape[::-1]), dtype=np.uint8)
    return np.full((*shape, 3), 168, dtype=np.uint8)


def _folder(scores: Scores, key: str, fallback: str) -> Path | None:
    """Folder named in ``summary.json``, absolute or relative to it; else ``fallback`` beside it."""
    named = scores.summary.get(key)
    candidates = [Path(str(named)), scores.path / str(named)] if named else []
    return next((p for p in (*candidates, scores.path / fallback) if p.is_dir()), None)


def _split_object(protocol: str, sequence: str) -> tuple[str, int | None]:
    """Sequence and object id of a row: ``name_k`` in multi-object protocols."""
    name, _, number = sequence.rpartition("_")
    if protocol.startswith("davis2017") and name and number.isdecimal():
        return name, int(number)
    return sequence, None


def draw_frame(scores: Scores, sequence: str, score: FrameScore, frames: Path | None) -> Picture | None:
    """Draw annotation and prediction of a frame; None if the masks are missing or unreadable.

    In multi-object protocols the annotation is that of the object, and the prediction shows all objects.
    """
    masks, annotations = _folder(scores, "masks", "masks"), _folder(scores, "annotations", "annotations")
    if masks is None or annotations is None:
        return None
    name, object_id = _split_object(scores.protocol, sequence)
    file = Path(name) / f"{score.frame}.png"
    try:
        threshold = scores.summary.get("mask_threshold")
        prediction = np.asarray(read_foreground(masks / file, threshold) > 0, dtype=np.uint8)
        if object_id is not None:
            annotation = np.asarray(read_ids(annotations / file) == object_id, dtype=np.uint8)
        else:
            sequence_files = Annotations(frame_files(annotations / name))
            annotation = np.asarray(sequence_files.foreground(annotations / file) > 0, dtype=np.uint8)
    except (ScoreError, OSError):
        return None
    if prediction.shape != annotation.shape:
        size = annotation.shape[::-1]
        prediction = np.asarray(cv2.resize(prediction, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    height, width = annotation.shape
    picture = draw_overlay(_read_frame(frames, name, score.frame, (height, width)), prediction, annotation)
    return Picture(data_uri(jpeg(picture)), scores.name, sequence, score.frame, score.J, score.F)


def lowest_pictures(group: Group, sequence: str, frames: Path | None, limit: int) -> list[Picture]:
    """Frame of lowest J of each method in a sequence, lowest first, at most ``limit`` pictures.

    Without masks, the overlay that agnn-evaluate drew of this frame is used, if there is one.
    """
    found = []
    for method in group.methods:
        scored = method.frames.get(sequence, ())
        lowest = lowest_frame(scored)
        if lowest is None:
            continue
        score = scored[lowest]
        picture = draw_frame(method, sequence, score, frames)
        if picture is None:
            drawn = (o for o in method.overlays if (o.sequence, o.frame) == (sequence, score.frame))
            picture = next((overlay_picture(method, overlay) for overlay in drawn), None)
        if picture is not None:
            found.append(picture)
    return sorted(found, key=lambda p: p.J)[:limit]


def overlay_picture(scores: Scores, overlay: Overlay, width: int = 480) -> Picture:
    """Embed an overlay, reduced to at most ``width`` pixels in width.

    Raises:
        ReportError: the file is not an image.
    """
    data = np.frombuffer(overlay.file.read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ReportError(f"{overlay.file} is not a readable image: it is written by agnn-evaluate")
    if image.shape[1] > width:
        height = max(1, round(image.shape[0] * width / image.shape[1]))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        uri = data_uri(jpeg(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)))
    else:
        uri = data_uri(overlay.file.read_bytes(), "png" if overlay.file.suffix.lower() == ".png" else "jpeg")
    return Picture(uri, scores.name, overlay.sequence, overlay.frame, overlay.J, overlay.F)


def overlay_rows(scores: Scores) -> list[tuple[str, list[Picture]]]:
    """Pictures of a method by kind, best first, without empty kinds."""
    rows = [(kind, [overlay_picture(scores, o) for o in scores.overlays if o.kind == kind]) for kind in KINDS]
    return [(kind, pictures) for kind, pictures in rows if pictures]
