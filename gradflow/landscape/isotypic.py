"""The full Hessian's eigenvalues at a symmetric point, from one small block per kind of symmetry.

The Hessian commutes with the permutations within every block. Its eigenspaces are therefore sums of
irreducible representations of ∏ S_m. Those that occur in vectors and matrices over the blocks are

    trivial                  the loss of the ansatz itself
    standard(b)              Σ x = 0 over block b                                  m − 1
    symmetric(b)             symmetric m × m, zero diagonal and row sums           m(m − 3)/2
    antisymmetric(b)         antisymmetric m × m with zero row sums                (m − 1)(m − 2)/2
    standard(b) ⊗ standard(c)                                                      (m − 1)(m' − 1)

with their dimensions. By Schur's lemma the Hessian, restricted to all copies of one fixed vector of
such a representation, is a small matrix whose eigenvalues have the dimension as multiplicity. The
vector is chosen to live on two to four indices of a block: it lies in the finer ansatz in which these
indices are blocks of their own, whose own Hessian gives the matrix.
"""

from __future__ import annotations

import dataclasses
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..support.threads import single_threaded_blas
from .ansatz import Ansatz
from .ansatz_loss import AnsatzLoss


class Block(NamedTuple):
    """The eigenvalues that belong to one representation of the permutations.

    Attributes
    ----------
    symmetry : str
        The representation.
    multiplicity : float or int
        How often each of them occurs.
    eigenvalues : ndarray, shape (m,)
        Ascending.

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(4,), groups=(0,))
    >>> spectrum = gf.landscape.blocks(ansatz, ansatz.point([[(1.0, 0.0), 1.0]]))
    >>> [(block.symmetry, block.multiplicity, len(block.eigenvalues)) for block in spectrum.blocks]
    [('trivial', 1, 3), ('standard(0)', 3, 4), ('symmetric(0)', 2, 1), ('antisymmetric(0)', 3, 1)]
    """

    symmetry: str
    multiplicity: float | int
    eigenvalues: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """The spectrum of the full Hessian, block by block.

    Attributes
    ----------
    blocks : tuple of Block
        One per representation.
    tolerance : float
        64 P' ε |λ|_max with P' the largest block: eigenvalues within it count as zero.

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(1000,), groups=(0,))
    >>> spectrum = gf.landscape.blocks(ansatz, ansatz.point([[(1.0, 0.0), 1.0]]))
    >>> spectrum.size, spectrum.index
    (1001000, 0)
    """

    blocks: tuple[Block, ...]

    @property
    def size(self) -> float | int:
        """The number of parameters of the full problem: all multiplicities together."""
        return sum(block.multiplicity * block.eigenvalues.size for block in self.blocks)

    @property
    def smallest(self) -> float:
        """The lowest eigenvalue."""
        return float(min(block.eigenvalues.min() for block in self.blocks))

    @property
    def largest(self) -> float:
        """The highest eigenvalue."""
        return float(max(block.eigenvalues.max() for block in self.blocks))

    @property
    def tolerance(self) -> float:
        """Eigenvalues within it count as zero: rounding of those of the largest block."""
        count = max(block.eigenvalues.size for block in self.blocks)
        return 64 * count * float(np.finfo(np.float64).eps) * max(abs(self.smallest), abs(self.largest))

    @property
    def index(self) -> float | int:
        """The number of negative eigenvalues."""
        return sum(b.multiplicity * int((b.eigenvalues < -self.tolerance).sum()) for b in self.blocks)

    @property
    def zero(self) -> float | int:
        """The number of eigenvalues within the tolerance of zero."""
        return sum(b.multiplicity * int((abs(b.eigenvalues) <= self.tolerance).sum()) for b in self.blocks)

    def __str__(self) -> str:
        lines = [
            f"{self.size:g} eigenvalues from {self.smallest:.6g} to {self.largest:.6g}, "
            f"index {self.index:g}, {self.zero:g} zero (within {self.tolerance:.1e})"
        ]
        lines += [
            f"  {block.multiplicity:>12g} × {block.symmetry}: "
            + ", ".join(f"{v:.9g}" for v in block.eigenvalues)
            for block in self.blocks
        ]
        return "\n".join(lines)

    def of(self, symmetry: str) -> np.ndarray:
        """The eigenvalues of the representation `symmetry`; empty where it does not occur."""
        found = [block.eigenvalues for block in self.blocks if block.symmetry == symmetry]
        return np.concatenate(found) if found else np.empty(0)

    def eigenvalues(self) -> np.ndarray:
        """All of them, each as often as it occurs, ascending."""
        parts = [np.repeat(block.eigenvalues, int(block.multiplicity)) for block in self.blocks]
        return np.sort(np.concatenate(parts))


