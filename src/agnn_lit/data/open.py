"""Open and check the videos of a data set, those held out for validation, and static images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from agnn_lit.config import ConfigError, DataConfig, StaticConfig, TrainConfig, option, uses_photographs
from agnn_lit.data.datasets.saliency import index_static
from agnn_lit.data.image_files import file_size
from agnn_lit.data.sampling import Seed, hold_out
from agnn_lit.data.video import DataError, DiskVideo, Video, cut
from agnn_lit.metrics.mask_image import lossy


def open_videos(cfg: DataConfig, split: str, frames: int) -> list[Video]:
    """List and check the videos of a split.

    Args:
        cfg: the data set.
        split: "train" or "test".
        frames: N', the minimum length of training videos.

    Raises:
        DataError: lists all missing and broken files.
    """
    kind = option("data.name", str(cfg.name))
    found: list[Video] = kind.load()(cfg, split)
    on_disk = [video for video in found if isinstance(video, DiskVideo)]
    if len(on_disk) < len(found):
        return found  # generated videos, or a plugin's
    videos = select(on_disk, cfg.sequences)
    part = cfg.train_range if split == "train" else cfg.test_range
    if part is not None:
        videos = [cut(video, *part) for video in videos]
    check(videos, frames if split == "train" else 1, one_size=not kind.facts.get("mask_sizes_differ", False))
    return list(videos)


def run_seed(cfg: TrainConfig) -> Seed:
    """Return the seed of a run's random streams."""
    return Seed(cfg.seed, cfg.separate_streams)


def open_training_videos(cfg: TrainConfig) -> tuple[list[Video], list[Video]]:
    """Return the training videos, and those held out of them for model selection.

    Raises:
        DataError: see :func:`open_videos`; also a training video with fewer than N' annotated frames.
        ConfigError: there are too few videos to hold some out.
    """
    if uses_photographs(cfg.data):
        return _open_photographs(cfg)
    frames = cfg.model.frames
    videos = open_videos(cfg.data, "train", frames)
    train, held = _hold_out(cfg, len(videos))
    for video in videos:
        if isinstance(video, DiskVideo) and sum(m is not None for m in video.masks) < frames:
            raise DataError(
                f"{video.name}: {sum(m is not None for m in video.masks)} annotated frames, "
                f"fewer than model.frames={frames}; training needs masks"
            )
    return [videos[i] for i in train], [videos[i] for i in held]


def _hold_out(cfg: TrainConfig, videos: int) -> tuple[list[int], list[int]]:
    try:
        return hold_out(videos, cfg.clips.val_share, seed=run_seed(cfg))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _open_photographs(cfg: TrainConfig) -> tuple[list[Video], list[Video]]:
    """Return the photographs to train on, and those held out, each as a video of one frame."""
    folders = _index_static(cfg.static)
    images = [image for folder in folders for image in folder]
    held = {images[i].frames for i in _hold_out(cfg, len(images))[1]}
    train = [[image for image in folder if image.frames not in held] for folder in folders]
    return list(_weighted(cfg.static, train)), [image for image in images if image.frames in held]


def open_static_images(cfg: StaticConfig) -> list[DiskVideo]:
    """List and check the static images beside videos, each as a video of one frame; with ``balance`` some repeatedly.

    Raises:
        DataError: see :func:`agnn_lit.data.datasets.saliency.index_static`; lists all missing and broken files.
    """
    return _weighted(cfg, _index_static(cfg))


def _index_static(cfg: StaticConfig) -> list[list[DiskVideo]]:
    """List and check the images of each folder."""
    folders = [index_static(Path(root).expanduser()) for root in cfg.roots]
    if folders:
        check([image for folder in folders for image in folder], 1)
    return folders


def _weighted(cfg: StaticConfig, folders: list[list[DiskVideo]]) -> list[DiskVideo]:
    """Join folders; with ``balance``, the images of the smaller ones are listed several times."""
    largest = max(map(len, folders), default=0)
    times = [max(1, round(largest / max(1, len(folder)))) if cfg.balance else 1 for folder in folders]
    return [image for folder, n in zip(folders, times, strict=True) for image in folder * n]


def select(videos: Sequence[DiskVideo], sequences: Iterable[str] | None) -> list[DiskVideo]:
    """Keep the named sequences, in the order of ``videos``.

    Raises:
        DataError: an unknown name.
    """
    if sequences is None:
        return list(videos)
    wanted = list(sequences)
    unknown = sorted(set(wanted) - {v.name for v in videos})
    if unknown:
        raise DataError(f"data.sequences: no {', '.join(unknown)} here; there are {', '.join(v.name for v in videos)}")
    return [v for v in videos if v.name in wanted]


def check(videos: Sequence[DiskVideo], frames: int, *, one_size: bool = True) -> None:
    """Check that videos are complete, from file headers and ends.

    Args:
        videos: videos of a data set.
        frames: N', the minimum length of a video.
        one_size: a mask must have the size of its frame.

    Raises:
        DataError: lists every missing, unreadable or truncated file, size mismatch, and empty or too short video.
    """
    problems = [f"{v.name}: no frames" for v in videos if not len(v)]
    problems += [f"{v.name}: {len(v)} frames, fewer than model.frames={frames}" for v in videos if 0 < len(v) < frames]
    with ThreadPoolExecutor() as pool:
        for found in pool.map(partial(_problems, one_size=one_size), videos):
            problems += found
    if not videos:
        problems.append("no videos")
    if problems:
        shown = problems[:50] + ([f"… and {len(problems) - 50} more"] if len(problems) > 50 else [])
        raise DataError(f"{len(problems)} problem(s) in the data set:\n  " + "\n  ".join(shown))


def _problems(video: DiskVideo, *, one_size: bool) -> list[str]:
    stems = Counter(frame.stem for frame in video.frames)
    found = [
        f"{video.frames[0].parent}: {n} images are called {stem}, and would share one mask"
        for stem, n in stems.items()
        if n > 1
    ]
    expected: tuple[int, int] | None = None
    for frame, mask in zip(video.frames, video.masks, strict=True):
        size, problem = file_size(frame)
        if problem:
            found.append(problem)
        elif size != expected and expected is not None:
            found.append(f"{frame}: size {size}, but the video began with {expected}")
        expected = expected or size
        if mask is None:
            continue
        mask_size, problem = file_size(mask)
        if problem or (problem := lossy(mask)):
            found.append(problem)
        elif one_size and size is not None and mask_size != size:
            found.append(f"{mask}: size {mask_size} (height, width), but its frame has {size}")
    return found
