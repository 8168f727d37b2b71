"""Statistics of scored sequences, their summary over a data set, and the three files with both."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agnn_lit.metrics import statistics
from agnn_lit.metrics.protocols import Protocol, ScoreError
from agnn_lit.shared.files import write_text

#: Names of the statistics that files and tables have for each sequence.
COLUMNS = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "T")


@dataclass(frozen=True, eq=False)
class SequenceScore:
    """Scores of one sequence, or of one object of it.

    Attributes:
        name: of the sequence; ``<sequence>_<id>`` for an object.
        frames: names of the n counted frames.
        J: region similarity of each (n,).
        F: boundary accuracy of each (n,).
        T: temporal stability; NaN if the protocol does not count it.
        resized: predictions that were resized to their annotation.
        left_out: annotated frames left out because their annotation is empty.
        object_id: of the object in the annotation; None for a foreground.
        later_objects: objects of the sequence that are not scored, as words; in the score of its first object.
    """

    name: str
    frames: tuple[str, ...]
    J: NDArray[np.float64]
    F: NDArray[np.float64]
    T: float = float("nan")
    resized: int = 0
    left_out: int = 0
    object_id: int | None = None
    later_objects: tuple[str, ...] = ()

    @property
    def J_mean(self) -> float:  # noqa: N802
        """Mean of J over the counted frames."""
        return statistics.mean(self.J)

    @property
    def F_mean(self) -> float:  # noqa: N802
        """Mean of F over the counted frames."""
        return statistics.mean(self.F)

    def columns(self) -> dict[str, float]:
        """Mean, recall and decay of J and F over the counted frames, and T, by the names in :data:`COLUMNS`."""
        found = {}
        for letter, values in (("J", self.J), ("F", self.F)):
            found[f"{letter}_mean"] = statistics.mean(values)
            found[f"{letter}_recall"] = statistics.recall(values)
            found[f"{letter}_decay"] = statistics.decay(values)
        return found | {"T": self.T}


def _class_of(score: SequenceScore) -> str:
    return score.name.split("/")[0]


def _averages(scores: Sequence[SequenceScore]) -> dict[str, float | int | str]:
    """Frame, video and class means of J and F, and each class's value: the mean of its videos' means."""
    averages: dict[str, float | int | str] = {}
    classes = sorted({_class_of(score) for score in scores})
    for letter in "JF":
        values = [getattr(score, letter) for score in scores]
        averages[f"{letter}_frame_mean"] = statistics.mean(np.concatenate(values))
        videos = {
            c: [statistics.mean(v) for s, v in zip(scores, values, strict=True) if _class_of(s) == c] for c in classes
        }
        averages[f"{letter}_video_mean"] = statistics.mean([v for means in videos.values() for v in means])
        averages[f"{letter}_class_mean"] = statistics.mean([statistics.mean(means) for means in videos.values()])
        averages |= {f"{letter}_class/{name}": statistics.mean(means) for name, means in videos.items()}
    averages["frames_left_out"] = sum(score.left_out for score in scores)
    averages["frames_resized"] = sum(score.resized for score in scores)
    return averages


def summarise(scores: Sequence[SequenceScore], protocol: Protocol) -> dict[str, float | int | str]:
    """Average over sequences (objects, where the protocol tells them apart), unweighted.

    Returns:
        ``J_mean J_recall J_decay F_mean F_recall F_decay JF_mean T protocol sequences frames``. T is the mean over
        the sequences that have one, NaN without any. ``youtube_objects`` adds its frame, video and class means.

    Raises:
        ScoreError: no scores.
    """
    if not scores:
        raise ScoreError("no sequence was scored: at least one is needed for a summary")
    rows = [score.columns() for score in scores]
    means = {key: statistics.mean([row[key] for row in rows]) for key in COLUMNS}
    T = means.pop("T")
    summary: dict[str, float | int | str] = {
        **means,
        "JF_mean": (means["J_mean"] + means["F_mean"]) / 2,
        "T": T,
        "protocol": protocol.name,
        "sequences": len(scores),
        "frames": sum(len(score.frames) for score in scores),
    }
    return summary | _averages(scores) if protocol.by_class else summary


def notes(scores: Sequence[SequenceScore]) -> list[str]:
    """Return notes for a reader of the scores: sequences with another decay than officially, renumbered objects,
    objects that are not scored, resized predictions and frames left out."""
    said = []
    long = [s.name for s in scores if len(s.frames) > statistics.OFFICIAL_DECAY_LIMIT]
    if long:
        said.append(
            f"decay of {', '.join(long)}: the official code keeps its quarters in 8 bits, which wraps above "
            f"{statistics.OFFICIAL_DECAY_LIMIT} counted frames; here the quarters cover the whole sequence"
        )
    moved = [s for s in scores if s.object_id is not None and s.name.rpartition("_")[2] != str(s.object_id)]
    if moved:
        said.append(
            "numbered in the order of the proposals, as in the official evaluation: "
            + ", ".join(f"{s.name} is object {s.object_id}" for s in moved)
        )
    later = [words for s in scores for words in s.later_objects]
    if later:
        said.append(f"objects that the first annotation does not have NOT SCORED: {', '.join(later)}")
    for count, what in (
        (sum(s.resized for s in scores), "predictions resized to the size of their annotation (nearest)"),
        (sum(s.left_out for s in scores), "annotated frames left out because their annotation is empty"),
    ):
        if count:
            said.append(f"{count} {what}")
    return said


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"


def _csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def frame_rows(scores: Sequence[SequenceScore]) -> list[tuple[str, str, float, float]]:
    """Sequence, frame, J and F of each counted frame."""
    return [
        (score.name, frame, float(j), float(f))
        for score in scores
        for frame, j, f in zip(score.frames, score.J, score.F, strict=True)
    ]


def without_nan(summary: Mapping[str, float | int | str]) -> dict[str, float | int | str | None]:
    """Return a summary with None for NaN, as JSON needs it."""
    return {k: None if isinstance(value, float) and math.isnan(value) else value for k, value in summary.items()}


def write_scores(
    out: Path, scores: Sequence[SequenceScore], protocol: Protocol, **about: float | int | str
) -> dict[str, float | int | str | None]:
    """Write ``per_frame.csv``, ``per_sequence.csv`` and ``summary.json`` into a folder, each atomically.

    The summary also gets the entries ``about``, such as the folder of the masks.

    Returns:
        The summary as written, with None for NaN.
    """
    summary = without_nan(summarise(scores, protocol) | about)
    out.mkdir(parents=True, exist_ok=True)
    frames = ((name, frame, _number(j), _number(f)) for name, frame, j, f in frame_rows(scores))
    sequences = ((score.name, *map(_number, score.columns().values())) for score in scores)
    write_text(out / "per_frame.csv", _csv(("sequence", "frame", "J", "F"), frames))
    write_text(out / "per_sequence.csv", _csv(("sequence", *COLUMNS), sequences))
    write_text(out / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary
