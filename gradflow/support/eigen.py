"""Eigenvectors of symmetric matrices."""

from __future__ import annotations

import numpy as np
import scipy.linalg


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
