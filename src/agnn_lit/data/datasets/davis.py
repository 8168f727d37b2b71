"""DAVIS 2016 and 2017, https://davischallenge.org."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agnn_lit.config import ConfigError, DataConfig, register
from agnn_lit.data.image_files import index_images
from agnn_lit.data.video import DataError, DiskVideo, need_folder, pair_by_name
from agnn_lit.metrics.mask_files import listed_names
from agnn_lit.metrics.protocols import ScoreError

#: Folders between ``JPEGImages`` or ``Annotations`` and the sequences, the usual one first.
RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


def split_names(root: Path, year: str, split: str) -> list[str]:
    """Read the list of a DAVIS split, ``ImageSets/<year>/<split>.txt``.

    Raises:
        DataError: no such list, and the message names the existing ones; or the list is no UTF-8 text.
    """
    need_folder(root, "DAVIS, with ImageSets, JPEGImages and Annotations")
    file = root / "ImageSets" / year / f"{split}.txt"
    official = root / "ImageSets" / "480p" / f"{split}.txt"  # location in the DAVIS-2016 archive
    if year == "2016" and not file.is_file() and official.is_file():
        file = official
    if not file.is_file():
        found = sorted(p.stem for p in file.parent.glob("*.txt")) if file.parent.is_dir() else []
        other = {"2016": "2017", "2017": "2016"}[year]
        there = (root / "ImageSets" / other).is_dir()
        hint = f"; use data=davis{other} for {root / 'ImageSets' / other}" if there else ""
        raise DataError(f"{file}: no such split; found there: {', '.join(found) or 'nothing'}{hint}")
    try:
        return listed_names(file)
    except ScoreError as error:
        raise DataError(str(error)) from None


def resolution_folder(folder: Path) -> str:
    """Return the name of the folder of a resolution, 480p if there are several."""
    return next((name for name in RESOLUTIONS if (folder / name).is_dir()), RESOLUTIONS[0])


def index_davis(root: Path, names: Iterable[str]) -> list[DiskVideo]:
    """List sequences of DAVIS-2016 or DAVIS-2017.

    Layout: ``JPEGImages/480p/<name>/*.jpg``, ``Annotations/480p/<name>/*.png`` (object ids in DAVIS-2017). Without
    ``480p``, ``Full-Resolution`` or ``1080p``; without ``Annotations``, ``Annotations_unsupervised``.

    Raises:
        DataError: no such folder.
    """
    need_folder(root, "DAVIS, with ImageSets, JPEGImages and Annotations")
    images = root / "JPEGImages" / resolution_folder(root / "JPEGImages")
    unsupervised = (root / "Annotations_unsupervised").is_dir() and not (root / "Annotations").is_dir()
    annotations = root / ("Annotations_unsupervised" if unsupervised else "Annotations")
    masks = annotations / resolution_folder(annotations)
    return [pair_by_name(name, index_images(images / name), masks / name, every=True) for name in names]


@register("data.name", "davis2016", needs_root=True, root_variable="AGNN_DAVIS_ROOT", has_lists=True)
def davis2016(cfg: DataConfig, split: str) -> list[DiskVideo]:
    """List the sequences of a split of DAVIS-2016."""
    return _open(cfg, split, "2016")


@register("data.name", "davis2017", needs_root=True, root_variable="AGNN_DAVIS_ROOT", has_lists=True)
def davis2017(cfg: DataConfig, split: str) -> list[DiskVideo]:
    """List the sequences of a split of DAVIS-2017; their masks merge all objects to foreground."""
    return _open(cfg, split, "2017")


def _open(cfg: DataConfig, split: str, year: str) -> list[DiskVideo]:
    root = Path(cfg.root or "")
    listed = cfg.train_split if split == "train" else cfg.test_split
    if listed is None and cfg.sequences is None:
        raise ConfigError(
            f"data.{split}_split is not set: the name of a list in {root / 'ImageSets'}, "
            "or null together with data.sequences=[…]"
        )
    return index_davis(root, split_names(root, year, listed) if listed else cfg.sequences or [])
