"""Frames as the network takes them, and augmentation that frames and masks share."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from agnn_lit.data.transforms import MEAN, STD, Appearance, ClipTransform, normalise, to_input


def test_a_window_is_cut_out_at_a_random_place_for_frames_and_masks_alike():
    """Of a horizontal ramp, the window shows which part of the frame it is."""
    ramp = torch.arange(100, dtype=torch.uint8).expand(2, 3, 100, 100)
    masks = (ramp[:, 0] >= 50).to(torch.uint8)
    transform = ClipTransform((100, 100), flip=0, scale=(1.0, 1.0), crop=0.9)
    lefts = set()
    for seed in range(20):
        images, targets = transform(ramp, masks, seed=(seed,))
        grey = (images[0, 0] * STD[0] + MEAN[0]) * 255
        low, high = float(grey.min()), float(grey.max())
        assert high - low == pytest.approx(89, abs=1.5)
        assert float(((grey >= 49.5) == (targets[0] > 0)).float().mean()) > 0.985
        lefts.add(round(low))
    assert len(lefts) > 4


def test_normalised_mean_colour_is_zero():
    frame = torch.tensor([round(255 * m) for m in MEAN], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(frame).abs().max() < 0.5 / 255 / min(STD) + 1e-6


def test_caffe_preprocessing_is_blue_first_in_bytes_less_the_mean():
    frame = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    bgr = np.stack([frame[..., 2], frame[..., 1], frame[..., 0]], axis=-1)
    mean = np.array([104.00698793, 116.66876762, 122.67891434], np.float32)
    expected = (cv2.resize(bgr, (20, 16)).astype(np.float32) - mean).transpose(2, 0, 1)
    assert np.array_equal(to_input([frame], (16, 20), "caffe")[0].numpy(), expected)
    same = torch.from_numpy(frame).permute(2, 0, 1)[None]
    training = ClipTransform((30, 50), 0.0, (1.0, 1.0), "caffe")
    images, _ = training(same, torch.zeros(1, 30, 50, dtype=torch.uint8), (0,))
    assert torch.equal(images, to_input([frame], (30, 50), "caffe"))


def test_what_a_small_clip_is_padded_with_is_about_zero():
    frames = torch.full((1, 3, 20, 20), 255, dtype=torch.uint8)
    for kind, step in (("imagenet", 1 / 255 / min(STD)), ("caffe", 1.0)):
        images, _ = ClipTransform((20, 20), 0.0, (0.5, 0.5), kind)(
            frames, torch.ones(1, 20, 20, dtype=torch.uint8), (0,)
        )
        assert (images.abs().amax(1) < step).float().mean() == pytest.approx(0.75)


def test_images_and_masks_share_their_geometry():
    """A mask drawn as an image must stay aligned with itself through flip, zoom and crop."""
    rng = np.random.default_rng(0)
    square = np.zeros((2, 40, 40), np.uint8)
    square[0, 5:15, 8:30], square[1, 20:35, 3:12] = 1, 1
    frames = torch.from_numpy(np.repeat(square[:, None] * 255, 3, axis=1))
    transform = ClipTransform((40, 40), flip=0.5, scale=(0.7, 1.3))
    for n in rng.integers(0, 1000, 20):
        image, mask = transform(frames, torch.from_numpy(square), seed=(int(n),))
        bright = image[:, 0] * STD[0] + MEAN[0] > 0.75
        inside = mask > 0
        assert (bright & ~inside).sum() <= 0.15 * inside.sum() + 12
        assert (inside & ~(image[:, 0] * STD[0] + MEAN[0] > 0.25)).sum() <= 0.15 * inside.sum() + 12


def test_scale_one_and_no_flip_is_a_resize():
    frames = torch.randint(0, 255, (2, 3, 16, 16), dtype=torch.uint8)
    image, mask = ClipTransform((16, 16), 0.0, (1.0, 1.0))(frames, torch.ones(2, 16, 16, dtype=torch.uint8), (0,))
    assert torch.equal(image, normalise(frames))
    assert mask.min() == 1


def test_to_input_brings_frames_of_any_size_together():
    frames = [np.zeros((10, 20, 3), np.uint8), np.zeros((30, 15, 3), np.uint8)]
    assert to_input(frames, (16, 24)).shape == (2, 3, 16, 24)


@pytest.mark.parametrize("size", [(24, 36), (60, 90), (120, 216)])
def test_masks_stay_on_their_frames_at_every_size(size):
    """A frame that is white exactly where its mask is one keeps that through resize, zoom, flip and crop."""
    masks = torch.zeros(2, 96, 144, dtype=torch.uint8)
    masks[0, 17:58, 31:90], masks[1, 40:41, 3:140] = 1, 1
    frames = (255 * masks)[:, None].expand(-1, 3, -1, -1).contiguous()
    for scale in ((1.0, 1.0), (0.7, 1.3)):
        images, targets = ClipTransform(size, scale=scale)(frames, masks, seed=(1, 2))
        bright = (images[:, 0] * STD[0] + MEAN[0]) > 0.5
        padded = images[:, 0].abs() < 0.02  # the mean colour around a smaller clip, just below half bright
        assert torch.equal(bright & ~padded, targets.bool())
    plain = ClipTransform(size, flip=0, scale=(1.0, 1.0))(frames, masks, seed=(0,))[1][0]
    rows, columns = (torch.nonzero(plain.any(dim)).float().mean() for dim in (1, 0))
    assert rows + 0.5 == pytest.approx((17 + 58) / 2 * size[0] / 96, abs=0.51)
    assert columns + 0.5 == pytest.approx((31 + 90) / 2 * size[1] / 144, abs=0.51)


@pytest.mark.parametrize("size", [(192, 192), (120, 270), (270, 120)])
def test_zoom_has_the_range_asked_for_whatever_the_shape(size):
    masks = torch.zeros(1, 100, 120, dtype=torch.uint8)
    masks[0, 40:60, 48:72] = 1  # a fifth of each side, in the middle: no crop cuts it
    frames = torch.zeros(1, 3, 100, 120, dtype=torch.uint8)
    for scale in [(1.0, 1.0), [1.0, 1.0], (0.8, 0.8), (1.25, 1.25)]:
        found = ClipTransform(size, flip=0, scale=scale)(frames, masks, seed=(5,))[1]
        expected = 0.04 * size[0] * size[1] * scale[0] ** 2
        assert found.sum() == pytest.approx(expected, rel=0.1)
    areas = [ClipTransform(size, scale=(0.7, 1.3))(frames, masks, seed=(k,))[1].sum() for k in range(60)]
    relative = [float(a) / (0.04 * size[0] * size[1]) for a in areas]
    assert 0.7**2 * 0.9 < min(relative) < 0.75
    assert 1.35 < max(relative) < 1.3**2 * 1.1


def test_training_sees_frames_as_inference_does():
    """Without augmentation, a clip of any shape is what inference makes of the same frames."""
    frames = [np.random.default_rng(k).integers(0, 255, (48, 86, 3), dtype=np.uint8) for k in range(2)]
    stacked = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    masks = torch.zeros(2, 48, 86, dtype=torch.uint8)
    images, _ = ClipTransform((24, 43), flip=0, scale=[1.0, 1.0])(stacked, masks, seed=(0,))
    assert torch.equal(images, to_input(frames, (24, 43)))


def grey_clip(frames=3):
    """Frames that are all alike, with a colour and a texture."""
    rng = np.random.default_rng(0)
    one = np.clip(rng.normal((150, 100, 60), 25, (40, 50, 3)), 0, 255).astype(np.uint8)
    return torch.from_numpy(one).permute(2, 0, 1).expand(frames, 3, 40, 50).contiguous()


@pytest.mark.parametrize("change", [{"jitter": 1.0}, {"blur": 1.0}, {"jpeg": 1.0}])
@pytest.mark.parametrize("per_frame", [False, True])
def test_a_change_of_appearance_is_drawn_once_a_clip_or_for_each_frame(change, per_frame):
    clip = grey_clip()
    torch.manual_seed(0)
    changed = Appearance(**change, per_frame=per_frame)(clip)
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed[0], clip[0])
    assert torch.equal(changed[0], changed[1]) is not per_frame


def test_blur_smooths_and_compression_changes_little():
    clip = grey_clip(1)
    roughness = lambda x: x.float().diff(dim=-1).abs().mean()  # noqa: E731
    torch.manual_seed(0)
    assert roughness(Appearance(blur=1.0)(clip)) < 0.8 * roughness(clip)
    assert 0 < (Appearance(jpeg=1.0)(clip).float() - clip.float()).abs().mean() < 25


def test_a_change_of_appearance_leaves_masks_and_geometry_alone():
    frames, masks = grey_clip(), torch.randint(0, 2, (3, 40, 50), dtype=torch.uint8)
    plain = ClipTransform((32, 32))
    changed = ClipTransform((32, 32), appearance=Appearance(1.0, 1.0, 1.0))
    images, targets = plain(frames, masks, (7,))
    others, same = changed(frames, masks, (7,))
    assert torch.equal(targets, same)
    assert not torch.equal(images, others)
    assert torch.equal(changed(frames, masks, (7,))[0], others)


def test_void_moves_with_the_mask_and_changes_nothing_else():
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (2, 3, 24, 32), dtype=np.uint8))
    masks = torch.zeros(2, 24, 32, dtype=torch.int8)
    masks[:, 4:12, 3:20] = 1
    with_void = masks.clone()
    with_void[:, 12:16, 3:20] = -1  # below the object
    transform = ClipTransform((24, 32), 0.5, (0.7, 1.3), appearance=Appearance(jitter=1.0, blur=0.5))
    for seed in range(8):
        plain, moved = transform(frames, masks, (seed,)), transform(frames, with_void, (seed,))
        assert torch.equal(plain[0], moved[0])
        assert torch.equal(plain[1] > 0, moved[1] > 0)
        rows = torch.arange(24)[None, :, None]
        void, inside = moved[1] == -1, moved[1] > 0
        lowest = torch.where(inside, rows, -1).amax()
        assert lowest < torch.where(void, rows, 99).amin() <= lowest + 2  # right below the object
        assert 20 < void.sum() <= 2 * 17 * 4 * 1.3**2 + 40
