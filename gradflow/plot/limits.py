"""Networks at infinity beside the finite ones that lead to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.validate import integer
from .style import axes, color, drawing, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS, REACH = 400, 2.5
"""Inputs at which functions are drawn, and how far from the mean in units of the inputs' deviation."""


@drawing
def limit(result, *, ax=None, output: int = 0) -> Axes:
    """The function that a run goes to, the one where it ended, and the units at infinity in between.

    Parameters
    ----------
    result : Result
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.
    output : int, default 0
        Number of the network's output that is drawn.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        For anything else, and an output that the network does not have.

    Notes
    -----
    With one input that is the abscissa, and targets of samples are dots. With more it is the line through
    the inputs' mean along which the first unit at infinity of the first hidden layer changes, or else the
    first axis. A run that does not go to infinity says so.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((60, 1))
    >>> student = gf.MLP([[[0.3]], [[2.0]]], None, "tanh")
    >>> result = gf.train(X + 0.02 * X**3, student, X, progress=False)
    >>> gf.plot.limit(result).get_title()
    'neuron 0 becomes linear'
    """
    ax = axes(ax)
    if not isinstance(result, Result):
        raise ArgumentError("result", type(result).__name__, "a Result")
    network = result.limit
    if network is None:
        return say(ax, "no network at infinity to draw")
    outputs = network.weights[-1].shape[0]
    if integer("output", output, 0) >= outputs:
        raise ArgumentError("output", output, f"0 to {outputs - 1}")
    X = _inputs(result)
    mean, direction = X.mean(axis=0), _direction(network, X.shape[1])
    along = (X - mean) @ direction
    middle = float(mean @ direction) if X.shape[1] == 1 else 0.0
    s = np.linspace(-REACH, REACH, POINTS) * float(np.std(along))
    s = np.clip(s, along.min(), along.max())
    line = mean + np.outer(s, direction)
    targets = result.problem.targets
    if targets is not None and X.shape[1] == 1 and targets.ndim == 2:
        ax.plot(X[:, 0], targets[:, output], ".", color="0.7", zorder=1, label="targets")
    ax.plot(s + middle, np.asarray(result.student(line))[:, output], color=color(0), label="end of the run")
    ax.plot(s + middle, network(line)[:, output], "--", color=color(1), label="limit")
    ax.set(xlabel="x" if X.shape[1] == 1 else "x along the first unit at infinity", ylabel=f"$f_{output}(x)$")
    titles = [str(unit) for unit in network.moved]
    ax.set_title(titles[0] + (f" and {len(titles) - 1} more" if len(titles) > 1 else ""))
    ax.legend()
    return ax


def _inputs(result: Result) -> np.ndarray:
    """The samples, or some of infinitely many inputs."""
    inputs, student = result.problem.inputs, result.problem.student
    assert inputs is not None and student is not None
    if inputs.samples is not None:
        return np.asarray(inputs.samples.X)
    return np.asarray(inputs.sample(1000, student.sizes[0], np.random.default_rng(0)))


def _direction(network, dim: int) -> np.ndarray:
    """The unit vector along which the first unit at infinity of the first layer changes."""
    for unit, row in zip(network.layers[0], network.starts(0)):
        vector = network.weights[0][row, :dim]
        size = float(np.linalg.norm(vector))
        if unit.kind != "neuron" and size > 0:
            return vector / size if dim > 1 else np.ones(1)
    return np.eye(dim)[0]
