"""One teacher neuron, m students, output weights one: where all students align with the teacher.

f = Σ_j σ(w_j·x), f* = σ(v·x), x ~ N(0, I). Zhu, Ying & Zuo, Analysis of Alignment Phenomenon in Simple
Teacher-Student Networks with Finite Width (2021), prove that for ReLU all students align at any local
minimum. Their "angular distance function" is not used here; what is checked is this project's form of it,

    F(θ) = sin θ + (π−θ) cos θ,  F(0) = π, F(π/2) = 1, F(π) = 0, F' = −(π−θ) sin θ ≤ 0

(`geometry.arc_cosine`): ½L is stationary at w_j ≠ 0 exactly if Σ_i |w_i| F(θ_ij) = |v| F(θ_j) (along w_j) and
Σ_i (π−θ_ij) P_j w_i = (π−θ_j) P_j v (across it; P_j takes out the part along w_j).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ...activations import ACTIVATIONS
from ...run.training import train
from ...solvers import default_solver
from ..check import Check, at_most
from ..geometry import angles, arc_cosine
from ..registry import Progress, register
from ..soft_committee import frozen_outputs, soft_committee

__all__ = [
    "CRITICAL",
    "DEAD",
    "NEGATIVE",
    "ROUNDS",
    "End",
    "descend",
    "distance",
    "ends",
    "projected",
    "stationarity",
]


def __dir__() -> list[str]:
    return sorted(__all__)


SOURCE = "Zhu, Ying & Zuo 2021"

NEGATIVE = 1e-6
"""A point with an eigenvalue below −1e-6 of the largest is a saddle, not a local minimum."""

CRITICAL = 1e-8
"""A larger gradient is no critical point: some flow was held up at a kink."""

ROUNDS = 10
"""Flows of 1,000 steps, at most, one after the other."""

DEAD = 1e-3
"""A student shorter than this (the teacher has length one) may be dying."""


@dataclasses.dataclass(frozen=True, eq=False)
class End:
    """Where one start ended.

    If σ is even the teacher's line counts and not its ray {λv : λ ≥ 0}.

    Attributes
    ----------
    weights : ndarray, shape (m, d)
        W.
    loss, grad_norm : float
        L and |∇L|_∞.
    minimum : bool
        Critical and no negative curvature.
    teacher : ndarray, shape (d,)
        v.
    activation : str
        σ.

    Examples
    --------
    >>> end = descend("softplus", students=1, dim=2, seed=0)
    >>> end.minimum, end.distance < 1e-6
    (True, True)
    """

    weights: np.ndarray
    loss: float
    grad_norm: float
    minimum: bool
    teacher: np.ndarray
    activation: str

    @property
    def even(self) -> bool:
        """Whether the activation is even."""
        return ACTIVATIONS[self.activation].symmetry == "even"

    @property
    def distance(self) -> float:
        """How far the farthest student is from the teacher's ray or line, in units of |v|."""
        return distance(self.weights, self.teacher, self.even)

    @property
    def scale(self) -> float:
        """L of one student at zero, E(σ(0) − σ(v·x))²: what losses are compared with."""
        there = soft_committee(self.activation, np.zeros((1, self.teacher.size)), self.teacher[None])
        return there.loss(there.theta0)

    def distance_of(self, which: np.ndarray) -> float:
        """The same for the students in the mask `which` (m,); zero for none."""
        return distance(self.weights[which], self.teacher, self.even) if which.any() else 0.0

    def rise(self, to: float = 0.1) -> float:
        """How much higher L is where what is off the ray (line) is stretched to `to`, in units of |v|.

        Where it is off by rounding only this is clearly positive; along a valley of minima it is zero.
        """
        on = projected(self.weights, self.teacher, self.even)
        off = self.distance
        if off == 0.0:
            return math.inf
        there = soft_committee(self.activation, on + (to / off) * (self.weights - on), self.teacher[None])
        return there.loss(there.theta0) - self.loss


def projected(weights: np.ndarray, teacher: np.ndarray, even: bool = False) -> np.ndarray:
    """The nearest points of the teacher's ray to rows.

    Parameters
    ----------
    weights : ndarray, shape (m, d)
        The rows.
    teacher : ndarray, shape (d,)
        v.
    even : bool, default False
        The line counts, not the ray.

    Returns
    -------
    ndarray, shape (m, d)

    Examples
    --------
    >>> projected(np.array([[2.0, 1.0], [-1.0, 3.0]]), np.array([1.0, 0.0]))
    array([[2., 0.],
           [0., 0.]])
    """
    unit = teacher / np.linalg.norm(teacher)
    along = weights @ unit
    return np.outer(along if even else np.maximum(along, 0.0), unit)


def distance(weights: np.ndarray, teacher: np.ndarray, even: bool = False) -> float:
    """The largest distance of a row from the ray of the teacher, over |v|.

    Parameters
    ----------
    weights : ndarray, shape (m, d)
        The rows.
    teacher : ndarray, shape (d,)
        v.
    even : bool, default False
        The line counts, not the ray.

    Returns
    -------
    float

    Examples
    --------
    >>> rows = np.array([[2.0, 0.0], [-1.0, 0.0]])
    >>> distance(rows, np.array([1.0, 0.0])), distance(rows, np.array([1.0, 0.0]), even=True)
    (1.0, 0.0)
    """
    off = np.linalg.norm(weights - projected(weights, teacher, even), axis=1)
    return float(off.max() / np.linalg.norm(teacher))


