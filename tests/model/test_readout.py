"""The read-out against the loops of reference.py, in float64."""

from __future__ import annotations

import numpy as np
import torch

from agnn_lit.model.readout import ReadOut
from tests.model import reference as ref
from tests.model.small import C, H, W, arrays, states


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
