"""Scoring of sequences on disk, one after another or in several processes."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager

import cv2

from agnn_lit.metrics.mask_files import SequenceFiles, read_masks
from agnn_lit.metrics.protocols import T_SEQUENCES, Protocol, UnscorableError, get_protocol
from agnn_lit.metrics.sequence import score_sequence
from agnn_lit.metrics.summary import SequenceScore
from agnn_lit.shared.processes import open_pool, signals_deferred


def score_files(
    files: SequenceFiles, protocol_name: str, threshold: float | None = None
) -> list[SequenceScore] | UnscorableError:
    """Read and score one sequence: one score for a foreground, or one for each object.

    Returns:
        The scores, or the reason why this sequence has none.

    Raises:
        ScoreError: see :func:`~agnn_lit.metrics.sequence.score_sequence`; also a file that cannot be read, by its name.
    """
    protocol = get_protocol(protocol_name)
    predictions, annotations = read_masks(files, protocol, threshold)
    try:
        return score_sequence(files.name, files.frames, predictions, annotations, protocol)
    except UnscorableError as error:
        return error


def _start() -> str:
    """Fork workers where that is safe, since spawning takes half a second each."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


def _cost(files: SequenceFiles, protocol: Protocol) -> float:
    """Rough time to score a sequence, in frames of J and F."""
    with_contours = protocol.stability == "shape_context" and files.name in T_SEQUENCES
    return len(files.frames) * (5.0 if with_contours else 1.0)


@contextmanager
def score_all(
    sequences: Sequence[SequenceFiles], protocol: Protocol, workers: int, threshold: float | None = None
) -> Iterator[Iterator[list[SequenceScore] | UnscorableError]]:
    """Score sequences, the longest first, in this process or in several.

    Workers start on entry. They are stopped at once if an exception is raised inside the ``with`` block, also an
    interruption before the first result.

    Yields:
        an iterator over the results of :func:`score_files`, in the order in which they finish.
    """
    ordered = sorted(sequences, key=lambda files: -_cost(files, protocol))
    workers = min(workers, len(ordered))
    if workers == 1:
        yield (score_files(files, protocol.name, threshold) for files in ordered)
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # ends OpenCV's threads: a forked process would wait for them for ever
    with open_pool(workers, _start()) as pool:
        with warnings.catch_warnings(), signals_deferred():
            # Python 3.12 warns of forking while any thread runs; the only ones left are OpenBLAS's, which is safe
            warnings.simplefilter("ignore", DeprecationWarning)
            futures = [pool.submit(score_files, files, protocol.name, threshold) for files in ordered]
        cv2.setNumThreads(threads)
        yield (future.result() for future in as_completed(futures))
