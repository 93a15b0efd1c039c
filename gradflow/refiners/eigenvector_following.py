"""Eigenvector following: uphill along the lowest modes of the Hessian, downhill along the others."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from ..losses.base import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.settings import store_plain
from ..support.stopping import StopReason
from ..support.validate import integer, number
from .base import Kept, Refinement, Refiner
from .newton import NULL_CUT, TrustRegionNewton, _Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class EigenvectorFollowing(Refiner):
    """To a saddle with `index` negative eigenvalues, from a minimum or from anywhere else.

    index    number of directions in which the critical point is a maximum
    radius   first bound on the length of a step, in θ

    In the eigenbasis of the exact Hessian each step is s_i = ±g_i/(|λ_i| + δ), plus (uphill) for the
    `index` lowest modes, with δ ≥ 0 such that |s| ≤ radius; the radius follows the quality of the
    quadratic model. Where g vanishes at a point of lower index, the step goes along the lowest modes.
    With the right index the last digits are Newton's. A critical point of another index, which happens
    where there is none nearby, is returned as `StopReason.OTHER_INDEX`.
    Sources: Cerjan & Miller, J. Chem. Phys. 75 (1981) 2800; Wales, Energy Landscapes (2003), section 6.2.1.
    """

    index: int = 1
    radius: float = 0.1

    name: ClassVar[str] = "EigenvectorFollowing"

    def __post_init__(self):
        super().__post_init__()
        integer("index", self.index, 0)
        store_plain(self, {"radius": number("radius", self.radius, minimum=0.0, exclusive=True)})

    def refine(self, objective: Objective, theta: np.ndarray, monitor: Monitor) -> Refinement:
        if self.index > objective.size:
            raise ArgumentError("index", self.index, f"at most {objective.size}, the number of parameters")
        newton = TrustRegionNewton(
            target="critical point",
            gtol=self.gtol,
            max_iterations=self.max_iterations,
            max_seconds=self.max_seconds,
        )
        run = _Run(newton, objective, theta, monitor)
        if run.reason is StopReason.GRADIENT and negative(run) != self.index:
            run.reason = None
        if run.reason is None:
            self.walk(run)
        if run.reason is None:
            run.polish()
        arrived = run.reason in (StopReason.FLOOR, StopReason.GRADIENT)
        if arrived and negative(run) != self.index:
            run.reason = StopReason.OTHER_INDEX
        run.kept = Kept(objective, run.theta, run.loss, run.norm)  # a walk uphill is not undone
        return dataclasses.replace(run.result(), settings=self.settings())

    def walk(self, run: _Run) -> None:
        """Until the Newton step is short, with as many negative eigenvalues as wanted."""
        radius = self.radius
        while not run.out_of_budget():
            if not np.isfinite(run.hessian).all():
                run.reason = StopReason.NON_FINITE
                return
            values, vectors = run.eigen
            coefficients = vectors.T @ run.gradient
            sizes = np.abs(values)
            floor = NULL_CUT * float(sizes.max(initial=0.0))
            if negative(run) == self.index:
                used = sizes > floor
                length = float(np.linalg.norm(coefficients[used] / sizes[used]))
                if length <= 1e-6 * (1.0 + float(np.linalg.norm(run.theta))):
                    return
            upward = np.arange(values.size) < self.index
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
            if run.reason is StopReason.GRADIENT and negative(run) != self.index:
                run.reason = None


def negative(run: _Run) -> int:
    """The number of eigenvalues that are negative beyond rounding."""
    values = run.eigen[0]
    return int((values < -NULL_CUT * np.abs(values).max(initial=0.0)).sum())


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
