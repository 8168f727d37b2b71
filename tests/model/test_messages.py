"""Messages, gates and aggregations against the loops of reference.py, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agnn_lit.config.registry import option
from agnn_lit.model import edges, messages
from tests.model import reference as ref
from tests.model.small import C, H, W, arrays, small_agnn, states


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
