"""Which mirror image of a neuron the teacher has, where σ(−z) = σ(z) − cz."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ENUMERATED = 16
"""Up to so many signs are found by trying all combinations where their equations are dependent."""


class Signs(NamedTuple):
    """What the linear remainder says about signs.

    Attributes
    ----------
    flipped : ndarray, shape (m,)
        Bool: neurons whose mirror image the teacher has.
    values : ndarray, shape (m,)
        The t_i before rounding to 0 or −1; NaN where they are not determined one by one.
    residual : float
        What the rounded t_i leave of the remainder, relative to the size of its terms.
    determined : bool
        Whether no other choice of signs explains the remainder as well.

    Examples
    --------
    >>> student = gf.MLP([[[1.0, 2.0], [-1.0, -2.0]], [[1.0, 2.0]]], [[0.5, -0.5], [0.0]], "softplus")
    >>> small = gf.recovery.simplify(student, np.random.default_rng(0).standard_normal((50, 2)))
    >>> small.signs.flipped, small.signs.values, small.signs.determined
    (array([False]), array([-0.33333333]), False)
    """

    flipped: np.ndarray
    values: np.ndarray
    residual: float
    determined: bool


def find_signs(W: np.ndarray, A: np.ndarray, Theta: np.ndarray, slope: float, root: np.ndarray) -> Signs:
    """Signs from the linear remainder Θ of a network Σ_i A_i σ(w_i·x + b_i) + Θx + β of even + linear σ.

    A teacher with −w_i where the network has w_i leaves −c A_i ⊗ w_i behind: Θ = c Σ_i t_i A_i ⊗ w_i with
    t_i ∈ {0, −1}. Where the m matrices A_i ⊗ w_i are linearly independent, as they are for m ≤ d in
    general and with several outputs far beyond, least squares gives the t_i; else all 2^m are tried up to
    m = `ENUMERATED`. Signs that two choices explain equally well are not determined: both networks compute
    the same.

    W (m, d), A (m, outputs), Theta (d, outputs), c = slope, root (d, d) with |w·root|² the variance of w·x:
    directions in which inputs do not vary have no part.
    """
    m = len(W)
    if m == 0:
        return Signs(np.zeros(0, bool), np.zeros(0), float(np.abs(Theta).sum() > 0), True)
    seen = W @ root
    products = slope * (seen[:, :, None] * A[:, None, :]).reshape(m, -1).T
    target = (root.T @ Theta).ravel()
    scale = float(np.linalg.norm(products, axis=0).max()) or 1.0
    sizes = np.linalg.norm(products, axis=0)
    sizes[sizes == 0.0] = 1.0
    values = np.linalg.svd(products / sizes, compute_uv=False)
    independent = len(values) == m and values[-1] > 1e-7 * values[0]
    if independent:
        t = np.linalg.lstsq(products / sizes, target, rcond=None)[0] / sizes
        flipped = t < -0.5
        residual = float(np.linalg.norm(products @ flipped + target) / scale)
        near = bool(np.abs(t + flipped).max() < 0.25)
        return Signs(flipped, t, residual, near)
    t = np.full(m, np.nan)
    if m > ENUMERATED:
        return Signs(np.zeros(m, bool), t, float(np.linalg.norm(target) / scale), False)
    choices = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
    misses = np.linalg.norm(choices @ products.T + target, axis=1) / scale
    order = np.argsort(misses, kind="stable")
    best = float(misses[order[0]])
    determined = bool(misses[order[1]] > max(1e3 * best, 1e-6))
    return Signs(choices[order[0]].astype(bool), t, best, determined)
