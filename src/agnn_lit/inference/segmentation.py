"""The masks of a video, for use from Python: frame by frame in order, or written to a folder."""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from agnn_lit.config import ConfigError, CrfConfig, InstancesConfig, PredictConfig, check_inference
from agnn_lit.data.footage import Footage
from agnn_lit.inference.crf import check_backend, refine
from agnn_lit.inference.load import Trained
from agnn_lit.inference.prediction import frames_bar, write_prediction
from agnn_lit.metrics.mask_image import read_ids
from agnn_lit.shared.terminal import Reports, open_console

if TYPE_CHECKING:
    from agnn_lit.inference.video import Prediction

Settings = TypeVar("Settings", CrfConfig, InstancesConfig)


@dataclass(frozen=True, eq=False)
class SegmentedFrame:
    """A frame with its mask.

    Attributes:
        index: number of the frame in the footage, from 0.
        name: name of the frame's mask file, without extension.
        time: seconds from the first frame.
        image: the frame (H, W, 3), 8-bit RGB.
        probability: foreground probability (H, W), float32, after the CRF if there is one.
        mask: (H, W), uint8; 0: background, 1: foreground, or with ``instances`` the ids 1, 2, … of the objects.
    """

    index: int
    name: str
    time: float
    image: NDArray[np.uint8] = field(repr=False)
    probability: NDArray[np.float32] = field(repr=False)
    mask: NDArray[np.uint8] = field(repr=False)


class _Store(Mapping[int, "Prediction"]):
    """Predictions in a folder by index, with the maps of the network at the size of its input."""

    def __init__(self, folder: Path, footage: Footage, trained: Trained) -> None:
        self._folder, self._footage, self._trained = folder, footage, trained
        self._kept: set[int] = set()

    def keep(self, prediction: Prediction) -> None:
        """Save a prediction."""
        maps = {f"map{number}": map_ for number, map_ in enumerate(prediction.maps)}
        nodes = {} if prediction.node is None else {"node": prediction.node}
        np.savez(self._file(prediction.index), **maps, **nodes)  # type: ignore[arg-type]
        self._kept.add(prediction.index)

    def _file(self, index: int) -> Path:
        return self._folder / f"{index}.npz"

    def __getitem__(self, index: int) -> Prediction:
        """Return a prediction; its frame is decoded again."""
        from agnn_lit.inference.video import Prediction

        if index not in self._kept:
            raise KeyError(index)
        with np.load(self._file(index)) as file:
            maps = tuple(file[f"map{number}"] for number in range(len(self._trained.settings.views)))
            node = file.get("node")
        return Prediction(index, self._footage.frame(index), maps, self._trained.settings, node)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, index: object) -> bool:  # without decoding a frame
        return index in self._kept


