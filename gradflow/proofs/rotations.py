"""Rotations of the inputs that leave teacher and law as they are: the gauge of students that leave the span.

With x ~ N(0, I) the loss does not change under w_i ↦ R w_i where R leaves all teachers fixed. With z_p a
basis of what is orthogonal to the teachers, T_pq = (z_p (z_q·w_i) − z_q (z_p·w_i))_i are tangents of these
orbits at every θ. So ∇L·T = 0 everywhere: if ∇L vanishes in all coordinates but a set S on which the
tangents are regular, it vanishes, and with the other coordinate vectors they are a basis. At a student in the
span there is nothing to hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..support.threads import single_threaded_blas
from .balls import arb, arb_mat, exact, midpoint
from .settings import floats

IN_SPAN = 1e-7
"""A student whose weights leave the span by less, relative to the largest, is one in the span."""


def complement(setting: dict) -> list | None:
    """Vectors z_p as rows of balls, orthogonal to all teachers; None where the loss has no such rotations."""
    if setting["kind"] != "population" or setting["mean"] is not None or setting["cov"] is not None:
        return None
    V = np.array(floats(setting["teacher"]["weights"]))
    d = V.shape[1]
    empty = np.flatnonzero(~V.any(axis=0))
    with single_threaded_blas():
        rank = int(np.linalg.matrix_rank(V))
    if d - rank < 2:
        return None
    if len(empty) == d - rank:
        return [exact(np.eye(d)[a]) for a in empty]
    if rank < len(V):
        return None
    # V = [V₁ V₂] after a choice of columns: z = (−V₁⁻¹V₂ e, e)
    first = sorted(pivots(V, rank))
    rest = [a for a in range(d) if a not in first]
    try:
        head = arb_mat(V[:, first].tolist()).solve(arb_mat((-V[:, rest]).tolist()))
    except ZeroDivisionError:
        return None
    rows = []
    for j, column in enumerate(rest):
        z = [arb(0)] * d
        z[column] = arb(1)
        for i, at in enumerate(first):
            z[at] = head[i, j]
        rows.append(z)
    return rows


def rotation_gauge(
    setting: dict, theta: Sequence, free: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The coordinates to hold and the tangents (p, q) that answer for them; both empty in the span."""
    Z = complement(setting)
    if Z is None:
        return [], []
    d, n, _ = setting["sizes"]
    if not set(range(n * d)) <= set(free):
        return [], []
    W = np.array([midpoint(v) for v in theta[: n * d]]).reshape(n, d)
    z = np.array([[midpoint(v) for v in row] for row in Z])
    with single_threaded_blas():
        U = W @ z.T
        scale = float(np.abs(W).max())
        if not np.abs(U).max() > IN_SPAN * scale:
            return [], []
        rank = int((np.linalg.svd(U, compute_uv=False) > IN_SPAN * scale).sum())
        r = len(z)
        pairs = [(p, q) for p in range(r) for q in range(p)]
        count = r * (r - 1) // 2 - (r - rank) * (r - rank - 1) // 2
        T = np.array([(np.outer(U[:, q], z[p]) - np.outer(U[:, p], z[q])).ravel() for p, q in pairs])
        chosen = sorted(pivots(T.T, count))
        return sorted(pivots(T[chosen], count)), [pairs[i] for i in chosen]


def regular(setting: dict, theta: Sequence, held: Sequence[int], pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether the tangents at θ (balls) are proved regular on the coordinates that are held."""
    Z = complement(setting)
    if Z is None:
        return not held
    d = setting["sizes"][0]
    rows = []
    for p, q in pairs:
        row = []
        for at in held:
            w = theta[at // d * d : at // d * d + d]
            a = at % d
            row.append(Z[p][a] * _dot(Z[q], w) - Z[q][a] * _dot(Z[p], w))
        rows.append(row)
    middle = np.array([[midpoint(v) for v in row] for row in rows])
    try:
        with single_threaded_blas():
            inverse = np.linalg.inv(middle)
    except np.linalg.LinAlgError:
        return False
    product = (arb_mat(inverse.tolist()) * arb_mat(rows)).tolist()
    return all(
        sum((abs(v - (1 if i == j else 0)) for j, v in enumerate(row)), arb(0)) < 1
        for i, row in enumerate(product)
    )


def pivots(A: np.ndarray, count: int) -> list[int]:
    """`count` independent columns, each the longest of what is left (Gram and Schmidt)."""
    left, chosen = A.copy(), []
    for _ in range(count):
        lengths = (left**2).sum(axis=0)
        at = int(np.argmax(lengths))
        chosen.append(at)
        unit = left[:, at] / np.sqrt(lengths[at])
        left = left - np.outer(unit, unit @ left)
    return chosen


def _dot(a: Sequence, b: Sequence):
    return sum((x * y for x, y in zip(a, b)), arb(0))
