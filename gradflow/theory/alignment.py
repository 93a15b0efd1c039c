"""One teacher neuron, m students, output weights one: where all students align with the teacher.

f = Σ_j σ(w_j·x), f* = σ(v·x), x ~ N(0, I). Zhu, Ying & Zuo, Analysis of Alignment Phenomenon in Simple
Teacher-Student Networks with Finite Width (2021), prove that for ReLU all students align at any local
minimum. Their "angular distance function" is not used here; what is checked is this project's form of it,

    F(θ) = sin θ + (π−θ) cos θ,  F(0) = π, F(π/2) = 1, F(π) = 0, F' = −(π−θ) sin θ ≤ 0:

½L is stationary at w_j ≠ 0 exactly if Σ_i |w_i| F(θ_ij) = |v| F(θ_j) (along w_j) and
Σ_i (π−θ_ij) P_j w_i = (π−θ_j) P_j v (across it; P_j takes out the part along w_j).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from .._train import train
from ..activations import ACTIVATIONS
from ..errors import ArgumentError
from ..losses.problem import Problem
from ..networks import MLP
from ..solvers import default_solver
from .check import Check
from .registry import Progress, register
from .specialization_spherical import angle_between

SOURCE = "Zhu, Ying & Zuo 2021"

NEGATIVE = 1e-6
"""A point with an eigenvalue below −1e-6 of the largest is a saddle, not a local minimum."""

DEAD = 1e-3
"""A student shorter than this (the teacher has length one) may be dying."""


def angular(angle):
    """F(θ) = sin θ + (π−θ) cos θ."""
    return np.sin(angle) + (math.pi - angle) * np.cos(angle)


@dataclasses.dataclass(frozen=True, eq=False)
class End:
    """Where one start ended.

    weights W (m, d), loss L, grad_norm |∇L|_∞, minimum: no negative curvature; teacher (d,), even: whether
    σ is, so that its line counts and not its ray {λv : λ ≥ 0}.
    """

    weights: np.ndarray
    loss: float
    grad_norm: float
    minimum: bool
    teacher: np.ndarray
    even: bool

    @property
    def distance(self) -> float:
        """How far the farthest student is from the teacher's ray or line, in units of |v|."""
        return distance(self.weights, self.teacher, self.even)

    def distance_of(self, which: np.ndarray) -> float:
        """The same for the students in a mask (m,); zero for none."""
        return distance(self.weights[which], self.teacher, self.even) if which.any() else 0.0


def problem(activation: str, weights: np.ndarray, teacher: np.ndarray) -> Problem:
    """Students with rows `weights` (m, d) and one teacher (d,), all output weights one."""
    ones = np.ones((1, len(weights)))
    return Problem(
        MLP([teacher[None], ones[:, :1]], None, activation), MLP([weights, ones], None, activation)
    )


def distance(weights: np.ndarray, teacher: np.ndarray, even: bool = False) -> float:
    """The largest distance of a row from the ray (the line, if `even`) of the teacher, over |v|."""
    size = float(np.linalg.norm(teacher))
    along = weights @ teacher / size
    if not even:
        along = np.maximum(along, 0.0)
    return float(np.linalg.norm(weights - np.outer(along, teacher / size), axis=1).max()) / size


def descend(activation: str, students: int, dim: int, seed: int) -> End:
    """A flow from W = randn/√d with fixed output weights, and its refinement.

    A ReLU student can reach w = 0 in finite time, where L has a kink that holds it (a step that leaves
    comes back). Where the flow gets no further for that reason, such a student is put to zero, where
    σ'(0) = 0 keeps it, and the flow of the others goes on. At L = 0 that is where the kinked flow ends too.
    """
    rng = np.random.default_rng([students, dim, seed])
    teacher = rng.standard_normal(dim)
    teacher /= np.linalg.norm(teacher)
    W = rng.standard_normal((students, dim)) / math.sqrt(dim)
    alive = np.ones(students, dtype=bool)
    while True:
        rates = np.concatenate([np.repeat(alive, dim).astype(np.float64), np.zeros(students)])
        solver = type(default_solver(W.size))(rtol=1e-6, atol=1e-8, gtol=1e-9, max_steps=1000)
        there = problem(activation, W, teacher)
        result = train(there, rates=rates, solver=solver, refiner=None, progress=False)
        W = result.student.weights[0].copy()
        dying = alive & (np.linalg.norm(W, axis=1) < DEAD)
        if result.stop_reason.succeeded or not dying.any() or dying.sum() == alive.sum():
            break
        W[dying] = 0.0
        alive &= ~dying
    result = train(problem(activation, W, teacher), rates=rates, solver=None, progress=False)
    W = result.student.weights[0]
    # A dead ReLU neuron has no Hessian; the others must have no negative curvature.
    seen = np.flatnonzero(np.repeat(np.linalg.norm(W, axis=1) > DEAD, dim))
    values = np.linalg.eigvalsh(result.problem.hessian(result.theta)[np.ix_(seen, seen)])
    minimum = bool(values.size == 0 or values[0] >= -NEGATIVE * values[-1])
    even = ACTIVATIONS[activation].symmetry == "even"
    return End(W, result.loss, result.grad_norm, minimum, teacher, even)


