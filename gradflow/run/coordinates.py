"""The parameters of a problem that move, in the span of all weights where that is smaller."""

from __future__ import annotations

import numpy as np

from ..losses.problem import Problem
from ..losses.reduced import Reduced, find_span
from ..networks import MLP
from ..objective import Objective


def choose_span(problem: Problem, rates: np.ndarray) -> tuple[np.ndarray | None, int]:
    """The basis (r, d) of the span to solve in, or None; and the number of parameters that move there."""
    student, basis = problem.student, None
    if problem.reduce:
        basis = find_span(student, problem.teacher, problem.inputs, rates)
    moves = rates != 0
    if basis is None or student is None:
        return None, int(moves.sum())
    n, d = student.weights[0].shape
    return basis, int(moves[: n * d : d].sum()) * basis.shape[0] + int(moves[n * d :].sum())


class Coordinates:
    """The moving parameters of a problem, (p,), and the way back to all of them.

    problem  with its starting point; rates (P,), zero for what stands still
    basis    of the span to work in (`Reduced`), or None

    objective   the loss in the span, or of all parameters; `theta` is where it starts and `free` says which
                of its parameters move, with the rates `rates` (p,)
    """

    def __init__(self, problem: Problem, rates: np.ndarray, basis: np.ndarray | None):
        self.problem, self.all_rates = problem, rates
        self.reduced: Reduced | None = None
        self.objective: Objective = problem.objective
        self.theta = problem.theta0.copy()
        if basis is not None:
            assert isinstance(problem.student, MLP) and isinstance(problem.teacher, MLP)
            self.reduced = Reduced(problem.student, problem.teacher, problem.inputs, basis)
            self.theta, rates = self.reduced.lower(self.theta), self.reduced.lower_rates(rates)
            self.objective = self.reduced.objective
        self.free = rates != 0
        self.start, self.rates = self.theta[self.free], rates[self.free]

    @property
    def size(self) -> int:
        """The number of moving parameters p."""
        return self.start.size

    @property
    def reduced_dim(self) -> int | None:
        """The dimension of the span worked in, if there is one."""
        return None if self.reduced is None else self.reduced.basis.shape[0]

    @property
    def whole(self) -> bool:
        """Whether every parameter moves."""
        return bool((self.all_rates != 0).all())

    def point(self, rows: np.ndarray) -> np.ndarray:
        """Points of the moving coordinates, (p,) or (m, p), as flat θ."""
        return self._lifted(rows, self.theta)

    def velocity(self, rows: np.ndarray) -> np.ndarray:
        """Tangent vectors of the moving coordinates, (p,) or (m, p), as ones of all parameters."""
        return self._lifted(rows, np.zeros_like(self.theta))

    def back(self, vector: np.ndarray) -> np.ndarray:
        """The moving coordinates (p,) of a flat θ or velocity (P,)."""
        small = vector if self.reduced is None else self.reduced.lower(vector)
        return np.ascontiguousarray(small[self.free])

    def evaluate(self, theta: np.ndarray) -> tuple[float, float]:
        """L and the ∞-norm of ∇L over the parameters that move, at a flat θ."""
        loss, gradient = self.problem.objective.loss_and_gradient(np.ascontiguousarray(theta))
        return loss, float(np.abs(gradient[self.all_rates != 0]).max())

    def norms(self, points: np.ndarray) -> np.ndarray:
        """The ∞-norms of ∇L over the parameters that move, at rows of θ (m, P)."""
        if self.whole:
            return self.problem.objective.losses_and_norms(points)[:, 1].copy()
        return np.array([self.evaluate(theta)[1] for theta in points])

    def _lifted(self, rows: np.ndarray, still: np.ndarray) -> np.ndarray:
        if not self.free.all():
            full = np.broadcast_to(still, (*rows.shape[:-1], still.size)).copy()
            full[..., self.free] = rows
            rows = full
        return rows if self.reduced is None else self.reduced.lift(rows)
