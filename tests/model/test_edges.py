"""Loop edge and line edge against the loops of reference.py, in float64."""

from __future__ import annotations

import numpy as np
import torch

from agnn_lit.model import edges
from tests.model import reference as ref
from tests.model.small import C, H, W, arrays, states


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
