"""Newton's method with the exact Hessian in its eigenbasis: to minima, or to any critical point."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.eigen import symmetric_eigen
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import store_plain
from ..support.stopping import StopReason
from ..support.validate import number
from .base import STOPPED, Course, Kept, Refinement, Refiner, verdict
from .bordered import degenerate_point, examine
from .trust_region import trust_region_step

EPS = float(np.finfo(np.float64).eps)

NULL_CUT = 1e-10
"""Eigenvalues below this times the largest are directions in which Newton does not step (polish)."""

UNBOUNDED = 1e9
"""Parameters that have grown by this factor are on their way to infinity."""

SETTLING, SHORT = 20, 1e-4
"""Steps at most that lead back to the floor of a valley, and what part of |θ| is a short one."""

PATIENCE = 4
"""Polishing steps in a row that lower neither the gradient norm nor the loss: that is the floor."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrustRegionNewton(Refiner):
    """Trust-region Newton on exact Hessians, then Newton on ∇L = 0 to the floor of Float64.

    Parameters
    ----------
    target : str, default "minimum"
        "minimum": each step minimises the quadratic model exactly within the trust region, so that negative
        curvature and singular Hessians (the scaling symmetry of ReLU) are handled, and L falls. "critical
        point": |∇L|² falls instead, saddles included.
    radius : float, default 1.0
        First trust-region radius, in θ.

    Raises
    ------
    ArgumentError
        For another target.

    Notes
    -----
    Where the predicted reduction drowns in the rounding of L, steps are judged by the gradient norm.
    The last phase solves ∇²L s = −∇L by a pseudo-inverse (eigenvalues below 1e-10 of the largest left
    out) until the norm falls no more. Cost per step: one Hessian and one `eigh`. Near a degenerate critical
    point, where that creeps, "critical point" goes on with `bordered` Newton.

    References
    ----------
    Moré & Sorensen, SIAM J. Sci. Stat. Comput. 4 (1983) 553; Conn, Gould & Toint, Trust-Region Methods
    (2000).

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, refiner=TrustRegionNewton(), progress=False).grad_norm < 1e-14
    True
    """

    target: str = "minimum"
    radius: float = 1.0

    name: ClassVar[str] = "TrustRegionNewton"

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.target, str) or self.target not in ("minimum", "critical point"):
            allowed = "'minimum' or 'critical point'; saddles of a given index: EigenvectorFollowing(index=1)"
            raise ArgumentError("target", repr(self.target), allowed)
        store_plain(self, {"radius": number("radius", self.radius, minimum=0.0, exclusive=True)})

    def refine(
        self, objective: Objective, theta: np.ndarray, monitor: Monitor, kept: Kept | None = None
    ) -> Refinement:
        """Refine a point: `Refiner.refine`.

        Parameters
        ----------
        objective, theta, monitor
            As there.
        kept : Kept, optional
            What another refiner that hands over began with.

        Returns
        -------
        Refinement
        """
        run = _Run(self, objective, theta, monitor, kept)
        if run.reason is None:
            if self.target == "minimum":
                run.descend()
            else:
                run.reduce_gradient()
        if run.reason is None:
            run.polish()
        if self.target == "critical point":
            run.finish_degenerate()
        if run.reason is StopReason.NO_PROGRESS and self.target == "critical point":
            run.reason = None  # a Hessian too singular for the polish: go on with damped steps
            run.reduce_gradient(hand_over=False)
            run.finish_degenerate()
        return run.result()


