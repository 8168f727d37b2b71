"""Mask files in every encoding and format, and what 255 means in a sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agnn_lit.metrics.mask_image import Annotations, read_foreground, read_ids, without_void
from agnn_lit.metrics.protocols import ScoreError

from .masks import save, star

ENCODINGS = ("1", "255", "bit", "palette", "16", "rgb", "rgba")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_foreground_is_the_same_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    mask = star()
    np.testing.assert_array_equal(read_foreground(save(tmp_path / "m.png", mask, encoding)) > 0, mask > 0)


def test_transparency_is_no_foreground(tmp_path: Path) -> None:
    pixels = np.zeros((4, 5, 4), np.uint8)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert not read_foreground(tmp_path / "m.png").any()


def test_ids_are_palette_indices_or_grey_values(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [3, 2, 0]], np.uint8)
    for encoding in ("1", "palette"):
        np.testing.assert_array_equal(read_ids(save(tmp_path / f"{encoding}.png", ids, encoding)), ids)
    np.testing.assert_array_equal(read_ids(save(tmp_path / "bit.png", ids > 0, "bit")), ids > 0)
    image = Image.fromarray(ids * 85)  # 2 bits a pixel store 0..3, and are read as 0, 85, 170, 255
    palette = image.convert("P")
    palette.putdata(list(ids.ravel()))
    palette.save(tmp_path / "two.png", bits=2)
    np.testing.assert_array_equal(read_ids(tmp_path / "two.png"), ids)
    with pytest.raises(ScoreError, match=r"rgb\.png: image mode RGB: object ids need a palette"):
        read_ids(save(tmp_path / "rgb.png", ids, "rgb"))


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    whole = save(tmp_path / "whole.png", star()).read_bytes()
    (tmp_path / "bad.png").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ScoreError, match=r"bad\.png: cannot be read as a PNG image"):
        read_foreground(tmp_path / "bad.png")
    with pytest.raises(ScoreError, match=r"none\.png: no such file"):
        read_foreground(tmp_path / "none.png")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_is_no_foreground_in_any_mode(tmp_path: Path, mode: str) -> None:
    """GIMP and ImageMagick write grey masks with transparency."""
    grey = Image.fromarray(255 * star().astype(np.uint8))
    if mode == "PA":
        image = grey.convert("P")
        image.save(tmp_path / "m.png", transparency=bytes([255] * 256))
    else:
        image = grey.convert(mode)
        image.putalpha(255)
        image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_foreground(tmp_path / "m.png") > 0, star() > 0)
    np.testing.assert_array_equal(Annotations([]).foreground(tmp_path / "m.png"), star() > 0)


def ramp(kind: type = np.uint8) -> np.ndarray:
    top = 1.0 if np.dtype(kind).kind == "f" else np.iinfo(kind).max
    return (np.linspace(0, 1, 40)[None].repeat(6, 0) * top).astype(kind)


@pytest.mark.parametrize(("kind", "suffix"), [(np.uint8, "png"), (np.uint16, "png"), (np.float32, "tiff")])
def test_soft_maps_need_a_threshold(tmp_path: Path, kind: type, suffix: str) -> None:
    Image.fromarray(ramp(kind)).save(tmp_path / f"soft.{suffix}")
    with pytest.raises(
        ScoreError, match=rf"soft\.{suffix}: 40 grey values: a soft map, not a mask; give threshold=127"
    ):
        read_foreground(tmp_path / f"soft.{suffix}")
    half = read_foreground(tmp_path / f"soft.{suffix}", 0.5)
    np.testing.assert_array_equal(half, ramp(np.float64) > 0.5)
    np.testing.assert_array_equal(Annotations([]).foreground(tmp_path / f"soft.{suffix}"), half)


def test_a_threshold_is_a_grey_value_from_one_on(tmp_path: Path) -> None:
    Image.fromarray(ramp()).save(tmp_path / "soft.png")
    for threshold in (1, 127, 254):
        np.testing.assert_array_equal(read_foreground(tmp_path / "soft.png", threshold), ramp() > threshold)
    Image.merge("RGB", [Image.fromarray(ramp())] * 3).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_foreground(tmp_path / "rgb.png", 127), ramp() > 127)
    Image.fromarray(ramp()).convert("P").save(tmp_path / "grey_palette.png")
    for name in ("rgb", "grey_palette"):
        with pytest.raises(ScoreError, match="a soft map"):
            read_foreground(tmp_path / f"{name}.png")


def test_many_ids_are_no_soft_map(tmp_path: Path) -> None:
    """Up to 20 proposals as grey values, any number as palette indices, a palette of few colours turned grey."""
    ids = np.arange(21, dtype=np.uint8)[None].repeat(3, 0)
    np.testing.assert_array_equal(read_foreground(save(tmp_path / "grey.png", ids, "1")), ids)
    image = Image.fromarray(9 * ids).convert("P")
    image.putpalette([c for k in range(256) for c in (k, 255 - k, 7)])
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_foreground(tmp_path / "palette.png"), 9 * ids)
    np.testing.assert_array_equal(read_foreground(save(tmp_path / "few.png", 12 * (ids // 2), "1")), 12 * (ids // 2))


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "WEBP", "PPM", "TGA"])
def test_lossless_formats_are_read_whatever_their_name(tmp_path: Path, kind: str) -> None:
    mask = star().astype(np.uint8)
    Image.fromarray(255 * mask).save(tmp_path / "m.png", kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(read_foreground(tmp_path / "m.png") > 0, mask > 0)
    if kind != "WEBP":  # which has no grey
        Image.fromarray(3 * mask).save(tmp_path / "ids.png", kind)
        np.testing.assert_array_equal(read_ids(tmp_path / "ids.png") > 0, mask > 0)
    if kind in ("BMP", "TIFF"):
        assert read_ids(tmp_path / "ids.png").max() == 3


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("WEBP", {}), ("TIFF", {"compression": "jpeg"})])
def test_lossy_masks_are_refused_by_name(tmp_path: Path, kind: str, options: dict[str, str]) -> None:
    Image.fromarray(255 * star().astype(np.uint8)).save(tmp_path / "m.png", kind, **options)
    for read in (read_foreground, read_ids, Annotations([]).foreground, Annotations([]).ids):
        with pytest.raises(ScoreError, match=rf"m\.png: a {kind}.* image, which is lossy"):
            read(tmp_path / "m.png")


def sequence(folder: Path, frames: list[list[int]], encoding: str) -> Annotations:
    for k, values in enumerate(frames):
        image = Image.fromarray(np.array([values], np.uint8))
        if encoding == "palette":
            image = image.convert("P")
            image.putpalette([c for k in range(256) for c in (k, 255 - k, 7)])
        image.save(folder / f"{k}.png")
    return Annotations([None, *(folder / f"{k}.png" for k in range(len(frames)))])


@pytest.mark.parametrize("encoding", ["grey", "palette"])
def test_the_sequence_decides_what_255_is(tmp_path: Path, encoding: str) -> None:
    with_ids = sequence(tmp_path, [[0, 255, 255], [0, 2, 255], [1, 1, 0]], encoding)
    assert [with_ids.foreground(tmp_path / f"{k}.png").tolist() for k in range(3)] == [
        [[0, -1, -1]],
        [[0, 1, -1]],
        [[1, 1, 0]],
    ]
    assert with_ids.ids(tmp_path / "0.png").tolist() == [[0, 255, 255]]
    without = sequence(tmp_path, [[0, 255, 255], [0, 0, 255]], encoding)
    assert without.foreground(tmp_path / "0.png").tolist() == [[0, 1, 1]]
    assert without.ids(tmp_path / "0.png").tolist() == [[0, 1, 1]]


def test_two_bits_a_pixel_have_no_void(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 1))
    palette.putdata([0, 1, 2, 3])
    palette.putpalette([0, 0, 0, 9, 9, 9, 7, 7, 7, 255, 255, 255])
    palette.save(tmp_path / "two.png", bits=2)
    assert Annotations([tmp_path / "two.png"]).foreground(tmp_path / "two.png").tolist() == [[0, 1, 1, 1]]


def test_void_leaves_both_masks() -> None:
    prediction, annotation = np.ones((1, 3), np.uint8), np.array([[0, 1, -1]], np.int8)
    assert [mask.tolist() for mask in without_void(prediction, annotation)] == [[[1, 1, 0]], [[0, 1, 0]]]
    plain = np.array([[0, 255]], np.uint8)
    assert without_void(plain, plain) == (plain, plain)


def test_a_palette_of_greys_may_begin_with_white(tmp_path: Path) -> None:
    """As programs that reduce the number of colours order it; as object ids, indices stay indices."""
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 0])
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "m.png")
    assert (read_foreground(tmp_path / "m.png") > 0).tolist() == [[True, False, True]]
    assert Annotations([tmp_path / "m.png"]).foreground(tmp_path / "m.png").tolist() == [[1, 0, 1]]
    assert read_ids(tmp_path / "m.png").tolist() == [[0, 1, 0]]
    image.putpalette([0, 0, 0, 0, 0, 0])  # no palette worth the name
    image.save(tmp_path / "black.png")
    assert (read_foreground(tmp_path / "black.png") > 0).tolist() == [[False, True, False]]
