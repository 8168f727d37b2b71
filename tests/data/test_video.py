"""Videos whose frames and masks are files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from agnn_lit.data.video import DataError, DiskVideo, cut
from tests.data.disk import davis, make_davis


def test_one_bit_and_colour_masks_are_foreground_above_zero(tmp_path):
    bits = np.zeros((4, 6), bool)
    bits[1, 2] = True
    Image.fromarray(bits).save(tmp_path / "bits.png")
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[1, 2, 2] = 9
    Image.fromarray(colour).save(tmp_path / "colour.png")
    for name in ("bits.png", "colour.png"):
        video = DiskVideo("v", (tmp_path / name,), (tmp_path / name,))
        np.testing.assert_array_equal(video.mask(0), bits)


@pytest.mark.parametrize("share", [0.6667, 0.5, 0.1])
def test_ranges_that_meet_share_no_frame_and_leave_none_out(tmp_path, share):
    make_davis(tmp_path)
    (video, *_) = davis(tmp_path)
    first, last = cut(video, 0.0, share), cut(video, share, 1.0)
    assert first.frames + last.frames == video.frames
    assert first.masks + last.masks == video.masks
    assert len(first) == {0.6667: 4, 0.5: 3, 0.1: 1}[share]  # of 5


def test_an_unreadable_file_names_itself_when_it_is_read(tmp_path):
    make_davis(tmp_path)
    video = davis(tmp_path, "val")[0]
    video.frames[0].write_bytes(b"\xff\xd8 broken")
    video.masks[0].write_bytes(b"broken")
    with pytest.raises(DataError, match=r"00000\.jpg: cannot be read"):
        video.frame(0)
    with pytest.raises(DataError, match=r"00000\.png: cannot be read as a PNG image"):
        video.mask(0)
