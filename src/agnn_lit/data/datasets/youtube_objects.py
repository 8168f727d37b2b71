"""YouTube-Objects, https://calvin-vision.net/datasets/youtube-objects-dataset/."""

from __future__ import annotations

from pathlib import Path

from agnn_lit.config import DataConfig, register
from agnn_lit.data.image_files import index_images
from agnn_lit.data.video import DiskVideo, need_folder, pair_by_name
from agnn_lit.metrics.mask_files import visible_folders


def index_youtube_objects(root: Path) -> list[DiskVideo]:
    """List YouTube-Objects: ``JPEGImages/<class>/<video>/*.jpg``, ``Annotations/<class>/<video>/*.png``.

    Every tenth frame is annotated. Videos are named ``<class>/<video>``.

    Raises:
        DataError: a folder is missing.
    """
    images = need_folder(root / "JPEGImages", "YouTube-Objects: JPEGImages/<class>/<video>/*.jpg")
    return [
        pair_by_name(
            f"{kind.name}/{video.name}",
            index_images(video),
            root / "Annotations" / kind.name / video.name,
            every=False,
        )
        for kind in visible_folders(images)
        for video in visible_folders(kind)
    ]


@register(
    "data.name",
    "youtube_objects",
    needs_root=True,
    root_variable="AGNN_YOUTUBE_OBJECTS_ROOT",
    protocol="youtube_objects",
    mask_sizes_differ=True,  # its protocol resizes predictions and reports that
)
def youtube_objects(cfg: DataConfig, split: str) -> list[DiskVideo]:  # noqa: ARG001 - there is one split
    """List all videos; there is no official split."""
    return index_youtube_objects(Path(cfg.root or ""))