def stationarity(students: int, dim: int, seed: int, factor: float = 1.0) -> Check:
    """The gradient of the ReLU loss at random points, split along and across each student."""
    rng = np.random.default_rng(seed)
    W, v = rng.standard_normal((students, dim)), rng.standard_normal(dim)
    there = problem("relu", W, v)
    gradient = 0.5 * there.gradient(there.theta0)[: students * dim].reshape(students, dim)
    worst = 0.0
    for j, w in enumerate(W):
        unit = w / np.linalg.norm(w)
        angles = np.array([0.0 if i == j else angle_between(w, u) for i, u in enumerate(W)])
        to_teacher = angle_between(w, v)
        along = np.linalg.norm(W, axis=1) @ angular(angles) - factor * np.linalg.norm(v) * angular(to_teacher)
        across = (math.pi - angles) @ W - factor * (math.pi - to_teacher) * v
        across -= (across @ unit) * unit
        worst = max(worst, float(np.abs((along * unit + across) / (2 * math.pi) - gradient[j]).max()))
    grid = np.linspace(0.0, math.pi, 1001)
    slope = np.gradient(angular(grid), grid, edge_order=2)
    shape = float(np.abs(slope + (math.pi - grid) * np.sin(grid)).max())
    return Check(
        name="alignment.stationarity",
        statement="For ReLU students and one teacher dL/dw_j = (1/pi) times the vector with the "
        "component sum_i |w_i| F(theta_ij) - |v| F(theta_j) along w_j and the part sum_i (pi - theta_ij) "
        "w_i - (pi - theta_j) v across it, F(theta) = sin theta + (pi - theta) cos theta, which falls "
        "from pi to 0.",
        source=f"derived; the argument it serves: {SOURCE}",
        computed={"students": students, "dim": dim, "slope_of_F_off_by": shape, "F(0)": angular(0.0)},
        residual=max(worst, 0.0 if shape < 1e-5 else shape),
        tolerance=1e-14 * students,
    )


def relu_aligns(students: int, dim: int, starts: int, activation: str = "relu") -> Check:
    """Many starts: every local minimum has all its students on the teacher's ray."""
    ends = [descend(activation, students, dim, seed) for seed in range(starts)]
    minima = [end for end in ends if end.minimum]
    worst = max((end.distance for end in minima), default=math.inf)
    return Check(
        name="alignment.relu",
        statement=f"{students} students of {dim} inputs, {starts} starts: at every local minimum each "
        "student is a non-negative multiple of the teacher (zero ones included), and L = 0.",
        source=SOURCE,
        computed={
            "minima": len(minima),
            "other_ends": len(ends) - len(minima),
            "largest_loss": max((abs(end.loss) for end in minima), default=math.nan),
            "worst_gradient": max(end.grad_norm for end in ends),
            "farthest_from_the_ray": worst,
        },
        residual=max(worst, max((abs(end.loss) for end in minima), default=math.inf)),
        tolerance=1e-6,
    )


def cancelling_pair(activation: str, dim: int, seed: int) -> Check:
    """Students v, w and −w: a local minimum without alignment if σ is odd up to a constant."""
    rng = np.random.default_rng(seed)
    v, w = rng.standard_normal((2, dim))
    there = problem(activation, np.stack([v, w, -w]), v)
    size = 3 * dim
    gradient = float(np.abs(there.gradient(there.theta0)[:size]).max())
    values = np.linalg.eigvalsh(there.hessian(there.theta0)[:size, :size])
    # f − f* is the constant 2σ(0) there, and L ≥ (E(f − f*))² = 4σ(0)² for every W: a global minimum.
    constant = float(ACTIVATIONS[activation](np.zeros(1))[0])
    excess = abs(there.loss(there.theta0) - 4.0 * constant**2) / max(1.0, values[-1])
    return Check(
        name=f"alignment.not_for.{activation}",
        statement=f"{activation} is odd up to a constant, so students v, w, -w with any w are a global "
        "minimum, L = (2 sigma(0))^2, in which w is not aligned: nothing like the ReLU theorem holds.",
        source="derived",
        computed={
            "gradient": gradient,
            "excess_loss": excess,
            "smallest_eigenvalue": values[0],
            "distance_from_the_ray": distance(np.stack([v, w, -w]), v),
        },
        residual=max(gradient / max(1.0, values[-1]), excess, -float(values[0]) / values[-1]),
        tolerance=1e-13,
    )


