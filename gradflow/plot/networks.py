"""What a network looks like beside its teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError
from .style import axes, drawing, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUMBERS = 80
"""Up to so many cells carry their number."""


@drawing
def weights(result, *, ax=None, order: bool = True) -> Axes:
    """The hidden weight vectors of a student along those of its teacher, and the output weights beside.

    Parameters
    ----------
    result : Result or MLP
        Of an `MLP` the weights themselves are shown.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure unless given.
    order : bool, default True
        Rows sorted by the teacher neuron that is nearest.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ArgumentError
        For anything else.

    Notes
    -----
    Cells are w_i·v_j/|v_j|. Neurons of an odd activation are shown with a_i ≥ 0, as (w, b, a) and
    (−w, −b, −a) are one function: copies look alike whatever their sign. The bars are a_i, for several
    outputs their norm.

    Examples
    --------
    >>> gf.plot.weights(gf.MLP.random((4, 2, 1), bias=False, seed=0)).get_ylabel()
    'student neuron'
    """
    ax = axes(ax, height=2.2)
    if not isinstance(result, (Result, MLP)):
        raise ArgumentError("result", type(result).__name__, "a Result or an MLP")
    if isinstance(result, Result) and result.problem.student is None:
        return say(ax, "a JAX function: no network to draw")
    teacher = result.problem.teacher if isinstance(result, Result) else None
    student = result.student if isinstance(result, Result) else result
    if len(student.weights) < 2:
        return say(ax, "no hidden layer")
    W, A = np.array(student.weights[0]), np.array(student.weights[1])
    outputs = A[0] if A.shape[0] == 1 else np.linalg.norm(A, axis=0)
    for i, kind in enumerate(student.neuron_activations(0)):
        if kind.symmetry == "odd" and A.shape[0] == 1 and outputs[i] < 0:
            W[i], outputs[i] = -W[i], -outputs[i]
    directions = teacher_directions(teacher, W.shape[1])
    if directions is not None:
        W = W @ directions.T
    rows = np.argsort(np.abs(W).argmax(axis=1), kind="stable") if order else np.arange(W.shape[0])
    _heat(ax, W[rows], rows)
    ax.set(xlabel="input" if directions is None else "teacher neuron", ylabel="student neuron")
    _bars(ax, outputs[rows], "$a_i$" if A.shape[0] == 1 else "$|a_i|$")
    return ax


def teacher_directions(teacher, inputs: int) -> np.ndarray | None:
    """The unit vectors v_j/|v_j| of a teacher's hidden neurons, (k, inputs); None where it has no such."""
    if not isinstance(teacher, MLP) or len(teacher.weights) < 2 or teacher.sizes[0] != inputs:
        return None
    V = teacher.weights[0]
    return V / np.maximum(np.linalg.norm(V, axis=1, keepdims=True), 1e-300)


def _heat(ax, values: np.ndarray, rows: np.ndarray) -> None:
    limit = max(float(np.abs(values).max()), 1e-300)
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    ax.spines[:].set_visible(False)
    every = max(1, -(-values.shape[0] // 15))
    ax.set_yticks(range(0, values.shape[0], every), rows[::every])
    ax.set_xticks(range(0, values.shape[1], max(1, -(-values.shape[1] // 12))))
    if values.size <= NUMBERS and values.shape[1] <= 10:
        for (i, j), value in np.ndenumerate(values):
            shade = "white" if abs(value) > 0.6 * limit else "black"
            ax.text(j, i, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=5.5, color=shade)


def _bars(ax, outputs: np.ndarray, name: str) -> None:
    beside = ax.inset_axes((1.03, 0.0, 0.22, 1.0), sharey=ax)
    beside.barh(np.arange(outputs.size), outputs, color="0.4", height=0.7)
    beside.axvline(0.0, color="black", lw=0.5)
    beside.tick_params(labelleft=False, left=False, labelsize=6)
    beside.spines["left"].set_visible(False)
    beside.set_xlabel(name)
    beside.locator_params(axis="x", nbins=3)
