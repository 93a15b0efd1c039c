"""Conserved weight norms of ReLU and linear nodes (Tian 2020, section 5.1), with biases and rates.

|w|²/r_w + b²/r_b − |v|²/r_v of a node (incoming weights w, bias b, outgoing weights v) does not change along
the flow dθ/dt = −r ⊙ ∇L, if the rates are constant within w and within v.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ... import solvers, teachers
from ...losses.problem import Problem
from ...networks import MLP
from ...run.training import train
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from .gradients import PAPER, deep_pair

__all__ = [
    "conserved_norms",
    "norm_velocities",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def _invariants(student: MLP, theta: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """|w|²/r_w + b²/r_b − |v|²/r_v of each hidden node, all layers; rates are constant within w and v."""
    network, speed = student.with_flat(theta), student.with_flat(rates)
    values = []
    for l in range(len(network.weights) - 1):
        incoming = (np.square(network.weights[l]) / speed.weights[l]).sum(axis=1)
        bias, bias_speed = network.biases[l], speed.biases[l]
        if bias is not None and bias_speed is not None:
            incoming = incoming + np.square(bias) / bias_speed
        outgoing = (np.square(network.weights[l + 1]) / speed.weights[l + 1]).sum(axis=0)
        values.append(incoming - outgoing)
    return np.concatenate(values)


def norm_velocities(student: MLP, teacher: MLP, X: np.ndarray) -> Check:
    """w·∂_w L + b ∂_b L − v·∂_v L = 0 for every hidden node, at arbitrary parameters."""
    problem = Problem(teacher, student, X)
    theta = problem.theta0
    gradient = problem.gradient(theta)
    # d/dt of the invariants for unit rates is −2 (w·∂_w L + b ∂_b L − v·∂_v L), by polarisation.
    ones = np.ones(theta.size)
    sums = _invariants(student, theta + gradient, ones) - _invariants(student, theta - gradient, ones)
    scale = float(np.abs(theta).max() * np.abs(gradient).max() * max(student.sizes))
    return Check(
        name="specialization.weight_norms.velocities",
        statement="For linear and ReLU nodes of any layer w.dL/dw + b dL/db = v.dL/dv (v the outgoing "
        "weights), so that |w|^2 + b^2 - |v|^2 does not change along the gradient flow.",
        source=f"{PAPER}, section 5.1 (in words); derived, with biases",
        parts=[at_most("w·∂L/∂w + b ∂L/∂b − v·∂L/∂v over |θ||∇L|", np.abs(sums) / scale, 3e-14)],
        computed={"sizes": list(student.sizes), "samples": len(X), "gradient": float(np.abs(gradient).max())},
    )


def conserved_norms(
    activation: str,
    rates: tuple[float, float, float],
    bias: bool = False,
    t1: float = 20.0,
    claimed: tuple[float, float, float] | None = None,
) -> Check:
    """The invariants along a population flow with rates (r_w, r_b, r_v) of a student of one hidden layer.

    Parameters
    ----------
    claimed : tuple[float, float, float], optional
        The rates in the invariants, those of the flow unless given.

    Returns
    -------
    Check
    """
    width, students = 3, 5
    teacher = teachers.random((4, width, 1), activation, bias, seed=3)
    student = MLP.random((4, students, 1), activation, bias, seed=1)
    sizes = [4 * students, students, students, 1] if bias else [4 * students, students]

    def spread(r: tuple[float, float, float]) -> np.ndarray:
        return np.repeat([*r, r[2]] if bias else [r[0], r[2]], sizes)

    solver = solvers.Kvaerno5(rtol=1e-10, atol=1e-12, t1=t1, gtol=0.0)
    flow = train(teacher, student, solver=solver, refiner=None, rates=spread(rates), progress=False).flow
    assert flow is not None
    values = np.array([_invariants(student, theta, spread(claimed or rates)) for theta in flow.theta])
    squares = [np.square(student.with_flat(theta).weights[0]).sum(axis=1) for theta in flow.theta[[0, -1]]]
    scale = max(1.0, float(np.abs(values[0]).max()))
    return Check(
        name="specialization.weight_norms.flow",
        statement=f"Along the gradient flow of one {activation} student with rates r_w = {rates[0]:g}, r_b "
        f"= {rates[1]:g} and r_v = {rates[2]:g}, |w|^2/r_w + b^2/r_b - |v|^2/r_v of every node stays what "
        f"it was ({'with' if bias else 'without'} biases).",
        source=f"{PAPER}, section 5.1 (in words); derived, with rates and biases",
        parts=[
            at_most("drift of the invariants", np.abs(values[1:] - values[0]) / scale, 3e-10),
            at_least("what |w|^2 of some node has moved by", np.abs(squares[1] - squares[0]).max(), 0.1),
        ],
        computed={
            "t1": t1,
            "loss_from": flow.losses[0],
            "loss_to": flow.losses[-1],
            "parameters_moved_by": float(np.abs(flow.theta[-1] - flow.theta[0]).max()),
        },
    )


@register("specialization.weight_norms")
def _weight_norms(size: str, progress: Progress) -> Iterator[Check]:
    X = np.random.default_rng(5).standard_normal((200, 4))
    yield norm_velocities(*deep_pair(6, 3), X)
    yield conserved_norms("relu", (1.0, 1.0, 0.3))
    yield conserved_norms("relu", (1.0, 2.0, 0.3), bias=True)
    if size == "full":
        yield conserved_norms("relu", (0.2, 1.0, 1.0), t1=1000.0)
        yield conserved_norms("leaky_relu", (1.0, 1.0, 0.5))
        yield conserved_norms("identity", (1.0, 0.7, 0.5), bias=True)