def aligns(activation: str, starts: int, dim: int = 3, students: int = 3) -> Check:
    """An activation that is not odd up to a constant, by many starts."""
    ends = [descend(activation, students, dim, seed) for seed in range(starts)]
    minima = [end for end in ends if end.minimum]
    shape = "line" if ACTIVATIONS[activation].symmetry == "even" else "ray"
    return Check(
        name=f"alignment.for.{activation}",
        statement=f"{students} {activation} students of {dim} inputs, {starts} starts: at every local "
        f"minimum found all students lie on the teacher's {shape}, zero included (where L is of fourth "
        "order in what is left of a student, its rounding leaves a student of 1e-4 or so, and the "
        "tolerance allows for that).",
        source="found by this project; the statement for ReLU: " + SOURCE,
        computed={
            "minima": len(minima),
            "other_ends": len(ends) - len(minima),
            "losses": sorted({round(abs(end.loss), 9) for end in minima}),
            "worst_gradient": max(end.grad_norm for end in ends),
        },
        residual=max((end.distance for end in minima), default=math.inf),
        tolerance=2e-3,
    )


def strays(activation: str, starts: int, dim: int = 3, students: int = 3) -> Check:
    """An activation that is not odd up to a constant and does not align either, by many starts."""
    ends = [descend(activation, students, dim, seed) for seed in range(starts)]
    minima = [end for end in ends if end.minimum and end.grad_norm <= 1e-10]
    # Students beyond |w| = 5 run to infinity, where the cosine averages to nothing: the others count.
    found = 0.0
    for end in minima:
        found = max(found, end.distance_of(np.linalg.norm(end.weights, axis=1) < 5.0))
    return Check(
        name=f"alignment.not_for.{activation}",
        statement=f"{students} {activation} students of {dim} inputs, {starts} starts: flows end, with a "
        "gradient below 1e-10 and no negative curvature, where students of finite length are off the "
        "teacher's line by more than 0.1 (one student runs to infinity there, where L is flat).",
        source="found by this project",
        computed={
            "ends": len(minima),
            "losses": sorted({round(end.loss, 9) for end in minima}),
            "farthest": found,
        },
        residual=max(0.0, 0.1 - found),
        tolerance=0.0,
    )


STRAYS = ("cos",)
"""Activations that are not odd up to a constant and whose students need not align."""


def supported() -> dict[str, bool]:
    """Activations whose population loss is in closed form here, and whether they are odd up to a constant."""
    found = {}
    for name, activation in ACTIVATIONS.items():
        try:
            problem(name, np.eye(2), np.ones(2))
        except ArgumentError:
            continue
        found[name] = activation.symmetry in ("odd", "odd+constant")
    return found


@register("alignment.stationarity")
def _stationarity(size: str, progress: Progress) -> Iterator[Check]:
    for seed, (students, dim) in enumerate([(3, 3), (5, 8)]):
        yield stationarity(students, dim, seed)


@register("alignment.relu")
def _relu(size: str, progress: Progress) -> Iterator[Check]:
    cases = [(3, 3, 20)] if size == "quick" else [(m, d, 200) for m in (1, 2, 3, 5) for d in (2, 3, 10)]
    for students, dim, starts in cases:
        progress(f"{students} students of {dim} inputs")
        yield relu_aligns(students, dim, starts)


@register("alignment.not_for")
def _not_for(size: str, progress: Progress) -> Iterator[Check]:
    for name in (name for name, odd in supported().items() if odd):
        yield cancelling_pair(name, 4, seed=0)
    for name in STRAYS:
        if name in supported():
            yield strays(name, 4 if size == "quick" else 100)


@register("alignment.for")
def _for(size: str, progress: Progress) -> Iterator[Check]:
    for name in (name for name, odd in supported().items() if not odd and name not in ("relu", *STRAYS)):
        progress(name)
        yield aligns(name, 4 if size == "quick" else 200)
