"""Any folder of frames, with or without masks."""

from __future__ import annotations

from pathlib import Path

from agnn_lit.config import DataConfig, register
from agnn_lit.data.image_files import IMAGE_SUFFIXES, index_images
from agnn_lit.data.video import DataError, DiskVideo, need_folder, pair_by_name


def index_folder(root: Path) -> list[DiskVideo]:
    """List the frames of a folder, or of one folder per video; masks come from a folder ``masks`` beside them.

    Layout: ``<root>/*.jpg``, or ``<root>/<video>/*.jpg``, or ``<root>/images/[<video>/]*.jpg`` with
    ``<root>/masks/[<video>/]*.png``.

    Raises:
        DataError: no such folder, or no image in it.
    """
    need_folder(root, "images, or one folder of images per video")
    images = root / "images" if (root / "images").is_dir() else root
    masks = root / "masks"
    folders = [p for p in sorted(images.iterdir()) if p.is_dir() and p != masks and index_images(p)]
    if folders:
        return [pair_by_name(p.name, index_images(p), masks / p.name, every=masks.is_dir()) for p in folders]
    if not index_images(images):
        raise DataError(f"{images}: holds no image ({', '.join(IMAGE_SUFFIXES)}) and no folder of images")
    return [pair_by_name(root.name, index_images(images), masks, every=masks.is_dir())]


@register("data.name", "folder", needs_root=True)
def folder(cfg: DataConfig, split: str) -> list[DiskVideo]:  # noqa: ARG001 - there is one split
    """List all videos of a folder."""
    return index_folder(Path(cfg.root or ""))
