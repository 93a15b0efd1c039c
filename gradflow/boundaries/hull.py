"""The generalised gradient at a point where places are on boundaries, and its element of least norm.

Near a point θ with the places a on their kinks, the gradients of the pieces are g + Σ_a φ_a J_a n_a with
φ_a ∈ {0, 1}: g has them all on their left pieces, n_a = ∂z_a/∂θ, and J_a = ∂L/∂h_a (σ'(k+) − σ'(k−)). The
boundary is convex where J_a > 0 and concave where J_a < 0. Metric: that of the flow, θ/√r.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.linalg import lapack

RANK = 1e-9
"""Normals are dependent where what one adds to the others is below this part of it."""

EXACT = 1e-12
"""Fractions so near to 0 or 1 are these: a neuron asleep on its last boundary does not slide by rounding."""


class Element(NamedTuple):
    """An element of the hull: its fractions φ (m,) and itself (P,), in θ/√r."""

    fractions: np.ndarray
    vector: np.ndarray


def least_norm(base: np.ndarray, edges: np.ndarray) -> Element:
    """min |base + φ edges| over φ ∈ [0, 1]^m, for edges (m, P): a convex quadratic program.

    One edge has a formula; more are a bounded least-squares problem, by the active-set method of C. L. Lawson
    and R. J. Hanson, Solving Least Squares Problems (1974), as SciPy has it.
    """
    count = len(edges)
    if count == 0:
        return Element(np.zeros(0), base)
    if count == 1:
        square = float(edges[0] @ edges[0])
        part = _rounded(np.array([-(edges[0] @ base) / square if square > 0.0 else 0.0]))
        return Element(part, base + part @ edges)
    inner = interior(base, edges)
    if inner is not None and (inner > EXACT).all() and (inner < 1.0 - EXACT).all():
        return Element(inner, base + inner @ edges)
    size = np.sqrt(np.einsum("ij,ij->i", edges, edges))
    size[size == 0.0] = 1.0
    small, corner = np.linalg.qr((edges / size[:, None]).T)
    right = -(base @ small)
    found = None if inner is None else _bounded(corner, right, size, np.clip(inner, 0.0, 1.0) * size)
    if found is None:
        found = scipy.optimize.lsq_linear(corner, right, (0.0, size), method="bvls", tol=1e-15).x
    parts = _rounded(found / size)
    return Element(parts, base + parts @ edges)


def _rounded(parts: np.ndarray) -> np.ndarray:
    """Fractions in [0, 1], exactly 0 or 1 where they are that within rounding."""
    parts = np.where(parts < EXACT, 0.0, parts)
    return np.where(parts > 1.0 - EXACT, 1.0, parts)


def _bounded(matrix: np.ndarray, right: np.ndarray, high: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """min |A x − b| over 0 ≤ x ≤ `high` from x, for independent columns; as SciPy's, a tenth of its time.

    Triangular systems of a few columns; None where it takes more than some steps a column.
    """
    free = (x > 0.0) & (x < high)
    x = x.copy()
    for _ in range(8 * x.size):
        if free.any():
            rest = right - matrix[:, ~free] @ x[~free]
            goal = np.linalg.lstsq(matrix[:, free], rest, rcond=None)[0]
            here, top = x[free], high[free]
            step = goal - here
            with np.errstate(divide="ignore", invalid="ignore"):
                room = np.where(step > 0.0, (top - here) / step, np.where(step < 0.0, -here / step, np.inf))
            first = int(np.argmin(room))
            if room[first] < 1.0:
                x[free] = np.clip(here + room[first] * step, 0.0, top)
                place = np.flatnonzero(free)[first]
                x[place], free[place] = (high[place] if step[first] > 0.0 else 0.0), False
                continue
            x[free] = goal
        slope = (right - matrix @ x) @ matrix  # minus the gradient
        slope[free] = 0.0
        gain = np.where(x == 0.0, slope, -slope)
        best = int(np.argmax(gain))
        if gain[best] <= 1e-15 * max(np.abs(right).max(), 1e-300):
            return x
        free[best] = True
    return None


def interior(base: np.ndarray, edges: np.ndarray) -> np.ndarray | None:
    """The φ without bounds at which base + φ edges is least; None where edges are dependent."""
    size = np.sqrt(np.einsum("ij,ij->i", edges, edges))
    if (size == 0.0).any() or len(edges) > edges.shape[1]:
        return None
    q, r = np.linalg.qr((edges / size[:, None]).T)
    if np.abs(np.diag(r)).min() < RANK:
        return None
    return lapack.dtrtrs(r, -(base @ q))[0] / size


def normal_space(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of the span of normals (m, P) and of its complement: (P, r) and (P, P − r)."""
    size = np.sqrt(np.einsum("ij,ij->i", normals, normals))
    kept = normals[size > 0.0] / size[size > 0.0, None]
    if not len(kept):
        return np.zeros((normals.shape[1], 0)), np.eye(normals.shape[1])
    count = min(kept.shape)
    factor, _, tau, _, _ = lapack.dgeqp3(kept.T)
    rank = int((np.abs(np.diagonal(factor)) > RANK).sum())
    square = np.zeros((kept.shape[1], kept.shape[1]), order="F")
    square[:, :count] = factor[:, :count]
    q = lapack.dorgqr(square, tau, lwork=64 * kept.shape[1], overwrite_a=True)[0]
    return q[:, :rank], q[:, rank:]
