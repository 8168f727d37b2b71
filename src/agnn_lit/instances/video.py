"""The candidates of a whole video linked and drawn: one mask of object ids a frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from agnn_lit.config import InstancesConfig
from agnn_lit.data.video import DataError, Video
from agnn_lit.instances.candidates import Candidates, candidates_file
from agnn_lit.instances.tracks import Tracker, paint
from agnn_lit.shared.files import write_mask

_LINKS = "links.jsonl"  # a line a frame: the track of each candidate


def link_video(
    video: Video,
    folder: Path,
    mask_of: Callable[[str], Path],
    cfg: InstancesConfig,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Link the candidates of a video and write its masks; then drop the candidates.

    Frames are decoded once more, in their order, for the motion between them. Which tracks are objects shows at the
    video's end, so the masks are drawn in a second pass, over the candidates alone. Neither holds more than a frame.

    Args:
        video: where the frames come from.
        folder: of the candidates, one file a frame; a frame without was not readable.
        mask_of: file of a frame's mask by its name.
        cfg: thresholds.
        advance: called after each frame.

    Returns:
        The number of objects.
    """
    tracker = Tracker(cfg)
    names = [video.frame_name(index) for index in range(len(video))]
    with (folder / _LINKS).open("w") as links:
        for index, name in enumerate(names):
            file = candidates_file(folder, name)
            numbers = None
            if file.is_file():
                try:
                    numbers = tracker.step(video.frame(index), Candidates.load(file))
                except DataError:
                    tracker.skip()
            else:
                tracker.skip()
            links.write(json.dumps(numbers) + "\n")
            advance()
    objects = tracker.finish()
    with (folder / _LINKS).open() as links:
        for name, line in zip(names, links, strict=True):
            numbers = json.loads(line)
            if numbers is not None:
                write_mask(mask_of(name), paint(Candidates.load(candidates_file(folder, name)), numbers, objects))
    shutil.rmtree(folder)
    return len(objects)
