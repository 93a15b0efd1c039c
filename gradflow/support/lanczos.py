"""The ends of the spectrum of a symmetric matrix that is known by its products only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg

EPS = float(np.finfo(np.float64).eps)

Product = Callable[[np.ndarray], np.ndarray]
"""v (P,) → H v (P,)."""

LOOKS = 10
"""Lanczos steps between two looks at the Ritz values."""

COMPLETE = 1e-12
"""An off-diagonal entry below this times |λ|_max ends the recurrence: an invariant subspace, which has all
eigenvalues in which the start has a part."""

NEGATIVE = 1e-10
"""A Ritz value below this times the largest is negative whatever the rounding."""


ROUNDING = 16.0
"""Rounding of a residual in units of ε |λ|_max."""


class LowEnd(NamedTuple):
    """The lowest Ritz value, an upper bound of λ_min, with its residual |H u − value u| and its vector u.

    top       the highest Ritz value, a lower bound of λ_max, with its residual `top_residual`
    largest   the largest |Ritz value|, a lower bound of |λ|_max
    steps     Lanczos steps, a product each; without orthogonalisation, so that memory is a few vectors
    settled   whether λ_min is as good as known: the value is negative, or its residual small
    complete  whether the vectors span an invariant subspace: a random start has a part in every eigenvalue
    """

    value: float
    residual: float
    vector: np.ndarray | None
    largest: float
    steps: int
    settled: bool
    top: float = math.nan
    top_residual: float = math.inf
    complete: bool = False

    @property
    def negative(self) -> bool:
        """Whether there is certainly an eigenvalue below zero."""
        return self.value < -NEGATIVE * self.largest

    def bound(self, size: int, probability: float = 1e-3) -> float:
        """−x such that a random start would have shown an eigenvalue below it, but for this probability.

        In exact arithmetic: λ_min ≥ value − (λ_max − λ_min) (log(1.65 √P/probability)/(2 steps − 1))².
        Source: J. Kuczyński and H. Woźniakowski, SIAM J. Matrix Anal. Appl. 13 (1992) 1094–1122, theorem 4.2.
        """
        if self.complete:
            return self.value - self.residual
        reach = (math.log(1.648 * math.sqrt(size) / probability) / (2 * self.steps - 1)) ** 2
        return self.value - 2.0 * self.largest * reach


def low_end(
    product: Product, size: int, steps: int, accuracy: float, start: np.ndarray | None = None
) -> LowEnd:
    """The lowest eigenvalue of H (P, P) by Lanczos's method; it ends as soon as a negative one is certain.

    steps      at most so many products, as many again for the vector of a negative eigenvalue
    accuracy   residual, relative to |λ|_max, at which the lowest Ritz value counts as an eigenvalue; with 0
               all steps are taken
    start      a direction that is likely to have a part in it (`θ'`, say); a random vector is added

    Copies of eigenvalues that a lack of orthogonality brings do no harm at the end of the spectrum.
    """
    first = np.random.default_rng(0).standard_normal(size)
    first /= np.linalg.norm(first)
    if start is not None and (length := float(np.linalg.norm(start))) > 0.0:
        first += start / length
        first /= np.linalg.norm(first)
    diagonal, beside = [], []
    value, residual, largest, weights, settled = 0.0, math.inf, 0.0, np.ones(1), False
    top, top_residual, complete = math.nan, math.inf, False
    for alpha, beta in _recurrence(product, first, min(steps, size)):
        diagonal.append(alpha)
        beside.append(beta)
        count = len(diagonal)
        largest = max(largest, abs(alpha), beta)
        if count % LOOKS and count < min(steps, size) and beta > COMPLETE * largest:
            continue
        ends = scipy.linalg.eigh_tridiagonal(diagonal, beside[:-1])
        value, weights = float(ends[0][0]), ends[1][:, 0]
        largest = float(np.abs(ends[0]).max())
        rounding = ROUNDING * EPS * largest
        residual = abs(beta * float(weights[-1])) + rounding
        top, top_residual = float(ends[0][-1]), abs(beta * float(ends[1][-1, -1])) + rounding
        settled = residual <= accuracy * largest or value < -NEGATIVE * largest
        complete = beta <= COMPLETE * largest
        if settled or complete:
            break
    vector = None
    if value < -NEGATIVE * largest:
        vector = np.zeros(size)
        _recurrence_sum(product, first, weights, vector)
    return LowEnd(value, residual, vector, largest, len(diagonal), settled, top, top_residual, complete)


def _recurrence(product: Product, vector: np.ndarray, steps: int, visit: Callable | None = None):
    """Diagonal and subdiagonal of Lanczos's tridiagonal matrix, one step after the other."""
    before, beta = np.zeros_like(vector), 0.0
    for k in range(steps):
        if visit is not None:
            visit(k, vector)
        image = product(vector) - beta * before
        alpha = float(image @ vector)
        image -= alpha * vector
        beta = float(np.linalg.norm(image))
        if not beta > 16 * EPS * abs(alpha):  # an invariant subspace
            beta = 0.0
        yield alpha, beta
        if beta == 0.0:
            return
        before, vector = vector, image / beta


def _recurrence_sum(product: Product, first: np.ndarray, weights: np.ndarray, result: np.ndarray) -> None:
    """Σ_k weights_k v_k with the vectors of the same recurrence, normalised."""

    def visit(k, vector):
        result[:] += weights[k] * vector

    for _ in _recurrence(product, first, weights.size, visit):
        pass
    result /= np.linalg.norm(result)


SHARP = 1e-9
"""Relative accuracy asked of ARPACK for largest eigenvalues."""


def largest_eigenvalues(
    product: Product, size: int, count: int, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The `count` largest eigenvalues of H (P, P), descending, and the eigenvector of the first.

    start   a vector that is likely to be near that one

    NaN where products are not finite.
    """
    import scipy.sparse.linalg as sparse  # takes a tenth of a second: not at import

    first = np.random.default_rng(0).standard_normal(size)
    if not np.isfinite(product(first)).all():
        return np.full(count, np.nan), None
    if count >= size - 1 or size < 8:
        matrix = np.stack([product(row) for row in np.eye(size)])
        values, vectors = scipy.linalg.eigh(0.5 * (matrix + matrix.T))
        return values[::-1][:count].copy(), vectors[:, -1]
    if start is not None:  # with a part in every eigenvector, or a crossing would not be seen
        first = start / np.linalg.norm(start) + 1e-2 * first / np.linalg.norm(first)
    operator = sparse.LinearOperator((size, size), matvec=product, dtype=np.float64)
    kept = min(size, max(2 * count + 1, 20))
    values, vectors = sparse.eigsh(operator, count, which="LA", v0=first, ncv=kept, maxiter=1000, tol=SHARP)
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order[0]]
