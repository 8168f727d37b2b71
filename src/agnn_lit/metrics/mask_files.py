"""Masks on disk: folders of sequences, and files of frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agnn_lit.metrics.mask_image import Annotations, read_foreground, read_ids
from agnn_lit.metrics.protocols import Protocol, ScoreError, counted
from agnn_lit.metrics.region import Mask

_SUFFIX = ".png"
_NEARLY_ALL = 0.8


def listed_names(file: Path) -> list[str]:
    """Read a list of sequences: a name a line, or DAVIS-2016's own ``/JPEGImages/480p/<name>/<frame>.jpg …``.

    The text is UTF-8, or UTF-16 with a byte-order mark, as PowerShell writes it.

    Raises:
        ScoreError: another encoding.
    """
    data = file.read_bytes()
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScoreError(f"{file}: a list of sequences must be UTF-8 text ({error})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return list(dict.fromkeys(_listed_name(line) for line in lines))


def _listed_name(line: str) -> str:
    first = line.split()[0]
    return Path(first).parent.name if "/" in first and first.endswith((".jpg", ".png")) else line


def frame_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key that puts ``2.png`` before ``10.png``."""
    words = re.split(r"(\d+)", path.stem)
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in words], path.stem


def frame_files(folder: Path, suffixes: Sequence[str] = (_SUFFIX,)) -> list[Path]:
    """Return the files of a folder with one of these suffixes (in any case) in the order of their frames."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(found, key=frame_order)


def visible_folders(folder: Path) -> list[Path]:
    """List the folders in a folder, without hidden ones and those that file managers and servers make."""
    found = (path for path in folder.iterdir() if path.is_dir() and path.name[:1] not in (".", "@"))
    return sorted(path for path in found if path.name != "__MACOSX")


def _at_depth(folder: Path, depth: int) -> list[Path]:
    if depth == 0:
        return [folder]
    return [path for child in visible_folders(folder) for path in _at_depth(child, depth - 1)]


def find_sequences(key: str, folder: Path, depth: int) -> dict[str, Path]:
    """Find the sequences below a folder.

    Args:
        key: name of the setting that gives the folder, for messages.
        folder: holds ``<sequence>/*.png``, or ``<class>/<sequence>/*.png``.
        depth: 1 or 2 accordingly.

    Returns:
        folder of each sequence by its name relative to ``folder``.

    Raises:
        ScoreError: no such folder, no masks in it, or masks at another depth; says where they are.
    """
    if not folder.is_dir():
        raise ScoreError(f"{key}={folder}: no such folder")
    found = _at_depth(folder, depth)
    if any(frame_files(path) for path in found):
        return {path.relative_to(folder).as_posix(): path for path in found}
    layout = "/".join(["<class>"] * (depth - 1) + ["<sequence>", f"<frame>{_SUFFIX}"])
    for steps, where in ((1, "one folder deeper"), (2, "two folders deeper"), (-1, "one folder higher")):
        for other in _at_depth(folder, depth + steps):
            if frame_files(other):
                give = other.parents[depth - 1]
                raise ScoreError(f"{key}={folder}: the masks lie {where}; give {key}={give} (needed: {layout})")
    raise ScoreError(f"{key}={folder}: no {_SUFFIX} files found; expected {layout}")


@dataclass(frozen=True)
class SequenceFiles:
    """Files of one sequence.

    Attributes:
        name: of the sequence.
        frames: names of its N annotated frames, in order.
        predictions: N files; None where there is none and the frame does not count.
        annotations: N files.
        extra: mask files without annotation, which are ignored.
    """

    name: str
    frames: tuple[str, ...]
    predictions: tuple[Path | None, ...]
    annotations: tuple[Path, ...]
    extra: int


def pair_files(name: str, masks: Path, annotations: Path, protocol: Protocol) -> SequenceFiles:
    """Pair the mask files of a sequence with its annotation files by name.

    Raises:
        ScoreError: a frame that counts has no mask, which is named; or masks and frames are numbered differently.
    """
    annotated = frame_files(annotations)
    frames = [path.stem for path in annotated]
    predicted, extra = match_masks(name, frames, masks)
    missing = [frame for i, frame in enumerate(frames) if frame not in predicted and counted(i, len(frames), protocol)]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ScoreError(
            f"{masks / missing[0]}{_SUFFIX}: missing{more}; protocol {protocol.name} counts this frame "
            f"({len(predicted) + len(extra)} masks for {len(frames)} annotated frames)"
        )
    return SequenceFiles(
        name,
        tuple(frames),
        tuple(predicted.get(frame) for frame in frames),
        tuple(annotated),
        len(extra),
    )


def match_masks(
    name: str, frames: Sequence[str], folder: Path, suffixes: Sequence[str] = (_SUFFIX,)
) -> tuple[dict[str, Path], list[Path]]:
    """Find the masks of a sequence's frames by name.

    A mask is called as its frame; or all of them are called ``<frame>_mask``, ``<sequence>_<frame>`` and the like.

    Args:
        name: of the sequence.
        frames: names of its frames.
        folder: of the masks; it may be missing.
        suffixes: of mask files, in any case.

    Returns:
        the mask file of each frame that has one, and the files of no frame.

    Raises:
        ScoreError: masks and frames are numbered differently.
    """
    if not folder.is_dir():
        return {}, []
    found = frame_files(folder, suffixes)
    stems = [path.stem for path in found]
    short = re.escape(name.rpartition("/")[2])
    for pattern in (r"(.*)", r"(.*)[_-](?:mask|gt|seg|label)", r"(?:mask|gt|seg|label)[_-](.*)", rf"{short}[_-](.*)"):
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        names = [match[1] for match in matches if match is not None]
        if len(names) == len(stems) and (set(names) & set(frames) or _shifted(frames, names)):
            break
    else:
        names = stems
    shifted = _shifted(frames, names)
    if shifted:
        raise ScoreError(
            f"{folder}: masks are numbered from {names[0]} to {names[-1]}, frames from {frames[0]} to {frames[-1]}: "
            "each mask would be compared with another frame; rename the masks"
        )
    wanted = set(frames)
    pairs = {frame: path for frame, path in zip(names, found, strict=True) if frame in wanted}
    return pairs, [path for frame, path in zip(names, found, strict=True) if frame not in wanted]


def _shifted(frames: Sequence[str], masks: Sequence[str]) -> bool:
    """Whether masks are numbered from another number on than the frames are.

    ffmpeg counts from 1, DAVIS from 0: every mask would be compared with the annotation of the next frame. Signs of it
    are masks beyond the last frame while the first one has none, or the other way round, and that with the numbers
    shifted nearly all of both have a partner.
    """
    if not frames or not masks or not all(name.isdecimal() for name in (*frames, *masks)):
        return False
    wanted, found = {int(name) for name in frames}, {int(name) for name in masks}
    extra, missing = found - wanted, wanted - found
    if not extra or not missing:
        return False
    later = min(missing) == min(wanted) and max(extra) > max(wanted)
    earlier = max(missing) == max(wanted) and min(extra) < min(wanted)
    if not later and not earlier:
        return False
    steps = {max(found) - max(wanted), min(found) - min(wanted)} - {0}
    common = max(len({number + step for number in wanted} & found) for step in steps)
    return common >= _NEARLY_ALL * max(len(wanted), len(found))


def _is_sequence(folder: Path) -> bool:
    """Whether a folder holds the masks of one sequence, and no folders of others."""
    return folder.is_dir() and bool(frame_files(folder)) and not any(map(frame_files, visible_folders(folder)))


def collect(
    masks: Path, annotations: Path, protocol: Protocol, wanted: Sequence[str] | None
) -> tuple[list[SequenceFiles], list[str]]:
    """Find the sequences to score and pair their files.

    Args:
        masks: holds ``<sequence>/<frame>.png`` (``<class>/<sequence>/<frame>.png`` for a protocol by class), or, where
            both folders do, the ``<frame>.png`` of one sequence.
        annotations: the same for the annotations.
        protocol: decides which frames need a mask.
        wanted: names of sequences; None: all with masks and annotations.

    Returns:
        the sequences by name, and what was left aside, as sentences.

    Raises:
        ScoreError: a folder or file is missing or lies at another depth, or nothing is left to score.
    """
    depth = 2 if protocol.by_class else 1
    if depth == 1 and _is_sequence(masks) and _is_sequence(annotations):
        name = annotations.resolve().name
        annotated, predicted = {name: annotations}, {name: masks}
    else:
        annotated = find_sequences("annotations", annotations, depth)
        predicted = find_sequences("masks", masks, depth)
    names = sorted(annotated) if wanted is None else list(wanted)
    unknown = [name for name in names if name not in annotated]
    if unknown:
        raise ScoreError(f"sequences={unknown[0]}: no such folder in annotations={annotations}")
    skipped = [name for name in names if wanted is None and name not in predicted]
    pairs = [
        pair_files(name, predicted.get(name, masks / name), annotated[name], protocol)
        for name in names
        if name not in skipped
    ]
    empty = [files.name for files in pairs if not files.frames]
    chosen = [files for files in pairs if files.frames]
    if not chosen:
        raise ScoreError(f"masks={masks}: none of its sequences is annotated in annotations={annotations}")
    aside = {
        "annotated sequences without masks NOT SCORED": skipped,
        "sequences without annotations left out": empty,
        "sequences of masks without annotations ignored": sorted(set(predicted) - set(annotated)),
    }
    said = [f"{len(which)} {what}: {', '.join(which)}" for what, which in aside.items() if which]
    extra = sum(files.extra for files in chosen)
    return chosen, [*said, *([f"{extra} mask files without annotation ignored"] if extra else [])]


def read_masks(
    files: SequenceFiles, protocol: Protocol, threshold: float | None = None
) -> tuple[Iterator[Mask | None], Iterator[Mask]]:
    """Read predictions and annotations one by one, predictions only where their frame counts.

    Args:
        files: of the sequence.
        protocol: whether objects are told apart, and which frames count.
        threshold: of predictions that are soft maps, see :func:`~agnn_lit.metrics.mask_image.read_foreground`.
    """
    read, annotation = (
        (partial(read_foreground, threshold=threshold), Annotations(files.annotations).foreground)
        if protocol.objects == "foreground"
        else (read_ids, read_ids)
    )
    total = len(files.frames)
    predictions = (
        read(path) if path is not None and counted(i, total, protocol) else None
        for i, path in enumerate(files.predictions)
    )
    return predictions, (annotation(path) for path in files.annotations)
