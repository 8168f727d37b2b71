"""Photographs alone, made into clips (``data=photos``); their folders are in ``static.roots``."""

from __future__ import annotations

from agnn_lit.config import DataConfig, register
from agnn_lit.data.video import DataError, Video


@register("data.name", "photos", photographs=True)
def photos(cfg: DataConfig, split: str) -> list[Video]:  # noqa: ARG001 - same call as the others
    """There are no videos to list: :func:`agnn_lit.data.open.open_training_videos` reads static.roots.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"data=photos has no {split} videos, only photographs to train on; give the videos, such as data=davis2016 "
        "data.root=DIR"
    )
