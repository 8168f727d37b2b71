"""Folders of masks as people lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agnn_lit.metrics.mask_files import collect, frame_files, listed_names, read_masks
from agnn_lit.metrics.protocols import ScoreError, get_protocol

from .masks import save, save_sequence, star


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("10", "2", "1b", "1a", ".hidden"):
        save(tmp_path / f"{name}.png", star())
    (tmp_path / "notes.txt").write_text("")
    assert [path.stem for path in frame_files(tmp_path)] == ["1a", "1b", "2", "10"]


@pytest.mark.parametrize("order", [("7", "①"), ("5²", "7"), ("7", "²"), ("7", "a①2"), ("٣", "7")])
def test_digits_that_are_no_numbers_are_letters(tmp_path: Path, order: tuple[str, str]) -> None:
    for name in order:
        save(tmp_path / f"{name}.png", star())
    assert tuple(path.stem for path in frame_files(tmp_path)) == order


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", ""), ("utf-16-le", "\ufeff"), ("utf-16-be", "\ufeff")],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lists_of_sequences_in_every_encoding(tmp_path: Path, encoding: str, mark: str, newline: str) -> None:
    lines = [
        "bear",
        "",
        "  my dog ",
        "猫",
        "bear",
        "/JPEGImages/480p/cows/00000.jpg /Annotations/480p/cows/00000.png 1",
    ]
    (tmp_path / "list.txt").write_bytes((mark + newline.join(lines)).encode(encoding))
    assert listed_names(tmp_path / "list.txt") == ["bear", "my dog", "猫", "cows"]


def test_a_list_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("chèvre".encode("latin-1"))
    with pytest.raises(ScoreError, match=r"list\.txt: a list of sequences must be UTF-8 text"):
        listed_names(tmp_path / "list.txt")


@pytest.mark.parametrize("protocol", ["simple", "davis2016", "davis2017_semisupervised", "davis2017_unsupervised"])
@pytest.mark.parametrize(("first", "mask"), [(0, 1), (1, 0), (0, 5), (100, 0)])
def test_masks_numbered_from_another_number_are_refused(tmp_path: Path, protocol: str, first: int, mask: int) -> None:
    for folder, start in (("a", first), ("m", mask)):
        (tmp_path / folder / "cows").mkdir(parents=True)
        for k in range(4):
            save(tmp_path / folder / "cows" / f"{start + k:05d}.png", star())
    said = f"numbered from {mask:05d} to {mask + 3:05d}, frames from {first:05d} to {first + 3:05d}: each mask would be"
    with pytest.raises(ScoreError, match=said):
        collect(tmp_path / "m", tmp_path / "a", get_protocol(protocol), None)


def test_missing_end_frames_matter_only_where_they_count(tmp_path: Path) -> None:
    save_sequence(tmp_path / "a" / "cows", [star()] * 5)
    save_sequence(tmp_path / "m" / "cows", [star()] * 5)
    for end in ("00000", "00004"):
        (tmp_path / "m" / "cows" / f"{end}.png").unlink()
    (files,), said = collect(tmp_path / "m", tmp_path / "a", get_protocol("davis2016"), None)
    assert said == []
    predictions, annotations = read_masks(files, get_protocol("davis2016"))
    assert [p is None for p in predictions] == [True, False, False, False, True]
    assert len(list(annotations)) == 5
    with pytest.raises(ScoreError, match=r"m/cows/00000\.png: missing, and 1 more; protocol simple counts this frame"):
        collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), None)
    (tmp_path / "m" / "cows" / "00002.png").unlink()
    with pytest.raises(ScoreError, match=r"m/cows/00002\.png: missing"):
        collect(tmp_path / "m", tmp_path / "a", get_protocol("davis2016"), None)


def test_what_is_left_aside_is_said(tmp_path: Path) -> None:
    for name in ("bear", "cows"):
        save_sequence(tmp_path / "a" / name, [star()] * 3)
    (tmp_path / "a" / "empty").mkdir()
    (tmp_path / "m" / "empty").mkdir(parents=True)
    save_sequence(tmp_path / "m" / "cows", [star()] * 5)
    save_sequence(tmp_path / "m" / "extra", [star()])
    chosen, said = collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), None)
    assert [files.name for files in chosen] == ["cows"]
    assert said == [
        "1 annotated sequences without masks NOT SCORED: bear",
        "1 sequences without annotations left out: empty",
        "1 sequences of masks without annotations ignored: extra",
        "2 mask files without annotation ignored",
    ]
    with pytest.raises(ScoreError, match=r"m/bear/00000\.png: missing, and 2 more"):
        collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), ["bear"])
    with pytest.raises(ScoreError, match="sequences=goat: no such folder in annotations"):
        collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), ["goat"])


def test_folders_at_another_depth_are_pointed_out(tmp_path: Path) -> None:
    save_sequence(tmp_path / "a" / "480p" / "cows", [star()] * 3)
    right = tmp_path / "a" / "480p"
    with pytest.raises(ScoreError, match=rf"the masks lie one folder deeper; give annotations={right} \(needed"):
        collect(right, tmp_path / "a", get_protocol("simple"), None)
    with pytest.raises(ScoreError, match=rf"the masks lie two folders deeper; give masks={right}"):
        collect(tmp_path, right, get_protocol("simple"), None)
    with pytest.raises(ScoreError, match=rf"the masks lie one folder higher; give masks={right}"):
        collect(right / "cows", right, get_protocol("simple"), None)
    with pytest.raises(ScoreError, match=r"masks=.*nowhere: no such folder"):
        collect(tmp_path / "nowhere", right, get_protocol("simple"), None)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ScoreError, match=r"no \.png files found; expected <sequence>/<frame>\.png"):
        collect(tmp_path / "bare", right, get_protocol("simple"), None)


def test_one_sequence_alone_is_scored(tmp_path: Path) -> None:
    for kind in ("masks", "annotations"):
        save_sequence(tmp_path / kind / "cows", [star()] * 3)
    chosen, said = collect(tmp_path / "masks" / "cows", tmp_path / "annotations" / "cows", get_protocol("simple"), None)
    assert [(files.name, len(files.frames), said) for files in chosen] == [("cows", 3, [])]
    save_sequence(tmp_path / "masks" / "cows" / "more", [star()])
    with pytest.raises(ScoreError, match=r"annotations=.*: the masks lie one folder higher"):
        collect(tmp_path / "masks" / "cows", tmp_path / "annotations" / "cows", get_protocol("simple"), None)
    with pytest.raises(ScoreError, match=r"no \.png files found; expected <class>/<sequence>"):
        collect(
            tmp_path / "annotations" / "cows", tmp_path / "annotations" / "cows", get_protocol("youtube_objects"), None
        )


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    save_sequence(tmp_path / "a" / "cows", [star()])
    save_sequence(tmp_path / "m" / "bear", [star()])
    with pytest.raises(ScoreError, match="none of its sequences is annotated"):
        collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), None)


def test_youtube_objects_has_classes_above_its_sequences(tmp_path: Path) -> None:
    save_sequence(tmp_path / "a" / "cat" / "0001", [star()] * 2, step=10)
    save_sequence(tmp_path / "m" / "cat" / "0001", [star()] * 11)
    (files,), said = collect(tmp_path / "m", tmp_path / "a", get_protocol("youtube_objects"), None)
    assert files.name == "cat/0001"
    assert files.frames == ("00000", "00010")
    assert said == ["9 mask files without annotation ignored"]


@pytest.mark.parametrize(
    ("masks", "refused"),
    [
        (range(1, 9), True),  # as many
        (range(1, 8), False),  # the first has none, which davis2016 allows
        (range(1, 10), True),  # one more than frames
        (range(2, 9), True),  # one missing
        (range(100, 108), False),  # of other frames altogether: missing
        (range(8), False),
        (range(10), False),
        (range(7), False),
    ],
)
@pytest.mark.parametrize("prefix", ["", "cows_", "mask_"])
def test_shifted_masks_are_refused_with_some_missing_or_extra(
    tmp_path: Path, masks: range, refused: bool, prefix: str
) -> None:
    save_sequence(tmp_path / "a" / "cows", [star()] * 8)
    for k in masks:
        save(tmp_path / "m" / "cows" / f"{prefix}{k:05d}.png", star())
    if refused:
        with pytest.raises(
            ScoreError, match=rf"masks are numbered from {masks[0]:05d} to {masks[-1]:05d}, frames from"
        ):
            collect(tmp_path / "m", tmp_path / "a", get_protocol("davis2016"), None)
    elif masks[0] == 100:
        with pytest.raises(ScoreError, match=r"masks are numbered from 00100"):
            collect(tmp_path / "m", tmp_path / "a", get_protocol("davis2016"), None)
    else:
        (files,), _ = collect(tmp_path / "m", tmp_path / "a", get_protocol("davis2016"), None)
        found = [path and int(path.stem.removeprefix(prefix)) for path in files.predictions]
        assert found == [k if k in masks else None for k in range(8)]


def test_sparse_annotations_and_dense_masks_are_not_shifted(tmp_path: Path) -> None:
    save_sequence(tmp_path / "a" / "cows", [star()] * 4, step=10)
    for k in range(1, 40):
        save(tmp_path / "m" / "cows" / f"{k:05d}.png", star())
    (files,), said = collect(tmp_path / "m", tmp_path / "a", get_protocol("davis2016"), None)
    assert [path and path.stem for path in files.predictions] == [None, "00010", "00020", "00030"]
    assert said == ["36 mask files without annotation ignored"]


@pytest.mark.parametrize("name", ["seq_00000", "00000_mask", "00000-gt", "mask_00000", "label-00000"])
def test_names_with_the_same_addition_are_understood(tmp_path: Path, name: str) -> None:
    save_sequence(tmp_path / "a" / "seq", [star()] * 3)
    for k in range(3):
        save(tmp_path / "m" / "seq" / f"{name.replace('00000', f'{k:05d}')}.png", star())
    (files,), said = collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), None)
    assert None not in files.predictions
    assert said == []


def test_folders_that_programs_make_are_no_sequences(tmp_path: Path) -> None:
    for part in ("a", "m"):
        save_sequence(tmp_path / part / "cows", [star()] * 3)
        for folder in ("@eaDir", ".ipynb_checkpoints", "__MACOSX"):
            save_sequence(tmp_path / part / folder, [star()] * (3 if part == "a" else 2))
    chosen, said = collect(tmp_path / "m", tmp_path / "a", get_protocol("simple"), None)
    assert [files.name for files in chosen] == ["cows"]
    assert said == []
