"""Eigenvectors when LAPACK's divide and conquer gives up."""

import numpy as np
import scipy.linalg

from gradflow.support.eigen import symmetric_eigen


def test_the_older_driver_takes_over(monkeypatch, rng):
    matrix = rng.standard_normal((12, 12))
    matrix = matrix + matrix.T
    expected = symmetric_eigen(matrix)
    eigh = scipy.linalg.eigh

    def gives_up(a, driver, **settings):
        if driver == "evd":
            raise np.linalg.LinAlgError("on purpose")
        return eigh(a, driver=driver, **settings)

    monkeypatch.setattr(scipy.linalg, "eigh", gives_up)
    values, vectors = symmetric_eigen(matrix)
    assert np.abs(values - expected[0]).max() <= 1e-13
    assert np.abs(matrix @ vectors - vectors * values).max() <= 1e-13
