"""Several pictures of one result on a page."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.files import replacing
from ..support.settings import one_of
from .flows import gradients, losses, trajectories
from .networks import weights
from .spectra import spectrum
from .style import STYLE, pyplot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def overview(result) -> Figure:
    """Four pictures on a page: loss and gradient along the flow, weights, spectrum.

    Parameters
    ----------
    result : Result
        Of one run.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ArgumentError
        For anything else.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> len(gf.plot.overview(gf.train(teacher, student, progress=False)).axes) >= 4
    True
    """
    if not isinstance(result, Result):
        raise ArgumentError("result", f"a {type(result).__name__}", "one gradflow.Result")
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(2, 2, figsize=(7.0, 5.0), layout="constrained")
        drawings: tuple[Callable, ...] = (losses, gradients, weights, spectrum)
        for panel, draw in zip(panels.flat, drawings):
            draw(result, ax=panel)
    return figure


def save_overview(result: Result, path: str | os.PathLike) -> None:
    """Draw `overview` into a file.

    Parameters
    ----------
    result : Result
        Of one run.
    path : path
        Its ending decides on the format.

    Raises
    ------
    ArgumentError
        For a format that matplotlib does not write.

    Examples
    --------
    >>> import os
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.plot.save_overview(gf.train(teacher, student, progress=False), "overview.png")
    >>> os.path.getsize("overview.png") > 0
    True
    """
    save(result, path, "overview")


PICTURES: dict[str, Callable] = {
    "overview": overview,
    "losses": losses,
    "gradients": gradients,
    "weights": weights,
    "trajectories": trajectories,
    "spectrum": spectrum,
}
"""Pictures of one result by name; losses and gradients of several, too."""


def save(found, path: str | os.PathLike, kind: str = "overview") -> None:
    """Draw a picture into a file.

    Parameters
    ----------
    found : Result, or for "losses" and "gradients" also a Batch
        What is drawn.
    path : path
        Its ending decides on the format.
    kind : {"overview", "losses", "gradients", "weights", "trajectories", "spectrum"}
        Which picture.

    Raises
    ------
    ArgumentError
        For a format that matplotlib does not write, and pictures that there are not.

    Examples
    --------
    >>> import os
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.plot.save(gf.train(teacher, student, progress=False), "losses.pdf", "losses")
    >>> os.path.getsize("losses.pdf") > 0
    True
    """
    check_path(path)
    if kind not in PICTURES:
        raise ArgumentError("kind", repr(kind), one_of(kind, PICTURES))
    drawn = PICTURES[kind](found)
    figure = getattr(drawn, "figure", drawn)
    with pyplot().rc_context(STYLE), replacing(path) as name:
        figure.savefig(name, format=Path(path).suffix[1:].lower())
    pyplot().close(figure)


def check_path(path: str | os.PathLike) -> None:
    """Refuse a picture format that matplotlib does not write, before a run begins.

    Parameters
    ----------
    path : path
        Where a picture is to go.

    Raises
    ------
    ArgumentError
        With the formats that there are.

    Examples
    --------
    >>> gf.plot.check_path("overview.png")
    """
    plt = pyplot()
    figure = plt.figure()
    known = figure.canvas.get_supported_filetypes()
    plt.close(figure)
    ending = Path(path).suffix[1:].lower()
    if ending not in known:
        raise ArgumentError("plot", str(path), f"a name ending in one of {', '.join(sorted(known))}")
