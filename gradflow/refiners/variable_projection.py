"""Variable projection: least squares whose linear parameters are eliminated in closed form at every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from .base import Refinement
from .gram import Search, SearchCourse, damped_descent


class Separable(Protocol):
    """Y ≈ Φ(V) C with V (rows, D), each row of which moves the column of Φ with the same number."""

    targets: np.ndarray

    def basis(self, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Φ(V) (m, columns), and whatever `moves` needs."""
        ...

    def moves(self, state: np.ndarray) -> np.ndarray:
        """∂Φ_i/∂V_id, shape (m, rows · D)."""
        ...

    def coefficients(self, Phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best C for a Φ, and orthonormal columns that span Φ."""
        ...


class Projected(NamedTuple):
    """Where `project` ended: V, the best C there, L = |Φ(V)C − Y|², accepted steps, and why."""

    V: np.ndarray
    C: np.ndarray
    loss: float
    iterations: int
    reason: StopReason


def project(
    model: Separable,
    V: np.ndarray,
    *,
    iterations: int,
    goal: float = 0.0,
    window: int = 30,
    gain: float = 0.8,
    damping: float = 1e-3,
    interrupted: Callable[[], bool] = lambda: False,
) -> Projected:
    """Levenberg–Marquardt on r(V) = Φ(V) C(V) − Y with Kaufman's Jacobian, C(V) the best for each V.

    Column (i, d) of the Jacobian of all outputs is P⊥ (∂φ_i/∂V_id) C_i, so that the Gauss–Newton matrix of
    all outputs together is the Hadamard product  (∂Φᵀ P⊥ ∂Φ) ∘ (C Cᵀ)  and costs what that of one output
    does. Arguments as in `gram.descend`.
    """
    normal = _Eliminated(model, V)
    losses, reason = damped_descent(normal, iterations, goal, window, gain, damping, interrupted)
    return Projected(normal.V, normal.C, losses[-1], len(losses) - 1, reason)


class _Eliminated:
    """r(V), with the best C for V and orthonormal columns Q that span Φ(V)."""

    def __init__(self, model: Separable, V: np.ndarray):
        self.model = model
        Phi, self._state = model.basis(V)
        self.loss = self._solve(V, Phi)
        self.accept()

    def _solve(self, V: np.ndarray, Phi: np.ndarray) -> float:
        C, Q = self.model.coefficients(Phi)
        R = Phi @ C - self.model.targets
        self._seen = V, C, Q, R
        return float(np.vdot(R, R))

    def equations(self) -> tuple[np.ndarray, np.ndarray]:
        rows, D = self.V.shape
        A = self.C[:rows]
        moves = self.model.moves(self._state)
        slope = np.einsum("sid,si->id", moves.reshape(-1, rows, D), self.R @ A.T).ravel()
        moves -= self.Q @ (self.Q.T @ moves)
        gram = moves.T @ moves
        blocks = gram.reshape(rows, D, rows, D)
        blocks *= (A @ A.T)[:, None, :, None]
        return gram, slope

    def attempt(self, step: np.ndarray) -> float:
        there = self.V + step.reshape(self.V.shape)
        Phi, self._state = self.model.basis(there)
        return self._solve(there, Phi) if np.isfinite(Phi).all() else np.inf

    def accept(self) -> None:
        self.V, self.C, self.Q, self.R = self._seen


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariableProjection(Search):
    """Variable projection in Kaufman's form, for networks of one hidden layer and a squared loss on samples.

    The output weights are always the best ones for the hidden layer, which is moved by Levenberg–Marquardt
    on r(V) = Φ(V) C(V) − Y. Its Jacobian is taken as P⊥ ∂Φ C [1]_, without the term that vanishes with r. All
    outputs cost what one does; several tens of thousands of residuals with ten outputs take a matrix
    of the hidden layer's parameters only.

    Parameters
    ----------
    window : int, default 50
        Given up where L has not fallen to `gain` of itself within so many steps.
    gain : float, default 0.8
        See `window`.
    damping : float, default 0.001
        First μ in units of the largest diagonal entry of the Gauss–Newton matrix.

    Raises
    ------
    ArgumentError
        For any other loss.

    Notes
    -----
    `Refinement.grad_norm` is that of ∇L in all parameters.

    References
    ----------
    .. [1] L. Kaufman, A variable projection method for solving separable nonlinear least squares problems,
       BIT 15 (1975) 49–57; G. H. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413–432.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, inputs=X, refiner=VariableProjection(), progress=False).zero_loss
    True
    """

    window: int = 50
    gain: float = 0.9
    damping: float = 1e-3

    name: ClassVar[str] = "VariableProjection"

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        model = objective.separable()
        if model is None:
            allowed = "a squared loss on samples of a network with one hidden layer, all parameters free"
            raise ArgumentError("refiner", self.name, allowed)
        course = SearchCourse(self, objective, monitor)
        with single_threaded_blas():
            begin = model.split(np.array(theta, dtype=np.float64))
            end = project(model, begin, **self.bounds(objective, course.stop))
        found = model.join(end.V, end.C)
        loss, gradient = objective.loss_and_gradient(found)
        return course.ended(found, loss, float(np.abs(gradient).max()), end.iterations, end.reason)
