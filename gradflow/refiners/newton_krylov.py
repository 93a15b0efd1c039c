"""Newton's method without matrices: to minima or any critical point, to the rounding of ∇L, at every size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.lanczos import LowEnd, low_end
from ..support.progress import Monitor
from ..support.settings import store_plain
from ..support.stopping import StopReason
from ..support.validate import integer, number
from .base import Course, Kept, Refinement, Refiner, Stalled, Stop, verdict
from .krylov import NULL, ROUNDING_NULL, Solution, Step, minres, truncated_cg

EPS = float(np.finfo(np.float64).eps)

PATIENCE = 3
"""Newton steps in a row that do not lower the gradient: that is as far as it goes."""

SOLVED = 1e-3
"""Residual of the linear systems near a critical point: three digits a step."""

UNBOUNDED = 1e9
"""Parameters that have grown by this factor are on their way to infinity."""

RESIDUAL = 1e-6
"""Residual, relative to |λ|_max, at which the lowest Ritz value is believed."""

OUTLIER = 16.0
"""Weight vectors whose curvature is not within this factor of their layer's have units of their own."""

ENDS = (StopReason.FLOOR, StopReason.GRADIENT, StopReason.NO_PROGRESS, StopReason.KRYLOV)
"""Reasons to look for a negative eigenvalue."""

PROBES = 4
"""Products with random signs by which the sizes of the Hessian's blocks are told."""

ESCAPES = 20
"""Saddles that are left along a negative eigenvector, at most."""


def gradient_rounding(
    objective: Objective, theta: np.ndarray, gradient: np.ndarray, samples: int = 4
) -> float:
    """The rounding of ∇L, in the ∞-norm: its change when every parameter moves to a neighbour in Float64.

    Both what the evaluation loses and what θ itself cannot say: ∇²L times half a unit in its last place.
    """
    generator = np.random.default_rng(0)
    worst = 0.0
    for _ in range(samples):
        ends = np.where(generator.random(theta.size) < 0.5, -np.inf, np.inf)
        other = objective.gradient(np.nextafter(theta, ends))
        worst = max(worst, float(np.abs(other - gradient).max()))
    return worst


def layer_units(objective: Objective, theta: np.ndarray) -> np.ndarray:
    """Units u (P,) in which the diagonal blocks of ∇²L, u ⊙ ∇²L ⊙ u, are of one size; |θ/u| = |θ|.

    One for the parameters of the output layer and one for the others. Krylov's methods are as slow as the
    units are bad, where factorisations do not see them. Within a layer they are left alone: scales of single
    neurons would tear multiple eigenvalues apart.
    """
    output = objective.output_parameters
    units = np.ones(theta.size)
    if output.all() or not output.any():
        return units
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(PROBES, theta.size))
    for group in (output, ~output):
        images = [objective.hvp(theta, np.where(group, sign, 0.0))[group] for sign in signs]
        size = float(np.sqrt(np.mean(np.square(images))))
        if not 0.0 < size < np.inf:
            return np.ones(theta.size)
        units[group] = size**-0.5
    units *= _outliers(objective, theta)
    length = float(np.linalg.norm(theta))
    units *= float(np.linalg.norm(theta / units)) / length if length > 0.0 else 1.0
    return units


