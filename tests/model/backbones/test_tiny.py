from __future__ import annotations

import pytest
import torch

from agnn_lit.model.build import build_backbone


@pytest.mark.parametrize(("stride", "grid"), [(4, (8, 12)), (8, (4, 6))])
def test_the_tiny_backbone(stride, grid):
    assert build_backbone("tiny", 16, stride)(torch.randn(2, 3, 32, 48)).shape == (2, 16, *grid)
    with pytest.raises(ValueError, match="stride 16"):
        build_backbone("tiny", 16, 16)
