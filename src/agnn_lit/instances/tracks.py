"""Candidates linked over time: overlap after motion compensation, and appearance, as an assignment in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from agnn_lit.config import InstancesConfig
from agnn_lit.instances.candidates import Candidates, Frame, Values

_SIDE = 480  # pixels of the longer side that motion and overlap are worked out at
_LENGTH_BONUS = 0.5  # for tracks of thirty frames and more: of two that would go on alike, the older one does
_OLD = 30  # frames
_MEMORY = 0.9  # share of a track's earlier looks in its appearance
_BLUR = 0.3  # and of its earlier masks in what is compared with the next
_GROWTH = 3.0  # times that an object may be larger or smaller when it is found again


@dataclass
class Track:
    """An object through time.

    Attributes:
        number: in the order of appearance.
        mask: where it is expected in the present frame, (h, w) in [0, 1]; None once it is lost.
        node: mean of its node features (C,).
        colours: of its pixels (bins,).
        area: of its last mask, as a share of the frame.
        frames: that it was seen in.
        missed: frames since it was last seen.
        score: sum of its candidates' scores.
        mass: sum of their scores times their shares of the frame.
    """

    number: int
    mask: Values | None
    node: Values
    colours: Values
    area: float
    frames: int = 0
    missed: int = 0
    score: float = 0.0
    mass: float = 0.0


class Tracker:
    """Links the candidates of one frame after another; memory does not grow with their number.

    A candidate goes on with the track whose last mask, moved by the optical flow (DIS), it overlaps, and of several
    with the one that looks most like it; pairs are chosen together (Hungarian assignment). What is left is compared in
    its looks with tracks that are lost, and else begins a track.

    Args:
        cfg: thresholds; see :class:`agnn_lit.config.InstancesConfig`.
    """

    def __init__(self, cfg: InstancesConfig) -> None:
        self._cfg = cfg
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._grey: NDArray[np.uint8] | None = None
        self._tracks: list[Track] = []
        self._ended: list[Track] = []
        self._ground: Values = np.zeros(0, np.float32)
        self._seen = 0
        self._frames = 0
        self._begun = 0

    def step(self, frame: Frame, candidates: Candidates) -> list[int]:
        """Take the next frame.

        Args:
            frame: (H, W, 3) RGB; after one of another size, looks alone link.
            candidates: of it.

        Returns:
            Number of each candidate's track.
        """
        grey = np.asarray(self._small(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)), np.uint8)
        if self._grey is not None and self._grey.shape != grey.shape:  # images of a folder may differ in size
            self._grey = None
            for track in self._tracks:
                track.mask = None
        self._follow(grey)
        self._learn_ground(candidates)
        masks = [np.asarray(self._small(mask.astype(np.float32)), np.float32) for mask in candidates.masks]
        chosen: dict[int, Track] = {}
        self._link_by_overlap(candidates, masks, chosen)
        self._find_again(candidates, chosen)
        for track in self._tracks:
            track.missed += 1
        for index in range(len(candidates)):
            if index not in chosen:
                self._begun += 1
                chosen[index] = self._begin(candidates, index)
            self._extend(chosen[index], candidates, index, masks[index])
        self._forget()
        self._frames += 1
        return [chosen[index].number for index in range(len(candidates))]

    def skip(self) -> None:
        """Take a frame that cannot be read: nothing is known of the motion across it."""
        for track in self._tracks:
            track.missed += 1
        self._frames += 1

    def finish(self) -> dict[int, tuple[int, float]]:
        """Choose the objects among the tracks.

        Returns:
            For each track that is one its object id, 1 for that with most of the foreground, and its mean score.
        """
        least = min(self._cfg.min_length, self._frames)
        kept = [track for track in (*self._ended, *self._tracks) if track.frames >= least]
        kept.sort(key=lambda track: (-track.mass, track.number))
        return {t.number: (k, t.score / t.frames) for k, t in enumerate(kept[: self._cfg.objects], start=1)}

    @staticmethod
    def _small(picture: Any) -> Any:
        height, width = picture.shape
        scale = min(1.0, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)

    def _follow(self, grey: NDArray[np.uint8]) -> None:
        """Move the masks of the last frame to where they are expected in this one."""
        there = [track for track in self._tracks if track.mask is not None]
        if self._grey is not None and there and min(grey.shape) >= 16:  # DIS needs a patch
            none = np.zeros((*grey.shape, 2), np.float32)
            flow = self._flow.calc(grey, self._grey, none)  # from here back to the last frame, (h, w, 2) as x, y
            y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
            for track in there:
                moved = cv2.remap(track.mask, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)  # type: ignore[arg-type]
                track.mask = np.asarray(moved, np.float32)
        self._grey = grey

    def _learn_ground(self, candidates: Candidates) -> None:
        """Running mean of all features, which those of tracks are compared relative to."""
        self._seen += 1
        if self._seen == 1:
            self._ground = np.zeros_like(candidates.ground)
        self._ground = self._ground + (candidates.ground - self._ground) / np.float32(self._seen)

    def _likeness(self, tracks: list[Track], candidates: Candidates) -> Values:
        """How alike tracks and candidates look, (tracks, candidates) in [0, 1].

        The mean of two: cosine of node features, less their mean, and overlap of colour histograms (Bhattacharyya).
        """
        colours = np.stack([t.colours for t in tracks]) @ candidates.colours.T
        if not candidates.nodes.shape[1]:
            return np.asarray(colours, dtype=np.float32)
        ours = _unit(np.stack([t.node for t in tracks]) - self._ground)
        theirs = _unit(candidates.nodes - self._ground)
        return np.asarray((np.clip(ours @ theirs.T, 0, 1) + colours) / 2, dtype=np.float32)

    def _link_by_overlap(self, candidates: Candidates, masks: list[Values], chosen: dict[int, Track]) -> None:
        there = [track for track in self._tracks if track.mask is not None]
        if not there or not len(candidates):
            return
        ours = np.stack([track.mask for track in there if track.mask is not None]).reshape(len(there), -1)
        theirs = np.stack(masks).reshape(len(candidates), -1)
        common = ours @ theirs.T
        overlap = common / np.maximum(ours.sum(1)[:, None] + theirs.sum(1)[None] - common, 1e-6)
        age = np.array([min(1.0, track.frames / _OLD) for track in there])[:, None]
        inside = common / np.maximum(ours.sum(1), 1e-6)[:, None]  # a mask that has grown over its surroundings goes on
        alike = self._likeness(there, candidates)
        value = np.maximum(overlap, inside / 2) + self._cfg.appearance * alike + _LENGTH_BONUS * age
        self._assign(there, value, (overlap >= self._cfg.overlap) & (alike >= self._cfg.min_likeness), chosen)

    def _find_again(self, candidates: Candidates, chosen: dict[int, Track]) -> None:
        """Give what is left to tracks that do not go on, or were not seen for a while, by its looks."""
        taken = {track.number for track in chosen.values()}
        long = self._cfg.min_length
        lost = [t for t in self._tracks if (not t.missed or t.frames >= long) and t.number not in taken]
        if not lost or len(chosen) == len(candidates):
            return
        areas = candidates.masks.mean(axis=(1, 2))[None] / np.array([max(t.area, 1e-9) for t in lost])[:, None]
        alike = self._likeness(lost, candidates)
        allowed = (alike >= self._cfg.similarity) & (areas < _GROWTH) & (areas > 1 / _GROWTH)
        allowed[:, list(chosen)] = False
        self._assign(lost, alike, allowed, chosen)

    @staticmethod
    def _assign(
        tracks: list[Track], value: NDArray[np.floating], allowed: NDArray[np.bool_], chosen: dict[int, Track]
    ) -> None:
        # Every allowed pair counts more than any difference between pairs: as many as possible go on.
        rows, columns = linear_sum_assignment(np.where(allowed, value + 10.0, 0.0), maximize=True)
        for row, column in zip(rows, columns, strict=True):
            if allowed[row, column]:
                chosen[int(column)] = tracks[row]

    def _begin(self, candidates: Candidates, index: int) -> Track:
        track = Track(self._begun, None, candidates.nodes[index], candidates.colours[index], 0.0)
        self._tracks.append(track)
        return track

    @staticmethod
    def _extend(track: Track, candidates: Candidates, index: int, mask: Values) -> None:
        score, area = float(candidates.scores[index]), float(candidates.masks[index].mean())
        if track.mask is not None and track.missed == 1:  # seen in the last frame
            mask = _BLUR * track.mask + (1 - _BLUR) * mask
        track.mask = mask
        if track.frames:
            track.node = _MEMORY * track.node + (1 - _MEMORY) * candidates.nodes[index]
            colours = _MEMORY * track.colours**2 + (1 - _MEMORY) * candidates.colours[index] ** 2
            track.colours = np.sqrt(colours)
        track.area, track.missed = area, 0
        track.frames += 1
        track.score += score
        track.mass += score * area

    def _forget(self) -> None:
        """Drop masks, and in the end tracks, that were not seen for long; of those that ended the heaviest stay."""
        staying = []
        for track in self._tracks:
            if track.missed > self._cfg.patience:
                track.mask = None
            short = track.frames < self._cfg.min_length
            if track.missed <= (self._cfg.patience if short else self._cfg.memory):
                staying.append(track)
            elif not short:
                self._ended.append(track)
        self._tracks = staying
        self._ended.sort(key=lambda track: (-track.mass, track.number))
        del self._ended[self._cfg.objects :]


def _unit(vectors: Values) -> Values:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), dtype=np.float32)


def paint(candidates: Candidates, numbers: list[int], objects: dict[int, tuple[int, float]]) -> NDArray[np.uint8]:
    """Draw the objects of a frame as one mask of ids (H, W); where several claim a pixel, the best track has it.

    Args:
        candidates: of the frame.
        numbers: track of each.
        objects: of :meth:`Tracker.finish`.
    """
    ids = np.zeros(candidates.masks.shape[1:], np.uint8)
    shown = [
        (objects[number], mask) for number, mask in zip(numbers, candidates.masks, strict=True) if number in objects
    ]
    for (number, _), mask in sorted(shown, key=lambda entry: (entry[0][1], -entry[0][0])):
        ids[mask] = number
    return ids
