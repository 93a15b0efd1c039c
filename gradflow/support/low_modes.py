"""Some of the lowest eigenpairs of a symmetric matrix that is known by its products, from guesses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .eigen import symmetric_eigen
from .lanczos import ROUNDING, Product

EPS = float(np.finfo(np.float64).eps)

ROOM = 24
"""Vectors in the basis beyond twice those wanted, at most; then it begins again from the lowest."""


class LowModes(NamedTuple):
    """The lowest Ritz pairs: values (k,) ascending, vectors (P, k), and residuals |H u − value u| (k,).

    largest   the largest |Ritz value| seen, a lower bound of |λ|_max
    products  so many were taken
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    largest: float
    products: int


def lowest_modes(
    product: Product, guesses: np.ndarray, count: int, accuracy: float, share: float, most: int
) -> LowModes:
    """The `count` lowest eigenpairs of H (P, P) from approximate eigenvectors, the columns of `guesses`.

    A Rayleigh–Ritz method in the span of the guesses, enlarged by the residual of the worst wanted pair, one
    product a vector, and restarted from its lowest Ritz vectors: Lanczos's spaces from one guess, with all
    vectors orthogonal. Source: E. R. Davidson, J. Comput. Phys. 17 (1975) 87–94, without a preconditioner.

    It ends where every residual is below `accuracy` |λ|_max, or below `share` of its own |value|; or after
    `most` products.
    """
    size = guesses.shape[0]
    count = min(count, size)
    room = min(size, 2 * count + ROOM)
    basis, images = np.zeros((room, size)), np.zeros((room, size))
    used, products, largest = 0, 0, 0.0
    random = np.random.default_rng(0)
    waiting = [*guesses.T[:room], random.standard_normal(size)]
    while True:
        while waiting and used < room:
            vector = _orthogonal(waiting.pop(0), basis[:used])
            if vector is None:  # nothing new in it
                continue
            basis[used], images[used] = vector, product(vector)
            used, products = used + 1, products + 1
        matrix = basis[:used] @ images[:used].T
        values, small = symmetric_eigen(0.5 * (matrix + matrix.T))
        largest = max(largest, float(np.abs(values).max(initial=0.0)))
        wanted = min(count, used)
        vectors = basis[:used].T @ small[:, :wanted]
        rest = images[:used].T @ small[:, :wanted] - vectors * values[:wanted]
        residuals = np.linalg.norm(rest, axis=0)
        rounding = ROUNDING * EPS * largest
        allowed = np.maximum(accuracy * largest + rounding, share * np.abs(values[:wanted]))
        open_pairs = np.flatnonzero(residuals > allowed)
        if used >= count and (open_pairs.size == 0 or products >= most or used == size):
            return LowModes(values[:wanted], vectors, residuals + rounding, largest, products)
        if used == room:  # again, from the lowest half
            kept = max(count, room // 2)
            basis[:kept], images[:kept] = small[:, :kept].T @ basis, small[:, :kept].T @ images
            used = kept
        worst = rest[:, open_pairs[0]] if open_pairs.size else np.zeros(size)
        if _orthogonal(worst, basis[:used]) is None:  # an invariant subspace
            worst = random.standard_normal(size)
        waiting = [worst]


def _orthogonal(vector: np.ndarray, basis: np.ndarray) -> np.ndarray | None:
    """The unit vector that this one adds to orthonormal rows; None where it adds none."""
    length = float(np.linalg.norm(vector))
    if not 0.0 < length < np.inf:
        return None
    vector = vector / length
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    left = float(np.linalg.norm(vector))
    return vector / left if left > 1e-10 else None
