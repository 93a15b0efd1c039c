"""The end of a run at a kink."""

from __future__ import annotations

import numpy as np

from ..boundaries.end import Kink, examine
from ..losses.problem import Problem
from ..losses.tangents import tangents
from ..networks import MLP
from ..objective import Objective, Restricted


def find_kink(problem: Problem, theta: np.ndarray, rates: np.ndarray) -> Kink | None:
    """What is at θ (P,) if ∇L jumps there; None where it does not, and where L is zero within its error."""
    if not problem.places or not np.isfinite(theta).all():
        return None
    moves = rates != 0
    objective: Objective = problem.objective
    if objective.is_zero(theta, objective.loss(theta)):
        return None
    pieces = (objective if moves.all() else Restricted(objective, theta, moves)).pieces()
    assert pieces is not None and problem.student is not None
    orbits = None
    if problem.options["weight_decay"] == 0.0 and problem.options["barrier"] is None:
        teacher = problem.teacher if isinstance(problem.teacher, MLP) else None
        softmax = problem.options["loss"] == "cross_entropy"
        found = tangents(problem.student.with_flat(theta), teacher, problem.inputs, softmax=softmax)
        orbits = found[np.abs(found[:, ~moves]).sum(axis=1) == 0.0][:, moves]
    return examine(pieces, np.ascontiguousarray(theta[moves]), orbits)
