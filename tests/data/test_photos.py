"""Photographs as clips: motion, passers-by, and training on them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from agnn_lit.config import ConfigError, StaticConfig, check_train
from agnn_lit.data.dataset import ClipKey, StaticClip
from agnn_lit.data.open import open_static_images, open_training_videos, open_videos
from agnn_lit.data.photos import PhotoClips, PhotoMotion, among_onlookers, largest_object, photo_clip
from agnn_lit.data.sampling import Seed
from agnn_lit.data.transforms import MEAN, STD, ClipTransform
from agnn_lit.data.video import DataError
from agnn_lit.training.build import build_datamodule, plan_epochs
from tests.configs import train_config
from tests.data.disk import disc, make_photos

STILL = PhotoMotion(motion=0.0, deformation=0.0, zoom=(1.0, 1.0), flip=0.0)


def test_without_motion_every_frame_is_the_photograph():
    image, mask = disc()
    images, masks = photo_clip((image, mask), [], 3, (60, 80), STILL, np.random.default_rng(0))
    assert images.shape == (3, 60, 80, 3)
    # A stretch of up to 10 % and a place that depends on it stay; the disc is seen whole.
    assert (masks == masks[0]).all()
    assert masks[0].sum() == pytest.approx(mask.sum(), rel=0.05)
    assert (images == images[0]).all()


def test_masks_follow_their_objects():
    """The disc is the only red thing: where the mask is, the image must be red, in every frame of every draw."""
    motion = PhotoMotion(motion=0.2, deformation=0.03)
    for seed in range(20):
        images, masks = photo_clip(disc(), [], 3, (48, 64), motion, np.random.default_rng(seed))
        red = images[..., 0].astype(int) - images[..., 1] > 80
        assert (red == (masks > 0)).mean() > 0.99
        assert masks.any(axis=(1, 2)).sum() >= 2
    assert not np.array_equal(masks[0], masks[1])


def test_large_photographs_are_shrunk_without_aliasing():
    """Stripes of one pixel at 6 times the size of the clip become grey."""
    stripes = np.zeros((360, 480, 3), np.uint8)
    stripes[:, ::2] = 255
    images, _ = photo_clip((stripes, np.zeros((360, 480), np.uint8)), [], 1, (60, 80), STILL, np.random.default_rng(0))
    assert abs(images.astype(int) - 127).max() < 40


def test_passers_by_are_background_unless_all_frames_show_them():
    """Blue discs on a photograph of a red one: blue is in the mask exactly where all frames show it."""
    counts = {"some": 0, "all": 0}
    blue = disc(size=(40, 40), colour=(30, 30, 220), centre=(20, 20), radius=15)
    for seed in range(60):
        images, masks = photo_clip(disc(), [blue], 3, (60, 80), STILL, np.random.default_rng(seed))
        is_blue = images[..., 2].astype(int) - images[..., 0] > 150
        shown = is_blue.any(axis=(1, 2))
        assert shown.any()
        counts["all" if shown.all() else "some"] += 1
        assert masks[is_blue].mean() == (1 if shown.all() else 0)
        red = images[..., 0].astype(int) - images[..., 2] > 150
        assert masks[red].all()
    assert counts["some"] == pytest.approx(40, abs=12)


def test_a_clip_is_a_function_of_seed_and_key(tmp_path):
    photos = open_static_images(StaticConfig(roots=[str(make_photos(tmp_path, 4))], share=0.5))
    clips = PhotoClips(
        photos, 3, (32, 48), PhotoMotion(passers_by=2), ClipTransform((32, 48), 0.0, (1.0, 1.0)), Seed(3)
    )
    first, again, other = clips[ClipKey(0, 1)], clips[ClipKey(0, 1)], clips[ClipKey(1, 1)]
    assert first.images.shape == (3, 3, 32, 48)
    assert first.masks.shape == (3, 32, 48)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert clips.describe(ClipKey(0, 1)).startswith(photos[1].name)


def test_finishing_changes_only_the_normalisation():
    frames = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8)
    masks = torch.randint(0, 2, (2, 20, 30), dtype=torch.uint8)
    images, targets = ClipTransform((20, 30), 0.0, (1.0, 1.0))(frames, masks, (0,))
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    assert torch.equal(targets, masks.float())
    assert torch.allclose((images * std + mean) * 255, frames.float(), atol=1e-3)


def test_smaller_folders_are_used_more_often(tmp_path):
    roots = [str(make_photos(tmp_path / name, count)) for name, count in (("few", 2), ("many", 7))]
    names = [image.name for image in open_static_images(StaticConfig(roots=roots, share=0.5, balance=True))]
    assert sorted(names.count(f"few/{k}") for k in range(2)) == [4, 4]  # 7 / 2, rounded to even
    assert [names.count(f"many/{k}") for k in range(7)] == [1] * 7
    assert len(open_static_images(StaticConfig(roots=roots, share=0.5))) == 9


def test_photographs_alone_train_the_graph(tmp_path):
    roots = [str(make_photos(tmp_path / name, count)) for name, count in (("few", 3), ("many", 9))]
    cfg = train_config("data=photos", f"static.roots=[{','.join(roots)}]", "static.balance=true", "clips.batch_size=2")
    check_train(cfg)
    train, held = open_training_videos(cfg)
    assert len(held) == 2  # val_share 0.2 of 12
    assert not {v.name for v in train} & {v.name for v in held}
    data = build_datamodule(cfg, train, held)
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (2, 3, 3, 32, 32)
    assert not isinstance(batch, StaticClip)
    with pytest.raises(DataError, match="data=photos has no test videos"):
        open_videos(cfg.data, "test", 1)


def test_a_share_of_each_batch_is_made_of_photographs(tmp_path):
    root = make_photos(tmp_path, 5)
    cfg = train_config(f"static.roots=[{root}]", "static.share=0.5", "clips.batch_size=4")
    check_train(cfg)
    videos, held = open_training_videos(cfg)
    static = open_static_images(cfg.static)
    plan = plan_epochs(cfg, len(videos), len(static))
    batches = [batch for epoch in range(5) for batch in plan.batches(epoch)]
    assert [[key.static for key in batch] for batch in batches] == [[False, False, True, True]] * 20
    for epoch in range(5):  # each video once an epoch
        assert sorted(key.clip for b in batches[4 * epoch : 4 * epoch + 4] for key in b if not key.static) == [
            *range(8)
        ]
    photos = [key for batch in batches for key in batch if key.static]
    for passes in range(8):  # each photograph once before any is repeated
        assert sorted(photos[5 * passes : 5 * passes + 5]) == [ClipKey(passes, k, True) for k in range(5)]
    data = build_datamodule(cfg, videos, held, static)
    batch = next(iter(data.train_dataloader()))
    assert not isinstance(batch, StaticClip)
    assert batch.images.shape == (4, 3, 3, 32, 32)
    assert data.describe(0, 0)[3].startswith(f"{root.name}/")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=photos"], "data=photos needs static.roots"),
        (["static.share=0.5"], "static.share=0.5 needs static.roots"),
        (["static.share=0.1", "static.roots=[/x]"], "static.share=0.1 of clips.batch_size=2 clips"),
        (["static.share=0.5", "static.every=3", "static.roots=[/x]"], "choose one"),
        (["static.share=0.5", "data=photos", "static.roots=[/x]"], "choose one"),
        (["static.passers_by=-1"], "static.passers_by=-1"),
        (["static.onlookers=-1"], "static.onlookers=-1"),
        (["static.crowd=-1"], "static.crowd=-1"),
        (["clips.vary=video"], "clips.vary=video"),
    ],
)
def test_contradicting_settings_are_refused(overrides, words):
    with pytest.raises(ConfigError) as refusal:
        check_train(train_config(*overrides))
    assert words in str(refusal.value)


def test_void_of_a_photograph_moves_with_it():
    """The ring around the disc is red in the picture, and void in the mask."""
    image, mask = disc()
    ring = disc(radius=20)[1] - mask
    image[ring > 0] = (40, 200, 40)
    mask = mask.astype(np.int8)
    mask[ring > 0] = -1
    for seed in range(10):
        images, masks = photo_clip(
            (image, mask), [], 3, (48, 64), PhotoMotion(motion=0.2, deformation=0.03), np.random.default_rng(seed)
        )
        green = images[..., 1].astype(int) - images[..., 0] > 80
        assert (green == (masks < 0)).mean() > 0.98
        assert (masks < 0).sum() > 200


def test_onlookers_are_background_and_smaller():
    """Blue discs around a red one: red is in the mask, blue is not, whichever was pasted in."""
    blue = disc(size=(40, 40), colour=(30, 30, 220), centre=(20, 20), radius=8)
    pasted = {"others": 0, "its own": 0}
    for seed in range(40):
        image, mask = among_onlookers(disc(), [blue, blue], np.random.default_rng(seed))
        pasted["its own" if image.shape[:2] == (40, 40) else "others"] += 1
        red = image[..., 0].astype(int) - image[..., 2] > 120
        is_blue = image[..., 2].astype(int) - image[..., 0] > 120
        assert not mask[is_blue].any()
        assert mask[red].all()
        assert not red.any() or is_blue.sum() < 2 * 0.65 * max(red.sum(), 700)
    assert min(pasted.values()) > 10


def test_without_onlookers_nothing_else_is_drawn(tmp_path):
    """The clips of earlier versions stay what they were; in a crowd, half of the clips change."""
    photos = open_static_images(StaticConfig(roots=[str(make_photos(tmp_path, 6))], share=0.5))
    finish = ClipTransform((32, 48), 0.0, (1.0, 1.0))
    plain, crowd = (PhotoClips(photos, 1, (32, 48), PhotoMotion(onlookers=count), finish, Seed(3)) for count in (0, 3))
    keys = [ClipKey(epoch, k) for epoch in range(8) for k in range(6)]
    with_others = [" with objects of " in crowd.describe(key) for key in keys]
    assert 12 < sum(with_others) < 36
    assert not any(" with objects of " in plain.describe(key) for key in keys)
    again = PhotoClips(photos, 1, (32, 48), PhotoMotion(onlookers=3), finish, Seed(3))
    assert all(torch.equal(crowd[key].images, again[key].images) for key in keys[:6])


def test_a_crowd_stands_in_a_row_behind_the_objects():
    """Blue discs side by side across the picture, behind and lower than the red one, which keeps all of its pixels."""
    blue = disc(size=(40, 40), colour=(30, 30, 220), centre=(20, 20), radius=15)
    wide = 0
    for seed in range(30):
        photo = disc()
        image, mask = among_onlookers(photo, [blue], np.random.default_rng(seed), crowd=8)
        is_blue = image[..., 2].astype(int) - image[..., 0] > 150
        if not np.array_equal(mask, photo[1]):
            continue  # the disc was pasted into another photograph
        assert not is_blue[mask > 0].any()
        columns = np.flatnonzero(is_blue.any(axis=0))
        wide += len(columns) > 0 and columns[-1] - columns[0] > 0.6 * image.shape[1]
    assert wide >= 8


def test_only_the_largest_object_is_certain():
    mask = np.zeros((6, 8), np.int8)
    mask[1:3, 1:3] = 1
    mask[4:6, 3:8] = 1
    mask[0, 7] = -1
    kept = largest_object(mask)
    assert (kept[4:6, 3:8] == 1).all()
    assert (kept[1:3, 1:3] == -1).all()
    assert kept[0, 7] == -1
    assert (kept == 0).sum() == (mask == 0).sum()
    one = np.where(mask > 0, 0, mask)
    one[4:6, 3:8] = 1
    assert np.array_equal(largest_object(one), one)


def test_uncertain_objects_of_photographs_are_void(tmp_path):
    root = make_photos(tmp_path, 3)
    for file in (root / "masks").iterdir():
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        mask[:3, :3] = mask.max()
        cv2.imwrite(str(file), mask)
    for wanted in (False, True):
        cfg = train_config(
            "data=photos", f"static.roots=[{root}]", f"static.largest_only={str(wanted).lower()}", "clips.val_share=0"
        )
        data = build_datamodule(cfg, *open_training_videos(cfg))
        masks = torch.cat([batch.masks for batch in data.train_dataloader()])
        assert bool((masks < 0).any()) == wanted
