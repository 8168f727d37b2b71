"""The whole model: a round against the loops of reference.py, and the laws that every variant obeys, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model import reference as ref
from tests.model.small import C, H, W, arrays, small_agnn, states


def test_a_whole_round_is_its_equations():
    """Loop edge, line edges, gates, sum, update, for every node from the states of the round before."""
    model = small_agnn(rounds=2)
    h = states(1, 3, C, H, W)
    loop, gru = arrays(model.loop_edge), arrays(model.update)
    weights = [loop[f"{n}.{k}"] for n in ("w_f", "w_h", "w_l") for k in ("weight", "bias")]
    gate = arrays(model.gate)
    w_c = model.line_edge.w_c.detach().numpy()
    nodes = list(h[0].numpy())
    for _ in range(2):
        new = []
        for i in range(3):
            received = [ref.loop_edge(nodes[i], *weights, loop["alpha"])]
            received += [ref.message(nodes[i], nodes[j], w_c) for j in range(3) if j != i]
            m = sum(ref.channel_gate(x, gate["w_g.weight"], gate["w_g.bias"]) for x in received)
            new.append(ref.conv_gru(m, nodes[i], gru))
        nodes = new
    np.testing.assert_allclose(model.propagate(h)[0].detach().numpy(), nodes, atol=1e-11)


AXES = [
    {},
    {"loop_edge": False},
    {"auxiliary": True},
    {"line_edge": "directed"},
    {"pool": 2},
    {"gate": "spatial"},
    {"gate": "none"},
    {"aggregation": "mean"},
    {"update": "gru1x1"},
    {"update": "replace"},
    {"readout": "bn"},
]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_permuting_the_frames_permutes_the_masks(axes: dict):
    model = small_agnn(**axes)
    images = states(2, 4, 3, H, W)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(model(images[:, order]), model(images)[:, order])


@pytest.mark.parametrize("axes", [*AXES, {"aggregation": "concat"}], ids=str)
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_rounds_decide_whether_other_frames_matter(axes: dict, rounds: int):
    model = small_agnn(rounds=rounds, **axes)
    images = states(1, 3, 3, H, W)
    changed = images.clone()
    changed[:, 1] += 1.0
    difference = (model(images)[:, 0] - model(changed)[:, 0]).abs().max()
    assert difference == 0 if rounds == 0 else difference > 1e-9


@pytest.mark.parametrize("axes", [*AXES, {"aggregation": "concat"}], ids=str)
@pytest.mark.parametrize("rounds", [0, 2])
def test_every_parameter_receives_a_gradient(axes: dict, rounds: int):
    model = small_agnn(rounds=rounds, **axes).train()
    masks = model.forward_with_auxiliary(states(2, 3, 3, H, W))
    sum(m.square().sum() for m in masks if m is not None).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The gate's and the keys' additive constants can have a gradient of zero by symmetry: a bias of
    # W_h shifts all scores of a row alike, which the softmax takes out again.
    assert [n for n in without if n not in ("loop_edge.w_h.bias",)] == []


@given(frames=st.integers(1, 5), rounds=st.integers(0, 3), height=st.integers(1, 4), width=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_any_number_of_frames_rounds_and_positions(frames: int, rounds: int, height: int, width: int):
    logits = small_agnn(rounds=rounds)(states(1, frames, 3, height, width))
    assert logits.shape == (1, frames, height, width)
    assert torch.isfinite(logits).all()
