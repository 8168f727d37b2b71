"""The update against the loops of reference.py, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agnn_lit.model.conv_gru import ConvGRU
from tests.model import reference as ref
from tests.model.small import C, H, W, arrays, states


@pytest.mark.parametrize("kernel", [1, 3])
def test_conv_gru_is_its_equation(kernel: int):
    torch.manual_seed(4)
    gru = ConvGRU(C, kernel).double()
    m, h = states(2, C, H, W, seed=6), states(2, C, H, W, seed=7)
    expected = [ref.conv_gru(a, b, arrays(gru)) for a, b in zip(m.numpy(), h.numpy(), strict=True)]
    np.testing.assert_allclose(gru(m, h).detach().numpy(), expected, atol=1e-12)
