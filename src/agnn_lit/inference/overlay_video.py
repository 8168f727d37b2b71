"""``overlay.mp4``: masks drawn on the footage, with its timing, as H.264 for any browser."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from agnn_lit.shared.files import atomic_path

_THREADS = 4  # fixed, since the encoder's output depends on their number
#: crf: constant quality, 0 lossless, 51 worst. Without cpu-independent, encoding the same pictures twice sometimes gave
#: different files, even with one thread.
_X264 = {"crf": "20", "preset": "veryfast", "x264-params": "cpu-independent=1:sync-lookahead=0"}


def write_video(
    path: Path,
    pictures: Iterable[tuple[int, NDArray[np.uint8]]],
    time_base: Fraction,
    rate: Fraction,
    pixel_aspect: Fraction = Fraction(1),
) -> int:
    """Encode pictures as H.264 in MP4; on an error, no file is left.

    Args:
        path: MP4 file.
        pictures: time and picture (H, W, 3) RGB, in order of time. The video has the first one's size, made even.
        time_base: unit of the times, in seconds.
        rate: typical pictures per second, as a hint to players.
        pixel_aspect: width of a pixel divided by its height, which players stretch the pictures by.

    Returns:
        The number of pictures.

    Raises:
        OSError: the file cannot be written.
    """
    count = 0
    try:
        with atomic_path(path) as temporary:
            with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
                stream = container.add_stream("libx264", rate=rate, options=_X264)
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = time_base
                if pixel_aspect != 1:
                    stream.codec_context.sample_aspect_ratio = pixel_aspect
                stream.codec_context.thread_count = _THREADS
                for pts, picture in pictures:
                    if not count:
                        stream.height, stream.width = (side + side % 2 for side in picture.shape[:2])
                    frame = av.VideoFrame.from_ndarray(_fitted(picture, stream.height, stream.width), format="rgb24")
                    frame.pts, frame.time_base = pts, time_base
                    container.mux(stream.encode(frame))
                    count += 1
                if count:
                    container.mux(stream.encode())
            if not count:
                temporary.unlink(missing_ok=True)
    except av.error.FFmpegError as error:
        raise OSError(error.errno, str(error.strerror), str(path)) from error
    return count


def _fitted(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Pad odd sides by repeating the last row or column; resize pictures of another size."""
    h, w = picture.shape[:2]
    if (h + h % 2, w + w % 2) != (height, width):
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.pad(picture, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
