"""Curves: metrics over training steps, and J and F over the frames of a sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from agnn_lit.report.collect import Curve, FrameScore, RunRecord, Scores
from agnn_lit.report.groups import Group
from agnn_lit.report.svg import MUTED, new_figure, series_colour, series_dash, to_svg

_ORDER = ("loss", "J", "F", "T", "lr")
_TITLES = {"loss": "Loss", "lr": "Learning rate"} | {letter: f"{letter}, validation" for letter in "JFT"}
_SMOOTH_ABOVE = 120  # points; longer training curves get a running mean on top


@dataclass(frozen=True)
class Plot:
    """A figure with its title; figures that are not ``main`` are folded away."""

    title: str
    svg: Markup
    main: bool = True
    note: str = ""


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Centred mean over up to ``width`` ≤ n values, (n,) -> (n,), ignoring NaN; shorter at the ends."""
    finite = np.isfinite(values)
    total, count = (np.convolve(x, np.ones(width), mode="same") for x in (np.where(finite, values, 0.0), finite))
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return mean


def _draw_curve(axes: Axes, curve: Curve, index: int, *, train: bool, marker: str = "o") -> None:
    colour, dash = series_colour(index), series_dash(index)
    x, y = np.array(curve.steps), np.array(curve.values)
    if not train:
        every = max(1, len(x) // 20)
        axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=3, markevery=every)
        return
    smooth = len(x) > _SMOOTH_ABOVE
    axes.plot(x, y, color=colour, linestyle=dash, linewidth=0.9, alpha=0.35 if smooth else 0.75)
    if smooth:
        axes.plot(x, running_mean(y, max(5, len(x) // 40)), color=colour, linestyle=dash)


def _panel_of(metric: str) -> str:
    """Panel of a metric: ``loss`` for ``train/loss`` and ``val/loss``, ``lr`` for all ``lr/…``."""
    head, _, rest = metric.partition("/")
    if head.startswith("lr"):
        return "lr"
    return rest if head in ("train", "val") and rest else metric


def training_plots(runs: Sequence[RunRecord], colours: Mapping[str, int]) -> list[Plot]:
    """One figure per kind of metric, with a line for each run."""
    panels: dict[str, list[str]] = {}
    for metric in dict.fromkeys(key for run in runs for key in run.curves):
        panels.setdefault(_panel_of(metric), []).append(metric)
    ordered = sorted(panels, key=lambda p: (_ORDER.index(p) if p in _ORDER else len(_ORDER), p))
    return [_training_plot(panel, panels[panel], runs, colours, f"t{n}") for n, panel in enumerate(ordered)]


def _training_plot(
    panel: str, metrics: list[str], runs: Sequence[RunRecord], colours: Mapping[str, int], name: str
) -> Plot:
    figure, (axes,) = new_figure(4.6, 2.5)
    both = panel == "loss" and {m.partition("/")[0] for m in metrics} >= {"train", "val"}
    for run in runs:
        for metric in metrics:
            if metric in run.curves:
                train, marker = metric.startswith("train/"), "" if panel == "lr" else "o"
                _draw_curve(axes, run.curves[metric], colours[run.name], train=train, marker=marker)
    if panel in ("J", "F", "T"):
        axes.set_ylim(-0.02, 1.02)
    if panel == "lr":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_xlabel("step")
    axes.margins(x=0.01)
    title = _TITLES.get(panel, panel)
    if panel in ("J", "F", "T") and any(m.startswith("train/") for m in metrics):
        title = panel
    svg = to_svg(figure, name, f"{title} over training steps for {', '.join(r.name for r in runs)}")
    return Plot(title, svg, panel in _ORDER, "thin: training; with dots: validation" if both else "")


def frame_positions(frames: Sequence[FrameScore]) -> list[float]:
    """Return x positions of frames: their numbers if all names are numbers, else 0, 1, 2, …"""
    if all(f.frame.isdecimal() for f in frames):
        return [float(f.frame) for f in frames]
    return [float(i) for i in range(len(frames))]


def lowest_frame(frames: Sequence[FrameScore]) -> int | None:
    """Index of the first frame of lowest J; None if no frame has a J."""
    finite = [i for i, f in enumerate(frames) if not math.isnan(f.J)]
    return min(finite, key=lambda i: frames[i].J) if finite else None


def frame_plot(group: Group, sequence: str, colours: Mapping[str, int], name: str) -> Markup:
    """Curves of J and F over the frames of a sequence, one per method; a dot marks the lowest J."""
    figure, panels = new_figure(4.6, 2.7, rows=2)
    for method in reversed(group.methods):  # the best method is drawn last, on top
        _draw_frames(panels, method, sequence, colours[method.name])
    for axes, letter in zip(panels, "JF", strict=True):
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([0, 0.5, 1], labels=["0", ".5", "1"])
        axes.set_ylabel(letter, rotation=0, labelpad=8, va="center", fontweight="bold")
        axes.margins(x=0.01)
    panels[-1].set_xlabel("frame")
    names = ", ".join(m.name for m in group.methods)
    return to_svg(figure, name, f"J and F of each frame of {sequence}: {names}")


def _draw_frames(panels: Sequence[Axes], method: Scores, sequence: str, index: int) -> None:
    frames = method.frames.get(sequence, ())
    x = frame_positions(frames)
    style = {"color": series_colour(index), "linewidth": 1.3}
    marker = "o" if len(frames) == 1 else ""
    for axes, values in zip(panels, ([f.J for f in frames], [f.F for f in frames]), strict=True):
        axes.plot(x, values, linestyle=series_dash(index), marker=marker, markersize=3, **style)  # type: ignore[arg-type]
    lowest = lowest_frame(frames)
    if lowest is not None:
        panels[0].plot(
            x[lowest], frames[lowest].J, "o", markersize=5, color=series_colour(index), markeredgecolor=MUTED,
            markeredgewidth=0.5, clip_on=False, zorder=5,
        )  # fmt: skip
