"""Matplotlib figures as inline SVG in the colours of the page, light or dark."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Placeholder colours of figures; CSS variables replace them in the page.
INK, MUTED, GRID = "#010101", "#010102", "#010103"
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#4a4a4a")
COLOURS = len(_PALETTE)
DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--rule"} | {f"#0200{i:02x}": f"--s{i}" for i in range(COLOURS)}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # keep text as text, in the font of the page
    "svg.hashsalt": "agnn_lit",  # reproducible identifiers
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "path.simplify_threshold": 0.3,
}
#: Colours of the placeholders in a standalone file.
_LIGHT = {INK: "#1a1d21", MUTED: "#5d656e", GRID: "#e1e4e8"} | {f"#0200{i:02x}": c for i, c in enumerate(_PALETTE)}


def series_colour(index: int) -> str:
    """Placeholder colour of method ``index``; colours repeat after seven."""
    return f"#0200{index % COLOURS:02x}"


def series_dash(index: int) -> str | tuple[float, tuple[float, ...]]:
    """Line style of method ``index``: solid for the first seven, then dashed, dotted and so on."""
    return DASHES[index // COLOURS % len(DASHES)]


def new_figure(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``width`` × ``height`` inches, and its panels in ``rows`` that share the x axis."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, hspace=0.04)  # type: ignore[union-attr,call-arg]
    return figure, list(axes)


def _save(figure: Figure, **options: Any) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, **options)
    return buffer.getvalue()


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an ``<svg>`` element.

    Args:
        figure: drawn with the placeholder colours of this module.
        name: prefix of its identifiers, unique in the page.
        description: alternative text.
    """
    text = _save(figure, transparent=True)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    # The short form of older versions of matplotlib, then the long one.
    text = re.sub(r"font: (\d{3} )?([\d.]+px) [^;\"]+", r"font-weight: \1; font-size: \2", text)
    text = re.sub(r"font-family: [^;\"]+;? *", "", text)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, f"var({variable})")
    opening = re.match(r"<svg[^>]*?viewBox=\"([^\"]+)\"[^>]*>", text, flags=re.DOTALL)
    assert opening is not None, "matplotlib wrote an SVG without a viewBox"
    head = f'<svg viewBox="{opening.group(1)}" role="img" aria-label="{escape(description)}">'
    return Markup(re.sub(r"\n\s*", "\n", head + text[opening.end() :]))


def standalone(figure: Figure) -> str:
    """Return a figure as the text of an SVG file, in the light colours of the page."""
    text = _save(figure, facecolor="white")
    for placeholder, colour in _LIGHT.items():
        text = text.replace(placeholder, colour)
    return text
