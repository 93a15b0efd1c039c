"""The loss of an ansatz in its few numbers: derivatives, critical points to many digits, spectra."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ..losses.base import Counts, Objective
from ..refiners import TrustRegionNewton
from ..support.eigen import symmetric_eigen
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.threads import single_threaded_blas
from ..support.validate import number, sequence
from . import pair_functions
from .ansatz import Ansatz

DIGITS = 40
"""Decimal digits of the arithmetic in which critical points are finished."""

NEAR = 1e-20
"""A residual below this is that of a critical point."""

HALVINGS = 6
"""How often `follow` tries half the step before it goes on from a point that is not critical."""

NULL_CUT = 1e-11
"""Eigenvalues of the reduced Hessian below this times the largest are null directions (ReLU scaling)."""


class ReducedLoss(Objective):
    """L as a function of y = √size · x: distances, gradients and Hessians are those of the full θ.

    ansatz   what is tied to what; `to_point(y)` and `from_point(x)` convert

    Cost: one kernel evaluation per kind of pair, whatever the sizes of the blocks.
    """

    def __init__(self, ansatz: Ansatz):
        if not isinstance(ansatz, Ansatz):
            raise ArgumentError("ansatz", type(ansatz).__name__, "an Ansatz")
        self.ansatz = ansatz
        self.size = len(ansatz.parameters)
        self._roots = np.sqrt(ansatz.sizes)
        self._function, self._precise = pair_functions.find(ansatz.activation)
        self.constant = self._teacher_term()
        self.gradient_scale = max(self.constant, self.constant**0.5)
        self._evaluations = 0
        self._constants: dict = {}

    def to_point(self, y: np.ndarray) -> np.ndarray:
        return y / self._roots

    def from_point(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x, dtype=np.float64) * self._roots

    def all_derivatives(self, theta):
        self._evaluations += 1
        value, gradient, hessian = self.derivatives(self.to_point(theta))
        return value, gradient / self._roots, hessian / np.outer(self._roots, self._roots)

    def loss_and_gradient(self, theta):
        return self.all_derivatives(theta)[:2]

    def hvp(self, theta, v):
        return self.all_derivatives(theta)[2] @ v

    @property
    def oracle(self):
        raise ArgumentError("objective", "a reduced loss", "an objective that JAX can trace")

    def counts(self) -> Counts:
        return Counts(0, self._evaluations, 0)

    def derivatives(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """L, ∂L/∂x and ∂²L/∂x² at a point of the ansatz, (p,) and (p, p); not finite where they overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._derivatives(x)

    def _derivatives(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        terms = self.ansatz.terms
        first = np.stack([terms.S @ x, terms.T @ x, terms.Q @ x + terms.linear], axis=1)  # (t, 3, p)
        s, t = 0.5 * first[:, 0] @ x, 0.5 * first[:, 1] @ x + terms.teacher_norm
        q = 0.5 * (terms.Q @ x) @ x + terms.linear @ x
        K, DK, DDK = self._function(s, t, q)

        a = np.append(x, 1.0)[terms.outputs]  # −1 picks the 1
        A = terms.counts * a[:, 0] * a[:, 1]
        value = self.constant + float(A @ K)
        slopes = np.einsum("tm,tmp->tp", DK, first)
        gradient = A @ slopes
        hessian = np.einsum("t,tmp,tmn,tnq->pq", A, first, DDK, first, optimize=True)
        for m, matrices in enumerate((terms.S, terms.T, terms.Q)):
            hessian += np.tensordot(A * DK[:, m], matrices, axes=1)
        for i, j in ((0, 1), (1, 0)):
            there = np.flatnonzero(terms.outputs[:, i] >= 0)
            position, factor = terms.outputs[there, i], terms.counts[there] * a[there, j]
            np.add.at(gradient, position, factor * K[there])
            np.add.at(hessian, position, factor[:, None] * slopes[there])
            np.add.at(hessian.T, position, factor[:, None] * slopes[there])
            both = there[terms.outputs[there, j] >= 0]
            np.add.at(hessian, (terms.outputs[both, i], terms.outputs[both, j]), terms.counts[both] * K[both])
        return value, gradient, 0.5 * (hessian + hessian.T)

    def precise(self, x, mp) -> tuple:
        """L and ∂L/∂x in the arithmetic of an mpmath context, x a list of its numbers."""
        if mp.dps not in self._constants:
            self._constants[mp.dps] = self._precise_constant(mp)
        value, gradient = self._constants[mp.dps], [mp.mpf(0)] * self.size
        terms = self.ansatz.terms
        for i, count in enumerate(terms.counts):
            forms = []
            for matrix in (terms.S[i], terms.T[i], terms.Q[i]):
                rows, columns = np.nonzero(matrix)
                product = [mp.mpf(0)] * self.size
                for row, column in zip(rows.tolist(), columns.tolist()):
                    product[row] += mp.mpf(matrix[row, column]) * x[column]
                forms.append((mp.fdot(product, x) / 2, product))
            (s, ds), (t, dt), (q, dq) = forms
            t += mp.mpf(terms.teacher_norm[i])
            for row in np.flatnonzero(terms.linear[i]).tolist():
                q += mp.mpf(terms.linear[i, row]) * x[row]
                dq[row] += mp.mpf(terms.linear[i, row])
            K, Ks, Kt, Kq = self._precise(mp, s, t, q)
            left, right = terms.outputs[i].tolist()
            a, b = (x[left] if left >= 0 else mp.mpf(1)), (x[right] if right >= 0 else mp.mpf(1))
            factor = mp.mpf(count)
            value += factor * a * b * K
            for row in range(self.size):
                if ds[row] or dt[row] or dq[row]:
                    gradient[row] += factor * a * b * (Ks * ds[row] + Kt * dt[row] + Kq * dq[row])
            if left >= 0:
                gradient[left] += factor * b * K
            if right >= 0:
                gradient[right] += factor * a * K
        return value, gradient

    def _teacher_pairs(self):
        """(count, c c', r², r'², r r' or 0) of every kind of pair of teachers."""
        ansatz = self.ansatz
        r, c = ansatz._per_block(ansatz.teacher_norms), ansatz._per_block(ansatz.teacher_outputs)
        for b, m in enumerate(ansatz.teachers):
            yield m, c[b] * c[b], r[b] ** 2, r[b] ** 2, r[b] ** 2
            for h, n in enumerate(ansatz.teachers[: b + 1]):
                count = m * (m - 1) if h == b else 2 * m * n
                yield count, c[b] * c[h], r[b] ** 2, r[h] ** 2, 0.0

    def _teacher_term(self) -> float:
        counts, outputs, s, t, q = (np.array(v, dtype=np.float64) for v in zip(*self._teacher_pairs()))
        return float((counts * outputs) @ self._function(s, t, q)[0])

    def _precise_constant(self, mp):
        total = mp.mpf(0)
        for count, outputs, s, t, q in self._teacher_pairs():
            total += mp.mpf(count) * mp.mpf(outputs) * self._precise(mp, mp.mpf(s), mp.mpf(t), mp.mpf(q))[0]
        return total


@dataclasses.dataclass(frozen=True, eq=False)
class SymmetricPoint:
    """A critical point of an ansatz.

    x          its numbers, rounded to Float64; `digits` are the same as decimal strings
    loss       L there; `loss_digits` to 30 digits
    residual   largest |∂L/∂θ| over all entries of the full θ, by arithmetic of `DIGITS` digits
    """

    ansatz: Ansatz
    x: np.ndarray
    loss: float
    residual: float
    digits: tuple[str, ...]
    loss_digits: str

    def __str__(self) -> str:
        lines = [f"L = {self.loss_digits}, |∇L| = {self.residual:.1e} in {DIGITS} digits"]
        for parameter, value in zip(self.ansatz.parameters, self.digits):
            block = "own weight" if parameter.own else f"weights on block {parameter.block}"
            what = "output weight" if parameter.block < 0 else block
            lines.append(f"  group {parameter.group}, {what} (× {parameter.size:g}): {value}")
        return "\n".join(lines)

    @cached_property
    def spectrum(self):
        """Eigenvalues of the full Hessian with their multiplicities (`isotypic.Blocks`)."""
        from .isotypic import blocks

        return blocks(self.ansatz, self.x)


def critical_point(
    ansatz: Ansatz, start, target: str = "critical point", max_iterations: int = 300
) -> SymmetricPoint:
    """A critical point of L within the ansatz, from x = `start` (p,).

    target   "critical point" (Newton on ∇L, saddles included) or "minimum" (within the ansatz: the full
             loss may have directions of descent that break the symmetry)

    Newton in Float64, then to `DIGITS` digits with the residual in mpmath. A run that ends anywhere else
    gives a large `residual`: look at it.
    """
    from mpmath import mp

    objective = ReducedLoss(ansatz)
    start = ansatz.check("start", start)
    refiner = TrustRegionNewton(target=target, max_iterations=max_iterations)
    with single_threaded_blas():
        if target == "critical point":  # from nearby, as when a family is followed, Newton alone is enough
            with mp.workdps(DIGITS):
                near = _finish(objective, start, mp)
            if near.residual <= NEAR:
                return near
        found = refiner.refine(objective, objective.from_point(start), Monitor(False))
        x = objective.to_point(found.theta)
        with mp.workdps(DIGITS):
            return _finish(objective, x, mp)


def follow(
    family: Callable[[float | int], Ansatz], sizes: Sequence, start, ratio: float = 1.2
) -> list[SymmetricPoint]:
    """Critical points of the ansätze family(s) for all sizes s in turn, each found from those before.

    family   an ansatz with the same numbers for every size s > 0 between the sizes, fractions included
    start    x (p,) near the point at the first size
    ratio    > 1; sizes that are further apart are joined by steps of this factor. Each begins on the
             straight line in log s through the last two points

    A step whose end is not a critical point (residual above `NEAR`) is halved, `HALVINGS` times at most; an
    end that is none even so carries its residual, and the next one begins there.
    """
    ratio = number("ratio", ratio, minimum=1.0, exclusive=True)
    wanted = sequence("sizes", sizes, "a sequence of sizes")
    if not wanted or not all(number("sizes", s, minimum=0.0, exclusive=True) < np.inf for s in wanted):
        raise ArgumentError("sizes", wanted, "at least one size, all of them positive and finite")
    at = wanted[0]
    last = critical_point(family(at), start)
    points, slope = [last], np.zeros(last.x.size)
    for size in wanted[1:]:
        while at != size:
            whole = math.log(size / at)
            length = math.copysign(min(abs(whole), math.log(ratio)), whole)
            for halving in range(HALVINGS + 1):
                length = length if halving == 0 else 0.5 * length
                to = size if abs(length) >= abs(whole) * (1 - 1e-12) else at * math.exp(length)
                found = critical_point(family(to), last.x + length * slope)
                if found.residual <= NEAR:
                    break
            else:
                to, found = size, critical_point(family(size), last.x + whole * slope)
            slope = (found.x - last.x) / math.log(to / at)
            last, at = found, to
        points.append(last)
    return points


def _finish(objective: ReducedLoss, x: np.ndarray, mp) -> SymmetricPoint:
    """Newton with the residual in `DIGITS` digits and the Hessian in Float64, till it no longer helps."""
    numbers = [mp.mpf(float(v)) for v in x]
    sizes = objective.ansatz.sizes
    best, before = None, np.inf
    for _ in range(16):
        value, gradient = objective.precise(numbers, mp)
        residual = float(max(abs(g) / mp.mpf(n) for g, n in zip(gradient, sizes)))
        helped = best is None or residual < 0.5 * best[1]
        if helped:
            best = numbers, residual, value
        if residual < 10.0 ** (8 - DIGITS) or not np.isfinite(residual):
            break
        roots = np.sqrt(sizes)
        point = np.array([float(v) for v in numbers])
        hessian = objective.derivatives(point)[2] / np.outer(roots, roots)
        if not np.isfinite(hessian).all():
            break
        values, vectors = symmetric_eigen(hessian)
        used = np.abs(values) > NULL_CUT * np.abs(values).max()
        # The residual is scaled to size one first: 1e-30 keeps its digits in Float64, but products do not.
        scale = mp.mpf(residual)
        scaled = np.array([float(g / scale) for g in gradient]) / roots
        step = -(vectors[:, used] / values[used]) @ (vectors[:, used].T @ scaled) / roots
        # A step may raise the residual, whose stiff directions see others squared, if the next is shorter.
        length = residual * float(np.linalg.norm(step * roots))
        if not helped and not length < 0.5 * before:
            break
        before = length
        numbers = [v + scale * mp.mpf(float(d)) for v, d in zip(numbers, step)]
    assert best is not None
    numbers, residual, value = best
    return SymmetricPoint(
        objective.ansatz,
        np.array([float(v) for v in numbers]),
        float(value),
        residual,
        tuple(mp.nstr(v, 30) for v in numbers),
        mp.nstr(value, 30),
    )
