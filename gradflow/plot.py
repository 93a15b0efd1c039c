"""Pictures of a result. Needs matplotlib (`pip install 'gradflow[plot]'`)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .networks import MLP
from .run.result import Result
from .support.errors import ArgumentError, GradflowError, MissingExtraError

__all__ = ["check_path", "overview", "save_overview"]


def overview(result: Result):
    """A matplotlib figure: loss and gradient norm along the flow, weights against the teacher, spectrum."""
    if not isinstance(result, Result):
        raise ArgumentError("result", f"a {type(result).__name__}", "one gradflow.Result")
    plt = _pyplot()
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="tight")
    _losses(axes[0, 0], result)
    _gradients(axes[0, 1], result)
    _alignment(figure, axes[1, 0], result)
    _spectrum(axes[1, 1], result)
    return figure


def save_overview(result: Result, path: str | os.PathLike) -> None:
    """Draw `overview` into a file; the ending of `path` decides on the format."""
    check_path(path)
    figure = overview(result)
    figure.savefig(Path(path), dpi=120)
    _pyplot().close(figure)


def check_path(path: str | os.PathLike) -> None:
    """Raise `ArgumentError` for a picture format that matplotlib does not write."""
    known = _pyplot().figure().canvas.get_supported_filetypes()
    _pyplot().close()
    ending = Path(path).suffix[1:].lower()
    if ending not in known:
        raise ArgumentError("plot", str(path), f"a name ending in one of {', '.join(sorted(known))}")


def _pyplot():
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "drawing") from error
    return plt


def _losses(axis, result: Result) -> None:
    axis.set(title="Loss along the flow", xlabel="time t", ylabel="L")
    if result.flow is None or result.flow.times.size < 3:
        axis.text(0.5, 0.5, "no flow was followed", ha="center", transform=axis.transAxes)
        return
    times, losses = result.flow.times[1:], result.flow.losses[1:]
    axis.loglog(times, np.maximum(losses, 1e-300), label="flow")
    if result.refinement is not None and result.loss > 0:
        axis.axhline(result.loss, color="black", linewidth=0.8, linestyle="--", label="refined")
    axis.set_ylim(bottom=max(0.5 * min(losses.min(), max(result.loss, 0.0)), 1e-33))
    axis.legend()


def _gradients(axis, result: Result) -> None:
    axis.set(title="Gradient norm along the flow", xlabel="time t", ylabel="∞-norm of ∇L")
    if result.flow is None or result.flow.times.size < 3:
        axis.text(0.5, 0.5, "no flow was followed", ha="center", transform=axis.transAxes)
        return
    axis.loglog(result.flow.times[1:], np.maximum(result.flow.grad_norms[1:], 1e-300), label="flow")
    if result.grad_norm > 0:
        axis.axhline(
            result.grad_norm,
            color="black",
            linewidth=0.8,
            linestyle="--",
            label=f"end point: {result.grad_norm:.1e}",
        )
    axis.legend()


def _alignment(figure, axis, result: Result) -> None:
    """Heat map: scalar products of the student's weight vectors with the teacher's directions."""
    if result.problem.student is None:
        axis.text(0.5, 0.5, "a JAX function: no network to draw", ha="center", transform=axis.transAxes)
        return
    student, teacher = result.student, result.problem.teacher
    W = student.weights[0]
    if isinstance(teacher, MLP) and teacher.sizes[0] == W.shape[1] and len(teacher.weights) > 1:
        V = teacher.weights[0]
        values = W @ (V / np.maximum(np.linalg.norm(V, axis=1, keepdims=True), 1e-300)).T
        axis.set(
            title="Student weights along teacher weights", xlabel="teacher neuron", ylabel="student neuron"
        )
    else:
        values = W
        axis.set(title="First-layer weights", xlabel="input", ylabel="student neuron")
    limit = max(float(np.abs(values).max()), 1e-300)
    image = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for ticks, count in ((axis.xaxis, values.shape[1]), (axis.yaxis, values.shape[0])):
        ticks.set_major_locator(_pyplot().MaxNLocator(min(count, 10), integer=True))
    figure.colorbar(image, ax=axis)


def _spectrum(axis, result: Result) -> None:
    axis.set(title="Hessian spectrum at the end point", xlabel="index", ylabel="eigenvalue")
    try:
        spectrum = result.spectrum()
    except GradflowError as error:
        axis.text(0.5, 0.5, str(error), ha="center", wrap=True, transform=axis.transAxes)
        return
    values = spectrum.eigenvalues
    axis.axhline(0.0, color="grey", linewidth=0.6)
    axis.plot(np.arange(values.size), values, ".")
    axis.set_yscale("symlog", linthresh=max(spectrum.tolerance, 1e-14))


def __dir__() -> list[str]:
    return sorted(__all__)