class Segmentation:
    """Segmented footage, computed when it is needed and at most once.

    Iterate over it for its frames in order, or :meth:`save` it. Probabilities are kept in a temporary folder (0.6 MB a
    frame for an input of 288×512), so memory does not grow with the video; the folder goes with the object, or with
    :meth:`close`.

    Made by :meth:`agnn_lit.Model.segment`.
    """

    def __init__(self, trained: Trained, footage: Footage, cfg: PredictConfig) -> None:
        self._trained, self._footage, self._cfg = trained, footage, cfg
        footage.prepare(trained.settings.frames)
        self._skipped = dict(footage.unreadable)
        self._folder = tempfile.TemporaryDirectory(prefix="agnn_lit-")
        self._store = _Store(Path(self._folder.name), footage, trained)
        self._masks: tuple[Path, int] | None = None  # of the objects: folder, and their number
        self._closed = weakref.finalize(self, self._folder.cleanup)

    def __len__(self) -> int:
        return len(self._footage)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<Segmentation of {self._footage.name}: {len(self)} frames of {width}x{height}>"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return self._footage.size

    @property
    def notes(self) -> tuple[str, ...]:
        """What is special about the footage, such as a colour range that is not supported."""
        return (*self._footage.faults, *self._footage.notes)

    @property
    def skipped(self) -> dict[int, str]:
        """Frames that could not be read so far, with the reason (``on_error="skip"``)."""
        return dict(self._skipped)

    @property
    def objects(self) -> int | None:
        """Number of objects, with ``instances``; else None."""
        return self._find_objects()[1] if self._several else None

    def close(self) -> None:
        """Close the footage and remove the temporary folder."""
        self._footage.close()
        self._closed()

    def __enter__(self) -> Segmentation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _several(self) -> bool:
        return self._cfg.instances.proposals != "none"

    def __iter__(self) -> Iterator[SegmentedFrame]:
        """Yield the frames in order; the first ones are there before the others are computed.

        With ``instances``, objects are tracked through the whole video first. Frames that cannot be read are left out
        (``on_error="skip"``).

        Raises:
            DataError: a frame cannot be decoded. ValueError: the segmentation is closed.
        """
        self._check_open()
        if self._several:
            self._find_objects()
        for p in self._in_order():
            yield self._segmented(p)

    def _segmented(self, p: Prediction) -> SegmentedFrame:
        probability = p.probability
        if self._cfg.crf.backend != "none":
            probability = refine(probability, p.frame, self._cfg.crf)
        stamps, unit = self._footage.clock
        name = self._footage.frame_name(p.index)
        if self._several:
            mask = read_ids(self._find_objects()[0] / f"{name}.png")
        else:
            mask = (probability > self._cfg.threshold).astype(np.uint8)
        return SegmentedFrame(p.index, name, float(stamps[p.index] * unit), p.frame, probability, mask)

    def _in_order(self) -> Iterator[Prediction]:
        """Run the network where it has not been run, and yield the predictions in the order of the frames."""
        following = 0
        with closing(self._network()) as fresh:
            for p in chain(fresh, (None,)):
                while following in self._store or following in self._skipped:
                    if following in self._store:
                        yield p if p is not None and p.index == following else self._store[following]
                    following += 1

    def _network(self) -> Generator[Prediction, None, None]:
        """Run the network on the frames that are not in the store, and keep its predictions there."""
        from agnn_lit.inference.video import predict_video

        predicted = predict_video(
            self._trained.model,
            self._footage,
            self._trained.settings,
            done=self._store.keys() | self._skipped.keys(),
            unreadable=lambda index, reason: self._skipped.update({index: reason}),
            scratch=Path(self._folder.name),
        )
        with closing(predicted):
            for p in predicted:
                if p.index not in self._store:
                    self._store.keep(p)
                    yield p

    def frame(self, index: int) -> SegmentedFrame:
        """Return one frame; unless it is there already, frames are computed in order until it is.

        Raises:
            IndexError: there is no such frame, or it could not be read. Otherwise as in iterating.
        """
        self._check_open()
        if index in self._store:
            return self._segmented(self._store[index])
        for frame in self:
            if frame.index == index:
                return frame
        raise IndexError(f"frame {index}: {self._skipped.get(index, f'there are {len(self)} frames')}")

    def change(
        self,
        *,
        threshold: float | None = None,
        crf: str | CrfConfig | None = None,
        instances: str | InstancesConfig | None = None,
    ) -> Segmentation:
        """Change settings of what follows the network, whose probabilities are kept.

        Objects (``instances``) need node features; if :meth:`Model.segment` was called without, the network is run
        again.

        Returns:
            This segmentation.

        Raises:
            ConfigError: a value that is out of range.
        """
        cfg = replace(
            self._cfg,
            threshold=self._cfg.threshold if threshold is None else threshold,
            crf=self._cfg.crf if crf is None else named(CrfConfig, crf),
            instances=self._cfg.instances if instances is None else named(InstancesConfig, instances),
        )
        check_inference(cfg)
        check_backend(cfg.crf)
        self._cfg = cfg
        self._masks = None
        if self._several and not self._trained.settings.features:
            settings = replace(self._trained.settings, features=True)
            self._trained = replace(self._trained, settings=settings)
            self._store = _Store(Path(self._folder.name), self._footage, self._trained)
        return self

    def compute(self, progress: bool | Callable[[str, int, int], None] = False) -> Segmentation:
        """Run the network on all frames and keep their probabilities, as iterating does.

        Args:
            progress: show progress, or a function; see :meth:`save`.

        Returns:
            This segmentation.

        Raises:
            DataError: a frame cannot be decoded. ValueError: the segmentation is closed.
        """
        self._check_open()
        self._compute(_bar(progress, open_console()))
        return self

    def _compute(self, bar: Progress) -> None:
        there = len(self._store) + len(self._skipped)
        with bar:
            task = bar.add_task("network", total=len(self), completed=there)
            for _ in self._network():
                bar.advance(task)

    def _find_objects(self) -> tuple[Path, int]:
        """Track the objects through all frames; return the folder of their masks, and their number."""
        if self._masks is None:
            bar = _bar(self._cfg.progress, open_console())
            self._compute(bar)
            out = Path(self._folder.name) / "objects"
            cfg = replace(self._cfg, out=str(out), soft=False, overlay=False, overwrite=True)
            write_prediction(self._trained, self._footage, cfg, Console(quiet=True), bar, self._store)
            self._masks = out / "masks", json.loads((out / "predict.json").read_text())["objects"]
        return self._masks

    def save(
        self,
        out: str | Path,
        *,
        soft: bool = False,
        overlay: bool = True,
        overwrite: bool = False,
        progress: bool | Callable[[str, int, int], None] = False,
    ) -> Path:
        """Write what agnn-predict writes: ``masks/*.png``, ``overlay.mp4`` and ``predict.json``.

        The network is run only for frames that have not been iterated over. Masks that are in the folder from an
        earlier, interrupted call with the same settings are kept.

        Args:
            out: the folder.
            soft: also write the probabilities as 8-bit grey PNG in ``soft/``.
            overlay: write ``overlay.mp4``.
            overwrite: replace masks of other settings.
            progress: show progress, and a summary at the end; or a function that is called with what is being done
                (network, frames, objects, overlay), the number of frames done, and of all. An exception that it raises
                stops the work.

        Returns:
            The folder.

        Raises:
            ConfigError: the folder holds other files. DataError: a frame cannot be decoded. OSError: a file cannot be
                written. ValueError: the segmentation is closed.
        """
        self._check_open()
        console = open_console() if progress is True else Console(quiet=True)
        bar = _bar(progress, console)
        cfg = replace(self._cfg, out=str(out), soft=soft, overlay=overlay, overwrite=overwrite)
        return write_prediction(self._trained, self._footage, cfg, console, bar, self._store)

    def _check_open(self) -> None:
        if not self._closed.alive:
            raise ValueError("this segmentation is closed")


def named(schema: Callable[[str], Settings], given: str | Settings) -> Settings:
    """Return settings of a group that are given whole, or by the name of their option."""
    if not isinstance(given, (str, CrfConfig, InstancesConfig)):
        group = "crf" if schema is CrfConfig else "instances"
        raise ConfigError(f"{group}={given!r}: give the name of an option, such as {group}='none', or its settings")
    return schema(given) if isinstance(given, str) else given


def _bar(progress: bool | Callable[[str, int, int], None], console: Console) -> Progress:
    return Reports(progress) if callable(progress) else frames_bar(console, shown=progress)
