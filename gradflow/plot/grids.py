"""Numbers over a plane: phase diagrams from tables, slices through the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..landscape.slices import Slice
from ..support.errors import ArgumentError
from .style import axes, drawing


@drawing
def phase(table: Any, x: str, y: str, value: str, *, ax=None, cmap: str = "viridis", limits=None):
    """A number over two columns of a table: a cell for each pair of values, the mean of several rows.

    table     a pandas DataFrame, or rows as dictionaries (`Sweep.rows()`, `Batch.table()`)
    x, y      its columns along the axes
    value     the column that is shown; truth values count 0 and 1
    limits    (lowest, highest) of the colours, those of the numbers unless given

    Pairs without a row stay blank. Returns the axes.
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
def slice(found, *, ax=None, points=None, cmap: str = "viridis"):
    """log₁₀ L over a plane through parameter space, with contour lines.

    found    what `landscape.slice_plane` returns
    points   (m, 2) coordinates in the plane to be marked (of the points it was drawn through, say)

    Losses that are zero or negative within rounding take the colour of the smallest positive one. Returns the
    axes.
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
