"""Files of several pictures: TIFF stacks and animations."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from agnn_lit.data.footage import open_footage
from agnn_lit.data.video import DataError
from tests.data.videos import picture


@pytest.mark.parametrize(
    ("suffix", "more"), [("tiff", {}), ("tif", {"compression": "tiff_lzw"}), ("webp", {"lossless": True}), ("png", {})]
)
def test_stacks_and_animations_are_all_their_pictures(tmp_path, suffix, more):
    pages = [Image.fromarray(picture(t)) for t in range(8)]
    timed = {} if suffix.startswith("tif") else {"duration": 80}
    pages[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pages[1:], **timed, **more)
    footage = open_footage(tmp_path / f"a.{suffix}", fps=10)
    assert [footage.frame_name(i) for i in range(len(footage))] == [f"{i:05d}" for i in range(8)]
    for t in (5, 0, 7, 3):
        assert np.array_equal(footage.frame(t), picture(t))
    assert [float(stamp * footage.clock[1]) for stamp in footage.clock[0]][:2] == [0.0, 0.08 if timed else 0.1]
    with pytest.raises(DataError, match=rf"a\.{suffix}: holds 8 pictures, where one is expected"):
        open_footage(tmp_path)


def test_sixteen_bits_and_thumbnails_in_a_stack(tmp_path):
    grey = [np.full((6, 8), 256 * value, np.uint16) for value in (10, 200)]
    pages = [Image.fromarray(page) for page in grey]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    footage = open_footage(tmp_path / "a.tiff")
    assert [int(footage.frame(i)[0, 0, 1]) for i in range(len(footage))] == [10, 200]
    photo, small = Image.fromarray(picture(0)), Image.fromarray(picture(0)[::4, ::4].copy())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    photo.save(tmp_path / "b.tiff", save_all=True, append_images=[small])
    with Image.open(tmp_path / "b.tiff") as file:
        file.seek(1)
        reduced = file.tag_v2.get(254)
    if reduced == 1:
        assert len(open_footage(tmp_path / "b.tiff")) == 1
