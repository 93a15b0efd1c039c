"""The trapezoidal rule for Gaussian inputs, as weighted samples: means without the package's closed forms."""

from __future__ import annotations

import numpy as np

from ..inputs import Samples

__all__ = [
    "gaussian_grid",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def gaussian_grid(dim: int, cov: np.ndarray | None = None, step: float = 0.1, reach: float = 9.5) -> Samples:
    """Nodes and weights of the trapezoidal rule for x ~ N(0, C).

    Parameters
    ----------
    dim : int
        Of x; the number of nodes is its power.
    cov : ndarray (dim, dim), optional
        C, the identity unless given. The nodes are those of a cube in x, and the weights the density there.
    step, reach : float
        Distance of the nodes and half the side of the cube, in units of the smallest and of the largest
        standard deviation.

    Returns
    -------
    Samples
        Of which a mean of g(x) is off by about exp(−2π·a/step), a the distance of the poles of g from the
        real axis, and exp(−reach²/2).

    References
    ----------
    Trefethen & Weideman, The exponentially convergent trapezoidal rule, SIAM Review 56, 385 (2014).

    Examples
    --------
    >>> from gradflow.theory.quadrature import gaussian_grid
    >>> nodes = gaussian_grid(1)
    >>> weights = nodes.sample_weight / nodes.sample_weight.sum()
    >>> round(float(weights @ nodes.X[:, 0] ** 4), 12)
    3.0
    """
    C = np.eye(dim) if cov is None else cov
    deviations = np.sqrt(np.linalg.eigvalsh(C)[[0, -1]])
    count = int(np.ceil(reach * deviations[1] / (step * deviations[0])))
    axis = step * deviations[0] * np.arange(-count, count + 1)
    X = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    weight = np.exp(-0.5 * np.einsum("ni,ni->n", X, np.linalg.solve(C, X.T).T))
    near = weight > 0.0
    return Samples(X[near], weight[near])
