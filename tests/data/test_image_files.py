"""Photos as cameras and phones write them, whole and cut."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from agnn_lit.data.footage import open_footage
from agnn_lit.data.image_files import file_size
from agnn_lit.data.video import DataError
from tests.data.videos import picture


def jpeg(picture_, thumbnail=False, progressive=False) -> bytes:
    """A JPEG photo, with a thumbnail in its EXIF data as cameras write it."""
    data = cv2.imencode(".jpg", picture_, [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)])[1].tobytes()
    if not thumbnail:
        return data
    small = cv2.imencode(".jpg", picture_[::4, ::4])[1].tobytes()
    body = b"Exif\x00\x00" + b"II*\x00\x08\x00\x00\x00" + bytes(60) + small + bytes(3)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
TAILS = {
    "zeros": bytes(1000),
    "a film": b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 20,
    "trailer": b"SEFH" + b"\x01\xff\xd8" * 200 + b"SEFT",
    "nothing": b"",
}


def photo(kind: str) -> bytes:
    """A PNG file, or a plain, thumbnailed or progressive JPEG file."""
    return (
        cv2.imencode(".png", NOISE)[1].tobytes()
        if kind == "png"
        else jpeg(NOISE, **({} if kind == "plain" else {kind: True}))
    )


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", ["plain", "thumbnail", "progressive", "png"])
def test_data_after_the_end_of_a_photo_does_not_matter(tmp_path, tail, kind):
    data = photo(kind)
    (tmp_path / f"0.{'png' if kind == 'png' else 'jpg'}").write_bytes(data + TAILS[tail])
    footage = open_footage(tmp_path)
    assert not footage.unreadable
    assert footage.frame(0).shape == (64, 96, 3)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["plain", "thumbnail", "progressive", "png"])
def test_a_photo_that_is_cut_is_refused(tmp_path, share, kind):
    """Also one whose thumbnail has an end marker, and one cut right behind it."""
    data = photo(kind)
    places = [int(share * len(data))] + ([data.index(b"\xff\xd9") + 4] if kind == "thumbnail" else [])
    for place in places:
        file = tmp_path / f"0.{'png' if kind == 'png' else 'jpg'}"
        file.write_bytes(data[:place])
        with pytest.raises(DataError, match=r"none of the 1 images can be read .*(truncated|unreadable)"):
            open_footage(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photos_have_the_size_of_their_frames(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    file = tmp_path / f"0.{kind.lower()}"
    Image.fromarray(picture(0)).save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    size = (64, 48) if orientation > 4 else (48, 64)
    assert file_size(file) == (size, None)
    footage = open_footage(file)
    assert footage.frame(0).shape == (*size, 3)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    assert np.abs(footage.frame(0).astype(int) - expected).mean() < 5
