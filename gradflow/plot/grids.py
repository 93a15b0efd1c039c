"""Numbers over a plane: phase diagrams from tables, slices through the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..landscape.slices import Slice
from ..support.errors import ArgumentError
from .style import axes, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@drawing
def phase(table: Any, x: str, y: str, value: str, *, ax=None, cmap: str = "viridis", limits=None) -> Axes:
    """A number over two columns of a table: a cell for each pair of values, the mean of several rows.

    Parameters
    ----------
    table : pandas.DataFrame or list of dict
        As `Sweep.rows()` and `Batch.table()` give them.
    x, y : str
        Its columns along the axes.
    value : str
        The column that is shown; truth values count 0 and 1.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.
    cmap : str, default "viridis"
        matplotlib's colour map.
    limits : tuple (lowest, highest), optional
        Of the colours, those of the numbers unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Notes
    -----
    Pairs without a row stay blank.

    Examples
    --------
    >>> rows = [{"k": k, "n": n, "loss": k / n} for k in (2, 3) for n in (1, 2)]
    >>> gf.plot.phase(rows, "k", "n", "loss").get_xlabel()
    'k'
    """
    columns = _columns(table, x, y, value)
    across, up = (np.unique(columns[name]) for name in (x, y))
    total, count = np.zeros((up.size, across.size)), np.zeros((up.size, across.size))
    numbers = columns[value].astype(np.float64)
    known = np.isfinite(numbers)
    place = np.searchsorted(up, columns[y][known]), np.searchsorted(across, columns[x][known])
    np.add.at(total, place, numbers[known])
    np.add.at(count, place, 1.0)
    with np.errstate(invalid="ignore"):
        means = np.where(count > 0, total / count, np.nan)
    ax = axes(ax, height=2.8)
    low, high = limits if limits is not None else (np.nanmin(means), np.nanmax(means))
    image = ax.imshow(means, origin="lower", aspect="auto", cmap=cmap, vmin=low, vmax=high)
    for axis, values in ((ax.xaxis, across), (ax.yaxis, up)):
        every = max(1, -(-values.size // 10))
        names = [f"{v:g}" if isinstance(v, (int, float, np.number)) else str(v) for v in values[::every]]
        axis.set_ticks(range(0, values.size, every), names)
    ax.set(xlabel=x, ylabel=y)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label=value)
    return ax


@drawing
def slice(found, *, ax=None, points=None, cmap: str = "viridis") -> Axes:
    """A picture of log₁₀ L over a plane through parameter space, with contour lines.

    Parameters
    ----------
    found : landscape.Slice
        What `landscape.slice_plane` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.
    points : array_like, shape (m, 2), optional
        Coordinates in the plane to be marked (of the points it was drawn through, say).
    cmap : str, default "viridis"
        matplotlib's colour map.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        For anything else, and losses that are all zero.

    Notes
    -----
    Losses that are zero or negative within rounding take the colour of the smallest positive one.

    Examples
    --------
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 1, 1), bias=False, seed=0))
    >>> around = np.linspace(-0.5, 0.5, 5)
    >>> found = gf.landscape.slice_plane(problem, problem.theta0, np.eye(2, 3), around, around)
    >>> gf.plot.slice(found, points=[[0.0, 0.0]]).get_aspect()
    1.0
    """
    if not isinstance(found, Slice):
        raise ArgumentError("found", type(found).__name__, "a Slice, from gradflow.landscape.slice_plane")
    ax = axes(ax, height=2.8)
    positive = found.losses[found.losses > 0]
    if positive.size == 0:
        raise ArgumentError("found", "losses that are all zero", "a plane on which the loss varies")
    values = np.log10(np.maximum(found.losses, positive.min())).T
    image = ax.pcolormesh(found.x, found.y, values, cmap=cmap, shading="gouraud", rasterized=True)
    ax.contour(found.x, found.y, values, levels=12, colors="white", linewidths=0.4)
    if points is not None:
        marks = np.asarray(points, dtype=np.float64)
        ax.plot(marks[:, 0], marks[:, 1], "o", color="white", mec="black", mew=0.6)
    ax.set(xlabel="along the first direction", ylabel="along the second direction", aspect="equal")
    ax.figure.colorbar(image, ax=ax, label=r"$\log_{10} L$")
    return ax


def _columns(table, *names: str) -> dict[str, np.ndarray]:
    try:
        if isinstance(table, (list, tuple)):
            return {name: np.array([row[name] for row in table]) for name in names}
        return {name: np.asarray(table[name]) for name in names}
    except (KeyError, TypeError, IndexError) as error:
        raise ArgumentError(
            "table", f"a table without {error}", f"one with the columns {', '.join(names)}"
        ) from error
