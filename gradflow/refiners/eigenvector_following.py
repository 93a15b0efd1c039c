"""Eigenvector following: uphill along the lowest modes of the Hessian, downhill along the others."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..objective import Objective
from ..support.eigen import zero_tolerance
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import store_plain
from ..support.stopping import StopReason
from ..support.validate import integer, number
from .base import Kept, Refinement, Refiner
from .bordered import examine
from .following_krylov import SHORT, Following
from .newton import NULL_CUT, TrustRegionNewton, _Run
from .newton_krylov import NewtonKrylov
from .newton_krylov import _Run as KrylovRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class EigenvectorFollowing(Refiner):
    """To a saddle with `index` negative eigenvalues, from a minimum or from anywhere else.

    Parameters
    ----------
    index : int, default 1
        Number of directions in which the critical point is a maximum; None for as many as L has where it
        is, which makes it Newton's method on ∇L = 0 with steps of bounded length.
    radius : float, default 0.1
        First bound on the length of a step, in θ.
    dense : int, default 1000
        Up to so many parameters the Hessian is formed, and its eigenvectors found.
    products, probe : int
        Hessian-vector products at most, beyond: for the modes or a linear system of one step, and in the
        search for a further negative eigenvalue at the end.

    Notes
    -----
    In the eigenbasis of the exact Hessian each step is s_i = ±g_i/(|λ_i| + δ), plus (uphill) for the
    `index` lowest modes, with δ ≥ 0 such that |s| ≤ radius; the radius follows the quality of the
    quadratic model. Where g vanishes at a point of lower index, the step goes along the lowest modes.
    With the right index the last digits are those of `TrustRegionNewton`. A critical point of another index,
    which happens where there is none nearby, or of one that cannot be told, is returned as
    `StopReason.OTHER_INDEX`.

    Beyond `dense` parameters the lowest modes come from products alone (`support.low_modes`), each time from
    those of the step before, and the downhill part from conjugate gradients beside them; the last digits are
    those of `NewtonKrylov`. That no further eigenvalue is negative is then what a Lanczos run of `probe`
    steps beside the modes says (`LowEnd`). With index=None there is no walk, only Newton's steps. Memory:
    some 50 vectors more than `NewtonKrylov`.

    References
    ----------
    Cerjan & Miller, J. Chem. Phys. 75 (1981) 2800; Wales, Energy Landscapes (2003), section 6.2.1.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> student = gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> follower = EigenvectorFollowing(index=1)
    >>> gf.train(teacher, student, solver=None, refiner=follower, progress=False).spectrum().index
    1
    """

    index: int | None = 1
    radius: float = 0.1
    dense: int = 1000
    products: int = 1000
    probe: int = 300

    name: ClassVar[str] = "EigenvectorFollowing"

    def __post_init__(self):
        super().__post_init__()
        if self.index is not None:
            integer("index", self.index, 0)
        values: dict = {"radius": number("radius", self.radius, minimum=0.0, exclusive=True)}
        for name in ("dense", "products", "probe"):
            values[name] = integer(name, getattr(self, name), 0 if name == "dense" else 1)
        store_plain(self, values)

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        if (self.index or 0) > objective.size:
            raise ArgumentError("index", self.index, f"at most {objective.size}, the number of parameters")
        limits = {name: getattr(self, name) for name in ("gtol", "max_iterations", "max_seconds")}
        if objective.size > self.dense:
            return self._without_matrices(objective, theta, monitor, limits)
        run = _Run(TrustRegionNewton(target="critical point", **limits), objective, theta, monitor)
        self.walk(run)
        if run.reason is None:
            run.polish()
        run.finish_degenerate()
        if run.reason in (StopReason.FLOOR, StopReason.GRADIENT) and self.index is not None:
            found = examine(objective, run.theta)
            if found is None or found.inertia.negative != self.index:
                run.reason = StopReason.OTHER_INDEX
        run.kept = Kept(objective, run.theta, run.loss, run.norm)  # a walk uphill is not undone
        return dataclasses.replace(run.result(), settings=self.settings())

    def _without_matrices(self, objective: Objective, theta, monitor: Monitor, limits: dict) -> Refinement:
        newton = NewtonKrylov(target="critical point", products=self.products, probe=self.probe, **limits)
        run = KrylovRun(newton, objective, theta, monitor)
        following = None if self.index is None else Following(run, self.index, self.radius, self.probe)

        def work() -> None:
            if following is not None and run.reason is None:
                following.walk()
            if run.reason is None:
                run.polish()
            if following is not None and run.reason in (StopReason.FLOOR, StopReason.GRADIENT):
                if not following.has_index():
                    run.reason = StopReason.OTHER_INDEX

        run.carry_out(work)
        run.kept = Kept(objective, run.theta, run.loss, run.norm)
        return dataclasses.replace(run.result(), settings=self.settings())

    def walk(self, run: _Run) -> None:
        """Go on with a `run` until the Newton step is short, with as many negative eigenvalues as wanted."""
        radius = self.radius
        while not self.ended(run):
            if not np.isfinite(run.hessian).all():
                run.reason = StopReason.NON_FINITE
                return
            values, vectors = run.eigen
            coefficients = vectors.T @ run.gradient
            sizes = np.abs(values)
            floor = NULL_CUT * float(sizes.max(initial=0.0))
            uphill = negative(run) if self.index is None else self.index
            if negative(run) == uphill:
                used = sizes > floor
                length = float(np.linalg.norm(coefficients[used] / sizes[used]))
                if length <= SHORT * (1.0 + float(np.linalg.norm(run.theta))):
                    return
            upward = np.arange(values.size) < uphill
            still = upward & (values > -floor) & (np.abs(coefficients) <= 1e-8 * radius * sizes + 1e-300)
            step = _bounded(np.where(upward, coefficients, -coefficients), np.maximum(sizes, floor), radius)
            step[still] = radius / np.sqrt(max(int(still.sum()), 1))
            length = float(np.linalg.norm(step))
            candidate = run.theta + vectors @ step
            loss, gradient, hessian = run.objective.all_derivatives(candidate)
            finite = np.isfinite(loss) and np.isfinite(gradient).all() and np.isfinite(hessian).all()
            # The model's gradient at the new point, not L, says how good it is: uphill and downhill
            # parts of a change of L cancel.
            modelled = coefficients + values * step
            error = float(np.linalg.norm(vectors.T @ gradient - modelled)) if finite else np.inf
            quality = error / max(float(np.linalg.norm(values * step)), 1e-300)
            if quality > 1.0 and length > 1e-10 * (1.0 + float(np.linalg.norm(run.theta))):
                radius = 0.4 * length
                continue
            if not finite:
                run.reason = StopReason.NON_FINITE
                return
            radius = 0.5 * length if quality > 0.5 else (2.0 * radius if quality < 0.2 else radius)
            run.move(candidate, loss, gradient, hessian)

    def ended(self, run: _Run) -> bool:
        """Whether a limit of the `run` is met, or `gtol` with as many negative eigenvalues as wanted."""
        if run.reason is StopReason.GRADIENT and self.index not in (None, negative(run)):
            run.reason = None
        return run.out_of_budget()


def negative(run: _Run) -> int:
    """The number of eigenvalues that are negative beyond rounding."""
    values = run.eigen[0]
    return int((values < -zero_tolerance(values)).sum())


def _bounded(coefficients: np.ndarray, sizes: np.ndarray, radius: float) -> np.ndarray:
    """c_i/(|λ_i| + δ), δ ≥ 0 the smallest with a length of at most `radius`, by bisection."""
    safe = np.maximum(sizes, 1e-300)
    step = coefficients / safe
    if float(np.linalg.norm(step)) <= radius:
        return step
    low, high = 0.0, float(np.linalg.norm(coefficients)) / radius
    for _ in range(60):
        middle = 0.5 * (low + high)
        if float(np.linalg.norm(coefficients / (safe + middle))) > radius:
            low = middle
        else:
            high = middle
    return coefficients / (safe + high)