def descend(activation: str, students: int, dim: int, seed: int, length: float = 1.0) -> End:
    """A flow from W = randn/√d with fixed output weights on one teacher, and its refinement.

    Parameters
    ----------
    activation : str
        σ.
    students, dim : int
        m and d.
    seed : int
        Of W and of the teacher's direction.
    length : float
        |v|.

    Returns
    -------
    End
        Where it ended.

    Notes
    -----
    A ReLU student can reach w = 0 in finite time, where L has a kink that holds it (a step that leaves
    comes back). Where the flow gets no further for that reason, such a student is put to zero, where
    σ'(0) = 0 keeps it, and the flow of the others goes on. At L = 0 that is where the kinked flow ends too.

    Examples
    --------
    >>> descend("softplus", students=2, dim=2, seed=0).weights.shape
    (2, 2)
    """
    rng = np.random.default_rng([students, dim, seed])
    teacher = rng.standard_normal(dim)
    teacher *= length / np.linalg.norm(teacher)
    W = rng.standard_normal((students, dim)) / math.sqrt(dim)
    alive = np.ones(students, dtype=bool)
    for _ in range(ROUNDS):
        rates = frozen_outputs(W, alive)
        solver = type(default_solver(W.size))(rtol=1e-6, atol=1e-8, gtol=1e-9, max_steps=1000)
        there = soft_committee(activation, W, teacher[None])
        result = train(there, rates=rates, solver=solver, refiner=None, progress=False)
        W = result.student.weights[0].copy()
        dying = alive & (np.linalg.norm(W, axis=1) < DEAD)
        if result.stop_reason.succeeded or dying.sum() == alive.sum():
            break
        W[dying] = 0.0
        alive &= ~dying
    there = soft_committee(activation, W, teacher[None])
    result = train(there, rates=rates, solver=None, progress=False)
    W = result.student.weights[0]
    # A dead ReLU neuron has no Hessian; the others must have no negative curvature.
    seen = np.flatnonzero(np.repeat(np.linalg.norm(W, axis=1) > DEAD, dim))
    values = np.linalg.eigvalsh(result.problem.hessian(result.theta)[np.ix_(seen, seen)])
    bent = values.size and values[0] < -NEGATIVE * values[-1]
    # Zero loss within rounding is a minimum, wherever its flow stopped: |∇L| is the root of what is left.
    minimum = bool((result.zero_loss or result.grad_norm <= CRITICAL) and not bent)
    return End(W, result.loss, result.grad_norm, minimum, teacher, activation)


def stationarity(cases: list[tuple[int, int]], seed: int = 0, factor: float = 1.0) -> Check:
    """The gradient of the ReLU loss at random points, split along and across each student.

    Parameters
    ----------
    cases : list[tuple[int, int]]
        Numbers of students and of inputs.
    factor : float, default 1.0
        Of the teacher's terms, 1 in the claim.

    Returns
    -------
    Check
    """
    rng = np.random.default_rng(seed)
    off = []
    for students, dim in cases:
        W, v = rng.standard_normal((students, dim)), rng.standard_normal((1, dim))
        there = soft_committee("relu", W, v)
        gradient = 0.5 * there.gradient(there.theta0)[: students * dim].reshape(students, dim)
        norms, length = np.linalg.norm(W, axis=1), factor * np.linalg.norm(v)
        between, to_teacher = angles(W, W), angles(W, v)[:, 0]
        along = arc_cosine(between) @ norms - length * arc_cosine(to_teacher)
        across = (math.pi - between) @ W - factor * (math.pi - to_teacher)[:, None] * v
        units = W / norms[:, None]
        across -= np.sum(across * units, axis=1, keepdims=True) * units
        formula = (along[:, None] * units + across) / (2 * math.pi)
        off += (np.abs(formula - gradient).max(axis=1) / (norms.sum() + length)).tolist()
    grid = np.linspace(0.0, math.pi, 1001)
    # A complex step: the derivative to rounding, without a difference.
    slope = arc_cosine(grid + 1e-100j).imag / 1e-100 + (math.pi - grid) * np.sin(grid)
    return Check(
        name="alignment.stationarity",
        statement="For ReLU students and one teacher dL/dw_j = (1/pi) times the vector with the "
        "component sum_i |w_i| F(theta_ij) - |v| F(theta_j) along w_j and the part sum_i (pi - theta_ij) "
        "w_i - (pi - theta_j) v across it, F(theta) = sin theta + (pi - theta) cos theta, which falls "
        "from pi to 0.",
        source=f"derived; the argument it serves: {SOURCE}",
        parts=[
            at_most("difference of the gradient of a student over sum |w_i| + |v|", off, 1e-15),
            at_most("|F' + (pi - theta) sin theta|", np.abs(slope), 1e-14),
            at_most(
                "|F(0) - pi| and |F(pi)|", [abs(arc_cosine(0.0) - math.pi), abs(arc_cosine(math.pi))], 1e-15
            ),
        ],
        computed={"students and inputs": [list(case) for case in cases]},
    )


def ends(
    activation: str,
    students: int,
    dim: int,
    starts: int,
    length: float = 1.0,
    progress: Progress | None = None,
) -> list[End]:
    """Where the starts of the seeds 0 … starts − 1 end.

    Parameters
    ----------
    activation, students, dim, length
        As in `descend`.
    starts : int
        Their number.
    progress : callable, optional
        Told between starts.

    Returns
    -------
    list of End

    Examples
    --------
    >>> [end.minimum for end in ends("softplus", 1, 2, starts=2)]
    [True, True]
    """
    found = []
    for seed in range(starts):
        if progress is not None:
            progress(f"{activation}, {students} students of {dim} inputs, start {seed} of {starts}")
        found.append(descend(activation, students, dim, seed, length))
    return found


@register("alignment.stationarity")
def _stationarity(size: str, progress: Progress) -> Check:
    cases = [(1, 2), (3, 3), (5, 8), (8, 5), (20, 50)]
    return stationarity(cases * (1 if size == "quick" else 20))
