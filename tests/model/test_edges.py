"""Loop edge and line edge against the loops of reference.py, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agnn_lit.model import edges
from agnn_lit.model.messages import neighbour_messages
from tests.model import reference as ref
from tests.model.small import C, H, W, arrays, small_agnn, states


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


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("pool", [2, 3])
def test_pooled_frames_send_averages_of_their_positions(symmetric: bool, pool: int):
    """Every position receives; at the edges of the grid fewer positions are averaged."""
    torch.manual_seed(3)
    edge = edges.LineEdge(C, symmetric, pool).double()
    edge.weight.data.normal_()
    h = states(2, 3, C, H, W)
    got = neighbour_messages(edge, h)
    cells = [(slice(y, y + pool), slice(x, x + pool)) for y in range(0, H, pool) for x in range(0, W, pool)]
    assert H % pool or W % pool
    for i, slot, j in ((0, 1, 2), (2, 0, 0)):
        for b in range(2):
            sent = torch.stack([h[b, j][:, y, x].mean((1, 2)) for y, x in cells])  # (Q, C)
            scores = h[b, i].flatten(1).T @ edge.w_c @ sent.T
            torch.testing.assert_close(got[b, i, slot].flatten(1).T, scores.softmax(1) @ sent)


def test_a_pooled_loop_edge_attends_to_averages():
    torch.manual_seed(0)
    edge = edges.LoopEdge(C, 2, pool=2).double()
    edge.alpha.data.fill_(0.7)
    h = states(2, C, H, W)
    query, key, value = edge.w_f(h), *(f(edges.pooled(h, 2)) for f in (edge.w_h, edge.w_l))
    scores = query.flatten(2).mT @ key.flatten(2)
    expected = 0.7 * (scores.softmax(2) @ value.flatten(2).mT).mT.reshape(h.shape) + h
    torch.testing.assert_close(edge(h), expected)


def test_pooling_has_no_weights_of_its_own_and_can_be_changed():
    plain, pooled = small_agnn(), small_agnn(pool=2)
    pooled.load_state_dict(plain.state_dict())
    images = states(1, 3, 3, H, W)
    assert not torch.allclose(plain(images), pooled(images))
    plain.set_pool(2)
    torch.testing.assert_close(plain(images), pooled(images))
