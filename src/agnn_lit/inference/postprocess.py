"""From probabilities to mask files: CRF, threshold and PNG, in worker processes beside the network."""

from __future__ import annotations

import errno
import multiprocessing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agnn_lit.config import CrfConfig, InstancesConfig
from agnn_lit.config.registry import imported_plugins
from agnn_lit.inference.crf import refine
from agnn_lit.instances.candidates import Proposal, find_candidates
from agnn_lit.shared.files import write_image, write_mask
from agnn_lit.shared.processes import begin_worker, stopped_on_error


@dataclass(frozen=True)
class Objects:
    """What to find candidates of objects with, instead of writing a mask.

    Attributes:
        file: of the candidates.
        node: features h^0 of the frame (C, h, w).
        given: proposals; None for parts of the foreground.
        cfg: what is kept.
    """

    file: Path
    node: NDArray[np.float32] | None
    given: Sequence[Proposal] | None
    cfg: InstancesConfig


@dataclass(frozen=True)
class Task:
    """One frame's probabilities and what to write of them.

    Attributes:
        frame: (H, W, 3) RGB.
        stages: probability of being foreground, (H, W), by stage.
        masks: mask file by stage; a stage ``crf`` is worked out from the last one of ``stages``.
        soft: file for the last stage's probabilities, or None.
        threshold: a pixel is foreground above this probability.
        crf: of the stage ``crf``.
        objects: look for objects in the last stage; None: there is one foreground.
    """

    frame: NDArray[np.uint8]
    stages: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, Path]
    soft: Path | None
    threshold: float
    crf: CrfConfig
    objects: Objects | None = None


def finish(task: Task) -> None:
    """Write the masks, and the soft map, of one frame.

    Raises:
        OSError: a file cannot be written; nothing is left of it.
    """
    stages = dict(task.stages)
    if task.crf.backend != "none":
        stages["crf"] = refine(list(stages.values())[-1], task.frame, task.crf)
    if task.soft is not None:  # before the mask, which says that a frame is done
        grey = np.round(255 * list(stages.values())[-1]).astype(np.uint8)
        write_image(task.soft, Image.fromarray(grey, mode="L"))
    if task.objects is not None:
        o, last = task.objects, list(stages.values())[-1]
        find_candidates(task.frame, last, o.node, o.given, task.threshold, o.cfg).save(o.file)
    for stage, path in task.masks.items():
        write_mask(path, (stages[stage] > task.threshold).astype(np.uint8))


class Finishers:
    """Takes tasks, a few at a time."""

    def __init__(self, pool: Executor, room: int) -> None:
        self._pool = pool
        self._room = room
        self._waiting: deque[Future[None]] = deque()

    def submit(self, task: Task) -> int:
        """Hand over a task; waits while too many are under way, so that memory stays bounded.

        Returns:
            The number of tasks found finished.

        Raises:
            OSError, ConfigError: of an earlier task.
        """
        with _said_why():
            self._waiting.append(self._pool.submit(finish, task))
            return self._collect(self._room)

    def drain(self) -> int:
        """Wait until all tasks are finished; otherwise as :meth:`submit`."""
        with _said_why():
            return self._collect(0)

    def _collect(self, room: int) -> int:
        finished = 0
        while self._waiting and (len(self._waiting) > room or self._waiting[0].done()):
            self._waiting.popleft().result()
            finished += 1
        return finished


@contextmanager
def _said_why() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise OSError(
            errno.ENOMEM, "a process of the CRF was killed, perhaps for its memory: take fewer, as workers=1"
        ) from error


@contextmanager
def finishers(crf: CrfConfig, workers: int) -> Iterator[Finishers]:
    """Start what finishes frames: processes for the CRF, one thread where there is none or ``workers`` is 0.

    On an error or an interruption inside the ``with`` block the processes are stopped at once.
    """
    if crf.backend == "none" or workers == 0:
        with ThreadPoolExecutor(1) as threads:
            yield Finishers(threads, 2)
        return
    # Not forked: the network's threads are running.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker, initargs=(imported_plugins(),))
    with stopped_on_error(pool):
        yield Finishers(pool, 2 * workers)
