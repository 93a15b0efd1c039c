"""Eigenvalues of symmetric matrices: which are zero, and which have a sign that can be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

EPS = float(np.finfo(np.float64).eps)

STABLE = 0.1
"""An eigenvalue has a sign if Newton's step changes it by at most this part of itself."""


def symmetric_eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors in the columns, of a finite symmetric matrix.

    LAPACK's divide and conquer (`dsyevd`) is the fastest for the sizes here, but has been seen to give up
    on a well-conditioned Hessian of 110 parameters with eigenvalues of high multiplicity; its older
    relative by QR steps (`dsyev`) then does the work.
    """
    try:
        return scipy.linalg.eigh(matrix, check_finite=False, driver="evd")
    except np.linalg.LinAlgError:
        return scipy.linalg.eigh(matrix, check_finite=False, driver="ev")


def zero_tolerance(values: np.ndarray, order: int | None = None) -> float:
    """8 p ε |λ|_max: eigenvalues within it are zero as far as Float64 can see.

    The backward error of `eigh` with room for the rounding of the Hessian; p is the `order` of the matrix
    that was decomposed, that of all of `values` unless it is known in blocks.
    """
    return 8 * (order or values.size) * EPS * float(np.abs(values).max(initial=0.0))


class Inertia(NamedTuple):
    """How many eigenvalues of the Hessian are negative and how many zero; None where that is not determined.

    reason   why one of them is not, else ""
    """

    negative: int | None
    zero: int | None
    reason: str = ""

    def __str__(self) -> str:
        return f"index not determined ({self.reason})" if self.negative is None else f"index {self.negative}"


def newton_step(
    values: np.ndarray, vectors: np.ndarray, gradient: np.ndarray, tolerance: float
) -> np.ndarray:
    """−H⁺ g, without the directions whose eigenvalue is within the tolerance of zero."""
    used = np.abs(values) > tolerance
    coefficients = vectors[:, used].T @ gradient
    return -vectors[:, used] @ (coefficients / values[used])


def unsettled(here: np.ndarray, there: np.ndarray, tolerance: float) -> np.ndarray:
    """Which eigenvalues at θ are neither zero nor of a certain sign, given those at θ plus Newton's step.

    At a regular critical point that was found to rounding, nothing changes. Near a degenerate one Newton's
    method goes a fixed part of the way at each step (a third of it where L is of fourth order), and the
    small eigenvalues, whose signs mean nothing, change by a fixed part of themselves: the spectra of θ and
    of the next iterate may well have the same signs, but not the same values.
    """
    moved = np.abs(there - here)
    largest = float(np.abs(here).max(initial=0.0))
    zero = np.abs(here) <= tolerance
    # Where θ is known to √ε only, an eigenvalue that is zero at θ need not be zero to rounding nearby.
    return np.where(zero, moved > EPS**0.5 * largest, ~(moved <= STABLE * np.abs(here)))


def inertia(
    here: np.ndarray, there: np.ndarray, tolerance: float, length: float, lowest: bool = False
) -> Inertia:
    """The signs of the eigenvalues at θ, where those at θ plus Newton's step bear them out.

    here, there   the eigenvalues, ascending, at θ and at θ plus Newton's step
    length        of that step
    lowest        L cannot be told from its lower bound at θ: a minimum, whatever small eigenvalues do
    """
    found = unsettled(here, there, tolerance) if np.isfinite(there).all() else None
    if found is not None and not found.any():
        return Inertia(int((here < -tolerance).sum()), int((np.abs(here) <= tolerance).sum()))
    if found is None:
        reason = "the Hessian is not finite beside the point"
    else:
        worst = here[found][np.abs(here[found]).argmax()]
        reason = (
            f"{int(found.sum())} eigenvalues, {worst:.1e} the largest, are others after Newton's step "
            f"of length {length:.1e}: not at a critical point yet, or near a degenerate one"
        )
    return Inertia(0 if lowest else None, None, reason)


def units_of_curvature(hessian: np.ndarray) -> np.ndarray:
    """Units (p,) in which a Hessian (p, p) has ones on its diagonal, as far as it is not nearly zero there.

    Parameters
    ----------
    hessian : ndarray, shape (p, p)

    Returns
    -------
    ndarray, shape (p,)

    Examples
    --------
    >>> units_of_curvature(np.diag([4.0, 0.25])).tolist()
    [0.5, 2.0]
    """
    diagonal = np.abs(np.diag(hessian))
    return 1.0 / np.sqrt(np.maximum(diagonal, max(1e-14 * float(diagonal.max()), 1e-300)))
