"""What the graph costs in training, beside a plain implementation: time and memory of a forward and a backward pass."""

from __future__ import annotations

import gc
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agnn_lit.config.registry import register
from agnn_lit.inference.prepare import choose_dtype
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.conv_gru import ConvGRU
from agnn_lit.model.edges import LineEdge, LoopEdge
from agnn_lit.shared.processes import keep_freed_memory, peak_memory_mb

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workload:
    """What is timed.

    Attributes:
        channels: C.
        grid: height and width of a node.
        frames: N'.
        rounds: K.
        clips: B.
        checkpoint: compute the rounds again for the gradient.
    """

    channels: int = 256
    grid: tuple[int, int] = (60, 60)
    frames: int = 3
    rounds: int = 3
    clips: int = 1
    checkpoint: bool = False

    def graph(self) -> AGNN:
        """Paper's graph with random weights, and loop edges that count."""
        torch.manual_seed(0)
        model = AGNN(nn.Identity(), self.channels, self.frames, self.rounds, checkpoint_rounds=self.checkpoint).train()
        assert isinstance(model.loop_edge, LoopEdge)
        nn.init.constant_(model.loop_edge.alpha, 0.5)
        return model

    def nodes(self) -> Tensor:
        """h^0, (B, N', C, H, W), of ordinary size."""
        random = torch.Generator().manual_seed(1)
        return torch.rand((self.clips, self.frames, self.channels, *self.grid), generator=random)


def plain_update(model: AGNN, message: Tensor, state: Tensor) -> Tensor:
    """The ConvGRU as its equations are written; message, state and result are (B, C, H, W)."""
    gru = model.update
    assert isinstance(gru, ConvGRU)
    both = torch.cat([message, state], dim=1)
    z, r = torch.sigmoid(gru.update(both)), torch.sigmoid(gru.reset(both))
    proposed = torch.tanh(gru.candidate(torch.cat([message, r * state], dim=1)))
    return (1 - z) * state + z * proposed


def plain_round(model: AGNN, h: Tensor) -> Tensor:
    """One round written as the equations are: for each ordered pair a matrix of scores, a softmax and a product."""
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


def _lean(model: AGNN, nodes: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        return model.propagate(nodes.to(dtype))  # in the precision in which the encoder gives them


@dataclass(frozen=True)
class Side:
    """One way of computing one workload.

    Attributes:
        workload: what is computed.
        dtype: name of the precision.
        plain: as the equations are written, or as this package does it.
    """

    workload: Workload
    dtype: str = "float32"
    plain: bool = False

    def step(self) -> Callable[[], list[Tensor]]:
        """Forward and backward; returns the result and the gradients of nodes and weights."""
        model, nodes = self.workload.graph(), self.workload.nodes().requires_grad_()
        weights = torch.randn(nodes.shape, generator=torch.Generator().manual_seed(2))
        if not self.plain:
            keep_freed_memory()  # as agnn-train does
            for part in model.modules():
                if isinstance(part, (LoopEdge, LineEdge)):
                    part.backend = "blocked"
        used = [p for name, p in model.named_parameters() if not name.startswith("readout.")]

        def call() -> list[Tensor]:
            out = _plain(model, nodes) if self.plain else _lean(model, nodes, getattr(torch, self.dtype))
            grads = torch.autograd.grad((out.float() * weights).sum(), [nodes, *used])
            return [out.detach().float(), *grads]

        return call


_READY: list[Callable[[], list[Tensor]]] = []


def _resident() -> float:
    """Memory of this process in MB, peak and now being the same from here on; NaN elsewhere than on Linux."""
    gc.collect()
    if not Path("/proc/self/clear_refs").exists():
        return math.nan
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    return peak_memory_mb()


def _begin(side: Side, threads: int) -> None:
    torch.set_num_threads(threads)
    small = replace(side, workload=replace(side.workload, grid=(4, 4)))
    small.step()()  # libraries are loaded and warm
    _READY.append(side.step())


def _measure() -> tuple[float, float]:
    """Seconds of a step, and MB above what the process held before."""
    before = _resident()
    start = time.perf_counter()
    _READY[0]()
    return time.perf_counter() - start, peak_memory_mb() - before


def measure(sides: dict[str, Side], repeats: int) -> dict[str, tuple[float, float]]:
    """Least seconds of each side, and the memory in MB that its first step took, each in a process of its own."""
    seconds, memory = dict.fromkeys(sides, math.inf), dict.fromkeys(sides, math.nan)
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, spawn, _begin, (side, torch.get_num_threads())))
            for name, side in sides.items()
        }
        for turn in range(repeats + 1):
            for name, pool in pools.items():
                spent, held = pool.submit(_measure).result()
                if turn:  # the first one warms up, and its memory is not yet there from an earlier step
                    seconds[name] = min(seconds[name], spent)
                else:
                    memory[name] = held
    return {name: (seconds[name], memory[name]) for name in sides}


def apart(workload: Workload, dtype: str) -> float:
    """Largest relative difference of result and gradients from the plain fp32 ones, as norms."""
    ours, theirs = Side(workload, dtype).step()(), Side(workload, plain=True).step()()
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True) if b.norm() > 1e-6)


@register("topic", "graph")
def run_graph(repeats: int = 3, workload: Workload | None = None, more: int = 8) -> dict[str, Any]:
    """Time a forward and a backward pass of the graph on the CPU, C = 256, 60×60, N' = 3, K = 3: plainly, and ours.

    Returns:
        ``{topic, rows: [{name, seconds, memory_mb}], ratios: {time_plain_over_ours, fp32_time_ours_over_plain,
        memory_plain_over_ours, …}}``; memory is what a step takes above the process.

    Raises:
        RuntimeError: results or gradients that differ from the plain ones.
    """
    workload = workload or Workload()
    default = str(choose_dtype("auto", _CPU)).removeprefix("torch.")
    small = replace(workload, grid=(12, 12))
    for dtype, most in (("float32", 1e-3), (default, 0.1)):
        if (found := apart(small, dtype)) > most:
            raise RuntimeError(f"benchmark of the graph: {dtype} differs from plain fp32 by {found:.3g}")
    sides = {
        "plain, fp32": Side(workload, plain=True),
        "ours, fp32": Side(workload),
        f"ours, {default}": Side(workload, default),
        f"ours, {default}, rounds computed again": Side(replace(workload, checkpoint=True), default),
        f"ours, {default}, N' = {more}": Side(replace(workload, frames=more), default),
    }
    found_sides = list(measure(sides, repeats).values())
    plain, fp32, ours, again, wide = found_sides
    return {
        "topic": "graph",
        "rows": [{"name": n, "seconds": s, "memory_mb": m} for n, (s, m) in zip(sides, found_sides, strict=True)],
        "ratios": {
            "time_plain_over_ours": plain[0] / ours[0],
            "fp32_time_ours_over_plain": fp32[0] / plain[0],
            "memory_plain_over_ours": plain[1] / ours[1],
            "memory_plain_over_ours_rounds_again": plain[1] / again[1],
            "memory_plain_over_ours_with_more_frames": plain[1] / wide[1],
        },
    }
