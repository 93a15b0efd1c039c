"""The full Hessian at a symmetric point, one small matrix of balls per representation.

The Hessian commutes with ∏ S_m, the permutations within blocks. Weights (neuron, coordinate) and outputs
(neuron) decompose into

    trivial                     the reduced loss                         1
    standard(b)                 Σ x = 0 over block b                     m − 1
    symmetric(b)                zero diagonal, zero row sums             m(m − 3)/2
    antisymmetric(b)            zero row sums                            (m − 1)(m − 2)/2
    standard(b) ⊗ standard(c)                                            (m − 1)(m' − 1)

with these dimensions. By Schur's lemma the Hessian maps the copies of one vector of a representation to
themselves, so its restriction to them has the eigenvalues, each with the dimension as multiplicity. The
vector lives on two to four indices, which are blocks of their own in a finer ansatz; that gives the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from .ansatz import AnsatzLoss
from .balls import arb, arb_mat


class Representation(NamedTuple):
    """A representation: its name, its dimension, which indices it needs, and its vector."""

    name: str
    dimension: int
    singles: dict
    entry: Callable


class Number(NamedTuple):
    """A number of the finer ansatz: where it comes from, and the indices of its neuron and coordinate.

    neuron, coordinate   0, 1, … for indices taken out of a block, −1 for the rest
    tied                 the coarse block that the neuron's group is tied to, None for a single neuron
    """

    group: int
    block: int
    own: bool
    tied: int | None
    neuron: int
    coordinate: int
    size: int


def representations(loss: AnsatzLoss) -> list[Representation]:
    """All non-trivial ones that occur."""
    found = []
    tied = set(loss.groups)
    for b, m in enumerate(loss.blocks):
        if m > 1:
            found.append(Representation(f"standard({b})", m - 1, {b: 2}, _standard(b)))
        if b in tied and m > 3:
            found.append(Representation(f"symmetric({b})", m * (m - 3) // 2, {b: 4}, _matrix(b, _EVEN)))
        if b in tied and m > 2:
            count = (m - 1) * (m - 2) // 2
            found.append(Representation(f"antisymmetric({b})", count, {b: 3}, _matrix(b, _ODD)))
    for b, c in combinations(range(len(loss.blocks)), 2):
        if min(loss.blocks[b], loss.blocks[c]) > 1 and {b, c} & tied:
            count = (loss.blocks[b] - 1) * (loss.blocks[c] - 1)
            found.append(
                Representation(f"standard({b}) ⊗ standard({c})", count, {b: 2, c: 2}, _product(b, c))
            )
    return found


def matrices(loss: AnsatzLoss, point: Sequence) -> Iterator[tuple[str, int, list]]:
    """(name, multiplicity, rows of balls) of every non-trivial representation; outputs held for relu.

    Where the output weights of relu neurons move, the copies that live on them are left out: with the
    tangents of positive scaling the others are a basis of each representation.
    """
    for found in representations(loss):
        fine, numbers = refine(loss, found.singles)
        at = [loss.position(n.group, n.block, n.own) for n in numbers]
        box = [point[i] for i in at if i is not None]
        vectors = _copies(loss, numbers, found)
        if not vectors:
            continue
        H = arb_mat(fine.hessian(box))
        # A number of x stands for several equal entries of θ: v·Hv = c·(∂²L/∂x²)c for v = E c.
        C = arb_mat(vectors)
        yield found.name, found.dimension, (C * H * C.transpose()).tolist()


def _copies(loss: AnsatzLoss, numbers: list, found: Representation) -> list[list[float]]:
    rows = []
    held = loss.activation == "relu" and loss.train_outputs
    for row in found.entry(loss, numbers):
        row = [float(v) for v in row]
        if held and any(v and n.block < 0 for v, n in zip(row, numbers)):
            continue
        if any(row):
            rows.append(row)
    # In blocks of two, three or four some copies are combinations of others: keep a basis.
    basis: list[list[float]] = []
    for row in rows:
        if np.linalg.matrix_rank(np.array([*basis, row])) > len(basis):
            basis.append(row)
    # Columns of ∂²L/∂x² are sums over the entries of a number; the vector has norm one in the full space.
    weights = np.sqrt([n.size for n in numbers])
    return [(np.array(row) / np.linalg.norm(row * weights)).tolist() for row in basis]


def refine(loss: AnsatzLoss, singles: dict[int, int]) -> tuple[AnsatzLoss, list[Number]]:
    """The ansatz with `singles[b]` indices of block b taken out, and where its numbers come from."""
    parts: list[tuple[int, int, int]] = []
    for b, m in enumerate(loss.blocks):
        taken = singles.get(b, 0)
        parts += [(b, i, 1) for i in range(taken)]
        if m > taken:
            parts.append((b, -1, m - taken))
    groups: list[int | None] = []
    origin: list[tuple[int, int]] = []
    for g, tied in enumerate(loss.groups):
        if tied is None:
            groups.append(None)
            origin.append((g, 0))
        else:
            for i, (b, part, _) in enumerate(parts):
                if b == tied:
                    groups.append(i)
                    origin.append((g, part))
    outputs = [loss.outputs[b] if b < loss.teachers else arb(0) for b, _, _ in parts]
    norms = [loss.norms[b] if b < loss.teachers else arb(1) for b, _, _ in parts]
    sizes = [m for _, _, m in parts]
    fine = AnsatzLoss(loss.activation, sizes, groups, 0, outputs, norms, loss.train_outputs)
    numbers = []
    for p in fine.parameters:
        g, neuron = origin[p.group]
        block, coordinate = parts[p.block][:2] if p.block >= 0 else (-1, 0)
        own = p.own and loss.groups[g] == block
        same = loss.groups[g] == block and neuron == coordinate
        # off-diagonal weights between two different single indices, and the rest's own ones, keep their kind
        numbers.append(Number(g, block, own and same, loss.groups[g], neuron, coordinate, p.size))
    return fine, numbers


_UNIT = {0: 1, 1: -1, -1: 0}
_EVEN = {(0, 2): 1, (0, 3): -1, (1, 2): -1, (1, 3): 1}
_EVEN |= {(j, i): v for (i, j), v in _EVEN.items()}
_ODD = {(0, 1): 1, (1, 2): 1, (2, 0): 1, (1, 0): -1, (2, 1): -1, (0, 2): -1}


def _standard(b: int):
    """All copies of e_0 − e_1 over block b."""

    def entries(loss: AnsatzLoss, numbers: list):
        for g, tied in enumerate(loss.groups):
            mine = [n.group == g for n in numbers]
            if tied != b:
                yield [m and n.block == b and _UNIT[n.coordinate] for m, n in zip(mine, numbers)]
                continue
            yield [m and n.block < 0 and _UNIT[n.neuron] for m, n in zip(mine, numbers)]
            yield [m and n.own and _UNIT[n.neuron] for m, n in zip(mine, numbers)]
            off = [m and n.block == b and not n.own for m, n in zip(mine, numbers)]
            yield [m and _UNIT[n.neuron] for m, n in zip(off, numbers)]
            yield [m and _UNIT[n.coordinate] for m, n in zip(off, numbers)]
            for c in range(len(loss.blocks)):
                if c != b:
                    yield [m and n.block == c and _UNIT[n.neuron] for m, n in zip(mine, numbers)]

    return entries


def _matrix(b: int, values: dict):
    """Copies of a matrix on the indices of block b: the weights within it of the groups tied to it."""

    def entries(loss: AnsatzLoss, numbers: list):
        for g, tied in enumerate(loss.groups):
            if tied == b:
                yield [
                    n.group == g and n.block == b and not n.own and values.get((n.neuron, n.coordinate), 0)
                    for n in numbers
                ]

    return entries


def _product(b: int, c: int):
    """Copies of (e_0 − e_1)(e_0 − e_1)ᵀ over blocks b and c."""

    def entries(loss: AnsatzLoss, numbers: list):
        for g, tied in enumerate(loss.groups):
            if tied in (b, c):
                other = c if tied == b else b
                yield [
                    n.group == g and n.block == other and _UNIT[n.neuron] * _UNIT[n.coordinate]
                    for n in numbers
                ]

    return entries
