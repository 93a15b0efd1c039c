"""Levenberg–Marquardt on the Gauss–Newton matrix itself: no Jacobian of all samples, and none of any.

With L a mean of squares, G the Hessian without second derivatives of the network (`Objective.gauss_newton`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import store_plain
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from ..support.validate import integer
from .base import Kept, Refinement
from .gram import TRIALS, Damping, Search, SearchCourse, damped_step
from .newton import TrustRegionNewton
from .newton_krylov import NewtonKrylov

EPS = float(np.finfo(np.float64).eps)

NEWTON_SIZE = 1000
"""Up to so many parameters a run that stalls is finished with Hessians, beyond with their products."""

LAST_DAMPING, RANK = 1e-6, 1e-13
"""The damping, in units of the largest diagonal entry of G, where steps begin to be judged by the gradient,
and the least: below it G + μ is singular on a manifold of minima."""

POLISHES, PATIENCE, RETURNS = 100, 6, 4
"""Steps judged by the gradient, at most; failures in a row after which there is no better point; evaluations
for one of them, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussNewton(Search):
    """Levenberg–Marquardt with the Gauss–Newton matrix G: steps −(G + μ)⁻¹ ∇L.

    G is formed without the Jacobian of the residuals, (N, P): a sum over samples of products within layers,
    or over pairs of neurons for infinitely many inputs. Up to `dense` parameters G + μ is factorised by
    Cholesky; beyond, the system is solved by conjugate gradients on products G v, preconditioned by the
    diagonal of G, to a residual of 0.1 … 0.001. Where L is zero within its rounding (some 1e-16 of a
    population) steps are judged by the gradient: the end on a manifold of minima of an over-wide student.

    Parameters
    ----------
    window : int, default 30
        Given up where L has not fallen to `gain` of itself within so many steps.
    gain : float, default 0.8
        See `window`.
    damping : float, default 0.01
        First μ in units of the largest diagonal entry of G.
    dense : int, default 5,000
        Parameters up to which G is formed.
    products : int, default 200
        Products in one linear system, at most.
    search : bool, default True
        Whether a run that stalls is given up, which is what searches want; otherwise Newton's
        method (`TrustRegionNewton`, `NewtonKrylov`) goes on within what is left of the limits.

    Raises
    ------
    ArgumentError
        For a loss without such a matrix.

    References
    ----------
    Marquardt, SIAM J. Appl. Math. 11 (1963) 431; Nielsen, IMM-REP-1999-05 (the damping); N. N. Schraudolph,
    Neural Computation 14 (2002) 1723 (the products).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, inputs=X, refiner=GaussNewton(), progress=False).zero_loss
    True
    """

    dense: int = 5000
    products: int = 200
    search: bool = True

    name: ClassVar[str] = "GaussNewton"

    def __post_init__(self):
        super().__post_init__()
        values = {"dense": integer("dense", self.dense, 0), "products": integer("products", self.products, 1)}
        if not isinstance(self.search, bool):
            raise ArgumentError("search", repr(self.search), "True or False")
        store_plain(self, values)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        if not objective.has_gauss_newton:
            raise ArgumentError("refiner", self.name, "a loss that is a mean of squares")
        with single_threaded_blas():
            run = _Run(self, objective, np.array(theta, dtype=np.float64), monitor)
            run.descend()
            if run.reason is StopReason.LOSS_FLOOR or run.at_zero():
                run.polish()
        end = run.result()
        stalled = run.reason in (StopReason.NO_PROGRESS, StopReason.MAX_STEPS)
        if self.search or not stalled or end.iterations >= self.max_iterations:
            return end
        left = max(self.max_seconds - end.seconds, 1e-3)
        steps = self.max_iterations - end.iterations
        kind = TrustRegionNewton if objective.size <= NEWTON_SIZE else NewtonKrylov
        newton = kind(gtol=self.gtol, max_iterations=steps, max_seconds=left)
        rest = newton.refine(objective, end.theta, monitor)
        return dataclasses.replace(
            rest,
            iterations=rest.iterations + end.iterations,
            counts=objective.counts() - run.before,
            seconds=rest.seconds + end.seconds,
            settings=self.settings(),
        )


