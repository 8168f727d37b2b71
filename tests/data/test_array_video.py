"""Frames in memory, in the forms that people have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agnn_lit.data.array_video import open_arrays
from agnn_lit.data.footage import open_footage
from agnn_lit.data.video import DataError
from tests.data.videos import picture

FRAMES = np.stack([picture(t, 24, 32) for t in range(4)])
FORMS = {
    "array": FRAMES,
    "list of arrays": list(FRAMES),
    "channels first": FRAMES.transpose(0, 3, 1, 2),
    "tensor": torch.from_numpy(FRAMES),
    "list of tensors": list(torch.from_numpy(FRAMES)),
    "tensor, channels first": torch.from_numpy(FRAMES).permute(0, 3, 1, 2),
    "floats": FRAMES.astype(np.float32) / 255,
    "doubles": FRAMES / 255.0,
    "tensor of floats": torch.from_numpy(FRAMES).float() / 255,
    "with gradient": (torch.from_numpy(FRAMES).float() / 255).requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_frames(form):
    video = open_arrays(FORMS[form])
    assert (len(video), video.size, video.frame_name(3)) == (4, (24, 32), "00003")
    assert np.array_equal(np.stack([video.frame(t) for t in range(4)]), FRAMES)
    assert video.digest() == open_arrays(FRAMES).digest()


def test_a_single_frame_is_a_video_of_one():
    assert len(open_arrays(FRAMES[0])) == 1
    assert len(open_arrays(torch.from_numpy(FRAMES[0]).permute(2, 0, 1))) == 1


def test_frames_three_pixels_high_are_not_taken_for_channels():
    assert open_arrays(np.zeros((2, 3, 8, 3), np.uint8)).size == (3, 8)


def test_half_floats_are_within_their_precision():
    for dtype in (torch.float16, torch.bfloat16):
        video = open_arrays(torch.from_numpy(FRAMES).to(dtype) / 255)
        assert np.abs(video.frame(1).astype(int) - FRAMES[1]).max() <= (1 if dtype is torch.float16 else 2)


def test_footage_in_memory_has_the_rate_that_is_given():
    footage = open_footage(FRAMES, fps=10)
    stamps, unit = footage.clock
    assert [float(stamp * unit) for stamp in stamps] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert footage.size == (24, 32)
    assert footage.fingerprint() != open_footage(FRAMES[::-1]).fingerprint()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "there are no frames"),
        (np.zeros((0, 8, 8, 3), np.uint8), "there are no frames"),
        (FRAMES[0, 0], r"frames are of shape \(32, 3\); expected \(N, H, W, 3\)"),
        (np.zeros((4, 8, 8, 4), np.uint8), r"frame 0 is of shape \(8, 8, 4\); expected \(H, W, 3\)"),
        (FRAMES.astype(np.int64), "frame 0 is of type int64; expected uint8, or floats from 0 to 1"),
        (FRAMES.astype(np.float32), "frame 0 has values from 0 to 200; floats must be from 0 to 1"),
        (np.full((1, 8, 8, 3), np.nan), "frame 0 has values from nan to nan"),
        ((frame for frame in FRAMES), "given as generator; expected a path, .* a generator must become a list"),
        (7, "given as int; expected a path"),
    ],
)
def test_what_is_no_video_is_refused(given, message):
    with pytest.raises(DataError, match=message):
        open_footage(given)


def test_a_later_frame_that_is_no_picture_is_named():
    video = open_arrays([FRAMES[0], FRAMES[1, 0]])
    with pytest.raises(DataError, match=r"frame 1 is of shape \(32, 3\)"):
        video.frame(1)
