"""How many eigenvalues of a symmetric matrix of balls are negative, proved by a congruence and Gershgorin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..support.threads import single_threaded_blas
from .balls import arb, arb_mat, midpoint


class Inertia(NamedTuple):
    """Of every symmetric matrix within the balls: how many eigenvalues are < 0, may be 0, are > 0."""

    negative: int
    undecided: int
    positive: int


def inertia(rows: Sequence[Sequence]) -> Inertia:
    """The inertia of a matrix of balls.

    With V approximate eigenvectors that are proved regular, VᵀHV has the inertia of H (Sylvester), and the
    union of m of its Gershgorin discs that is apart from the other discs holds m eigenvalues.
    """
    middle = np.array([[midpoint(v) for v in row] for row in rows])
    p = len(rows)
    if p == 0 or not np.isfinite(middle).all():
        return Inertia(0, p, 0)
    with single_threaded_blas():
        _, vectors = np.linalg.eigh(0.5 * (middle + middle.T))
    if not defect(vectors) < 0.5:
        return Inertia(0, p, 0)
    V = arb_mat(vectors.tolist())
    return by_discs((V.transpose() * (arb_mat(rows) * V)).tolist())


def by_discs(M: Sequence[Sequence]) -> Inertia:
    """The inertia of a matrix of balls that is nearly diagonal, by its Gershgorin discs as they are."""
    p = len(M)
    discs = []
    for i, row in enumerate(M):
        radius = sum((abs(entry) for j, entry in enumerate(row) if j != i), arb(0))
        discs.append(row[i] + arb(0, radius.upper()))
    if not all(disc.is_finite() for disc in discs):
        return Inertia(0, p, 0)
    unclear = [disc for disc in discs if disc.contains(0)]
    clear = [disc for disc in discs if not disc.contains(0)]
    grown = bool(unclear)
    while grown:  # what touches an unclear disc is as unclear
        hull = unclear[0]
        for disc in unclear[1:]:
            hull = hull.union(disc)
        touching = [disc for disc in clear if disc.overlaps(hull)]
        clear = [disc for disc in clear if not disc.overlaps(hull)]
        unclear += touching
        grown = bool(touching)
    negative = sum(bool(disc < 0) for disc in clear)
    return Inertia(negative, len(unclear), len(clear) - negative)


def defect(vectors: np.ndarray) -> float:
    """A bound on ‖VᵀV − I‖_∞ for a square V of floats; V is regular if it is below one.

    A product of floats in any order is within p 2⁻⁵³/(1 − p 2⁻⁵³) times the norms of its vectors, here at
    most √2.
    """
    p = len(vectors)
    with single_threaded_blas():
        found = float(np.abs(vectors.T @ vectors - np.eye(p)).sum(axis=1).max()) * (1 + p * 2.0**-50)
    found += p * p * 2.0**-51
    return found if found < 0.5 else np.inf
