"""Saliency data sets: static images with masks (MSRA10K, DUTS, DUT-OMRON, or images/ and masks/)."""

from __future__ import annotations

from pathlib import Path

from agnn_lit.data.image_files import index_images
from agnn_lit.data.video import DataError, DiskVideo, need_folder

#: Folders of images and of masks in the archives of the data sets.
_STATIC_LAYOUTS = (
    ("images", "masks"),
    ("Imgs", "Imgs"),  # MSRA10K, https://mmcheng.net/msra10k
    ("DUTS-TR-Image", "DUTS-TR-Mask"),  # DUTS, http://saliencydetection.net/duts
    ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),  # DUT-OMRON, http://saliencydetection.net/dut-omron
)


def index_static(root: Path) -> list[DiskVideo]:
    """List the images of a saliency data set, each as a video of one frame.

    Layouts: MSRA10K (``Imgs/*.jpg`` and ``Imgs/*.png``), DUTS (``DUTS-TR-Image``, ``DUTS-TR-Mask``), DUT-OMRON
    (``DUT-OMRON-image``, ``pixelwiseGT-new-PNG``), or ``images`` and ``masks``; in ``root`` or one of its folders.

    Raises:
        DataError: no such folder, or none of these layouts in it.
    """
    need_folder(root, "a saliency data set")
    for base in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        for images, masks in _STATIC_LAYOUTS:
            if not ((base / images).is_dir() and (base / masks).is_dir()):
                continue
            found = index_images(base / images)
            if images == masks:  # both in one folder: masks are the PNG files
                found = [file for file in found if file.suffix.lower() != ".png"]
            return [DiskVideo(f"{root.name}/{f.stem}", (f,), (base / masks / f"{f.stem}.png",)) for f in found]
    wanted = ", ".join(images if images == masks else f"{images} + {masks}" for images, masks in _STATIC_LAYOUTS)
    raise DataError(f"static.roots: {root} holds none of the layouts known ({wanted})")
