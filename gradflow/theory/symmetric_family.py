"""Critical points that are symmetric under S_{k−1}, for any k: five numbers instead of k².

Students and teachers are k ReLU neurons each in dimension k, v_j = e_j, all output weights one, and

    W = [ a  b … b  c ]
        [ b  a … b  c ]          a diagonal, b off the diagonal, c last column, d last row, e corner
        [ ⋮          ⋮ ]
        [ d  d … d  e ]

is left alone by permutations of the first k−1 students and teachers together. Hence ∇L has the same
form, and ∇²L commutes with those permutations: five equations for five numbers, and a k² × k² Hessian
that falls into blocks of sizes 5, 5, 1, 1 with known multiplicities. Both are sums over orbits of pairs,
so the cost does not depend on k. Derivatives of the pair kernel (derived; Safran & Shamir 2018 have the
Hessian's blocks), with θ the angle between w and w' and n̂ the unit vector of ŵ' − cos θ ŵ:

    ∂_w K        = (1/2π) [(π−θ) w' + |w'| sin θ ŵ]
    ∂_w∂_w K     = (1/2π) (|w'| sin θ/|w|) (I − ŵŵᵀ + n̂n̂ᵀ)
    ∂_w∂_w' K    = (1/2π) [(π−θ) I + ŵ' n̂'ᵀ + ŵ n̂ᵀ]

L = E(f − f*)², no ½.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import numpy as np

from .._threads import single_threaded_blas
from .._validate import integer
from ..errors import ArgumentError

SMALLEST = 8
"""The smallest k with room for all representatives: four rows of their own, two of the rest, the last."""

ENTRIES = 5

# Rows and columns that stand for all: 0…3 by themselves, 4 and 5 for the k−5 of the bulk, then the rest of
# the bulk (columns only), then the last one. Every vector below is constant on these classes of columns.
_BULK, _BULK_2, _REST, _LAST = 4, 5, 6, 7
_ROWS = (0, 1, 2, 3, _BULK, _BULK_2, _LAST)
_OUTPUT_ROWS = (0, 1, 2, 3, _BULK, _LAST)


@dataclasses.dataclass(frozen=True)
class FamilyPoint:
    """A point of the family.

    width        k
    entries      (a, b, c, d, e)
    grad_norm    ∞-norm of ∇L over all k² weights
    loss         L in extended precision: at large k the sum cancels by a factor of k²
    eigenvalues  those of ∇²L, distinct ones by construction, ascending, shape (12,)
    multiplicities  how often each occurs; they add up to k²
    """

    width: int
    entries: np.ndarray
    grad_norm: float
    loss: float
    eigenvalues: np.ndarray
    multiplicities: np.ndarray

    @property
    def index(self) -> int:
        """Number of negative eigenvalues of ∇²L, multiplicities counted."""
        return int(self.multiplicities[self.eigenvalues < 0].sum())

    def weights(self) -> np.ndarray:
        """W (k, k)."""
        return matrix(self.width, self.entries)


def matrix(width: int, entries) -> np.ndarray:
    """W (k, k) of the five numbers."""
    a, b, c, d, e = entries
    W = np.full((width, width), b)
    np.fill_diagonal(W, a)
    W[:, -1], W[-1], W[-1, -1] = c, d, e
    return W


def solve(width: int, entries) -> FamilyPoint:
    """Newton on the five equations from `entries` (5,), until the gradient falls no more.

    Raises `ArgumentError` for a width below 8 and entries that are not five numbers.
    """
    width = integer("width", width, SMALLEST)
    start = np.array(entries, dtype=np.float64)
    if start.shape != (ENTRIES,) or not np.isfinite(start).all():
        raise ArgumentError("entries", repr(entries), "five numbers (a, b, c, d, e)")
    with single_threaded_blas():
        best, norm = _newton(width, start)
        values, counts = _Orbits(width, best).spectrum()
    return FamilyPoint(width, best, norm, _loss(width, best), values, counts)


def follow(widths, entries) -> list[FamilyPoint]:
    """The family at each of the ascending `widths`, each solved from the one before.

    Between widths further apart than a factor of 1.5 steps in between are taken.
    """
    points: list[FamilyPoint] = []
    start, at = np.array(entries, dtype=np.float64), None
    for width in widths:
        while at is not None and width > 1.5 * at:
            at = int(1.5 * at)
            start, _ = _newton(at, start)
        points.append(solve(width, start))
        start, at = points[-1].entries, width
    return points


def _newton(width: int, point: np.ndarray) -> tuple[np.ndarray, float]:
    """The best point of Newton's iteration on the five equations and the ∞-norm of ∇L there."""
    basis, scales = _trivial(width)
    best, norm = point, math.inf
    while True:
        orbits = _Orbits(width, point)
        gradient = orbits.gradient()
        size = float(np.abs(gradient).max())
        if not size < norm:
            return best, norm
        best, norm = point, size
        # Along a unit vector of the basis the reduced gradient is the entry of ∇L over `scales`.
        point = point - scales * np.linalg.solve(orbits.block(basis), gradient / scales)


