"""Tian 2020, Corollary 1: the regions in which α and β are constant, enumerated exactly for small networks.

A ReLU network of any depth is affine where its gates are; hyperplane by hyperplane each region is cut in two
where a linear programme finds room on both sides. The regions of a student and its teacher together are those
of Corollary 1: A_l and B_l of Lemma 1 depend on x by the gates only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.optimize

from ... import teachers
from ...networks import MLP
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register
from .gradients import PAPER, forward, top_down

__all__ = [
    "Region",
    "check_counts",
    "check_regions",
    "general_position",
    "pattern",
    "regions",
]


def __dir__() -> list[str]:
    return sorted(__all__)


ROOM = 1e-7
"""A region needs a ball of this radius; a thinner one is not told from none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """One region of constant gates.

    Attributes
    ----------
    gates : tuple of bool
        Of the hidden nodes, layer by layer, network by network.
    centre : ndarray, shape (d,)
        A point inside.
    faces : ndarray, shape (m, d + 1)
        Rows (a, b) of its inequalities a·x + b > 0.

    Examples
    --------
    >>> Region((True,), np.ones(1), np.array([[1.0, 0.0]])).gates
    (True,)
    """

    gates: tuple[bool, ...]
    centre: np.ndarray
    faces: np.ndarray


def _room(faces: np.ndarray) -> np.ndarray | None:
    """The centre of a largest ball (of radius 1 at most) where all a·x + b > 0, or None without `ROOM`."""
    A, b = faces[:, :-1], faces[:, -1]
    lengths = np.linalg.norm(A, axis=1)
    goal = np.append(np.zeros(A.shape[1]), -1.0)
    bounds = [(None, None)] * A.shape[1] + [(None, 1.0)]
    found = scipy.optimize.linprog(goal, np.column_stack([-A, lengths]), b, bounds=bounds)
    return found.x[:-1] if found.success and found.x[-1] > ROOM else None


def regions(networks: Sequence[MLP]) -> list[Region]:
    """The regions of R^d in which no gate of any of the networks changes.

    Parameters
    ----------
    networks : sequence of MLP
        Of ReLU, of the same inputs.

    Returns
    -------
    list of Region

    Examples
    --------
    >>> len(regions([gf.MLP([np.eye(2), [[1.0, 1.0]]], [[0.0, 0.0], None], "relu")]))  # two lines
    4
    """
    dim = networks[0].sizes[0]
    cells = [Region((), np.zeros(dim), np.empty((0, dim + 1)))]
    for network in networks:
        # Each cell with the affine map from x to the layer below.
        maps = [np.eye(dim, dim + 1)] * len(cells)
        for W, b in zip(network.weights[:-1], network.biases[:-1]):
            grown, next_maps = [], []
            for cell, below in zip(cells, maps):
                rows = W @ below
                rows[:, -1] += 0.0 if b is None else b
                for found in _cut(cell, rows):
                    grown.append(found)
                    gates = np.array(found.gates[len(cell.gates) :], dtype=np.float64)
                    next_maps.append(gates[:, None] * rows)
            cells, maps = grown, next_maps
    return cells


def _cut(cell: Region, rows: np.ndarray) -> list[Region]:
    """A cell cut by the hyperplanes of one layer."""
    cells = [cell]
    for row in rows:
        grown = []
        for there in cells:
            if not np.any(np.abs(row[:-1]) > 1e-12 * max(1.0, abs(row[-1]))):
                grown.append(dataclasses.replace(there, gates=(*there.gates, bool(row[-1] > 0))))
                continue
            for sign in (1.0, -1.0):
                faces = np.vstack([there.faces, sign * row])
                centre = _room(faces)
                if centre is not None:
                    grown.append(Region((*there.gates, sign > 0), centre, faces))
        cells = grown
    return cells


def pattern(networks: Sequence[MLP], x: np.ndarray) -> tuple[bool, ...]:
    """The gates of all hidden nodes at one input, as in `Region.gates`.

    Parameters
    ----------
    networks : sequence of MLP
        Of ReLU.
    x : ndarray, shape (d,)
        The input.

    Returns
    -------
    tuple of bool

    Examples
    --------
    >>> pattern([gf.MLP([np.eye(2), [[1.0, 1.0]]], [[0.0, 0.0], None], "relu")], np.array([1.0, -1.0]))
    (True, False)
    """
    gates = []
    for network in networks:
        for size, layer in zip(network.sizes[1:-1], forward(network, x)[1]):
            gates += [bool(gate) for gate in layer[:size]]
    return tuple(gates)


