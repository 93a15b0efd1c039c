"""Angles between weight vectors, and what ReLU neurons make of them: shared by the papers' checks.

Angles come from θ = 2 atan2(|ŵ − v̂|, |ŵ + v̂|), which keeps its digits near 0 and π; nothing here takes the
arc cosine of a cosine.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = [
    "angle_between",
    "angles",
    "arc_cosine",
    "sines",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def angles(W: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Angles between all rows of two matrices.

    Parameters
    ----------
    W : ndarray (m, d)
        Vectors that are not zero.
    V : ndarray (n, d)
        As well.

    Returns
    -------
    ndarray (m, n)
        θ = 2 atan2(|ŵ − v̂|, |ŵ + v̂|) in [0, π]; about 1e-16/θ relative near 0, and so near π.

    Examples
    --------
    >>> import numpy as np
    >>> from gradflow.theory.geometry import angles
    >>> (angles(np.eye(2), np.array([[1.0, 1e-9], [-1.0, 0.0]])) / np.pi).round(3).tolist()
    [[0.0, 1.0], [0.5, 0.5]]
    """
    units = W / np.linalg.norm(W, axis=1, keepdims=True)
    others = V / np.linalg.norm(V, axis=1, keepdims=True)
    apart = np.linalg.norm(units[:, None] - others[None], axis=2)
    return 2.0 * np.arctan2(apart, np.linalg.norm(units[:, None] + others[None], axis=2))


def angle_between(w: np.ndarray, v: np.ndarray) -> float:
    """The angle between two vectors, as `angles`.

    Parameters
    ----------
    w, v : ndarray, shape (d,)
        Not zero.

    Returns
    -------
    float

    Examples
    --------
    >>> round(angle_between(np.array([1.0, 0.0]), np.array([1.0, 1.0])), 6)
    0.785398
    """
    return float(angles(w[None], v[None])[0, 0])


def sines(W: np.ndarray, V: np.ndarray) -> np.ndarray:
    """|sin θ| of the angles between all rows of two matrices, from the parts across the second's.

    Parameters
    ----------
    W : ndarray, shape (m, d)
        Rows w.
    V : ndarray, shape (n, d)
        Rows v.

    Returns
    -------
    ndarray, shape (m, n)

    Examples
    --------
    >>> sines(np.array([[1.0, 0.0]]), np.array([[3.0, 4.0], [2.0, 0.0]]))
    array([[0.8, 0. ]])
    """
    units = V / np.linalg.norm(V, axis=1, keepdims=True)
    across = W[:, None, :] - (W @ units.T)[:, :, None] * units[None]
    return np.linalg.norm(across, axis=2) / np.linalg.norm(W, axis=1)[:, None]


def arc_cosine(angle):
    """F(θ) = sin θ + (π − θ) cos θ, which falls from π at 0 over 1 at π/2 to 0 at π: F' = −(π − θ) sin θ.

    Parameters
    ----------
    angle : float or ndarray
        θ; complex numbers as well, for derivatives by a complex step.

    Returns
    -------
    float or ndarray
        F(θ): for x ~ N(0, I) and |w| = |v| = 1, E relu(w·x) relu(v·x) = F(θ)/2π.

    References
    ----------
    Cho & Saul, Kernel methods for deep learning, NeurIPS 2009 (the kernel of order one).

    Examples
    --------
    >>> import math
    >>> from gradflow.theory.geometry import arc_cosine
    >>> float(arc_cosine(0.0)) == math.pi, float(arc_cosine(math.pi / 2))
    (True, 1.0)
    """
    return np.sin(angle) + (math.pi - angle) * np.cos(angle)
