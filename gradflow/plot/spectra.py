"""Eigenvalues of the Hessian at an end point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..run.result import Result
from ..support.errors import ArgumentError, GradflowError
from .style import COLORS, axes, drawing, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@drawing
def spectrum(result, *, ax=None) -> Axes:
    """|λ| of every eigenvalue of ∇²L, ascending by λ: negative open, positive filled, zeros on a line below.

    Parameters
    ----------
    result : Result or spectrum
        A `Result`, or what has `eigenvalues` and `tolerance` (the spectra of `result` and `landscape`).
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        For anything else.

    Notes
    -----
    The axis is logarithmic and holds the eigenvalues that are not zero; those within the tolerance of zero
    are crosses on a line of their own under it, with their number.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.plot.spectrum(gf.train(teacher, student, progress=False)).get_yscale()
    'log'
    """
    ax = axes(ax)
    if isinstance(result, Result):
        try:
            result = result.spectrum()
        except GradflowError as error:
            return say(ax, str(error))
    values, tolerance = getattr(result, "eigenvalues", None), getattr(result, "tolerance", None)
    if values is None or tolerance is None:
        raise ArgumentError("result", type(result).__name__, "a Result or a spectrum")
    values, place = np.asarray(values), np.arange(len(values))
    positive, negative = values > tolerance, values < -tolerance
    zero = ~(positive | negative)
    ax.set_yscale("log")
    for chosen, fill, shade, name in (
        (positive, COLORS[0], COLORS[0], "positive"),
        (negative, "none", COLORS[1], "negative"),
    ):
        if chosen.any():
            label = f"{name} ({chosen.sum()})"
            ax.plot(place[chosen], np.abs(values[chosen]), "o", mfc=fill, color=shade, label=label)
    if zero.any():
        lowest = np.abs(values[~zero]).min() if (~zero).any() else 1.0
        level = lowest / 4.0
        ax.plot(place[zero], np.full(zero.sum(), level), "x", color="0.5", label=f"zero ({zero.sum()})")
        ax.axhline(np.sqrt(lowest * level), color="0.8", lw=0.6)
        ax.set_ylim(bottom=level / 2.0)
        _name_zero(ax, level)
    ax.set(xlabel="eigenvalue number", ylabel=r"$|\lambda|$ of $\nabla^2 L$")
    ax.legend(loc="best")
    return ax


def _name_zero(ax, level: float) -> None:
    """No ticks at and below the line of the zeros, but a "0"."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = [t for t in ax.get_yticks() if level * 2.0 < t <= ax.get_ylim()[1]]
    if len(ticks) < 2:  # all within a decade
        ticks = [t for t in ax.yaxis.get_ticklocs(minor=True) if level * 2.0 < t <= ax.get_ylim()[1]][::3]
    ax.yaxis.set_major_locator(FixedLocator([level, *ticks]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticklabels(["0", *(_power(t) for t in ticks)])


def _power(t: float) -> str:
    """A tick's label: a power of ten, or the number."""
    exponent = float(np.log10(t))
    return f"$10^{{{round(exponent)}}}$" if abs(exponent - round(exponent)) < 1e-9 else f"{t:g}"
