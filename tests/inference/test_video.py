"""Whole videos: each frame once through the encoder, whatever the graphs; views, stages, unreadable frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.data.datasets.synthetic import synthetic_videos
from agnn_lit.data.sampling import random_references
from agnn_lit.data.transforms import to_input
from agnn_lit.data.video import DataError
from agnn_lit.inference.video import PredictionSettings, ahead, predict_video
from agnn_lit.model.build import build_model
from tests.configs import train_config

SETTINGS = PredictionSettings(frames=3, size=(32, 32))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    model = build_model(train_config("model.rounds=2")).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # a graph at its start passes little on
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def video(length=7, size=(32, 32)):
    return synthetic_videos("test", 1, length=length, size=size)[0]


class Broken:
    """A video of which some frames cannot be decoded."""

    def __init__(self, whole, broken):
        self.whole, self.broken = whole, set(broken)

    def __len__(self):
        return len(self.whole)

    def __getattr__(self, name):
        return getattr(self.whole, name)

    def frame(self, index):
        if index in self.broken:
            raise DataError(f"frame {index} is broken")
        return self.whole.frame(index)


def probabilities(model, footage, settings, **rest):
    return {p.index: p.probability for p in predict_video(model, footage, settings, **rest)}


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 3, 9])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_frame_is_predicted_once_at_its_own_size(model, frames, batch_size, random):
    settings = PredictionSettings(frames, (32, 32), batch_size, random=random)
    predictions = list(predict_video(model, video(size=(40, 56)), settings))
    assert sorted(p.index for p in predictions) == list(range(7))
    assert {p.probability.shape for p in predictions} == {(40, 56)}
    assert all(p.probability.min() >= 0 and p.probability.max() <= 1 for p in predictions)
    assert all(np.array_equal(p.frame, video(size=(40, 56)).frame(p.index)) for p in predictions)


@pytest.mark.parametrize("random", [False, True])
def test_predictions_are_those_of_a_whole_forward_of_each_graph(model, random):
    settings = replace(SETTINGS, random=random, seed=5)
    found = probabilities(model, video(), settings)
    for graph in settings.graphs(7):
        images = to_input([video().frame(i) for i in graph.nodes], (32, 32))[None]
        with torch.inference_mode():
            expected = torch.sigmoid(model(images))[0]
        for position, index in enumerate(graph.frames):
            # batches differ, and with them the last digits
            np.testing.assert_allclose(found[index], expected[position].numpy(), atol=2e-4)


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_frame_is_encoded_once_a_view(model, monkeypatch, random, batch_size):
    settings = replace(SETTINGS, scales=(0.5, 1.0), flip=True, random=random, batch_size=batch_size)
    encoded: list[int] = []
    encode = type(model).encode
    monkeypatch.setattr(type(model), "encode", lambda self, x: (encoded.append(x.shape[1]), encode(self, x))[1])
    list(predict_video(model, video(), settings))
    assert sum(encoded) == 7 * 4


def test_frames_are_prepared_as_in_training(model, monkeypatch):
    seen = []
    monkeypatch.setattr(type(model), "encode", lambda self, x: (seen.append(x), torch.zeros(*x.shape[:2], 8, 8, 8))[1])
    settings = replace(SETTINGS, preprocessing="caffe", scales=(0.7,))
    list(predict_video(model, video(length=3), settings))
    expected = to_input([video(length=3).frame(i) for i in range(3)], (22, 22), "caffe")  # 22.4 rounded down
    assert torch.equal(seen[0][0], expected)


def test_corners_are_aligned_where_that_is_asked_for(model):
    settings = replace(SETTINGS, align_corners=True)
    footage = video(length=3, size=(48, 80))
    with torch.inference_mode():
        small = torch.sigmoid(model(to_input([footage.frame(i) for i in range(3)], settings.size)[None]))[0]
    for p in predict_video(model, footage, settings):
        for mine, theirs in (((0, 0), (0, 0)), ((47, 79), (31, 31)), ((0, 79), (0, 31))):
            assert p.probability[mine] == pytest.approx(float(small[p.index][theirs]), abs=1e-5)


def test_stages_are_means_of_the_views(model):
    settings = replace(SETTINGS, scales=(0.75, 1.0, 1.5), flip=True)
    footage = video(length=3)
    images = [torch.from_numpy(footage.frame(i)) for i in range(3)]
    views = {}
    for scale in settings.scales:
        side = round(32 * scale)
        for flip in (False, True):
            x = to_input([f.numpy() for f in images], (side, side))[None]
            with torch.inference_mode():
                out = torch.sigmoid(model(x.flip(-1) if flip else x))
                out = F.interpolate(out.flip(-1) if flip else out, size=(32, 32), mode="bilinear", align_corners=False)
            views[scale, flip] = out[0].numpy()
    for p in predict_video(model, footage, settings):
        assert list(p.stages) == ["raw", "scales", "flip"]
        seen = [views[s, False][p.index] for s in settings.scales]
        np.testing.assert_allclose(p.stages["raw"], views[1.0, False][p.index], atol=1e-5)
        np.testing.assert_allclose(p.stages["scales"], np.mean(seen, axis=0), atol=1e-5)
        np.testing.assert_allclose(p.stages["flip"], np.mean([v[p.index] for v in views.values()], axis=0), atol=1e-5)
        assert np.array_equal(p.probability, p.stages["flip"])


def test_only_the_stages_asked_for(model):
    (first, *_) = predict_video(model, video(), replace(SETTINGS, flip=True))
    assert list(first.stages) == ["raw", "flip"]
    (first, *_) = predict_video(model, video(), replace(SETTINGS, scales=(0.5,)))
    assert list(first.stages) == ["raw"]


def test_batches_of_graphs_do_not_change_the_prediction(model):
    one, many = (probabilities(model, video(), replace(SETTINGS, batch_size=b)) for b in (1, 3))
    for index, probability in one.items():
        np.testing.assert_allclose(many[index], probability, atol=1e-5)


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_what_is_done_is_left_out_and_the_rest_stays_the_same_to_the_bit(model, random, batch_size):
    settings = replace(SETTINGS, random=random, batch_size=batch_size)
    whole = probabilities(model, video(), settings)
    order = [p.index for p in predict_video(model, video(), settings)]
    for cut in range(len(order) + 1):
        rest = probabilities(model, video(), settings, done=set(order[:cut]))
        assert rest.keys() >= set(order[cut:])
        assert all(np.array_equal(rest[i], whole[i]) for i in rest)
    assert not probabilities(model, video(), settings, done=range(7))


def test_an_unreadable_frame_stops_or_is_left_out(model):
    broken = Broken(video(), [2, 3])
    with pytest.raises(DataError, match="frame 2 is broken"):
        list(predict_video(model, broken, replace(SETTINGS, frames=1)))
    told = {}
    found = probabilities(model, broken, replace(SETTINGS, skip_unreadable=True), unreadable=told.__setitem__)
    assert sorted(found) == [0, 1, 4, 5, 6]
    assert told == {2: "frame 2 is broken", 3: "frame 3 is broken"}
    again = probabilities(model, broken, replace(SETTINGS, skip_unreadable=True))
    assert all(np.array_equal(again[i], found[i]) for i in found)
    with pytest.raises(DataError, match="no frame of it can be decoded"):
        list(predict_video(model, Broken(video(), range(7)), replace(SETTINGS, skip_unreadable=True)))


def test_random_references_depend_on_the_seed_and_nothing_else(model):
    a, b, c = (probabilities(model, video(), replace(SETTINGS, random=True, seed=s)) for s in (0, 0, 1))
    assert all(np.array_equal(a[i], b[i]) for i in a)
    assert any(not np.array_equal(a[i], c[i]) for i in a)


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 3))
@settings(deadline=None)
def test_random_references_are_other_frames(length, frames, seed):
    graphs = random_references(length, frames, seed=seed)
    assert [g.frames for g in graphs] == [(i,) for i in range(length)]
    assert all(len(g.nodes) == frames for g in graphs)
    for i, g in enumerate(graphs):
        assert set(g.references) <= set(range(length))
        if length > 1:
            assert i not in g.references
        if length >= frames:
            assert len(set(g.nodes)) == frames
    assert graphs == random_references(length, frames, seed=seed)


def test_random_references_of_nothing_are_refused():
    with pytest.raises(ValueError, match="0 frames"):
        random_references(0, 3, seed=0)


def test_loading_runs_one_step_ahead_and_no_further():
    loaded: list[int] = []
    results = ahead(range(10), lambda k: (loaded.append(k), k * k)[1])
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(loaded) <= 2
    assert list(ahead(range(5), lambda k: k * k)) == [0, 1, 4, 9, 16]