class _Orbits:
    """Gradient and Hessian at one point, by representatives of rows and columns."""

    def __init__(self, width: int, entries: np.ndarray):
        a, b, c, d, e = entries
        self.width = width
        self.bulk = width - 5
        self.sizes = np.array([1.0] * 6 + [width - 7.0, 1.0])  # columns per class
        self.rows = {i: np.where(np.arange(8) == i, a, b) for i in _ROWS[:-1]}
        for row in self.rows.values():
            row[_LAST] = c
        self.rows[_LAST] = np.full(8, d)
        self.rows[_LAST][_LAST] = e
        self.teachers = {j: np.where(np.arange(8) == j, 1.0, 0.0) for j in _ROWS}

    def dot(self, x, y) -> float:
        return float(np.sum(self.sizes * x * y))

    def pair(self, w, v):
        """ŵ, n̂, v̂, n̂', |w|, |v|, θ, sin θ of two vectors; n̂ = n̂' = 0 where they are equal."""
        r, s = math.sqrt(self.dot(w, w)), math.sqrt(self.dot(v, v))
        unit, other = w / r, v / s
        apart, along = unit - other, unit + other
        angle = 2.0 * math.atan2(math.sqrt(self.dot(apart, apart)), math.sqrt(self.dot(along, along)))
        normal, back = other - math.cos(angle) * unit, unit - math.cos(angle) * other
        size, size_back = math.sqrt(self.dot(normal, normal)), math.sqrt(self.dot(back, back))
        normal = normal / size if angle > 0 else 0.0 * normal
        back = back / size_back if angle > 0 else 0.0 * back
        return unit, normal, other, back, r, s, angle, math.sin(angle)

    def others(self, i: int):
        """(j, how many rows it stands for) over all rows j ≠ i."""
        if i == _BULK:
            return [(j, 1) for j in range(4)] + [(_BULK_2, self.bulk - 1), (_LAST, 1)]
        return [(j, 1) for j in range(4) if j != i] + [(_BULK, self.bulk)] + [(_LAST, 1)] * (i != _LAST)

    def terms(self, i: int):
        """(±multiplicity, w) over all students, i included, and all teachers: what w_i is paired with."""
        everyone = [(i, 1), *self.others(i)]
        return [(n, self.rows[j]) for j, n in everyone] + [(-n, self.teachers[j]) for j, n in everyone]

    def row_gradient(self, i: int) -> np.ndarray:
        """∂L/∂w_i in the classes of columns."""
        total = np.zeros(8)
        for count, vector in self.terms(i):
            unit, _, other, _, _, s, angle, sine = self.pair(self.rows[i], vector)
            total += count * s * ((math.pi - angle) * other + sine * unit)
        return total / math.pi

    def gradient(self) -> np.ndarray:
        """∂L/∂ of one entry of each of the five kinds."""
        first, last = self.row_gradient(0), self.row_gradient(_LAST)
        return np.array([first[0], first[1], first[_LAST], last[0], last[_LAST]])

    @cached_property
    def operator(self) -> np.ndarray:
        """∇²L from rows of all representatives (7 · 8) to rows of all but the second bulk one (6 · 8)."""
        D, place = self.sizes, {i: 8 * at for at, i in enumerate(_ROWS)}
        result = np.zeros((48, 56))
        for at, i in enumerate(_OUTPUT_ROWS):
            block = np.eye(8)
            for count, vector in self.terms(i)[1:]:
                unit, normal, _, _, r, s, _, sine = self.pair(self.rows[i], vector)
                plane = np.eye(8) - np.outer(unit, D * unit) + np.outer(normal, D * normal)
                block = block + count * s * sine / (math.pi * r) * plane
            result[8 * at : 8 * at + 8, place[i] : place[i] + 8] = block
            for j, count in self.others(i):
                unit, normal, other, back, _, _, angle, _ = self.pair(self.rows[i], self.rows[j])
                block = (math.pi - angle) * np.eye(8) + np.outer(other, D * back) + np.outer(unit, D * normal)
                result[8 * at : 8 * at + 8, place[j] : place[j] + 8] = count / math.pi * block
        return result

    def block(self, basis) -> np.ndarray:
        """The symmetric matrix ⟨X, ∇²L Y⟩ of tangent vectors given as rows {representative: columns}."""
        images = self.operator @ np.array([np.concatenate([Y[j] for j in _ROWS]) for Y in basis]).T
        counts = np.array([1.0, 1.0, 1.0, 1.0, self.bulk, 1.0])
        weights = np.outer(counts, self.sizes).ravel()
        left = np.array([np.concatenate([X[i] for i in _OUTPUT_ROWS]) for X in basis])
        values = (left * weights) @ images
        return 0.5 * (values + values.T)

    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """All eigenvalues of ∇²L by irreducible representations, ascending, and their multiplicities."""
        m = self.width - 1  # S_m acts
        pieces = [
            (_trivial(self.width)[0], 1),
            (_standard(self.width), m - 1),
            ([_symmetric()], m * (m - 3) // 2),
            ([_alternating()], (m - 1) * (m - 2) // 2),
        ]
        values = np.concatenate([np.linalg.eigvalsh(self.block(basis)) for basis, _ in pieces])
        counts = np.concatenate([np.full(len(basis), count) for basis, count in pieces])
        order = np.argsort(values)
        return values[order], counts[order]


def _tangent(entry, scale: float = 1.0) -> dict:
    """The tangent vector with X_ij = scale · entry(i, j) at representatives i and classes j."""
    return {i: scale * np.array([float(entry(i, j)) for j in range(8)]) for i in _ROWS}


def _trivial(k: int) -> tuple[list, np.ndarray]:
    """The five orbits of entries as unit vectors, and 1/norm of each orbit."""
    last = _LAST
    orbits = [
        lambda i, j: i == j != last,
        lambda i, j: i != j and last not in (i, j),
        lambda i, j: i != last and j == last,
        lambda i, j: i == last and j != last,
        lambda i, j: i == j == last,
    ]
    sizes = np.array([k - 1, (k - 1) * (k - 2), k - 1, k - 1, 1], dtype=np.float64)
    scales = 1.0 / np.sqrt(sizes)
    return [_tangent(orbit, scale) for orbit, scale in zip(orbits, scales)], scales


def _standard(k: int) -> list:
    """One vector of each of the five copies of the standard representation, from u = (1, −1, 0, …)/√2."""
    m, last = k - 1, _LAST
    u = np.zeros(8)
    u[:2] = math.sqrt(0.5), -math.sqrt(0.5)
    return [
        _tangent(lambda i, j: u[i] * (i == j != last)),
        _tangent(lambda i, j: (u[i] + u[j]) * (i != j and last not in (i, j)), 1 / math.sqrt(2 * (m - 2))),
        _tangent(lambda i, j: (u[i] - u[j]) * (i != j and last not in (i, j)), 1 / math.sqrt(2 * m)),
        _tangent(lambda i, j: u[i] * (i != last and j == last)),
        _tangent(lambda i, j: u[j] * (i == last and j != last)),
    ]


def _symmetric() -> dict:
    """A symmetric matrix of zero diagonal and zero sums: e1 ∧ e2 against e3 ∧ e4."""
    signs = {(0, 2): 1, (0, 3): -1, (1, 2): -1, (1, 3): 1}
    return _tangent(lambda i, j: signs.get((min(i, j), max(i, j)), 0), 1 / math.sqrt(8))


def _alternating() -> dict:
    """An antisymmetric matrix of zero sums: a cycle of three."""
    signs = {(0, 1): 1, (1, 2): 1, (2, 0): 1, (1, 0): -1, (2, 1): -1, (0, 2): -1}
    return _tangent(lambda i, j: signs.get((i, j), 0), 1 / math.sqrt(6))


def _loss(k: int, entries: np.ndarray) -> float:
    """L from the inner products of the orbits, in long double."""
    a, b, c, d, e = (np.longdouble(x) for x in entries)
    one = np.longdouble(1)
    pi = 4 * np.arctan(one)
    m = np.longdouble(k - 1)

    def kernel(q, rr, ss):
        sine = np.sqrt(np.maximum(rr * ss - q * q, 0))
        angle = np.arctan2(sine, q)
        return (sine + (pi - angle) * q) / (2 * pi)

    row, last = a * a + (m - 1) * b * b + c * c, m * d * d + e * e
    students = m * row / 2 + last / 2 + 2 * m * kernel(d * (a + (m - 1) * b) + c * e, row, last)
    students += m * (m - 1) * kernel(2 * a * b + (m - 2) * b * b + c * c, row, row)
    both = m * (kernel(a, row, one) + (m - 1) * kernel(b, row, one) + kernel(c, row, one))
    both += m * kernel(d, last, one) + kernel(e, last, one)
    teachers = (m + 1) / 2 + (m + 1) * m / (2 * pi)
    return float(students - 2 * both + teachers)
