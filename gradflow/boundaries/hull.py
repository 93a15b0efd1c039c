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

RANK = 1e-9
"""Normals are dependent where what one adds to the others is below this part of it."""

EXACT = 1e-12
"""Fractions so near to 0 or 1 are these."""


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
        part = float(np.clip(-(edges[0] @ base) / square, 0.0, 1.0)) if square > 0.0 else 0.0
        return Element(np.array([part]), base + part * edges[0])
    inner = interior(base, edges)
    if inner is not None and (inner > 0.0).all() and (inner < 1.0).all():
        return Element(inner, base + inner @ edges)
    size = np.linalg.norm(edges, axis=1)
    size[size == 0.0] = 1.0
    small, corner = scipy.linalg.qr((edges / size[:, None]).T, mode="economic")
    found = scipy.optimize.lsq_linear(corner, -(small.T @ base), (0.0, size), method="bvls", tol=1e-15)
    parts = np.clip(found.x / size, 0.0, 1.0)
    parts[parts < EXACT] = 0.0
    parts[parts > 1.0 - EXACT] = 1.0
    return Element(parts, base + parts @ edges)


def interior(base: np.ndarray, edges: np.ndarray) -> np.ndarray | None:
    """The φ without bounds at which base + φ edges is least; None where edges are dependent."""
    size = np.linalg.norm(edges, axis=1)
    if (size == 0.0).any() or len(edges) > edges.shape[1]:
        return None
    q, r = np.linalg.qr((edges / size[:, None]).T)
    if np.abs(np.diag(r)).min() < RANK:
        return None
    return scipy.linalg.solve_triangular(r, -(q.T @ base)) / size


def normal_space(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal bases of the span of normals (m, P) and of its complement: (P, r) and (P, P − r)."""
    size = np.linalg.norm(normals, axis=1)
    kept = normals[size > 0.0] / size[size > 0.0, None]
    if not len(kept):
        return np.zeros((normals.shape[1], 0)), np.eye(normals.shape[1])
    q, r, _ = scipy.linalg.qr(kept.T, pivoting=True)
    rank = int((np.abs(np.diag(r)) > RANK).sum())
    return q[:, :rank], q[:, rank:]
