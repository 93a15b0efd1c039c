"""The ends of the Hessian's spectrum where it has too many parameters to be formed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..objective import Objective, Restricted
from ..support.lanczos import LowEnd, Product, low_end
from ..support.threads import single_threaded_blas

if TYPE_CHECKING:
    from .result import Result

STEPS = 300
"""Lanczos steps of a report, at most."""

PROBABILITY = 1e-3
"""Probability of a random start that shows nothing of an eigenvalue below the bound."""


@dataclasses.dataclass(frozen=True, eq=False)
class Extremes:
    """Some of the smallest and the largest eigenvalues of ∇²L, and what is known of its index.

    smallest, largest       ascending, (k,) each at most: fewer where the method did not converge to all
    smallest_residuals, largest_residuals   |∇²L u − λ u| for the unit vectors u found: so near to each λ
                            there is an eigenvalue
    search                  the Lanczos run from a random start that looked for negative ones
    order                   the number of parameters that move
    """

    smallest: np.ndarray
    smallest_residuals: np.ndarray
    largest: np.ndarray
    largest_residuals: np.ndarray
    search: LowEnd
    order: int

    @property
    def negative(self) -> bool:
        """Whether there is certainly a negative eigenvalue: the point is no minimum."""
        return self.search.negative

    @property
    def bound(self) -> float:
        """No eigenvalue is below this, but for a probability of 1e-3 of the random start (`LowEnd.bound`)."""
        return self.search.bound(self.order, PROBABILITY)

    @property
    def index_statement(self) -> str:
        """What is known of the index, in words."""
        if self.negative:
            return f"a negative eigenvalue, {self.search.value:.3g} or below: index at least 1"
        if self.search.complete:
            return f"no negative eigenvalue (Lanczos, complete after {self.search.steps} steps)"
        return (
            f"no negative eigenvalue found; none below {min(self.bound, 0.0):.1e} (Lanczos, "
            f"{self.search.steps} steps, probability of error {PROBABILITY:.0e})"
        )

    @property
    def summary(self) -> str:
        """One line: both ends with their residuals, and the index."""
        low, high = self.smallest[0], self.largest[-1]
        return (
            f"eigenvalues {low:.6g} (residual {self.smallest_residuals[0]:.0e}) … {high:.6g} "
            f"(residual {self.largest_residuals[-1]:.0e}); {self.index_statement}"
        )

    def __str__(self) -> str:
        return self.summary


def _objective(result: Result) -> tuple[Objective, np.ndarray]:
    """L of the parameters that move, and where they are."""
    objective, free = result.problem.objective, result.rates != 0
    if free.all():
        return objective, np.ascontiguousarray(result.theta)
    return Restricted(objective, result.theta, free), np.ascontiguousarray(result.theta[free])


def find_extremes(result: Result, count: int = 1, steps: int = STEPS) -> Extremes:
    """The `count` smallest and largest eigenvalues at the end point of a result, by products alone.

    One of each comes from the Lanczos run that looks for negative ones. More are found by ARPACK's restarted
    Lanczos method, and their residuals by a product each.

    Raises `HessianUndefinedError` where a ReLU neuron of a population problem has zero weights.
    """
    result.check_hessian()
    objective, theta = _objective(result)

    def product(v: np.ndarray) -> np.ndarray:
        return objective.hvp(theta, np.ascontiguousarray(v, dtype=np.float64))

    with single_threaded_blas():
        search = low_end(product, theta.size, steps, 0.0)
        if count == 1 or theta.size < 4:
            low, high = (search.value, search.residual), (search.top, search.top_residual)
            lows, highs = ((np.array([value]), np.array([residual])) for value, residual in (low, high))
        else:
            lows = _several(product, theta.size, count, "SA")
            highs = _several(product, theta.size, count, "LA")
    return Extremes(lows[0], lows[1], highs[0], highs[1], search, theta.size)


def _several(product: Product, size: int, count: int, which: str) -> tuple[np.ndarray, np.ndarray]:
    """So many eigenvalues at one end, ascending, and their residuals."""
    import scipy.sparse.linalg as sparse  # takes a tenth of a second: not at import

    count = min(count, size - 2)
    matrix = sparse.LinearOperator((size, size), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    vectors_kept = min(size, max(2 * count + 1, 30))
    try:
        values, vectors = sparse.eigsh(
            matrix, count, which=which, v0=start, ncv=vectors_kept, maxiter=100, tol=1e-8
        )
    except sparse.ArpackNoConvergence as short:
        values, vectors = short.eigenvalues, short.eigenvectors  # fewer, perhaps none
    order = np.argsort(values)
    residuals = [np.linalg.norm(product(vectors[:, k]) - values[k] * vectors[:, k]) for k in order]
    return values[order], np.array(residuals)
