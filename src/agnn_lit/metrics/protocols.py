"""Protocols: which frames count, the tolerance of F, the kind of T, and what is averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from agnn_lit.config.registry import option, register
from agnn_lit.metrics.region import Mask

#: The sequences of DAVIS-2016 over which T is counted: those without fast motion or occlusion.
T_SEQUENCES = frozenset(
    [
        "blackswan",
        "camel",
        "car-roundabout",
        "car-shadow",
        "cows",
        "drift-straight",
        "kite-surf",
        "paragliding-launch",
        "scooter-black",
        "soapbox",
    ]
)

#: Tolerance of F in the DAVIS protocols as a share of the image diagonal.
DAVIS_TOLERANCE = 0.008


def davis_radius(height: int, width: int) -> int:
    """Tolerance of F in pixels in the DAVIS protocols: ceil(0.008 · diagonal), 8 at 854×480."""
    return math.ceil(DAVIS_TOLERANCE * math.hypot(height, width))


@dataclass(frozen=True)
class Protocol:
    """Rules of a benchmark.

    Attributes:
        name: as given on the command line.
        drops_ends: the first and last frame of a sequence do not count and need no prediction.
        radius: tolerance of F in pixels; None for DAVIS's share of the image diagonal.
        stability: T as ``overlap``, as ``shape_context`` over :data:`T_SEQUENCES`, or ``none``.
        objects: ``foreground`` (all objects merged), ``given`` (ids match those of the annotation) or ``assigned``
            (proposals are matched to objects).
        annotated_only: frames without an annotation, or with an empty one, do not count.
        resizes: predictions of another size are resized to the annotation instead of refused.
        by_class: the summary also has frame, video and class means.
    """

    name: str
    drops_ends: bool = False
    radius: int | None = None
    stability: str = "none"
    objects: str = "foreground"
    annotated_only: bool = False
    resizes: bool = False
    by_class: bool = False

    def radius_at(self, height: int, width: int) -> int:
        """Tolerance of F in pixels at a frame size."""
        return davis_radius(height, width) if self.radius is None else self.radius

    def describe(self) -> str:
        """Describe the frames, tolerance, T and averaging in sentences."""
        frames = {
            (True, False): "first and last frame of each sequence dropped",
            (False, False): "all frames",
            (False, True): "annotated frames only, those with an empty annotation left out",
        }[self.drops_ends, self.annotated_only]
        tolerance = "ceil(0.008 × image diagonal) px" if self.radius is None else f"{self.radius} px"
        stability = {
            "overlap": "IoU of successive predictions, higher is steadier",
            "shape_context": "shape contexts of successive predictions, the first compared with the annotation before "
            f"it; lower is steadier; over {len(T_SEQUENCES)} flagged sequences of DAVIS-2016",
            "none": "not counted",
        }[self.stability]
        unit = {
            "foreground": "sequences, unweighted; all objects merged to foreground",
            "given": "objects, unweighted; object ids are given",
            "assigned": "objects, unweighted; up to 20 proposals a sequence, assigned to the objects of the first "
            "annotation by the largest mean of (J+F)/2 and numbered in the order of the proposals",
        }[self.objects]
        if self.by_class:
            unit = "over frames, over videos, and over classes (each the mean of its videos), side by side"
        sizes = "resized to the annotation (nearest)" if self.resizes else "an error"
        return (
            f"protocol {self.name}\n  frames: {frames}\n  F tolerance: {tolerance}\n  T: {stability}\n"
            f"  averaged over: {unit}\n  predictions of another size: {sizes}"
        )


register("protocol", "simple")(Protocol("simple", radius=2, stability="overlap"))
register("protocol", "davis2016")(Protocol("davis2016", drops_ends=True, stability="shape_context"))
register("protocol", "davis2017_unsupervised")(Protocol("davis2017_unsupervised", objects="assigned"))
register("protocol", "davis2017_semisupervised")(Protocol("davis2017_semisupervised", drops_ends=True, objects="given"))
register("protocol", "youtube_objects")(Protocol("youtube_objects", annotated_only=True, resizes=True, by_class=True))


def get_protocol(name: str) -> Protocol:
    """The protocol of a name, one of the options of ``protocol``.

    Raises:
        ConfigError: no such protocol.
    """
    found: Protocol = option("protocol", name).load()
    return found


def counted(index: int, total: int, protocol: Protocol) -> bool:
    """Whether frame ``index`` of ``total`` counts."""
    return not protocol.drops_ends or 0 < index < total - 1


def fit(prediction: Mask | None, annotation: Mask, where: str, protocol: Protocol) -> tuple[Mask, bool]:
    """Return the prediction at the annotation's size, and whether it had to be resized.

    Raises:
        ScoreError: no prediction, or another size where the protocol does not resize.
    """
    if prediction is None:
        raise ScoreError(f"{where}: no prediction, and protocol {protocol.name} counts this frame")
    if prediction.shape == annotation.shape:
        return prediction, False
    if not protocol.resizes:
        raise ScoreError(
            f"{where}: prediction is {_size(prediction)}, annotation {_size(annotation)}: "
            f"protocol {protocol.name} needs the same size"
        )
    height, width = annotation.shape
    return cv2.resize((prediction > 0).view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), True


def _size(mask: Mask) -> str:
    return "×".join(str(side) for side in reversed(mask.shape))


class ScoreError(ValueError):
    """Masks cannot be scored; the message names the file, sequence or frame."""


class UnscorableError(ScoreError):
    """One sequence is too short for the protocol, or has no objects; others can be scored."""
