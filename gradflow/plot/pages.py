"""Several pictures of one result on a page."""

from __future__ import annotations

import os
from pathlib import Path

from ..run.result import Result
from ..support.errors import ArgumentError
from .flows import gradients, losses
from .networks import weights
from .spectra import spectrum
from .style import STYLE, pyplot


def overview(result):
    """A matplotlib figure of four pictures: loss and gradient along the flow, weights, spectrum."""
    if not isinstance(result, Result):
        raise ArgumentError("result", f"a {type(result).__name__}", "one gradflow.Result")
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(2, 2, figsize=(7.0, 5.0), layout="constrained")
        for panel, draw in zip(panels.flat, (losses, gradients, weights, spectrum)):
            draw(result, ax=panel)
    return figure


def save_overview(result: Result, path: str | os.PathLike) -> None:
    """Draw `overview` into a file; the ending of `path` decides on the format."""
    check_path(path)
    figure = overview(result)
    with pyplot().rc_context(STYLE):
        figure.savefig(Path(path))
    pyplot().close(figure)


def check_path(path: str | os.PathLike) -> None:
    """Raise `ArgumentError` for a picture format that matplotlib does not write."""
    plt = pyplot()
    figure = plt.figure()
    known = figure.canvas.get_supported_filetypes()
    plt.close(figure)
    ending = Path(path).suffix[1:].lower()
    if ending not in known:
        raise ArgumentError("plot", str(path), f"a name ending in one of {', '.join(sorted(known))}")
