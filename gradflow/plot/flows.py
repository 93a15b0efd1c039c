"""What happens along a flow: losses, gradient norms, weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..run.result import Result
from ..solvers import from_settings
from ..support.errors import ArgumentError
from .networks import teacher_directions
from .style import axes, color, drawing, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 8
"""More runs than this are drawn thin and without a legend."""


@drawing
def losses(results, *, ax=None, labels: Iterable[str] | None = None) -> Axes:
    """L(t) along the flow of one result or several, and where the refinement ended.

    Parameters
    ----------
    results : Result or iterable of Result
        A `Batch` too: its failures are left out.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.
    labels : iterable of str, optional
        One for each; numbers unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    Logarithmic axes. A loss that cannot be told from zero, or that comes out negative, is drawn as an open
    marker at its error bound. The refined loss is a filled marker at the end of its line.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.plot.losses(gf.train(teacher, student, progress=False)).get_yscale()
    'log'
    """
    return _curves(results, ax, labels, "losses", "loss", "loss $L$", lambda r: r.loss_bound)


@drawing
def gradients(results, *, ax=None, labels: Iterable[str] | None = None) -> Axes:
    """The gradient norm |∇L|_∞ along the flow of one result or several, and at the end point.

    Parameters
    ----------
    results, ax, labels
        As in `losses`.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    Drawn at the samples between steps, down to the first one below the flow's `gtol`: what follows, and the
    end of the last step, is λ_max times the error of θ.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.plot.gradients(gf.train(teacher, student, progress=False)).get_xscale()
    'log'
    """
    name = "$|\\nabla L|_\\infty$"
    return _curves(results, ax, labels, "grad_norms", "grad_norm", name, lambda r: 0.0, _resolved)


def _resolved(result: Result) -> int:
    """How many samples after the first have a gradient norm that is the path's."""
    assert result.flow is not None
    norms = result.flow.grad_norms[1:-1]
    gtol = from_settings(result.flow.settings).gradient_tolerance(result.problem.objective)
    below = np.flatnonzero(norms <= gtol)
    return int(below[0]) + 1 if below.size else norms.size


def _curves(
    given, ax, labels, course: str, end: str, name: str, bound, count=lambda r: r.flow.times.size - 1
):
    found = _results(given)
    names = list(labels) if labels is not None else [str(i) for i in range(len(found))]
    if len(names) != len(found):
        raise ArgumentError("labels", f"{len(names)} labels", f"one for each of the {len(found)} results")
    ax = axes(ax)
    ax.set(xlabel="time $t$", ylabel=name)
    drawn = [(r, n) for r, n in zip(found, names) if r.flow is not None and r.flow.times.size > 2]
    if not drawn:
        return say(ax, "no flow was followed")
    width, opacity = (1.2, 1.0) if len(drawn) <= MANY else (0.6, 0.6)
    for i, (result, label) in enumerate(drawn):
        assert result.flow is not None
        shown = slice(1, 1 + count(result))
        times, values = result.flow.times[shown], getattr(result.flow, course)[shown]
        lowest = max(bound(result), np.finfo(np.float64).tiny)
        seen = values > lowest
        ax.loglog(times[seen], values[seen], color=color(i), lw=width, alpha=opacity, label=label)
        if not seen.all():
            hidden = np.full((~seen).sum(), lowest)
            ax.loglog(times[~seen], hidden, "o", mfc="none", color=color(i), ms=3, mew=0.6, alpha=opacity)
        if result.refinement is not None:
            last, fill = getattr(result, end), color(i)
            if last <= lowest:
                last, fill = lowest, "none"
            ax.loglog(times[-1], last, "o", color=color(i), mfc=fill, alpha=opacity, clip_on=False)
            ax.loglog([times[-1]] * 2, [max(values[-1], lowest), last], ":", color=color(i), lw=0.8)
    if 1 < len(drawn) <= MANY:
        ax.legend(loc="best", title="run" if labels is None else None)
    return ax


@drawing
def trajectories(result: Result, *, ax=None, teachers: bool = True, threshold: float = 0.1) -> Axes:
    """How the weight vectors of a student move: w_i(t)·v_j/|v_j| over t, a colour for each student neuron.

    Parameters
    ----------
    result : Result
        With a flow, of a network with a hidden layer.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.
    teachers : bool, default True
        Along the teacher's weight vectors; False: every weight w_ij.
    threshold : float, default 0.1
        Lines that stay below this part of the largest one are grey and thin.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    A line's end carries "i→j", student and teacher neuron.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> len(gf.plot.trajectories(gf.train(teacher, student, progress=False)).lines) >= 6
    True
    """
    ax = axes(ax)
    if result.flow is None or result.problem.student is None or result.flow.times.size < 3:
        return say(ax, "no flow of a network")
    shape = result.problem.student.weights[0].shape
    paths = result.flow.theta[:, : shape[0] * shape[1]].reshape(-1, *shape)
    directions = teacher_directions(result.problem.teacher, shape[1]) if teachers else None
    if directions is not None:
        paths = paths @ directions.T
    times = result.flow.times
    largest = np.abs(paths).max()
    ends = []
    for i in range(paths.shape[1]):
        for j in range(paths.shape[2]):
            values = paths[:, i, j]
            if np.abs(values).max() < threshold * largest:
                ax.semilogx(times[1:], values[1:], color="0.8", lw=0.5, zorder=1)
            else:
                ax.semilogx(times[1:], values[1:], color=color(i), zorder=2)
                ends.append((float(values[-1]), f"{i}→{j}", color(i)))
    _label_ends(ax, ends)
    ax.axhline(0.0, color="0.6", lw=0.4, zorder=0)
    name = r"$w_i\cdot v_j/|v_j|$" if directions is not None else "$w_{ij}$"
    ax.set(xlabel="time $t$", ylabel=name)
    return ax


def _label_ends(ax, ends: list[tuple[float, str, str]]) -> None:
    """Names at the right ends of lines, one above the other where they would overlap; equal ends share."""
    low, high = ax.get_ylim()
    gap = 0.05 * (high - low)
    groups: list[list] = []
    for value, text, shade in sorted(ends):
        if groups and value - groups[-1][0] < 0.2 * gap:
            groups[-1][1].append(text)
        else:
            groups.append([value, [text], shade])
    height = -np.inf
    for value, texts, shade in groups:
        height = max(value, height + gap)
        text = ", ".join(texts) if len(texts) <= 3 else f"{texts[0]} … ({len(texts)})"
        ax.annotate(
            text, (1.0, height), xycoords=("axes fraction", "data"), xytext=(2, 0),
            textcoords="offset points", va="center", color=shade, fontsize=6, annotation_clip=False,
        )  # fmt: skip


def _results(given) -> list[Result]:
    allowed = "a Result, or a sequence of Results"
    if isinstance(given, Result):
        return [given]
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ArgumentError("results", type(given).__name__, allowed)
    entries = list(given)
    found = [entry for entry in entries if isinstance(entry, Result)]
    wrong = [e for e in entries if not isinstance(e, Result) and type(e).__name__ != "Failure"]
    if wrong or not found:
        raise ArgumentError("results", repr(wrong[0]) if wrong else "no result", allowed)
    return found
