"""Link candidates over time by flow-warped mask overlap and appearance, with an assignment in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.config import InstancesConfig
from agnn_lit.instances.candidates import Candidates, Frame, Values

_SIDE = 480  # longer side at which flow and overlap are computed, in pixels
_LENGTH_BONUS = 0.5  # added to the score of tracks of at least _OLD frames, so that they win over newer ones
_OLD = 30  # frames
_MEMORY = 0.9  # weight of the previous appearance in its running mean
_BLUR = 0.3  # weight of the previous mask in the running mean of masks
_GROWTH = 3.0  # maximum change of area of a re-identified object, as a factor


@dataclass
class Track:
    """An object over time.

    Attributes:
        number: order of appearance.
        mask: expected mask in the current frame, (h, w) in [0, 1]; None if the track is lost.
        node: running mean of its node features (C,).
        colours: running mean of its colour histogram (bins,).
        area: area of its last mask, as a share of the frame.
        frames: number of frames in which it was seen.
        missed: frames since it was last seen.
        score: sum of its candidates' scores.
        mass: sum of its candidates' scores times their areas.
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
    """Links candidates frame by frame; memory does not grow with the number of frames.

    Tracks and candidates are matched by the overlap with the track's flow-warped mask (DIS) and by appearance, with the
    Hungarian algorithm. The remaining candidates are matched with lost tracks by appearance, or begin a new track.
    """

    def __init__(self, cfg: InstancesConfig) -> None:
        self._cfg = cfg
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._grey: NDArray[np.uint8] | None = None
        self._tracks: list[Track] = []
        self._ended: list[Track] = []
        self._ground: Values | np.float32 = np.float32(0)
        self._seen = 0
        self._frames = 0
        self._begun = 0

    def step(self, frame: Frame, candidates: Candidates) -> list[int]:
        """Process a frame (H, W, 3) RGB and return the track number of each candidate.

        If the size of the frame changes, candidates are matched by appearance alone.
        """
        grey = np.asarray(self._small(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)), np.uint8)
        if self._grey is not None and self._grey.shape != grey.shape:
            self._grey = None
            for track in self._tracks:
                track.mask = None
        self._warp_masks(grey)
        self._update_ground(candidates)
        masks = [np.asarray(self._small(mask.astype(np.float32)), np.float32) for mask in candidates.masks]
        chosen: dict[int, Track] = {}
        for hidden in (False, True):  # a track that is in view does not lose its mask to one that was lost
            self._link_by_overlap([t for t in self._tracks if bool(t.missed) is hidden], candidates, masks, chosen)
        self._reidentify(candidates, chosen)
        for track in self._tracks:
            track.missed += 1
        for index in range(len(candidates)):
            if index not in chosen:
                self._begun += 1
                chosen[index] = Track(self._begun, None, candidates.nodes[index], candidates.colours[index], 0.0)
                self._tracks.append(chosen[index])
            self._extend(chosen[index], candidates, index, masks[index])
        self._drop_lost()
        self._frames += 1
        return [chosen[index].number for index in range(len(candidates))]

    def skip(self) -> None:
        """Skip a frame that cannot be read; there is no flow across it."""
        for track in self._tracks:
            track.missed += 1
        self._frames += 1

    def objects(self) -> dict[int, tuple[int, float]]:
        """Choose the tracks that are objects, the one with most of the foreground first.

        Returns:
            Object id (from 1) and mean score by track number.
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

    def _warp_masks(self, grey: NDArray[np.uint8]) -> None:
        """Warp the masks of the last frame to this one by optical flow."""
        there = [track for track in self._tracks if track.mask is not None]
        if self._grey is not None and there and min(grey.shape) >= 16:  # size of a DIS patch
            none = np.zeros((*grey.shape, 2), np.float32)
            flow = self._flow.calc(grey, self._grey, none)  # from here back to the last frame, (h, w, 2) as x, y
            y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
            for track in there:
                moved = cv2.remap(track.mask, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)  # type: ignore[arg-type]
                track.mask = np.asarray(moved, np.float32)
        self._grey = grey

    def _update_ground(self, candidates: Candidates) -> None:
        """Update the running mean of all features, which is subtracted before features are compared."""
        self._seen += 1
        self._ground = self._ground + (candidates.ground - self._ground) / np.float32(self._seen)

    def _likeness(self, tracks: list[Track], candidates: Candidates) -> Values:
        """Appearance similarity (tracks, candidates) in [0, 1].

        The mean of the cosine similarity of centred node features and the Bhattacharyya coefficient of colours.
        """
        colours = np.stack([t.colours for t in tracks]) @ candidates.colours.T
        if not candidates.nodes.shape[1]:
            return np.asarray(colours, dtype=np.float32)
        ours = _unit(np.stack([t.node for t in tracks]) - self._ground)
        theirs = _unit(candidates.nodes - self._ground)
        return np.asarray((np.clip(ours @ theirs.T, 0, 1) + colours) / 2, dtype=np.float32)

    def _link_by_overlap(
        self, tracks: list[Track], candidates: Candidates, masks: list[Values], chosen: dict[int, Track]
    ) -> None:
        """Match tracks with the remaining candidates by the overlap with their warped masks and by appearance."""
        there = [track for track in tracks if track.mask is not None]
        if not there or len(chosen) == len(candidates):
            return
        ours = np.stack([track.mask for track in there if track.mask is not None]).reshape(len(there), -1)
        theirs = np.stack(masks).reshape(len(candidates), -1)
        common = ours @ theirs.T
        overlap = common / np.maximum(ours.sum(1)[:, None] + theirs.sum(1)[None] - common, 1e-6)
        age = np.array([min(1.0, track.frames / _OLD) for track in there])[:, None]
        inside = common / np.maximum(ours.sum(1), 1e-6)[:, None]  # lets a mask grow over its surroundings
        alike = self._likeness(there, candidates)
        value = np.maximum(overlap, inside / 2) + self._cfg.appearance * alike + _LENGTH_BONUS * age
        allowed = (overlap >= self._cfg.overlap) & (alike >= self._cfg.min_likeness)
        allowed[:, list(chosen)] = False
        self._assign(there, value, allowed, chosen)

    def _reidentify(self, candidates: Candidates, chosen: dict[int, Track]) -> None:
        """Match the remaining candidates with the remaining tracks, lost ones included, by appearance."""
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
        # The offset exceeds any difference of values, so that as many tracks as possible are matched.
        from scipy.optimize import linear_sum_assignment  # takes half a second to import, and few predictions need it

        rows, columns = linear_sum_assignment(np.where(allowed, value + 10.0, 0.0), maximize=True)
        for row, column in zip(rows, columns, strict=True):
            if allowed[row, column]:
                chosen[int(column)] = tracks[row]

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

    def _drop_lost(self) -> None:
        """Drop masks, and later tracks, that have not been seen for long; keep the largest of the ended tracks."""
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
    """Draw the objects of a frame as one mask of ids (H, W); where they overlap, the best track wins.

    ``numbers`` are the track numbers of the candidates; for ``objects`` see :meth:`Tracker.objects`.
    """
    ids = np.zeros(candidates.masks.shape[1:], np.uint8)
    shown = [
        (objects[number], mask) for number, mask in zip(numbers, candidates.masks, strict=True) if number in objects
    ]
    for (number, _), mask in sorted(shown, key=lambda entry: (entry[0][1], -entry[0][0])):
        ids[mask] = number
    return ids
