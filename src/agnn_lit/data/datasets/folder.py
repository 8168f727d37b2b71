"""Any folder of frames, with or without masks."""

from __future__ import annotations

from pathlib import Path

from agnn_lit.config import DataConfig, register
from agnn_lit.data.datasets.davis import RESOLUTIONS
from agnn_lit.data.image_files import IMAGE_SUFFIXES, index_images
from agnn_lit.data.video import DataError, DiskVideo, need_folder, pair_by_name
from agnn_lit.metrics.mask_files import visible_folders

#: Names of the folder of frames and of the folder of masks, in any case.
_IMAGES = ("images", "frames", "jpegimages", "imgs", "rgb")
_MASKS = ("masks", "annotations", "annotations_unsupervised", "gt", "groundtruth", "ground_truth")
_EXPECTED = """expected one of
  DIR/images/<video>/*.jpg   with  DIR/masks/<video>/*.png
  DIR/<video>/images/*.jpg   with  DIR/<video>/masks/*.png
  DIR/<video>/*.jpg          with  DIR/masks/<video>/*.png
  DIR/images/*.jpg           with  DIR/masks/*.png
  DIR/*.jpg                  with  DIR/masks/*.png
masks may be missing; images/ may be called frames/ or JPEGImages/, masks/ Annotations/; masks are called as their
frames, or <frame>_mask.png, or <video>_<frame>.png"""


def index_folder(root: Path) -> list[DiskVideo]:
    """List the videos of a folder: one for each folder of frames, or one of the frames that lie in it.

    Layouts: see docs/train.md, or the message of the error.

    Raises:
        DataError: no such folder, no image in it, or it is not clear what belongs together.
    """
    need_folder(root, "images, or one folder of images per video")
    images, masks = _one_of(root, _IMAGES), _one_of(root, _MASKS)
    if images is None:
        parts = [(folder, _one_of(folder, _IMAGES)) for folder in visible_folders(root) if folder != masks]
        videos = [_pair(folder.name, inside, _one_of(folder, _MASKS)) for folder, inside in parts if inside is not None]
        if videos:
            return videos
    images = images or root
    for resolution in RESOLUTIONS:
        if (images / resolution).is_dir() and not index_images(images / resolution):
            images, masks = images / resolution, None if masks is None else masks / resolution
            break
    flat = index_images(images)
    folders = [folder for folder in visible_folders(images) if folder != masks and index_images(folder)]
    if flat and folders:
        raise DataError(
            f"{images}: holds {len(flat)} images, and images in {', '.join(folder.name for folder in folders)}, too: "
            "are the folders videos, or do the images belong together? Move one of the two elsewhere"
        )
    if folders:
        return [_pair(folder.name, folder, None if masks is None else masks / folder.name) for folder in folders]
    if not flat:
        raise DataError(f"{images}: holds no image ({', '.join(IMAGE_SUFFIXES)}) and no folder of images; {_EXPECTED}")
    return [_pair(root.resolve().name, images, masks)]


def _one_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder in ``folder`` that has one of these names.

    Raises:
        DataError: there are several.
    """
    found = [path for path in visible_folders(folder) if path.name.lower() in names]
    if len(found) > 1:
        raise DataError(f"{folder}: holds {' and '.join(p.name for p in found)}: which one? {_EXPECTED}")
    return found[0] if found else None


def _pair(name: str, images: Path, masks: Path | None) -> DiskVideo:
    frames = index_images(images)
    if masks is None or not masks.is_dir():
        return DiskVideo(name, tuple(frames), (None,) * len(frames))
    return pair_by_name(name, frames, masks, every=False)


@register("data.name", "folder", needs_root=True)
def folder(cfg: DataConfig, split: str) -> list[DiskVideo]:  # noqa: ARG001 - there is one split
    """List all videos of a folder."""
    return index_folder(Path(cfg.root or "").expanduser())
