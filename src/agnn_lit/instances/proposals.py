"""Sources of proposals: parts of the foreground, masks on disk, COCO-style results, or Mask R-CNN."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agnn_lit.config import ConfigError, InstancesConfig, option, register
from agnn_lit.data.video import DataError
from agnn_lit.instances.candidates import Frame, Mask, Proposal
from agnn_lit.metrics.mask_image import read_ids
from agnn_lit.metrics.protocols import ScoreError
from agnn_lit.shared.packages import need_package

#: A source of proposals: called with the name of the video, that of the frame (without extension), and the frame
#: (H, W, 3) RGB, it returns the frame's proposals; None stands for :func:`agnn_lit.instances.parts.find_parts`.
Proposer = Callable[[str, str, Frame], list[Proposal] | None]


class MaskFolder:
    """Index masks, one file per frame: ``<folder>/<sequence>/<frame>.png`` or ``<folder>/<frame>.png``.

    Indices need not be consistent between frames. Masks are resized to the frame.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"instances.source={folder}: no such folder; needed: <sequence>/<frame>.png in it")
        if not any(folder.glob("*.png")) and not any(folder.glob("*/*.png")) and not any(folder.glob("*/*/*.png")):
            raise ConfigError(f"instances.source={folder}: no PNG files; needed: <sequence>/<frame>.png in it")
        self._folder = folder

    def __call__(self, sequence: str, name: str, frame: Frame) -> list[Proposal]:
        """Read the masks of a frame; see :data:`Proposer`.

        Raises:
            DataError: the file is not an index mask.
        """
        inside = self._folder / sequence
        file = (inside if inside.is_dir() else self._folder) / f"{name}.png"
        if not file.is_file():
            return []
        try:
            ids = read_ids(file)
        except ScoreError as error:
            raise DataError(str(error)) from error
        ids = cv2.resize(ids, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        return [Proposal(ids == number) for number in np.unique(ids) if 0 < number < 255]


class CocoFile:
    """Masks of COCO-style results or annotations (https://cocodataset.org/#format-results), read with pycocotools.

    Either a list of ``{image_id, segmentation, score}``, or ``{images: [{id, file_name}], annotations: […]}``.
    Segmentations are polygons or RLE, compressed or not. An ``image_id`` (or with ``images``, the ``file_name``
    without extension) is ``<sequence>/<frame>`` or ``<frame>``.
    """

    def __init__(self, file: Path) -> None:
        self._tools = need_package("pycocotools.mask", "instances", "instances=coco")
        self._file = file
        if not file.is_file():
            raise ConfigError(f"instances.source={file}: no such file; needed: COCO-style results as JSON")
        try:
            content = json.loads(file.read_text())
            entries = content["annotations"] if isinstance(content, dict) else content
            images = content.get("images", []) if isinstance(content, dict) else []
            names = {image["id"]: image["file_name"] for image in images}
            self._entries: dict[str, list[dict[str, Any]]] = {}
            for entry in entries:
                name = Path(str(names.get(entry["image_id"], entry["image_id"])))
                key = name.with_suffix("").as_posix() if name.suffix.lower() in (".jpg", ".jpeg", ".png") else str(name)
                self._entries.setdefault(key, []).append(entry)
                entry["segmentation"]  # raises KeyError
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"instances.source={file}: not COCO-style ({type(error).__name__}: {error}); needed: a list of "
                "{image_id, segmentation, score}, or {images, annotations}"
            ) from error

    def __call__(self, sequence: str, name: str, frame: Frame) -> list[Proposal]:
        """Decode the masks of a frame; see :data:`Proposer`.

        Raises:
            DataError: an invalid segmentation.
        """
        found = self._entries.get(f"{sequence}/{name}", self._entries.get(name, []))
        size = frame.shape[:2]
        try:
            return [Proposal(self._mask(e["segmentation"], size), float(e.get("score", 1.0))) for e in found]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._file}, {sequence}/{name}: a segmentation is neither RLE nor polygons "
                f"({type(error).__name__}: {error})"
            ) from error

    def _mask(self, segmentation: Any, size: tuple[int, ...]) -> Mask:
        height, width = size
        if isinstance(segmentation, list):  # polygons
            segmentation = self._tools.merge(self._tools.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            segmentation = self._tools.frPyObjects(segmentation, *segmentation["size"])
        mask = np.asarray(self._tools.decode(segmentation), dtype=np.uint8)
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.bool_)


class MaskRcnn:
    """torchvision's Mask R-CNN (ResNet-50, FPN, version 2) with ``weights`` of a torchvision name or a file."""

    def __init__(self, weights: str, device: str) -> None:
        from agnn_lit.shared import torchvision_ops

        if torchvision_ops.operators_are_missing():
            raise ConfigError(
                "instances=maskrcnn needs torchvision's compiled operators (nms, roi_align), which it cannot load: its "
                "build is for another torch. Install matching builds, or use instances=parts, masks or coco"
            )
        import torch
        from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

        from agnn_lit.model.weights import WeightsError, download, read_tensors

        try:
            file = Path(weights).expanduser()
            state = read_tensors(file) if file.is_file() else download(weights, "instances.source")
            self._model = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
            self._model.load_state_dict(state)
        except WeightsError:
            raise
        except RuntimeError as error:
            raise ConfigError(f"instances.source={weights} does not fit Mask R-CNN: {error}") from error
        self._model.eval().to(device)
        self._device = torch.device(device)

    def __call__(self, sequence: str, name: str, frame: Frame) -> list[Proposal]:  # noqa: ARG002 - a Proposer
        """Detect objects in a frame; see :data:`Proposer`."""
        import torch

        image = torch.from_numpy(frame.copy()).permute(2, 0, 1).float().div(255).to(self._device)
        with torch.inference_mode():
            found = self._model([image])[0]
        masks = (found["masks"][:, 0] > 0.5).cpu().numpy()
        return [Proposal(mask, float(score)) for mask, score in zip(masks, found["scores"], strict=True)]


register("instances.proposals", "none")(lambda *_: None)  # not called
register("instances.proposals", "parts")(lambda *_: lambda *_: None)
register("instances.proposals", "masks", source="the folder of index masks")(
    lambda cfg, _: MaskFolder(Path(cfg.source or "").expanduser())
)
register("instances.proposals", "coco", source="the JSON file")(
    lambda cfg, _: CocoFile(Path(cfg.source or "").expanduser())
)
register("instances.proposals", "maskrcnn", source="the name or file of its weights")(
    lambda cfg, device: MaskRcnn(cfg.source or "", device)
)


def open_proposals(cfg: InstancesConfig, device: str) -> Proposer:
    """Open the source of proposals; networks run on ``device``.

    Raises:
        ConfigError: the source does not exist, or needs a package that is not installed.
    """
    opened: Proposer = option("instances.proposals", cfg.proposals).load()(cfg, device)
    return opened
