from __future__ import annotations

import numpy as np
import pytest
import torch

from agnn_lit.data.datamodule import VideoDataModule
from agnn_lit.data.dataset import ClipDataset, ClipKey, EpochBatches, EpochPlan, MixedClips, StaticClip, StaticImages
from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.data.datasets.youtube_objects import index_youtube_objects
from agnn_lit.data.sampling import Seed
from agnn_lit.data.transforms import ClipTransform
from agnn_lit.data.video import DataError
from tests.data.disk import make_youtube_objects


def clips(count: int = 6, **options) -> ClipDataset:
    videos = synthetic_videos("train", count, length=6, size=(32, 48))
    return ClipDataset(videos, 3, ClipTransform((32, 32)), seed=Seed(3), **options)


def test_a_clip_is_a_pure_function_of_its_key():
    a, b = clips(), clips()
    torch.manual_seed(1)
    first = a[ClipKey(2, 4)]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = b[ClipKey(2, 4)]
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are left alone
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.masks, second.masks)
    assert first.images.shape == (3, 3, 32, 32)
    assert first.masks.shape == (3, 32, 32)
    assert not torch.equal(first.images, a[ClipKey(3, 4)].images)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_batches(workers):
    def batches(count):
        module = VideoDataModule(clips(clips_per_video=2), [], EpochPlan(12, 4, seed=Seed(3)), workers=count)
        found = []
        loader = module.train_dataloader()
        for epoch in (0, 1):
            loader.batch_sampler.position = lambda epoch=epoch: (epoch, 0)
            found += [batch.images for batch in loader]
        return torch.stack(found)

    expected = batches(0)
    assert torch.equal(batches(workers), expected)
    assert not torch.equal(expected[:3], expected[3:])


def test_an_epoch_has_every_clip_once_and_epochs_differ():
    plan = EpochPlan(10, 2, seed=Seed(0))
    batches = list(EpochBatches(plan, 0, lambda: (5, 0)))
    assert sorted(k for batch in batches for k in batch) == [ClipKey(5, i) for i in range(10)]
    later = [[k.clip for k in batch] for batch in EpochBatches(plan, 0, lambda: (6, 0))]
    assert later != [[k.clip for k in batch] for batch in batches]
    assert list(EpochBatches(plan, 0, lambda: (5, 4))) == batches[4:]  # continued within the epoch
    assert len(EpochBatches(plan, 0, lambda: (5, 4))) == 5


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_what_one_would_take(processes):
    """A step of several processes has the clips that one process with the whole batch has, static images included."""
    options = {"seed": Seed(1), "static": 7, "every": 3}
    whole = EpochPlan(24, 2 * processes, static_batch=processes, **options)
    parts = EpochPlan(24, 2, static_batch=1, processes=processes, **options)
    assert whole.kinds == parts.kinds
    for epoch in (0, 1, 4):
        shares = [parts.batches(epoch, process) for process in range(processes)]
        assert [[key for share in step for key in share] for step in zip(*shares, strict=True)] == whole.batches(epoch)


def test_one_step_in_three_is_of_static_images_and_all_are_seen_before_one_is_again():
    plan = EpochPlan(8, 2, seed=Seed(0), static=5, static_batch=2, every=3)
    assert plan.kinds == [True, False, False, True, False, False]
    found = [key for epoch in range(5) for batch in plan.batches(epoch) for key in batch]
    static = [key for key in found if key.static]
    assert len(static) == 20
    for passes in range(4):
        assert sorted(static[5 * passes : 5 * passes + 5]) == [ClipKey(passes, k, True) for k in range(5)]
    assert [key.clip for key in static[:5]] != [key.clip for key in static[5:10]]
    assert sorted(key for key in found if not key.static) == [ClipKey(e, k) for e in range(5) for k in range(8)]


def test_all_batches_of_a_step_are_of_one_kind():
    plan = EpochPlan(8, 2, seed=Seed(0), static=5, static_batch=2, every=2, accumulate=2)
    assert plan.kinds == [True, True, False, False, True, True, False, False]
    assert plan.step_kinds == [True, False, True, False]


def test_static_images_come_as_clips_of_one_frame():
    dataset = MixedClips(clips(), StaticImages(clips().videos, 1, ClipTransform((32, 32)), seed=Seed(3)))
    static, video = dataset[ClipKey(0, 2, static=True)], dataset[ClipKey(0, 2)]
    assert isinstance(static, StaticClip)
    assert (static.images.shape, static.masks.shape) == ((1, 3, 32, 32), (1, 32, 32))
    assert type(video) is not StaticClip
    assert dataset.describe(ClipKey(0, 2, static=True)) != dataset.describe(ClipKey(0, 2))
    (batch,) = torch.utils.data.DataLoader(dataset, batch_sampler=[[ClipKey(0, k, static=True) for k in range(3)]])
    assert isinstance(batch, StaticClip)
    assert batch.images.shape == (3, 1, 3, 32, 32)


def test_frames_without_annotation_are_not_drawn(tmp_path):
    (video, _) = index_youtube_objects(make_youtube_objects(tmp_path))
    dataset = ClipDataset([video], 2, ClipTransform((32, 32)), seed=Seed(0))
    assert dataset.annotated == [[0, 10]]
    assert dataset[ClipKey(0, 0)].masks.shape == (2, 32, 32)


def test_a_mask_that_is_not_there_is_an_error(tmp_path):
    class Unmarked:
        name = "plain"

        def __len__(self):
            return 3

        def frame_name(self, index):
            return str(index)

        def frame(self, index):
            return np.zeros((8, 8, 3), np.uint8)

        def mask(self, index):
            return None

    with pytest.raises(DataError, match="plain: frame 0 has no annotation"):
        ClipDataset([Unmarked()], 3, ClipTransform((8, 8)), seed=Seed(0))[ClipKey(0, 0)]