class _Run(SearchCourse):
    """The point, its derivatives and the damping."""

    settings: GaussNewton

    def __init__(self, settings: GaussNewton, objective: Objective, theta: np.ndarray, monitor: Monitor):
        super().__init__(settings, objective, monitor)
        self.theta = theta
        self.dense = objective.size <= settings.dense
        self.evaluate()
        self.losses = [self.loss]
        self.kept = Kept(objective, theta, self.loss, self.norm)
        self.first_norm = float(np.linalg.norm(self.gradient))
        self.damping: Damping | None = None

    def evaluate(self) -> None:
        """L, ∇L, and G or its diagonal."""
        objective, theta = self.objective, self.theta
        if self.dense:
            self.loss, self.gradient, self.matrix = objective.gauss_newton(theta)
            self.diagonal = self.matrix.diagonal().copy()
        else:
            self.loss, self.gradient = objective.loss_and_gradient(theta)
            self.diagonal = objective.gauss_newton_diagonal(theta)
        self.norm = float(np.abs(self.gradient).max())

    def step(self, damping: float) -> np.ndarray | None:
        """−(G + μ)⁻¹ ∇L, or None where G + μ is not positive definite in Float64."""
        if self.dense:
            return damped_step(self.matrix, self.diagonal, self.gradient, damping)
        ratio = float(np.linalg.norm(self.gradient)) / max(self.first_norm, 1e-300)
        tolerance = min(0.1, max(1e-3, ratio**0.5))

        def product(v):
            return self.objective.gauss_newton_product(self.theta, v) + damping * v

        return conjugate_gradients(
            product, -self.gradient, self.diagonal + damping, tolerance, self.settings.products
        )

    def descend(self) -> None:
        """Lower L until it is zero, stalls, or a limit is met."""
        settings, objective = self.settings, self.objective
        floor = objective.loss_floor if objective.nonnegative else -np.inf
        self.reason = None
        while True:
            if not (np.isfinite(self.loss) and np.isfinite(self.norm)):
                self.reason = StopReason.NON_FINITE
            elif self.norm <= settings.gtol:
                self.reason = StopReason.GRADIENT
            elif self.loss <= floor:
                self.reason = StopReason.LOSS_FLOOR
            else:
                self.reason = self.limits.reason(self.iterations)
            losses = self.losses
            if self.reason is None and len(losses) > settings.window:
                if self.loss > settings.gain * losses[-1 - settings.window]:
                    self.reason = StopReason.NO_PROGRESS
            if self.reason is None and not self.lower():
                self.reason = StopReason.NO_PROGRESS
            if self.reason is not None:
                return
            self.losses.append(self.loss)
            self.monitor.report(
                "refine (Gauss–Newton)", loss=self.loss, grad_norm=self.norm, steps=self.iterations
            )

    def lower(self) -> bool:
        """One step that lowers L; False if no damping gives one."""
        if self.damping is None:
            self.damping = Damping(self.settings.damping * float(self.diagonal.max()))
        mu = self.damping
        for _ in range(TRIALS):
            step = self.step(mu.value)
            if step is None:
                mu.value *= 4.0
                continue
            candidate = np.ascontiguousarray(self.theta + step)
            lower = self.objective.loss(candidate)
            if np.isfinite(lower) and lower < self.loss:
                promise = 0.5 * float(mu.value * (step @ step) - step @ self.gradient)
                mu.accepted(self.loss - lower, promise)
                self.theta = candidate
                self.evaluate()
                self.kept.see(self.theta, self.loss, self.norm)
                self.iterations += 1
                return True
            mu.refused()
        return False

    def at_zero(self) -> bool:
        """Whether L is zero within its error, so that differences of losses say nothing more."""
        return self.reason is StopReason.NO_PROGRESS and self.objective.is_zero(self.theta, self.loss)

    def polish(self) -> None:
        """Steps judged by the gradient, as long as they lower it.

        Neurons that share a teacher's make L flat to fourth order, its valleys curved: a long step along soft
        eigenvectors puts a larger gradient into the stiff ones. So it is brought back to the floor of the
        valley, by steps with a damping that leaves the soft ones alone, before it is judged.
        """
        largest = float(self.diagonal.max())
        damping, failures = LAST_DAMPING * largest, 0
        for _ in range(POLISHES):
            if failures == PATIENCE or self.norm <= self.settings.gtol or self.stop():
                break
            before, step = self.state(), self.step(damping)
            if step is not None:
                for _ in range(RETURNS):
                    self.theta = np.ascontiguousarray(self.theta + step)
                    self.evaluate()
                    correction = self.step(LAST_DAMPING * largest)
                    if self.norm < before[3] or correction is None:
                        break
                    step = correction
            if step is None or not self.norm < 0.99 * before[3]:
                self.restore(before)
                damping, failures = 10.0 * damping, failures + 1
                continue
            self.iterations += 1
            damping, failures = max(0.1 * damping, RANK * largest), 0
        self.reason = StopReason.LOSS_FLOOR

    def state(self) -> tuple:
        return self.theta, self.loss, self.gradient, self.norm, self.diagonal, getattr(self, "matrix", None)

    def restore(self, state: tuple) -> None:
        self.theta, self.loss, self.gradient, self.norm, self.diagonal, self.matrix = state

    def result(self) -> Refinement:
        assert self.reason is not None
        theta, loss, norm = self.theta, self.loss, self.norm
        if self.reason is not StopReason.LOSS_FLOOR:
            theta, loss, norm = self.kept.better(theta, loss, norm)
        return self.ended(theta, loss, norm, self.iterations, self.reason)


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray], b: np.ndarray, scale: np.ndarray, tolerance: float, most: int
) -> np.ndarray | None:
    """x with |b − A x| ≤ tolerance |b| in the norm of 1/scale, or as far as `most` products go.

    Preconditioned by a diagonal `scale` (P,). Stopped early x is still a direction in which b·x > 0. None
    where A is not positive definite in the first direction.
    """
    x, residual = np.zeros_like(b), b.copy()
    inverse = 1.0 / np.maximum(scale, 1e-300)
    turned = inverse * residual
    direction, square = turned.copy(), float(residual @ turned)
    goal = tolerance**2 * square
    for count in range(most):
        if square <= goal:
            break
        image = product(direction)
        curved = float(direction @ image)
        if not curved > 0.0:
            return None if count == 0 else x
        x += square / curved * direction
        residual -= square / curved * image
        turned = inverse * residual
        before, square = square, float(residual @ turned)
        direction = turned + square / before * direction
    return x