class _Run(Course):
    """One refinement: the point, its derivatives, and the best state seen."""

    settings: TrustRegionNewton

    def __init__(self, settings: TrustRegionNewton, objective: Objective, theta, monitor: Monitor, kept=None):
        super().__init__(settings, objective, monitor)
        self.theta = np.array(theta, dtype=np.float64)
        self.loss, self.gradient, self.hessian = objective.all_derivatives(self.theta)
        self.norm = float(np.abs(self.gradient).max())
        self.kept = kept or Kept(objective, self.theta, self.loss, self.norm)
        self.first_size = 1.0 + float(np.abs(self.theta).max(initial=0.0))
        self._decomposed: tuple[np.ndarray, np.ndarray] | None = None
        if not (np.isfinite(self.loss) and np.isfinite(self.norm)):
            self.reason = StopReason.NON_FINITE
        else:
            self.test_gradient()

    @property
    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the Hessian at the present point."""
        if self._decomposed is None:
            values, vectors = symmetric_eigen(self.hessian)
            self._decomposed = values, vectors
        return self._decomposed

    def move(self, theta, loss, gradient, hessian) -> None:
        self.theta, self.loss, self.gradient, self.hessian = theta, loss, gradient, hessian
        self.norm = float(np.abs(gradient).max())
        self._decomposed = None
        self.kept.see(theta, loss, self.norm)
        self.iterations += 1
        self.monitor.report("refine (Newton)", loss=loss, grad_norm=self.norm, steps=self.iterations)
        self.test_gradient()

    def test_gradient(self) -> None:
        """The goal is met at `gtol`, but for a minimum not where the Hessian has a negative direction."""
        if self.norm <= self.settings.gtol and (self.settings.target != "minimum" or self.semidefinite()):
            self.reason = StopReason.GRADIENT

    def semidefinite(self) -> bool:
        """No eigenvalue below the rounding error of the Hessian."""
        if not np.isfinite(self.hessian).all():
            return True
        values = self.eigen[0]
        return bool(values[0] >= -1e2 * values.size * EPS * np.abs(values).max(initial=0.0))

    def out_of_budget(self) -> bool:
        if self.reason is None and float(np.abs(self.theta).max()) > UNBOUNDED * self.first_size:
            self.reason = StopReason.UNBOUNDED
        if self.reason is None:
            self.reason = self.limits.reason(self.iterations)
        return self.reason is not None

    def descend(self) -> None:
        """Lower L until the model's reduction is below the rounding of L, or no step is accepted."""
        radius, losses = self.settings.radius, [self.loss]
        while True:
            losses.append(self.loss)
            if self.out_of_budget():
                slow = self.loss > 0.5 * losses[len(losses) // 2]
                if self.reason is StopReason.MAX_STEPS and len(losses) > 100 and slow:
                    self.reason = StopReason.VALLEY
                return
            if not np.isfinite(self.hessian).all():
                self.reason = StopReason.NON_FINITE
                return
            values, vectors = self.eigen
            values, coefficients = self.without_noise(values, vectors.T @ self.gradient)
            step, on_boundary = trust_region_step(values, coefficients, radius)
            with np.errstate(over="ignore", invalid="ignore"):  # beside a kink eigenvalues can be 1e200
                predicted = -float(step @ (coefficients + 0.5 * values * step))
                length = float(np.linalg.norm(step))
            if not (np.isfinite(predicted) and np.isfinite(length)):
                return
            # Below this the difference of two losses is rounding: the polish judges by the gradient.
            if predicted <= 8 * EPS * abs(self.loss) + 0.5 * self.objective.loss_floor or length == 0.0:
                return
            candidate = self.theta + vectors @ step
            loss, gradient, hessian = self.objective.all_derivatives(candidate)
            finite = np.isfinite(loss) and np.isfinite(gradient).all() and np.isfinite(hessian).all()
            ratio = (self.loss - loss) / predicted if finite else -1.0
            if ratio < 0.25:
                radius = 0.25 * length
            elif ratio > 0.75 and on_boundary:
                radius = 2.0 * radius
            if ratio > 1e-4:
                self.move(candidate, loss, gradient, hessian)
            elif radius <= EPS * (1.0 + float(np.linalg.norm(self.theta))):
                return
            elif predicted <= 1e-8 * abs(self.loss) and predicted <= self.objective.loss_error(self.theta):
                return  # refused, perhaps, by the rounding of L

    def without_noise(self, values: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Zeros where eigenvalue and slope are both rounding: along a line of minima nothing says where to.

        The quotient of two rounding errors would send the point along it, as far as the trust region goes.
        """
        scale, slopes = float(np.abs(values).max(initial=0.0)), np.abs(coefficients)
        # Seen on lines of minima: eigenvalues up to 10 P ε |λ|_max and slopes up to 24 ε s, where s are the
        # terms that cancel in the gradient.
        terms = float((np.abs(self.hessian) @ np.abs(self.theta)).max(initial=self.objective.gradient_scale))
        null = (np.abs(values) <= 16 * values.size * EPS * scale) & (slopes <= 32 * EPS * terms)
        return np.where(null, 0.0, values), np.where(null, 0.0, coefficients)

    def reduce_gradient(self, hand_over: bool = True) -> None:
        """Lower ½|∇L|² by regularised Gauss–Newton steps −H g / (H² + μ); saddles attract as minima do."""
        damping = None
        while not self.out_of_budget():
            if not np.isfinite(self.hessian).all():
                self.reason = StopReason.NON_FINITE
                return
            values, vectors = self.eigen
            coefficients = vectors.T @ self.gradient
            scale = float(np.abs(values).max())
            if scale == 0.0:
                self.reason = StopReason.STATIONARY_RESIDUAL
                return
            if damping is None:
                damping = 1e-3 * scale**2
            step = -values * coefficients / (values**2 + damping)
            predicted = float(coefficients @ coefficients) - float(
                np.sum((coefficients + values * step) ** 2)
            )
            square = float(self.gradient @ self.gradient)
            if hand_over and self.norm <= 1e-10 * scale:
                return  # near enough for the polish, which converges quadratically
            if predicted <= 1e-12 * square:
                self.reason = StopReason.STATIONARY_RESIDUAL if hand_over else self.verdict()
                return
            candidate = self.theta + vectors @ step
            loss, gradient, hessian = self.objective.all_derivatives(candidate)
            finite = np.isfinite(loss) and np.isfinite(gradient).all() and np.isfinite(hessian).all()
            ratio = (square - float(gradient @ gradient)) / predicted if finite else -1.0
            if ratio > 1e-3:
                self.move(candidate, loss, gradient, hessian)
                damping *= 0.2 if ratio > 0.5 else 1.0
            else:
                damping *= 5.0
                if damping > 1e16 * scale**2:
                    self.reason = StopReason.STATIONARY_RESIDUAL if hand_over else self.verdict()
                    return

    def polish(self) -> None:
        """Newton on ∇L = 0 with a pseudo-inverse, keeping the best point, until `PATIENCE` runs out."""
        best = (self.theta, self.loss, self.gradient, self.hessian, self.norm)
        failures, rounding = 0, self.objective.loss_error(self.theta)
        while failures < PATIENCE and np.isfinite(self.hessian).all() and not self.out_of_budget():
            values, vectors = self.eigen
            coefficients = vectors.T @ self.gradient
            used = np.abs(values) > NULL_CUT * np.abs(values).max(initial=0.0)
            step = np.where(used, -coefficients / np.where(used, values, 1.0), 0.0)
            candidate = self.theta + vectors @ step
            loss, gradient, hessian = self.objective.all_derivatives(candidate)
            norm = float(np.abs(gradient).max())
            if not (np.isfinite(norm) and np.isfinite(loss) and np.isfinite(hessian).all()):
                break
            # A minimum asked for must not be left for a saddle: L may not rise beyond rounding.
            allowed = abs(best[1]) * 1e-10 + 2 * rounding
            if self.settings.target == "minimum" and loss > best[1] + allowed:
                break
            self.move(candidate, loss, gradient, hessian)
            if norm < best[4]:
                failures = 0 if norm < 0.9 * best[4] else failures + 1
                best = (self.theta, self.loss, self.gradient, self.hessian, self.norm)
            else:
                failures += 1
        self.theta, self.loss, self.gradient, self.hessian, self.norm = best
        self._decomposed = None
        if self.reason is None:
            self.reason = self.verdict()

    def finish_degenerate(self) -> None:
        """To the degenerate critical point near by, where Newton's method has only come near one."""
        if self.reason in (StopReason.GRADIENT, StopReason.INTERRUPTED, StopReason.MAX_SECONDS):
            return
        near = examine(self.objective, self.theta)
        found = None if near is None else degenerate_point(self.objective, near)
        if found is not None:
            self.move(found.theta, found.loss, found.gradient, found.hessian)
            self.kept = Kept(self.objective, self.theta, self.loss, self.norm)
            self.reason = StopReason.FLOOR

    def settle(self) -> None:
        """Back to the floor of a valley from wherever steps along it were stopped.

        Newton's step in the directions in which it is short; the others lead along the valley.
        """
        reason, longest = self.reason, SHORT * float(np.linalg.norm(self.theta))
        for _ in range(SETTLING if reason in STOPPED else 0):
            if self.norm <= self.kept.first[1] or not np.isfinite(self.hessian).all():
                return
            values, vectors = self.eigen
            coefficients, sizes = vectors.T @ self.gradient, np.abs(values)
            used = (values > 0) & (np.abs(coefficients) <= longest * sizes)
            step = np.where(used, -coefficients / np.where(used, sizes, 1.0), 0.0)
            candidate = self.theta + vectors @ step
            loss, gradient, hessian = self.objective.all_derivatives(candidate)
            if not (np.isfinite(loss) and np.isfinite(gradient).all()):
                return
            self.move(candidate, loss, gradient, hessian)
            self.reason = reason

    def verdict(self) -> StopReason:
        """At a critical point, or stuck elsewhere?"""
        return verdict(self.objective, self.theta, self.loss, self.gradient)

    def result(self) -> Refinement:
        assert self.reason is not None
        if self.reason in STOPPED and self.objective.is_zero(self.theta, self.loss):
            self.reason = StopReason.LOSS_FLOOR
        if self.settings.target == "minimum":
            self.settle()
        counts = self.objective.counts() - self.before
        falling = self.reason is StopReason.UNBOUNDED and not self.objective.nonnegative
        if not falling and (self.settings.target == "minimum" or self.norm > self.kept.first[1]):
            self.theta, self.loss, self.norm = self.kept.better(self.theta, self.loss, self.norm)
        return dataclasses.replace(self.refinement(self.theta, self.loss, self.norm), counts=counts)