class _Label(NamedTuple):
    """A number of the finer ansatz, in terms of the coarse one."""

    group: int
    block: int
    own: bool
    neuron: int
    coordinate: int
    """Part of its block in which the neuron (the coordinate) lies: 0, 1, … single indices; −1 the rest."""


def blocks(ansatz: Ansatz, x: np.ndarray) -> Blocks:
    """The spectrum of the full Hessian at a point of an ansatz, critical or not.

    Parameters
    ----------
    ansatz : Ansatz
        Its symmetry splits the Hessian.
    x : array_like, shape (p,)
        The point.

    Returns
    -------
    Blocks

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(3,), groups=(0,))
    >>> blocks(ansatz, ansatz.point([[(1.0, 0.0), 1.0]])).index
    0
    """
    x = ansatz.check("x", x)
    with single_threaded_blas():
        found = [_trivial(ansatz, x)]
        for b, size in enumerate(ansatz.blocks):
            if size > 1:
                found.append(_block(ansatz, x, f"standard({b})", size - 1, {b: 2}, _standard(b)))
            if b in ansatz.groups and size > 3:
                count = _half(size * (size - 3))
                found.append(_block(ansatz, x, f"symmetric({b})", count, {b: 4}, _pairs(b, _SYMMETRIC)))
            if b in ansatz.groups and size > 2:
                count = _half((size - 1) * (size - 2))
                found.append(
                    _block(ansatz, x, f"antisymmetric({b})", count, {b: 3}, _pairs(b, _ANTISYMMETRIC))
                )
        for b, c in combinations(range(len(ansatz.blocks)), 2):
            if min(ansatz.blocks[b], ansatz.blocks[c]) > 1 and {b, c} & set(ansatz.groups):
                count = (ansatz.blocks[b] - 1) * (ansatz.blocks[c] - 1)
                name = f"standard({b}) ⊗ standard({c})"
                found.append(_block(ansatz, x, name, count, {b: 2, c: 2}, _product(b, c)))
    return Blocks(tuple(block for block in found if block.eigenvalues.size and block.multiplicity))


def _half(product: float | int) -> float | int:
    """Half of a product that is even for integer sizes, which give integer multiplicities."""
    return product // 2 if isinstance(product, int) else product / 2


def _trivial(ansatz: Ansatz, x: np.ndarray) -> Block:
    roots = np.sqrt(ansatz.sizes)
    hessian = AnsatzLoss(ansatz).derivatives(x)[2] / np.outer(roots, roots)
    return Block("trivial", 1, np.linalg.eigvalsh(hessian))


def _block(ansatz: Ansatz, x, name: str, multiplicity: float | int, singles: dict, embed) -> Block:
    fine, labels = _refine(ansatz, singles)
    point = np.array([x[ansatz.position(p.group, p.block, p.own)] for p in labels])
    vectors = np.array(embed(labels, ansatz))  # copies of one vector, rows in the numbers of `fine`
    roots = np.sqrt(fine.sizes)
    vectors = vectors * roots
    norms = np.linalg.norm(vectors, axis=1)
    vectors = vectors[norms > 0] / norms[norms > 0, None]
    if not len(vectors):
        return Block(name, multiplicity, np.empty(0))
    # In small blocks some copies coincide (rows and columns of 2 × 2): keep an orthonormal basis.
    _, weights, basis = np.linalg.svd(vectors, full_matrices=False)
    basis = basis[weights > 1e-9]
    hessian = AnsatzLoss(fine).derivatives(point)[2] / np.outer(roots, roots)
    return Block(name, multiplicity, np.linalg.eigvalsh(basis @ hessian @ basis.T))


