"""Miniature data sets in the real folder layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from agnn_lit.data.datasets.davis import index_davis, split_names
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.data.video import DiskVideo


def _write(frames: Path, masks: Path, number: int, length: int, size: tuple[int, int], every: int = 1) -> None:
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    (video,) = synthetic_videos("train", 1, length=length, size=size, seed=number)
    for i in range(length):
        cv2.imwrite(str(frames / f"{i:05d}.jpg"), video.frame(i)[..., ::-1])
        if i % every == 0:
            mask = Image.fromarray(video.mask(i) * (1 + i % 2), mode="L")
            palette = mask.convert("P")
            palette.putdata(list(np.asarray(mask).ravel()))
            palette.save(masks / f"{i:05d}.png")


def make_davis(root: Path, names=("bear", "bus", "car", "dog"), length=5, size=(48, 64), year="2016", val=1) -> Path:
    for number, name in enumerate(names):
        _write(root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name, number, length, size)
    lists = root / "ImageSets" / year
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(names[:-val]) + "\n")
    (lists / "val.txt").write_text("\n".join(names[-val:]) + "\n")
    return root


def davis(root: Path, split: str = "train") -> list[DiskVideo]:
    """Videos of a split of DAVIS-2016."""
    return index_davis(root, split_names(root, "2016", split))


def make_youtube_objects(root: Path, classes=("cat", "dog"), length=11, size=(48, 64)) -> Path:
    for number, kind in enumerate(classes):
        _write(
            root / "JPEGImages" / kind / "0001",
            root / "Annotations" / kind / "0001",
            number,
            length,
            size,
            every=10,
        )
    return root


def make_folder(root: Path, videos=("one", "two"), length=4, size=(48, 64)) -> Path:
    for number, name in enumerate(videos):
        _write(root / "images" / name, root / "masks" / name, number, length, size)
    return root


def make_static(root: Path, images: str = "Imgs", masks: str = "Imgs", count: int = 6) -> Path:
    """A saliency data set; its images are of different sizes."""
    (root / images).mkdir(parents=True)
    (root / masks).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (video,) = synthetic_videos("train", 1, length=1, size=(40 + 4 * number, 56), seed=100 + number)
        cv2.imwrite(str(root / images / f"{number}.jpg"), video.frame(0)[..., ::-1])
        cv2.imwrite(str(root / masks / f"{number}.png"), 255 * video.mask(0))
    return root


def disc(size=(60, 80), colour=(200, 40, 40), centre=(40, 30), radius=15) -> tuple[np.ndarray, np.ndarray]:
    """A photograph of a disc on grey, and its mask."""
    image, mask = np.full((*size, 3), 128, np.uint8), np.zeros(size, np.uint8)
    cv2.circle(image, centre, radius, colour, -1)
    cv2.circle(mask, centre, radius, 1, -1)
    return image, mask


def make_photos(root: Path, count: int) -> Path:
    """Photographs of discs in many colours, with masks."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for k in range(count):
        image, mask = disc(colour=(20 * k % 250, 250 - 20 * k % 250, 90), centre=(30 + k % 20, 30))
        cv2.imwrite(str(root / "images" / f"{k}.jpg"), image[..., ::-1])
        cv2.imwrite(str(root / "masks" / f"{k}.png"), 255 * mask)
    return root
