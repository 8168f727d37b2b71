"""Time and memory of the graph in training, beside a plain implementation."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agnn_lit.benchmarks.timing import elapsed, in_own_processes
from agnn_lit.config.registry import register
from agnn_lit.inference.prepare import choose_dtype
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.conv_gru import ConvGRU
from agnn_lit.model.edges import LineEdge, LoopEdge
from agnn_lit.shared.processes import keep_freed_memory, peak_memory_mb

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workload:
    """What is timed."""

    channels: int = 256  # C
    grid: tuple[int, int] = (60, 60)  # H and W of a node
    frames: int = 3  # N'
    rounds: int = 3  # K
    checkpoint: bool = False  # gradient checkpointing of the rounds

    def graph(self) -> AGNN:
        """The paper's graph with random weights, and α = 0.5 so that the loop edges have an effect."""
        torch.manual_seed(0)
        model = AGNN(nn.Identity(), self.channels, self.frames, self.rounds, checkpoint_rounds=self.checkpoint).train()
        assert isinstance(model.loop_edge, LoopEdge)
        nn.init.constant_(model.loop_edge.alpha, 0.5)
        return model

    def nodes(self) -> Tensor:
        """h^0, (1, N', C, H, W), uniform in [0, 1)."""
        random = torch.Generator().manual_seed(1)
        return torch.rand((1, self.frames, self.channels, *self.grid), generator=random)


def plain_update(model: AGNN, message: Tensor, state: Tensor) -> Tensor:
    """The equations of the ConvGRU; message, state and result are (B, C, H, W)."""
    gru = model.update
    assert isinstance(gru, ConvGRU)
    both = torch.cat([message, state], dim=1)
    z, r = torch.sigmoid(gru.update(both)), torch.sigmoid(gru.reset(both))
    proposed = torch.tanh(gru.candidate(torch.cat([message, r * state], dim=1)))
    return (1 - z) * state + z * proposed


def plain_round(model: AGNN, h: Tensor) -> Tensor:
    """The equations of a round: for each ordered pair a score matrix, a softmax, a product; h is (B, N', C, H, W)."""
    assert isinstance(model.loop_edge, LoopEdge)
    b, n, c, height, width = h.shape
    loop, w_c = model.loop_edge, model.line_edge.w_c
    states = [h[:, i].flatten(2).transpose(1, 2) for i in range(n)]  # (B, P, C)
    new = []
    for i in range(n):
        query, key, value = (w(h[:, i]).flatten(2).transpose(1, 2) for w in (loop.w_f, loop.w_h, loop.w_l))
        attended = torch.matmul(torch.softmax(torch.matmul(query, key.transpose(1, 2)), dim=-1), value)
        received = [loop.alpha * attended + states[i]]
        for j in range(n):
            if j != i:
                e_ij = torch.matmul(torch.matmul(states[i], w_c), states[j].transpose(1, 2))
                received.append(torch.matmul(torch.softmax(e_ij, dim=-1), states[j]))
        gated = [model.gate(m.transpose(1, 2).reshape(b, c, height, width)) for m in received]
        new.append(plain_update(model, torch.stack(gated).sum(0), h[:, i]))
    return torch.stack(new, dim=1)


def _plain(model: AGNN, nodes: Tensor) -> Tensor:
    for _ in range(model.rounds):
        nodes = plain_round(model, nodes)
    return nodes


def _ours(model: AGNN, nodes: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        return model.propagate(nodes.to(dtype))  # in the precision of the encoder's output


@dataclass(frozen=True)
class Side:
    """One implementation on one workload."""

    workload: Workload
    dtype: str = "float32"  # name of the precision
    plain: bool = False  # the plain implementation of the equations instead of this package's

    def step(self) -> Callable[[], list[Tensor]]:
        """Return a training step, which returns the output and the gradients of nodes and weights."""
        model, nodes = self.workload.graph(), self.workload.nodes().requires_grad_()
        weights = torch.randn(nodes.shape, generator=torch.Generator().manual_seed(2))
        if not self.plain:
            keep_freed_memory()  # as agnn-train does
            for part in model.modules():
                if isinstance(part, (LoopEdge, LineEdge)):
                    part.backend = "blocked"
        used = [p for name, p in model.named_parameters() if not name.startswith("readout.")]

        def call() -> list[Tensor]:
            out = _plain(model, nodes) if self.plain else _ours(model, nodes, getattr(torch, self.dtype))
            grads = torch.autograd.grad((out.float() * weights).sum(), [nodes, *used])
            return [out.detach().float(), *grads]

        return call


def _prepare(side: Side, threads: int) -> Callable[[], list[Tensor]]:
    torch.set_num_threads(threads)
    small = replace(side, workload=replace(side.workload, grid=(4, 4)))
    small.step()()  # loads and warms up the libraries
    return side.step()


def _time_and_growth(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a step, and its peak memory in MB above what the process held; NaN except on Linux."""
    gc.collect()
    before, reset = math.nan, Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # the peak is now the current memory
        before = peak_memory_mb()
    return elapsed(call), peak_memory_mb() - before


def measure(sides: dict[str, Side], repeats: int) -> dict[str, tuple[float, float]]:
    """Least seconds of each side, and the memory in MB of its first step, later ones reusing it."""
    prepare = {name: partial(_prepare, side, torch.get_num_threads()) for name, side in sides.items()}
    measured = in_own_processes(prepare, repeats, _time_and_growth)
    return {name: (min(seconds for seconds, _ in found[1:]), found[0][1]) for name, found in measured.items()}


def largest_difference(workload: Workload, dtype: str) -> float:
    """Largest relative difference (in norm) of the output and the gradients from those of plain fp32."""
    ours, theirs = Side(workload, dtype).step()(), Side(workload, plain=True).step()()
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True) if b.norm() > 1e-6)


@register("topic", "graph")
def run_graph(repeats: int = 3, workload: Workload | None = None, more: int = 8) -> dict[str, Any]:
    """Time forward and backward of the graph on the CPU, plain and ours, at C = 256, 60×60, N' = 3, K = 3.

    Memory is the peak of a step above what the process held.

    Raises:
        RuntimeError: output or gradients differ from the plain ones.
    """
    workload = workload or Workload()
    default = str(choose_dtype("auto", _CPU)).removeprefix("torch.")
    small = replace(workload, grid=(12, 12))
    for dtype, most in (("float32", 1e-3), (default, 0.1)):
        if (found := largest_difference(small, dtype)) > most:
            raise RuntimeError(f"benchmark of the graph: {dtype} differs from plain fp32 by {found:.3g}")
    sides = {
        "plain, fp32": Side(workload, plain=True),
        "ours, fp32": Side(workload),
        f"ours, {default}": Side(workload, default),
        f"ours, {default}, rounds computed again": Side(replace(workload, checkpoint=True), default),
        f"ours, {default}, N' = {more}": Side(replace(workload, frames=more), default),
    }
    measured = measure(sides, repeats)
    plain, fp32, ours, again, wide = measured.values()
    return {
        "rows": [{"name": n, "seconds": s, "memory_mb": m} for n, (s, m) in measured.items()],
        "ratios": {
            "time_plain_over_ours": plain[0] / ours[0],
            "fp32_time_ours_over_plain": fp32[0] / plain[0],
            "memory_plain_over_ours": plain[1] / ours[1],
            "memory_plain_over_ours_rounds_again": plain[1] / again[1],
            "memory_plain_over_ours_with_more_frames": plain[1] / wide[1],
        },
    }