def _refine(ansatz: Ansatz, singles: dict[int, int]) -> tuple[Ansatz, list[_Label]]:
    """The ansatz with `singles[b]` indices of each such block taken out, and where its numbers come from."""
    parts: list[tuple[int, int, float | int]] = []  # (coarse block, part, size)
    for b, size in enumerate(ansatz.blocks):
        taken = singles.get(b, 0)
        parts += [(b, i, 1) for i in range(taken)]
        if size > taken:
            parts.append((b, -1, size - taken))
    groups: list[int | None] = []
    origin: list[tuple[int, int]] = []
    for g, tied in enumerate(ansatz.groups):
        if tied is None:
            groups.append(None)
            origin.append((g, 0))
            continue
        for i, (b, part, _) in enumerate(parts):
            if b == tied:
                groups.append(i)
                origin.append((g, part))
    # Unused coordinates are blocks like the others, of teachers with output zero.
    zero = len(ansatz.teachers)
    outputs = np.append(ansatz._per_block(ansatz.teacher_outputs), 0.0)
    norms = np.append(ansatz._per_block(ansatz.teacher_norms), 1.0)
    which = [min(b, zero) for b, _, _ in parts]
    fine = Ansatz(
        teachers=tuple(size for _, _, size in parts),
        groups=tuple(groups),
        activation=ansatz.activation,
        teacher_outputs=tuple(outputs[which]),
        teacher_norms=tuple(norms[which]),
        train_outputs=ansatz.train_outputs,
    )
    labels = []
    for parameter in fine.parameters:
        group, neuron = origin[parameter.group]
        block, coordinate = parts[parameter.block][:2] if parameter.block >= 0 else (-1, 0)
        labels.append(_Label(group, block, parameter.own, neuron, coordinate))
    return fine, labels


def _standard(b: int):
    """Copies of x = e₀ − e₁ over block b."""
    x = {0: 1.0, 1: -1.0, -1: 0.0}

    def embed(labels: list[_Label], ansatz: Ansatz) -> list[list[float]]:
        copies = []
        for g, tied in enumerate(ansatz.groups):
            here = [p.group == g for p in labels]
            if tied == b:
                copies.append([h * (p.block == -1) * x[p.neuron] for h, p in zip(here, labels)])
                copies.append([h * p.own * x[p.neuron] for h, p in zip(here, labels)])
                off = [h and p.block == b and not p.own for h, p in zip(here, labels)]
                copies.append([o * x[p.neuron] for o, p in zip(off, labels)])
                copies.append([o * x[p.coordinate] for o, p in zip(off, labels)])
                for other in range(len(ansatz.blocks)):
                    if other != b:
                        copies.append([h * (p.block == other) * x[p.neuron] for h, p in zip(here, labels)])
            else:
                copies.append([h * (p.block == b) * x[p.coordinate] for h, p in zip(here, labels)])
        return copies

    return embed


_SYMMETRIC = {(0, 2): 1.0, (0, 3): -1.0, (1, 2): -1.0, (1, 3): 1.0}
_SYMMETRIC |= {(j, i): value for (i, j), value in _SYMMETRIC.items()}
_ANTISYMMETRIC = {(0, 1): 1.0, (1, 2): 1.0, (2, 0): 1.0, (1, 0): -1.0, (2, 1): -1.0, (0, 2): -1.0}


def _pairs(b: int, matrix: dict):
    """Copies of a matrix on single indices of block b in the weights of the groups tied to it."""

    def embed(labels: list[_Label], ansatz: Ansatz) -> list[list[float]]:
        return [
            [
                (p.group == g and p.block == b and not p.own) * matrix.get((p.neuron, p.coordinate), 0.0)
                for p in labels
            ]
            for g, tied in enumerate(ansatz.groups)
            if tied == b
        ]

    return embed


def _product(b: int, c: int):
    """Copies of (e₀ − e₁)(e₀ − e₁)ᵀ over blocks b and c."""
    x = {0: 1.0, 1: -1.0, -1: 0.0}

    def embed(labels: list[_Label], ansatz: Ansatz) -> list[list[float]]:
        copies = []
        for g, tied in enumerate(ansatz.groups):
            if tied in (b, c):
                other = c if tied == b else b
                copies.append(
                    [(p.group == g and p.block == other) * x[p.neuron] * x[p.coordinate] for p in labels]
                )
        return copies

    return embed
