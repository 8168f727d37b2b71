"""Link the candidates of a whole video, and write one mask of object ids per frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agnn_lit.config import InstancesConfig
from agnn_lit.data.video import DataError, Video
from agnn_lit.instances.candidates import Candidates, candidates_file
from agnn_lit.instances.tracks import Tracker, paint
from agnn_lit.shared.files import write_mask

_LINKS = "links.jsonl"  # one line per frame: the track of each candidate


def link_video(
    video: Video,
    folder: Path,
    mask_of: Callable[[str], Path],
    cfg: InstancesConfig,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Link the candidates of a video, write its masks, delete the candidates, and return the number of objects.

    The first pass decodes the frames again, for the optical flow. Only at its end is it known which tracks are objects,
    so a second pass over the candidates draws the masks. Both hold one frame at a time.

    Args:
        video: the video.
        folder: folder of the candidates, one file per readable frame.
        mask_of: returns the mask file of a frame, given its name.
        cfg: thresholds.
        advance: called after each frame.
    """
    tracker = Tracker(cfg)
    names = [video.frame_name(index) for index in range(len(video))]
    with (folder / _LINKS).open("w") as links:
        for index, name in enumerate(names):
            file = candidates_file(folder, name)
            numbers = None
            if file.is_file():
                with suppress(DataError):
                    numbers = tracker.step(video.frame(index), Candidates.load(file))
            if numbers is None:
                tracker.skip()
            links.write(json.dumps(numbers) + "\n")
            advance()
    objects = tracker.objects()
    with (folder / _LINKS).open() as links:
        for name, line in zip(names, links, strict=True):
            numbers = json.loads(line)
            if numbers is not None:
                write_mask(mask_of(name), paint(Candidates.load(candidates_file(folder, name)), numbers, objects))
    shutil.rmtree(folder)
    return len(objects)
