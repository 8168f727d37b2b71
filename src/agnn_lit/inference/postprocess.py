"""Write masks to disk: CRF, threshold and PNG, in worker processes beside the network."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.config import CrfConfig, InstancesConfig, option
from agnn_lit.inference.crf import refine
from agnn_lit.instances.candidates import Proposal, find_candidates
from agnn_lit.shared.files import write_image, write_mask
from agnn_lit.shared.processes import open_pool


@dataclass(frozen=True)
class CandidateTask:
    """Find candidates for objects in a frame, instead of writing its mask.

    Attributes:
        file: where the candidates are saved.
        node: features h^0 of the frame (C, h, w).
        given: proposals; None: connected parts of the foreground.
        cfg: thresholds.
    """

    file: Path
    node: NDArray[np.float32] | None
    given: Sequence[Proposal] | None
    cfg: InstancesConfig


@dataclass(frozen=True)
class MaskTask:
    """One frame's probabilities, and the files to write from them.

    Attributes:
        frame: (H, W, 3) RGB.
        stages: foreground probability (H, W) by stage; with a CRF, ``crf`` is added as the last stage.
        masks: mask file by stage.
        soft: file for the probabilities of the last stage, or None.
        threshold: a pixel is foreground above this probability.
        crf: settings of the CRF.
        candidates: find objects in the last stage; None: only write masks.
        png_level: compression of the files, 0 to 9.
    """

    frame: NDArray[np.uint8]
    stages: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, Path]
    soft: Path | None
    threshold: float
    crf: CrfConfig
    candidates: CandidateTask | None = None
    png_level: int = 6


def write_masks(task: MaskTask) -> NDArray[np.uint8]:
    """Write the masks, the soft map and the candidates of one frame.

    Returns:
        The mask of the last stage, (H, W), 1 where there is foreground.

    Raises:
        OSError: a file cannot be written; no partial file remains.
    """
    stages = dict(task.stages)
    last = list(stages.values())[-1]
    if task.crf.backend != "none":
        stages["crf"] = last = refine(last, task.frame, task.crf)
    if task.soft is not None:  # before the mask, which marks the frame as done
        write_image(task.soft, Image.fromarray(np.round(255 * last).astype(np.uint8), mode="L"), task.png_level)
    if task.candidates is not None:
        c = task.candidates
        find_candidates(task.frame, last, c.node, c.given, task.threshold, c.cfg).save(c.file)
    for stage, path in task.masks.items():
        write_mask(path, (stages[stage] > task.threshold).astype(np.uint8), task.png_level)
    return (last > task.threshold).astype(np.uint8)


class MaskWriter:
    """Runs :func:`write_masks` in the background, for at most ``room`` waiting frames."""

    def __init__(self, pool: Executor, room: int) -> None:
        self._pool = pool
        self._room = room
        self._waiting: deque[Future[NDArray[np.uint8]]] = deque()

    def submit(self, task: MaskTask) -> list[NDArray[np.uint8]]:
        """Submit a task; waits while too many tasks are pending, so that memory stays bounded.

        Returns:
            What :func:`write_masks` returned for the tasks completed since the last call, in the order of submission.

        Raises:
            OSError, ConfigError: raised by an earlier task.
        """
        return self._advance(self._room, task)

    def drain(self) -> list[NDArray[np.uint8]]:
        """Wait for all tasks; otherwise as :meth:`submit`."""
        return self._advance(0)

    def _advance(self, room: int, task: MaskTask | None = None) -> list[NDArray[np.uint8]]:
        done = []
        try:
            if task is not None:
                self._waiting.append(self._pool.submit(write_masks, task))
            while self._waiting and (len(self._waiting) > room or self._waiting[0].done()):
                done.append(self._waiting.popleft().result())
        except BrokenProcessPool as error:
            message = "a CRF process was killed, possibly because memory ran out: use fewer, for example workers=1"
            raise OSError(errno.ENOMEM, message) from error
        return done


@contextmanager
def open_mask_writer(crf: CrfConfig, workers: int) -> Iterator[MaskWriter]:
    """Start ``workers`` processes for the CRF, threads if they do for it; without CRF or workers, one thread.

    An error or interruption inside the ``with`` block stops the processes at once.
    """
    threaded = option("crf.backend", crf.backend).facts.get("threads", False)
    if crf.backend == "none" or workers == 0 or threaded:
        number = max(1, workers) if threaded else 1
        with ThreadPoolExecutor(number) as threads:
            yield MaskWriter(threads, 2 * number)
        return
    # Spawned rather than forked, because the network's threads are running.
    with open_pool(workers, "spawn") as pool:
        yield MaskWriter(pool, 2 * workers)
