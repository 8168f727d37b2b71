"""Every backend of attention against plain float64, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agnn_lit.model import attention as at
from agnn_lit.model import edges
from agnn_lit.model.build import build_model
from tests.configs import train_config
from tests.model.small import C, states

BACKENDS = ["reference", "blocked", "sdpa"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(at, "_BLOCK", 64)  # several blocks, the last one short


def draw(*shapes: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(s, dtype=torch.float64, generator=random)).requires_grad_() for s in shapes]


def plain(query, key, value):
    return (query @ key.mT).softmax(2) @ value


def with_gradients(function, tensors, weights):
    """Results of a function and the gradients of their weighted sum, in float64."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = function(*leaves)
    out = out if isinstance(out, tuple) else (out,)
    sum((o.double() * w).sum() for o, w in zip(out, weights, strict=True)).backward()
    return [*(o.detach().double() for o in out), *(leaf.grad.double() for leaf in leaves)]


@given(
    m=st.integers(1, 3),
    p=st.integers(1, 40),
    q=st.integers(1, 40),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_one_direction(backend, m, p, q, scale, seed):
    tensors = draw((m, p, 3), (m, q, 3), (m, q, 5), seed=seed, scale=scale)
    weights = [t.detach() for t in draw((m, p, 5), seed=seed + 100)]
    expected = with_gradients(plain, tensors, weights)
    got = with_gradients(lambda *t: at.attention(*t, backend), tensors, weights)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * max(1.0, float(theirs.abs().max())))


@given(
    m=st.integers(1, 3),
    p=st.integers(1, 40),
    q=st.integers(1, 40),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_both_directions(backend, m, p, q, scale, seed):
    tensors = draw((m, p, 4), (m, p, 4), (m, q, 4), seed=seed, scale=scale)
    weights = [t.detach() for t in draw((m, p, 4), (m, q, 4), seed=seed + 100)]

    def both(query, h_i, h_j):
        return plain(query, h_j, h_j), plain(h_j, query, h_i)

    expected = with_gradients(both, tensors, weights)
    got = with_gradients(lambda *t: at.attention_both_ways(*t, backend), tensors, weights)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * max(1.0, float(theirs.abs().max())))


def test_attention_rows_sum_to_one_over_the_positions_of_the_sender():
    h_i, h_j = states(1, 6, C, seed=3), states(1, 7, C, seed=4)
    ones = torch.ones(1, 7, 1, dtype=torch.float64)
    torch.testing.assert_close(at.attend(h_i @ h_j.mT, ones), torch.ones(1, 6, 1, dtype=torch.float64))


def test_gradcheck_of_the_blocks():
    assert torch.autograd.gradcheck(at._Blocked.apply, draw((2, 9, 3), (2, 21, 3), (2, 21, 4)))
    assert torch.autograd.gradcheck(at._BlockedPair.apply, draw((2, 9, 3), (2, 9, 3), (2, 21, 3)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_lower_precisions_are_near_float64(backend, dtype, tolerance):
    tensors = draw((1, 50, 8), (1, 50, 8), (1, 60, 8), scale=0.7)
    weights = [t.detach() for t in draw((1, 50, 8), (1, 60, 8), seed=9)]
    expected = with_gradients(lambda q, i, j: (plain(q, j, j), plain(j, q, i)), tensors, weights)
    low = [t.detach().to(dtype) for t in tensors]
    got = with_gradients(lambda *t: at.attention_both_ways(*t, backend), low, weights)
    for mine, theirs in zip(got, expected, strict=True):
        assert (mine - theirs).norm() < tolerance * theirs.norm()


def test_autocast_is_followed():
    tensors = [t.detach().float().requires_grad_() for t in draw((1, 9, 4), (1, 9, 4), (1, 9, 4))]
    with torch.autocast("cpu", torch.bfloat16):
        forth, back = at.attention_both_ways(*tensors, "blocked")
        one = at.attention(*tensors, "blocked")
    assert forth.dtype == back.dtype == one.dtype == torch.bfloat16
    (forth.float().sum() + back.float().sum() + one.float().sum()).backward()
    assert all(t.grad.dtype == torch.float32 for t in tensors)


def test_auto_is_plain_for_small_grids_and_without_gradients():
    small, large = torch.empty(1, 100, 4), torch.empty(1, 1100, 4)
    assert at.choose("auto", small, small) == "reference"
    assert at.choose("auto", large, large) == "blocked"
    with torch.no_grad():
        assert at.choose("auto", large, large) == "reference"
    assert at.choose("sdpa", small, small) == "sdpa"


def kept(function, *tensors: torch.Tensor) -> int:
    """Numbers that autograd keeps for the gradient beyond the arguments and the results."""
    sizes: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (sizes.__setitem__(t.data_ptr(), t.numel()), t)[1], lambda t: t
    ):
        function(*tensors)
    return sum(sizes.values())


def test_nothing_of_the_size_of_the_scores_is_kept():
    leaves = [t.detach().float().requires_grad_() for t in draw((1, 400, 4), (1, 400, 4), (1, 400, 4))]
    assert kept(lambda *t: at.attention_both_ways(*t, "reference"), *leaves) > 2 * 400 * 400
    assert kept(lambda *t: at.attention_both_ways(*t, "blocked"), *leaves) < 10 * 400 * 4
    assert kept(lambda *t: at.attention(*t, "blocked"), *leaves) < 10 * 400 * 4


def step(model, images):
    """Logits and all gradients of a step."""
    model.zero_grad()
    logits, straight = model.forward_with_auxiliary(images)
    (logits.square().sum() + (0 if straight is None else straight.square().sum())).backward()
    return [logits.detach(), *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("words", [("model.rounds=2",), ("model=agnn_official", "model.rounds=2")], ids=" ".join)
@pytest.mark.parametrize("again", [False, True], ids=["kept", "rounds computed again"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_whole_model_has_the_same_gradients_with_every_backend(words, again, backend):
    def build(*more):
        torch.manual_seed(0)
        model = build_model(train_config("model.channels=6", "backbone.stride=8", *words, *more)).double()
        for part in model.modules():
            if isinstance(part, edges.LoopEdge):
                part.alpha.data.fill_(0.5)
        return model

    images = torch.randn(2, 3, 3, 40, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = step(build("model.attention=reference"), images)
    chosen = build(f"model.attention={backend}", f"model.checkpoint_rounds={again}")
    assert {p.backend for p in chosen.modules() if isinstance(p, (edges.LoopEdge, edges.LineEdge))} == {backend}
    for mine, theirs in zip(step(chosen, images), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
