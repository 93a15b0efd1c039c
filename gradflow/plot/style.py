"""One style for all pictures, legible at the width of one column of a journal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..support.errors import ArgumentError, MissingExtraError

COLUMN = 3.4
"""Width of one column, in inches."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that people with colour blindness can tell apart (Okabe and Ito 2008)."""

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.prop_cycle": f"cycler(color={COLORS!r})",
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.dpi": 130,
    "savefig.dpi": 300,
    "savefig.bbox": "tight",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
"""Settings of matplotlib; fonts stay text in PDF and SVG."""


Drawing = TypeVar("Drawing", bound=Callable)


def pyplot():
    """`matplotlib.pyplot`, or a `MissingExtraError` that says how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "drawing") from error
    return plt


def drawing(function: Drawing) -> Drawing:
    """Decorator: the style holds for a new figure; on a user's own axes the user's own style does."""

    @functools.wraps(function)
    def styled(*arguments, ax=None, **options):
        if ax is not None:
            return function(*arguments, ax=ax, **options)
        with pyplot().rc_context(STYLE):
            return function(*arguments, ax=None, **options)

    return cast(Drawing, styled)


def axes(ax, width: float = COLUMN, height: float = 2.5):
    """The axes given, or those of a new figure."""
    plt = pyplot()
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    elif not isinstance(ax, plt.Axes):
        raise ArgumentError("ax", repr(ax), "axes of matplotlib, or None for a new figure")
    return ax


def color(i: int) -> str:
    """The colour of the i-th thing."""
    return COLORS[i % len(COLORS)]


def say(ax, text: str):
    """A sentence where there is nothing to draw."""
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, text, ha="center", va="center", wrap=True, transform=ax.transAxes)
    return ax