def general_position(nodes: int, dim: int, bias: bool = True) -> int:
    """How many regions n hyperplanes in general position cut R^d into.

    Parameters
    ----------
    nodes, dim : int
        n and d.
    bias : bool, default True
        Whether the hyperplanes are free; without, all pass through the origin.

    Returns
    -------
    int
        Σ_{i≤d} C(n, i), or 2 Σ_{i<d} C(n − 1, i).

    References
    ----------
    Zaslavsky, Facing up to arrangements, Mem. Amer. Math. Soc. 154 (1975).

    Examples
    --------
    >>> general_position(3, 2), general_position(3, 2, bias=False)
    (7, 6)
    """
    if bias:
        return sum(math.comb(nodes, i) for i in range(dim + 1))
    return 2 * sum(math.comb(nodes - 1, i) for i in range(dim))


def check_counts(cases: Sequence[tuple[int, int]], expected: Callable = general_position) -> Check:
    """The regions of networks of one layer against the formula of hyperplanes in general position."""
    off, found = [], []
    for seed, (nodes, dim) in enumerate(cases):
        for bias in (True, False):
            network = teachers.random((dim, nodes, 1), "relu", bias, seed=seed)
            found.append(len(regions([network])))
            off.append(abs(found[-1] - expected(nodes, dim, bias)))
    return Check(
        name="specialization.corollary_1.counts",
        statement="A layer of n nodes in general position has sum_{i<=d} C(n, i) regions, and 2 sum_{i<d} "
        "C(n - 1, i) without biases: as many as are enumerated.",
        source=f"{PAPER}, Corollary 1; the count: Zaslavsky 1975",
        parts=[at_most("difference of the numbers", off, 0.0)],
        computed={"nodes and inputs": [list(case) for case in cases], "regions": found},
    )


def check_regions(
    pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], samples: int, seed: int = 0, drop: int = 0
) -> Check:
    """The regions of deep students and teachers: they are all, and A_1, B_1 are constant in each.

    Parameters
    ----------
    pairs : sequence of two tuples of int
        Sizes of students and teachers, of as many layers.
    samples, seed : int
        Of standard Gaussian inputs.
    drop : int, default 0
        So many regions are left out of the list.

    Returns
    -------
    Check
    """
    rng = np.random.default_rng(seed)
    strange, misplaced, apart, counts, values = [], [], [], [], []
    for index, sizes in enumerate(pairs):
        networks = [teachers.random(size, "relu", seed=10 * index + i) for i, size in enumerate(sizes)]
        found = regions(networks)
        counts.append(len(found))
        misplaced += [pattern(networks, cell.centre) != cell.gates for cell in found]
        known = {}
        for cell in found[drop:]:
            known[cell.gates] = _coefficients(networks, cell.centre)
        values.append(len({np.round(A, 9).tobytes() for A, _ in known.values()}))
        for x in rng.standard_normal((samples, sizes[0][0])):
            there = known.get(pattern(networks, x))
            strange.append(there is None)
            if there is not None:
                here = _coefficients(networks, x)
                apart += [float(np.abs(p - q).max(initial=0.0)) for p, q in zip(here, there)]
    return Check(
        name="specialization.corollary_1.regions",
        statement="The input space of a deep student and its teacher is a finite set of regions and a set "
        "of measure zero, and A_1 and B_1 are constant in each: all regions enumerated, samples looked up "
        "in them.",
        source=f"{PAPER}, Corollary 1",
        parts=[
            never("samples in a region that is not listed", strange),
            never("listed regions whose centre has other gates", misplaced),
            at_most("difference of A and B of a sample and of its region's centre", apart, 1e-13),
            at_least("different A of a pair", values, 2.0),
        ],
        computed={"sizes": [[list(size) for size in pair] for pair in pairs], "regions": counts},
    )


def _coefficients(networks: Sequence[MLP], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A_1 and B_1 of Lemma 1 at one input."""
    V, V_star = (top_down(*forward(network, x)[1:])[1] for network in networks)
    return V.T @ V_star, V.T @ V


@register("specialization.corollary_1")
def _corollary_1(size: str, progress: Progress) -> Iterator[Check]:
    quick = size == "quick"
    yield check_counts(
        [(3, 2), (5, 2), (4, 3)] if quick else [(n, d) for n in range(1, 9) for d in (1, 2, 3, 4)]
    )
    progress("regions of deep networks")
    small = [((2, 3, 2, 1), (2, 2, 2, 1))]
    more = [((2, 4, 4, 1), (2, 3, 3, 1)), ((3, 4, 3, 2), (3, 2, 2, 2)), ((2, 3, 3, 3, 1), (2, 2, 2, 2, 1))]
    yield check_regions(small if quick else small + more, 300 if quick else 20_000)
