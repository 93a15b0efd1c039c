"""Tian 2020, the lemmas behind Theorems 2 to 5: ReLU nodes with different visible boundaries are independent.

In a ball, or in its part where another node is active, nodes relu(w̃_j·x̃) span, together with the affine
functions, a space of dimension (number of different boundaries that pass through it) + d + 1: nodes on one
boundary, of either sign, count once, and nodes whose boundary does not pass through it are affine there. In
a combination that vanishes the sum of c_j|w_j| over each such boundary is therefore zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..check import Check, at_least, at_most
from ..registry import Progress, register
from .gradients import PAPER

__all__ = [
    "boundaries",
    "depth_of_boundary",
    "independence",
    "nodes_with_relatives",
]


def __dir__() -> list[str]:
    return sorted(__all__)


CLEAR = 0.3
"""A boundary that passes through a region, or misses it, by less is left out: samples would not see it."""


def depth_of_boundary(node: np.ndarray, observer: np.ndarray | None = None) -> float:
    """How deep a node's boundary reaches into the unit ball, or where an observer is active in it.

    Parameters
    ----------
    node : ndarray, shape (d + 1,)
        (w, b).
    observer : ndarray, shape (d + 1,), optional
        (w_k, b_k).

    Returns
    -------
    float
        The largest distance of a point of the boundary from what bounds the region; negative outside.

    Notes
    -----
    The boundary is a disc about p = −b w/|w|² of radius √(1 − |p|²); on it w_k·x + b_k is at most
    w_k·p + b_k + |w_k across w| √(1 − |p|²).

    Examples
    --------
    >>> depth_of_boundary(np.array([1.0, 0.0, -0.5]))
    0.5
    """
    w, b = node[:-1], node[-1]
    p = -b * w / (w @ w)
    inside = 1.0 - float(np.linalg.norm(p))
    if observer is None or inside <= 0.0:
        return inside
    v, c = observer[:-1], observer[-1]
    across = v - (v @ w) / (w @ w) * w
    top = v @ p + c + np.linalg.norm(across) * np.sqrt(1.0 - p @ p)
    return min(inside, float(top / np.linalg.norm(v)))


def nodes_with_relatives(count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Random nodes, a longer copy of the first one, the second one of the other sign, and one out of sight.

    Parameters
    ----------
    count, dim : int
        Random nodes, and d.
    rng : numpy.random.Generator
        Of the draw.

    Returns
    -------
    ndarray, shape (count + 3, d + 1)

    Examples
    --------
    >>> nodes_with_relatives(4, 2, np.random.default_rng(0)).shape
    (7, 3)
    """
    W = rng.standard_normal((count, dim))
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    rows = np.column_stack([W, rng.uniform(-0.6, 0.6, count)])
    far = np.append(W[-1], 1.5)
    return np.vstack([rows, 2.0 * rows[0], -rows[1], far])


def boundaries(nodes: np.ndarray, observer: np.ndarray | None) -> list[list[int]]:
    """The nodes whose boundary passes through a region, in groups on one boundary.

    Parameters
    ----------
    nodes : ndarray, shape (m, d + 1)
        Rows (w, b).
    observer : ndarray, shape (d + 1,), or None
        As in `depth_of_boundary`.

    Returns
    -------
    list of list of int

    Examples
    --------
    >>> boundaries(np.array([[1.0, 0.0], [-3.0, 0.0], [1.0, 5.0]]), None)
    [[0, 1]]
    """
    units = nodes / np.linalg.norm(nodes, axis=1, keepdims=True)
    groups: list[list[int]] = []
    for j, node in enumerate(nodes):
        if depth_of_boundary(node, observer) <= 0.0:
            continue
        for group in groups:
            if 1.0 - abs(units[j] @ units[group[0]]) < 1e-12:
                group.append(j)
                break
        else:
            groups.append([j])
    return groups


def independence(
    seeds: Sequence[int], count: int = 4, dim: int = 2, samples: int = 4000, miscount: int = 0
) -> Check:
    """The rank of nodes and affine functions on samples against the number of boundaries.

    Parameters
    ----------
    seeds : sequence of int
        Of the draws.
    count, dim : int
        Random nodes (three relatives come to them) and d.
    samples : int
        Uniform in the unit ball.
    miscount : int, default 0
        Added to the rank that is claimed.

    Returns
    -------
    Check
    """
    kept, beyond, sums = [], [], []
    for seed in seeds:
        rng = np.random.default_rng([17, seed])
        X = rng.standard_normal((samples, dim))
        X *= (rng.uniform(0, 1, samples) ** (1 / dim) / np.linalg.norm(X, axis=1))[:, None]
        extended = np.column_stack([X, np.ones(samples)])
        nodes = nodes_with_relatives(count, dim, rng)
        for observer in (None, np.append(rng.standard_normal(dim), 0.5)):
            depths = [depth_of_boundary(node, observer) for node in nodes]
            clear = nodes[[abs(depth) > CLEAR for depth in depths]]
            groups = boundaries(clear, observer)
            inside = extended if observer is None else extended[extended @ observer > 0]
            columns = np.column_stack([np.maximum(inside @ clear.T, 0.0), inside])
            columns = columns[:, np.abs(columns).max(axis=0) > 0]
            values = np.linalg.svd(columns / np.linalg.norm(columns, axis=0), compute_uv=False)
            rank = len(groups) + dim + 1 + miscount
            kept.append(float(values[rank - 1] / values[0]))
            beyond.append(float(values[rank] / values[0]) if rank < values.size else 0.0)
            # A combination made to order: its kinks are read off from samples, whatever the coefficients.
            c = rng.standard_normal(len(clear))
            f = np.maximum(inside @ clear.T, 0.0) @ c
            one_each = np.maximum(inside @ clear[[group[0] for group in groups]].T, 0.0)
            solved = np.linalg.lstsq(np.column_stack([one_each, inside]), f, rcond=None)[0]
            norms = np.linalg.norm(clear[:, :-1], axis=1)
            for at, group in zip(solved, groups):
                sums.append(abs(at * norms[group[0]] - float(c[group] @ norms[group])))
    return Check(
        name="specialization.independence",
        statement="In a ball and in its part where an observer is active, ReLU nodes and the affine "
        "functions span a space of dimension (different boundaries that pass through it) + d + 1: nodes on "
        "one boundary, of either sign, count once, nodes whose boundary does not pass are affine; and the "
        "sums of c_j |w_j| over each boundary follow from a combination's values.",
        source=f"{PAPER}, Lemmas 2, 3 and 6 (independence of ReLU nodes; in this project's words)",
        parts=[
            at_least("singular value of the claimed rank over the largest", kept, 1e-4),
            at_most("the next one over the largest", beyond, 1e-13),
            at_most("difference of a sum of c|w| over a boundary", sums, 1e-11),
        ],
        computed={"nodes": count + 3, "inputs": dim, "samples": samples},
    )


@register("specialization.independence")
def _independence(size: str, progress: Progress) -> Iterator[Check]:
    yield independence(range(10 if size == "quick" else 200))
    if size == "full":
        yield independence(range(50), 6, 3, 20_000)
