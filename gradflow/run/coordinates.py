"""What solvers and refiners see of a problem: the parameters that move, in the span where that is smaller."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..inputs import as_inputs
from ..losses.base import Objective
from ..losses.problem import Problem
from ..losses.reduced import Reduced, find_span
from ..losses.restricted import Restricted
from ..networks import MLP
from ..refiners import Refinement
from ..solvers import Flow, from_settings
from ..solvers.dense_output import mapped_stepper

STEP_NUMBERS = 5_000_000
"""Numbers of a reduced flow's steps in full coordinates, at most: θ at so many steps times P."""


def choose_span(teacher, student, inputs, rates: np.ndarray) -> tuple[np.ndarray | None, int]:
    """The basis (r, d) of the span to solve in, or None; and the number of parameters that move there.

    teacher, student, inputs   as `train` gets them, perhaps a `Problem` for the teacher
    """
    if isinstance(teacher, Problem):
        allowed, problem = teacher.reduce, teacher
        teacher, student, inputs = problem.teacher, problem.student, problem.inputs
    else:
        allowed, inputs = True, as_inputs(inputs)
    basis = find_span(student, teacher, inputs, rates) if allowed else None
    moves = rates != 0
    if basis is None:
        return None, int(moves.sum())
    n, d = student.weights[0].shape
    return basis, int(moves[: n * d : d].sum()) * basis.shape[0] + int(moves[n * d :].sum())


def coordinates_of(problem: Problem, rates: np.ndarray, reduced_dim: int | None) -> Coordinates:
    """The coordinates of a run that is over, from what its result says of them."""
    basis = None if reduced_dim is None else choose_span(problem, None, None, rates)[0]
    return Coordinates(problem, rates, basis)


class Coordinates:
    """The moving parameters of a problem, and the way back to all of them.

    problem  with its starting point; rates (P,), zero for what stands still
    basis    of the span to work in (`Reduced`), or None

    `objective`, `start` and `rates` are what solvers and refiners get.
    """

    def __init__(self, problem: Problem, rates: np.ndarray, basis: np.ndarray | None):
        self.problem, self._moves = problem, rates != 0
        self.reduced: Reduced | None = None
        objective: Objective = problem.objective
        theta = problem.theta0.copy()
        if basis is not None:
            assert isinstance(problem.student, MLP) and isinstance(problem.teacher, MLP)
            self.reduced = Reduced(problem.student, problem.teacher, problem.inputs, basis)
            theta, rates = self.reduced.lower(theta), self.reduced.lower_rates(rates)
            objective = self.reduced.objective
            objective.gradient_scale = problem.objective.gradient_scale
        free = rates != 0
        self._restricted = None if free.all() else Restricted(objective, theta, free)
        self.objective: Objective = self._restricted or objective
        self.start, self.rates = theta[free], rates[free]

    def point(self, rows: np.ndarray) -> np.ndarray:
        """Points of the moving coordinates, (p,) or (m, p), as flat θ."""
        if self._restricted is not None:
            rows = self._widen(rows, self._restricted.theta)
        return rows if self.reduced is None else self.reduced.lift(rows)

    def velocity(self, rows: np.ndarray) -> np.ndarray:
        """Tangent vectors of the moving coordinates, (p,) or (m, p), as ones of all parameters."""
        if self._restricted is not None:
            rows = self._widen(rows, np.zeros_like(self._restricted.theta))
        return rows if self.reduced is None else self.reduced.lift(rows)

    def back(self, vector: np.ndarray) -> np.ndarray:
        """The moving coordinates (p,) of a flat θ or velocity (P,)."""
        small = vector if self.reduced is None else self.reduced.lower(vector)
        return np.ascontiguousarray(small if self._restricted is None else small[self._restricted.free])

    def flow(self, flow: Flow) -> Flow:
        """The same flow as one of all parameters; where the axes change, norms are taken again."""
        if self.reduced is not None:
            flow = _thinned(flow, self.problem.size)
        full = flow.mapped(self.point, self.velocity, self.back)
        if self.reduced is not None:
            full.theta[0] = full.step_theta[0] = self.problem.theta0
            norms = np.array([self.evaluate(theta)[1] for theta in full.theta])
            full = dataclasses.replace(full, grad_norms=norms)
        return full

    def attach(self, flow: Flow) -> Flow:
        """A flow of all parameters that comes from a file or another process, with a stepper again."""
        inner = from_settings(flow.settings).stepper(self.objective, self.rates)
        return flow if inner is None else dataclasses.replace(
            flow, stepper=mapped_stepper(inner, self.point, self.back)
        )  # fmt: skip

    def refinement(self, refinement: Refinement) -> Refinement:
        """The same refinement with its end point in all parameters."""
        extended = refinement.extended
        if extended is not None:
            extended = dataclasses.replace(extended, theta_low=self.velocity(extended.theta_low))
        theta, grad_norm = self.point(refinement.theta), refinement.grad_norm
        if self.reduced is not None:
            grad_norm = self.evaluate(theta)[1]
        return dataclasses.replace(refinement, theta=theta, grad_norm=grad_norm, extended=extended)

    @property
    def whole(self) -> bool:
        """Whether every parameter moves."""
        return bool(self._moves.all())

    def evaluate(self, theta: np.ndarray) -> tuple[float, float]:
        """L and the ∞-norm of ∇L over the parameters that move, at a flat θ."""
        loss, gradient = self.problem.objective.loss_and_gradient(np.ascontiguousarray(theta))
        return loss, float(np.abs(gradient[self._moves]).max())

    def _widen(self, rows: np.ndarray, still: np.ndarray) -> np.ndarray:
        assert self._restricted is not None
        full = np.broadcast_to(still, (*rows.shape[:-1], still.size)).copy()
        full[..., self._restricted.free] = rows
        return full


def _thinned(flow: Flow, size: int) -> Flow:
    """The flow without some of its steps where they would fill the memory as vectors of this size.

    An interval that has lost steps gets an infinite stiffness: there `Flow.at` integrates from the step
    before t instead of interpolating, and the path is the same.
    """
    count = flow.step_times.size
    stride = -(-count * size // STEP_NUMBERS)
    if stride == 1:
        return flow
    kept = np.unique(np.append(np.arange(0, count, stride), count - 1))
    return dataclasses.replace(
        flow,
        step_times=flow.step_times[kept],
        step_theta=flow.step_theta[kept],
        step_velocity=flow.step_velocity[kept],
        step_acceleration=flow.step_acceleration[kept],
        stiffness=np.where(np.diff(kept) > 1, np.inf, flow.stiffness[kept[:-1]]),
    )
