"""Every part of the model against the loops of reference.py, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.config.registry import option
from agnn_lit.model import edges, messages
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.attention import attend
from agnn_lit.model.conv_gru import ConvGRU
from agnn_lit.model.readout import ReadOut
from tests.model import reference as ref

C, H, W = 4, 3, 5


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in module.state_dict().items()}


def states(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_loop_edge_is_its_equation():
    torch.manual_seed(0)
    edge = edges.LoopEdge(C, 2).double()
    edge.alpha.data.fill_(0.7)
    h = states(2, C, H, W)
    p = arrays(edge)
    weights = [p[f"{n}.{k}"] for n in ("w_f", "w_h", "w_l") for k in ("weight", "bias")]
    expected = [ref.loop_edge(x, *weights, p["alpha"]) for x in h.numpy()]
    np.testing.assert_allclose(edge(h).detach().numpy(), expected, atol=1e-12)


def test_loop_edge_starts_as_the_identity():
    h = states(2, C, H, W)
    assert torch.equal(edges.LoopEdge(C, 2).double()(h), h)


@pytest.mark.parametrize("symmetric", [True, False])
def test_messages_are_their_equation(symmetric: bool):
    torch.manual_seed(1)
    edge = edges.LineEdge(C, symmetric).double()
    edge.weight.data.normal_()
    h = states(2, 3, C, H, W)
    got = messages.neighbour_messages(edge, h).detach().numpy()
    w_c = edge.w_c.detach().numpy()
    for b in range(2):
        for i in range(3):
            for slot, j in enumerate(j for j in range(3) if j != i):
                expected = ref.message(h[b, i].numpy(), h[b, j].numpy(), w_c)
                np.testing.assert_allclose(got[b, i, slot], expected, atol=1e-12)


def test_line_edge_between_two_frames_is_one_matrix_only_when_symmetric():
    torch.manual_seed(2)
    h_i, h_j = states(1, 6, C, seed=1), states(1, 7, C, seed=2)
    symmetric, directed = edges.LineEdge(C, True).double(), edges.LineEdge(C, False).double()
    symmetric.weight.data.normal_()
    directed.weight.data.normal_()
    for edge, same in ((symmetric, True), (directed, False)):
        e_ij, e_ji = h_i @ edge.w_c @ h_j.mT, h_j @ edge.w_c @ h_i.mT
        assert torch.allclose(e_ij, e_ji.mT) is same
        # Messages are the same whichever frame comes first.
        forth, back = edge(h_i, h_j), edge(h_j, h_i)
        torch.testing.assert_close(forth[0], back[1])
        torch.testing.assert_close(forth[1], back[0])


def test_attention_rows_sum_to_one_over_the_positions_of_the_sender():
    h_i, h_j = states(1, 6, C, seed=3), states(1, 7, C, seed=4)
    ones = torch.ones(1, 7, 1, dtype=torch.float64)
    torch.testing.assert_close(attend(h_i @ h_j.mT, ones), torch.ones(1, 6, 1, dtype=torch.float64))


def test_a_message_lies_within_the_values_of_its_sender():
    h = states(1, 2, C, H, W)
    m = messages.neighbour_messages(edges.LineEdge(C).double(), h)[0, 0, 0].detach()
    sender = h[0, 1].flatten(1)
    assert (m.flatten(1) <= sender.max(1, keepdim=True).values + 1e-12).all()
    assert (m.flatten(1) >= sender.min(1, keepdim=True).values - 1e-12).all()


def test_gates_are_their_equations():
    torch.manual_seed(3)
    m = states(2, C, H, W)
    channel, spatial = messages.ChannelGate(C).double(), messages.SpatialGate(C).double()
    p = arrays(channel)
    expected = [ref.channel_gate(x, p["w_g.weight"], p["w_g.bias"]) for x in m.numpy()]
    np.testing.assert_allclose(channel(m).detach().numpy(), expected, atol=1e-12)
    expected = [ref.spatial_gate(x, arrays(spatial)["w_g.weight"]) for x in m.numpy()]
    np.testing.assert_allclose(spatial(m).detach().numpy(), expected, atol=1e-12)
    assert messages.NoGate(C)(m) is m


def test_aggregations():
    torch.manual_seed(5)
    edge, gate = edges.LineEdge(C).double(), messages.ChannelGate(C).double()
    h, own = states(1, 3, C, H, W), states(1, 3, C, H, W, seed=5)
    received = messages.neighbour_messages(edge, h)  # (1, 3, 2, C, H, W)
    gated = gate(received.flatten(0, 2)).reshape(received.shape)
    total = gated.sum(2)

    def build(name, channels, frames):
        return option("model.aggregation", name).load()(channels, frames)

    torch.testing.assert_close(build("sum", C, 3)(h, own, edge, gate), total + own)
    torch.testing.assert_close(build("sum", C, 3)(h, None, edge, gate), total)
    torch.testing.assert_close(build("mean", C, 3)(h, own, edge, gate), (total + own) / 3)
    torch.testing.assert_close(build("mean", C, 3)(h, None, edge, gate), total / 2)
    alone = h[:, :1]
    assert torch.equal(build("mean", C, 1)(alone, own[:, :1], edge, gate), own[:, :1])
    assert not build("mean", C, 1)(alone, None, edge, gate).any()
    concat = build("concat", C, 3).double()
    p = arrays(concat.conv)
    expected = ref.conv(gated[0, 1].flatten(0, 1).detach().numpy(), p["weight"], p["bias"])
    np.testing.assert_allclose(concat(h, own, edge, gate)[0, 1].detach().numpy(), expected, atol=1e-12)
    with pytest.raises(ValueError, match="built for 3 frames and received 2"):
        concat(h[:, :2], None, edge, gate)


@pytest.mark.parametrize("frames", [4, 5])
def test_messages_computed_again_have_the_gradients_of_those_kept(frames: int, monkeypatch: pytest.MonkeyPatch):
    model = small_agnn()
    h = states(2, frames, C, H, W)
    found, calls, pair = [], [], edges.LineEdge.forward
    monkeypatch.setattr(edges.LineEdge, "forward", lambda *a: (calls.append(1), pair(*a))[1])
    for many in (4, 99):
        monkeypatch.setattr(messages, "_MANY", many)
        nodes, weights = h.clone().requires_grad_(), [p for n, p in model.named_parameters() if "readout" not in n]
        out = model.propagate(nodes)
        grads = torch.autograd.grad(out.square().sum(), [nodes, *weights[2:]])  # without the encoder's
        found.append([out, *grads])
        found.append(len(calls))
        calls.clear()
    (again, calls_again, kept, calls_kept) = found
    assert calls_kept == 2 * frames * (frames - 1) // 2  # rounds, pairs
    assert calls_again == 2 * calls_kept
    for one, two in zip(again, kept, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("kernel", [1, 3])
def test_conv_gru_is_its_equation(kernel: int):
    torch.manual_seed(4)
    gru = ConvGRU(C, kernel).double()
    m, h = states(2, C, H, W, seed=6), states(2, C, H, W, seed=7)
    expected = [ref.conv_gru(a, b, arrays(gru)) for a, b in zip(m.numpy(), h.numpy(), strict=True)]
    np.testing.assert_allclose(gru(m, h).detach().numpy(), expected, atol=1e-12)


def test_readout_is_its_equation():
    torch.manual_seed(5)
    readout = ReadOut("conv3", C).double()
    p = arrays(readout)
    last, first = states(1, C, H, W, seed=8), states(1, C, H, W, seed=9)
    x = np.concatenate([last[0].numpy(), first[0].numpy()])
    x = np.maximum(ref.conv(x, p["layers.0.weight"], p["layers.0.bias"]), 0)
    x = np.maximum(ref.conv(x, p["layers.2.weight"], p["layers.2.bias"]), 0)
    x = ref.conv(x, p["layers.4.weight"], p["layers.4.bias"])
    np.testing.assert_allclose(readout(last, first)[0].detach().numpy(), x, atol=1e-12)


class Pixels(torch.nn.Module):
    """An encoder with nothing to learn but a 1×1 convolution, so that nodes are easy to follow."""

    def __init__(self, channels: int = C) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.conv(images))


def small_agnn(rounds: int = 2, seed: int = 0, **axes) -> AGNN:
    torch.manual_seed(seed)
    model = AGNN(Pixels(), C, 3, rounds, loop_reduction=2, **axes).double()
    if model.loop_edge is not None:
        model.loop_edge.alpha.data.fill_(0.5)
    return model.eval()


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