def _outliers(objective: Objective, theta: np.ndarray) -> np.ndarray:
    """Factors (P,) for weight vectors, and output weights, whose curvature is far from their layer's.

    A neuron that averages seventy teachers has an output weight of fifty, and eigenvalues of thousands beside
    some of 1e-7: below what MINRES tells from zero. The curvature is the diagonal of the Gauss–Newton matrix.
    """
    factors = np.ones(theta.size)
    if not objective.has_gauss_newton or objective.weight_vectors is None:
        return factors
    diagonal, output = objective.gauss_newton_diagonal(theta), objective.output_parameters
    names = np.where(output, -1 - np.arange(theta.size), objective.weight_vectors[0])
    _, group = np.unique(names, return_inverse=True)
    sizes = np.bincount(group, diagonal) / np.bincount(group)
    for layer in (output, ~output):
        middle = float(np.median(sizes[group[layer]]))
        if middle > 0.0:
            ratio = sizes[group[layer]] / middle
            far = (ratio > OUTLIER) | ((ratio < 1.0 / OUTLIER) & (ratio > 0.0))
            factors[layer] = np.where(far, np.where(far, ratio, 1.0) ** -0.5, 1.0)
    return factors


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewtonKrylov(Refiner):
    """Trust-region Newton by conjugate gradients, then Newton by MINRES on ∇L = 0 to the rounding of ∇L.

    Parameters
    ----------
    target : {"minimum", "critical point"}
        "minimum": L falls, negative curvature is followed, and no end counts where a Lanczos run finds a
        negative eigenvalue: it is left along the eigenvector. "critical point": |∇L| falls, saddles
        included.
    radius : float, default 1
        First trust-region radius, in θ.
    products, probe : int
        Hessian-vector products at most: in one linear system, and in the search for a negative eigenvalue
        at the end.

    Raises
    ------
    ArgumentError
        For another target.

    Notes
    -----
    The linear systems are in units of the layers (`layer_units`). It stops where |∇L|_∞ is at its rounding,
    which is measured (`gradient_rounding`), or falls no more. Where the linear systems were not solved within
    `products` and nothing more was gained, that is the reason (`StopReason.KRYLOV`); `Refinement.stalled` is
    about the last system, after a limit too. Memory: some fifteen vectors.

    References
    ----------
    T. Steihaug, SIAM J. Numer. Anal. 20 (1983) 626; C. C. Paige and M. A. Saunders, SIAM J. Numer. Anal. 12
    (1975) 617; R. S. Dembo, S. C. Eisenstat and T. Steihaug, SIAM J. Numer. Anal. 19 (1982) 400.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> gf.train(teacher, student, refiner=NewtonKrylov(), progress=False).grad_norm < 1e-14
    True
    """

    target: str = "minimum"
    radius: float = 1.0
    products: int = 1000
    probe: int = 300

    name: ClassVar[str] = "NewtonKrylov"

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.target, str) or self.target not in ("minimum", "critical point"):
            raise ArgumentError("target", repr(self.target), "'minimum' or 'critical point'")
        values: dict = {"radius": number("radius", self.radius, minimum=0.0, exclusive=True)}
        for name in ("products", "probe"):
            values[name] = integer(name, getattr(self, name), 1)
        store_plain(self, values)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        run = _Run(self, objective, theta, monitor)
        if run.carry_out(run.minimise if self.target == "minimum" else run.polish):
            run.theta, run.loss, run.norm = run.kept.theta, run.kept.loss, run.kept.norm
        return run.result()


