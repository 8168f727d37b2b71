"""What each difference between the paper and the released code costs: parameters, arithmetic and time.

usage: python experiments/paper_vs_official/costs.py

At 473×473, N' = 3, fp32, random weights, in two parts: the encoder, and the graph with its read-out. Variants of
a part take turns, three times; the fastest turn of each counts. Writes costs.csv beside this script.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from agnn_lit.config import CONF_DIR, register_schemas, typed
from agnn_lit.model.agnn import AGNN
from agnn_lit.model.build import build_model
from agnn_lit.shared.files import write_text
from agnn_lit.shared.runs import register_resolvers

FRAMES, SIZE, GRID = 3, (473, 473), (60, 60)
TURNS = 3
#: What the released code changes in the graph.
AXES = {
    "loop edge": ["model.loop_edge=encoder", "model.loop_reduction=4"],
    "line edge": ["model.line_edge=directed"],
    "gate": ["model.gate=spatial"],
    "aggregation": ["model.aggregation=concat", "model.loop_edge=none"],  # has no place for the loop edge's message
    "update": ["model.update=gru1x1"],
    "read-out": ["model.readout=bn"],
    "rounds": ["model.rounds=5"],
}


def model(*words: str) -> AGNN:
    """The network that some settings describe, with random weights."""
    with initialize_config_dir(CONF_DIR, version_base="1.3"):
        cfg = compose("train", overrides=["backbone=deeplabv3_resnet101", "backbone.weights=null", *words])
    return build_model(typed(cfg), pretrained=False).eval()


def graph(built: AGNN) -> Callable[[], object]:
    """Rounds and read-out of a clip's nodes."""
    nodes = torch.rand(1, FRAMES, 256, *GRID)
    return lambda: built.read_out(built.propagate(nodes), nodes, SIZE)


def encoder(built: AGNN) -> Callable[[], object]:
    """Nodes of a clip."""
    images = torch.randn(1, FRAMES, 3, *SIZE)
    return lambda: built.encode(images)


@torch.inference_mode()
def measure(sides: dict[str, tuple[Callable[[], object], int]]) -> list[list[object]]:
    """Rows of variant, parameters in millions, GFLOP and seconds for a frame, and time relative to the first side."""
    operations = {}
    for name, (call, _) in sides.items():
        with FlopCounterMode(display=False) as counter:
            call()
        operations[name] = counter.get_total_flops() / 1e9 / FRAMES
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(TURNS):
        for name, (call, _) in sides.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], (time.perf_counter() - start) / FRAMES)
    base = next(iter(best.values()))
    return [
        [name, f"{count / 1e6:.2f}", f"{operations[name]:.1f}", f"{best[name]:.3f}", f"{best[name] / base:.2f}"]
        for name, (_, count) in sides.items()
    ]


def parameters(part: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in part.parameters())


def main() -> None:
    """Entry point."""
    register_schemas()
    register_resolvers()
    loop = AXES["loop edge"]
    variants = {"paper": [], **{f"{axis} alone": words for axis, words in AXES.items()}}
    variants["no loop edge"] = ["model.loop_edge=none"]
    variants["released"] = ["model=agnn_official"]
    encoders = {"paper": [], "loop edge inside": loop, "released": ["model=agnn_official", "backbone=deeplab_official"]}
    built = {name: model(*words) for name, words in encoders.items()}
    rows = [["encoder", *r] for r in measure({n: (encoder(m), parameters(m.encoder)) for n, m in built.items()})]
    built = {name: model(*words) for name, words in variants.items()}
    sides = {n: (graph(m), parameters(m) - parameters(m.encoder)) for n, m in built.items()}
    rows += [["graph", *r] for r in measure(sides)]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["part", "variant", "parameters_M", "GFLOP", "seconds", "time_over_paper"])
    table.writerows(rows)
    write_text(Path(__file__).parent / "costs.csv", out.getvalue())
    print(out.getvalue())


if __name__ == "__main__":
    main()