class _Run(Course):
    """One refinement: the point, its derivatives, and the best state seen."""

    settings: NewtonKrylov

    def __init__(self, settings: NewtonKrylov, objective: Objective, theta, monitor: Monitor):
        super().__init__(settings, objective, monitor)
        self.escapes = 0
        self.stalled: Stalled | None = None
        self.theta = np.array(theta, dtype=np.float64)
        self.loss, self.gradient = objective.loss_and_gradient(self.theta)
        self.norm = float(np.abs(self.gradient).max())
        self.start = self.theta
        self.kept = Kept(objective, self.theta, self.loss, self.norm)
        self.first_size = 1.0 + float(np.abs(self.theta).max(initial=0.0))
        self.radius = settings.radius
        if not (np.isfinite(self.loss) and np.isfinite(self.norm)):
            self.reason = StopReason.NON_FINITE
            self.units = np.ones(self.theta.size)
        else:
            self.units = layer_units(objective, self.theta)

    def carry_out(self, work: Callable[[], None]) -> bool:
        """Do this work; whether Ctrl-C or the limit of time cut it short within a linear system."""
        try:
            work()
        except Stop:
            self.reason = self.limits.reason(-1)
            return True
        return False

    def minimise(self) -> None:
        """To a critical point at which no negative eigenvalue is found."""
        while self.reason is None:
            self.descend()
            self.polish()
            if self.reason in ENDS:
                self.leave_saddle()

    def product(self, v: np.ndarray) -> np.ndarray:
        """∇²L v in these units; `Stop` where time is up: at size a linear system takes minutes."""
        if self.limits.reason(-1) is not None:
            raise Stop
        return self.units * self.objective.hvp(self.theta, self.units * v)

    @property
    def length(self) -> float:
        """1 + |θ| in these units."""
        return 1.0 + float(np.linalg.norm(self.theta / self.units))

    def note(self, solved: Step | Solution, residual: float) -> None:
        """Keep what is known of the last linear system if its products were used up."""
        self.stalled = None
        if solved.exhausted:
            self.stalled = Stalled(residual, solved.products, solved.condition)

    def move(self, theta, loss, gradient) -> None:
        self.theta, self.loss, self.gradient = theta, loss, gradient
        self.norm = float(np.abs(gradient).max())
        self.kept.see(theta, loss, self.norm)
        self.iterations += 1
        self.monitor.report("refine (Newton–Krylov)", loss=loss, grad_norm=self.norm, steps=self.iterations)

    def out_of_budget(self) -> bool:
        if self.reason is None and float(np.abs(self.theta).max(initial=0.0)) > UNBOUNDED * self.first_size:
            self.reason = StopReason.UNBOUNDED
        if self.reason is None:
            self.reason = self.limits.reason(self.iterations)
        return self.reason is not None

    def descend(self) -> None:
        """Lower L until the model's reduction drowns in the rounding of L, or no step is accepted."""
        scale = max(self.objective.gradient_scale, 1e-300)
        while not self.out_of_budget() and self.norm > self.settings.gtol:
            tolerance = min(0.1, float(np.sqrt(self.norm / scale)))
            slope = self.units * self.gradient
            step = truncated_cg(self.product, slope, self.radius, tolerance, self.settings.products)
            length = float(np.linalg.norm(step.vector))
            self.note(step, step.residual)
            # Below this the difference of two losses is rounding: the polish judges by the gradient.
            if not step.reduction > 8 * EPS * abs(self.loss) + 0.5 * self.objective.loss_floor:
                return
            candidate = self.theta + self.units * step.vector
            loss, gradient = self.objective.loss_and_gradient(candidate)
            finite = np.isfinite(loss) and np.isfinite(gradient).all()
            ratio = (self.loss - loss) / step.reduction if finite else -1.0
            if ratio < 0.25:
                # Where L rises, it does so as |s|³ at least: along directions that are flat to second order
                # the model ends far from where it holds.
                self.radius = length * (0.25 if ratio > -1.0 else max(0.01, 0.25 * (-ratio) ** (-1 / 3)))
            elif ratio > 0.75 and step.on_boundary:
                self.radius *= 2.0
            if ratio > 1e-4:
                self.move(candidate, loss, gradient)
            elif self.radius <= EPS * self.length:
                return

    def polish(self) -> None:
        """Newton on ∇L = 0, damped where the gradient would grow, until `PATIENCE` runs out."""
        best = self.theta, self.loss, self.gradient, self.norm
        failures, rounding = 0, None
        settings = self.settings
        while failures < PATIENCE and not self.out_of_budget():
            if self.norm <= settings.gtol:
                self.reason = StopReason.GRADIENT
                break
            if rounding is None or self.norm < 0.1 * rounding:
                rounding = gradient_rounding(self.objective, self.theta, self.gradient)
            if self.norm <= rounding:
                break
            slope, longest = self.units * self.gradient, 0.1 * self.length
            null = NULL if failures == 0 else ROUNDING_NULL
            solution = minres(self.product, -slope, SOLVED, settings.products, longest, null)
            relative = solution.residual / max(float(np.linalg.norm(slope)), 1e-300)
            self.note(solution, relative)
            step = self.units * solution.x
            damping, moved = 1.0, False
            while damping > 1e-3:
                if damping == 0.5 and self.along_valley(step):
                    moved = True
                    break
                candidate = self.theta + damping * step
                loss, gradient = self.objective.loss_and_gradient(candidate)
                norm = float(np.linalg.norm(self.units * gradient))
                if np.isfinite(loss) and norm < (1.0 - 1e-3 * damping) * float(np.linalg.norm(slope)):
                    break
                damping *= 0.5
            else:
                failures += 1
                if not self.nudge(step):
                    break
                continue
            if moved:
                failures, best = 0, (self.theta, self.loss, self.gradient, self.norm)
                continue
            # A minimum asked for must not be left for a saddle: L may not rise beyond rounding.
            allowed = abs(best[1]) * 1e-10 + 2 * self.objective.loss_floor + 1e2 * EPS * EPS
            if settings.target == "minimum" and loss > best[1] + allowed:
                break
            self.move(candidate, loss, gradient)
            if self.norm < best[3]:
                failures = 0 if self.norm < 0.9 * best[3] else failures + 1
                best = self.theta, self.loss, self.gradient, self.norm
            else:
                failures += 1
        self.theta, self.loss, self.gradient, self.norm = best
        if self.reason is None:
            self.reason = verdict(self.objective, self.theta, self.loss, self.gradient)
        if self.reason is StopReason.NO_PROGRESS and self.stalled is not None:
            self.reason = StopReason.KRYLOV

    def along_valley(self, step: np.ndarray) -> bool:
        """A full step, and one in stiff directions back to the floor of a curved valley, where that helps."""
        candidate = self.theta + step
        slope = self.units * self.objective.gradient(candidate)
        if not np.isfinite(slope).all():
            return False

        def product(v: np.ndarray) -> np.ndarray:
            if self.limits.reason(-1) is not None:
                raise Stop
            return self.units * self.objective.hvp(candidate, self.units * v)

        back = minres(product, -slope, SOLVED, self.settings.products, 0.1 * self.length)
        candidate = candidate + self.units * back.x
        loss, gradient = self.objective.loss_and_gradient(candidate)
        rounding = 8 * EPS * abs(self.loss) + self.objective.loss_floor
        if not (float(np.abs(gradient).max()) < 0.9 * self.norm and loss <= self.loss + rounding):
            return False
        self.move(candidate, loss, gradient)
        return True

    def nudge(self, step: np.ndarray) -> bool:
        """A full step where none lowers the gradient: at the floor another rounding may be a lower one."""
        candidate = self.theta + step
        loss, gradient = self.objective.loss_and_gradient(candidate)
        if not (np.isfinite(loss) and float(np.abs(gradient).max()) <= 10.0 * self.norm):
            return False
        self.move(candidate, loss, gradient)
        return True

    def leave_saddle(self) -> None:
        """Go on from a saddle: along the eigenvector of a negative eigenvalue, as far as L falls."""
        found: LowEnd = low_end(
            self.product,
            self.theta.size,
            self.settings.probe,
            RESIDUAL,
            (self.start - self.theta) / self.units,
        )
        if found.vector is None or self.escapes >= ESCAPES:
            return
        along = self.units * found.vector
        if float(along @ self.gradient) > 0.0:
            along = -along
        length = self.settings.radius
        while length > 1e-8 * self.length:
            candidate = self.theta + length * along
            loss, gradient = self.objective.loss_and_gradient(candidate)
            gained = 8 * EPS * abs(self.loss) + self.objective.loss_floor
            if np.isfinite(loss) and loss < self.loss - max(gained, 0.05 * -found.value * length**2):
                self.move(candidate, loss, gradient)
                self.escapes += 1
                self.reason, self.radius = None, self.settings.radius
                return
            length *= 0.5

    def result(self) -> Refinement:
        theta, loss, norm = self.kept.better(self.theta, self.loss, self.norm)
        found = self.refinement(theta, loss, norm)
        return dataclasses.replace(found, stalled=None if found.stop_reason.succeeded else self.stalled)
