"""The label of a neuron: the first claim about it, as a function, that holds within its tolerance."""

from __future__ import annotations

import itertools

import numpy as np

from ..networks import MLP
from ..refiners import TrustRegionNewton
from ..run.training import train
from ..support.errors import GradflowError
from .function_space import CLOSE, FunctionSpace, Neurons, units
from .symmetries import SIGNS, mirror

CHANNEL, GROWN = 0.1, 4.0
"""Neurons of a channel pair differ by at most the first part of themselves, as functions, and so do their
output weights but for the sign; each of them is more than the second times the largest teacher neuron."""


NEAR = 1e-4
"""Distances of two neurons below this are computed as those of near neurons are."""

Best = tuple[Neurons, np.ndarray, float, np.ndarray]
"""A neuron τ, its output weights, E τ², and E σ_i τ with all student neurons."""


class Labels:
    """The comparison of one student with one teacher."""

    def __init__(self, student: MLP, teacher: MLP | None, law, tolerance: float, loose: float, asleep):
        self.student, self.teacher, self.law = student, teacher, law
        self.tolerance, self.loose = tolerance, loose
        self.asleep = np.zeros(student.sizes[1], dtype=bool) if asleep is None else asleep
        taken_up = student.biases[-1] is not None
        self.mirror = mirror(student, (*SIGNS, "odd+constant") if taken_up else SIGNS)
        self.space = FunctionSpace(law, centred=taken_up)
        biased = any(net.biases[0] is not None for net in (student, teacher) if net is not None)
        self.own, self.a = units(student, biased)
        self.products = self.space.products(self.own, self.own)
        self.apart = self.distances()
        self.sizes = np.linalg.norm(self.a, axis=1) * np.sqrt(self.space.squares(self.own, centred=False))
        self.spreads = np.linalg.norm(self.a, axis=1) * np.sqrt(self.space.squares(self.own, centred=True))
        self.unit = float(self.sizes.max())
        if teacher is not None:
            self.theirs, self.c = units(teacher, biased)
            self.crossed = self.space.products(self.own, self.theirs)
            self.their_squares = self.space.squares(self.theirs)
            self.their_sizes = np.linalg.norm(self.c, axis=1) * np.sqrt(self.their_squares)
            self.unit = float(self.their_sizes.max())
        self.found: dict[tuple, Best | None] = {}

    def distances(self) -> np.ndarray:
        """‖σ_i ∓ σ_j‖ / ‖σ_j‖ of all pairs of one activation, of unit vectors where σ is homogeneous."""
        K, kinds = self.products, self.own.kinds
        squares = np.diag(K)[:, None] + np.diag(K) - 2 * np.abs(K)
        sizes = np.where(np.diag(K) > 0, np.diag(K), np.nan)
        numbers = np.array([kinds.index(kind) for kind in kinds])
        alike = (numbers[:, None] == numbers) & (sizes > 0)
        return np.where(alike, np.sqrt(np.maximum(squares, 0.0) / sizes), np.inf)

    def rows(self) -> list[dict]:
        """The table, one row for every neuron."""
        rows = []
        for i in range(self.student.sizes[1]):
            kind, residual, allowed, teachers, partner = self.label(i)
            outputs = self.student.weights[1][:, i]
            rows.append(
                {
                    "neuron": i,
                    "kind": kind,
                    "teachers": teachers,
                    "partner": partner,
                    "residual": float(residual),
                    "tolerance": allowed,
                    "norm": float(np.linalg.norm(self.student.weights[0][i])),
                    "output_weight": float(outputs[0] if outputs.size == 1 else np.linalg.norm(outputs)),
                }
            )
        return rows

    def label(self, i: int) -> tuple[str, float, float, tuple[int, ...], int | None]:
        """Of neuron i its kind, the residual and what is allowed, the teachers, a duplicate's partner."""
        exact, loose = self.tolerance, self.loose
        if self.asleep[i]:
            return "dead", 0.0, exact, (), None
        for kind, size in (("dead", self.sizes[i]), ("constant", self.spreads[i])):
            if size <= exact * self.unit:
                return kind, size / max(self.unit, 1e-300), exact, (), None
        for j in np.flatnonzero(self.apart[i, :i] <= max(NEAR, exact)).tolist():
            distance = self.duplicated(i, j)
            if distance <= exact:
                return "duplicate", distance, exact, (), j
        copied, averaged = self.copied(i), self.averaged(i)
        for kind, (distance, teachers) in (("copy", copied), ("average", averaged)):
            if distance <= exact:
                return kind, distance, exact, teachers, None
        for j in np.argsort(self.apart[i], kind="stable").tolist():
            if j != i and self.apart[i, j] <= CHANNEL and self.opposed(i, j):
                limit = self.limit(i, j)
                if limit <= CHANNEL:
                    return "channel pair", limit, CHANNEL, (), j
        kind, (distance, teachers) = min(
            ("copy", copied), ("average", averaged), key=lambda entry: entry[1][0]
        )
        if distance <= loose:
            return f"perturbed {kind}", distance, loose, teachers, None
        return "other", distance, loose, (), None

    def duplicated(self, i: int, j: int) -> float:
        """`apart` for neurons that are near."""
        K, one = self.products, np.ones(1)
        sign = 1.0 if K[i, j] >= 0 else -1.0
        return self.between(i, self.own.chosen([j]), sign * one, K[i, j], K[j, j], one)

    def between(self, i: int, other: Neurons, c: np.ndarray, both: float, square: float, a=None) -> float:
        """‖aσ_i − cτ‖ / ‖cτ‖ for another neuron τ with output weights c; a those of i unless given.

        Of τ, ⟨σ_i, τ⟩ (`both`) and ‖τ‖² (`square`) are known.
        """
        a = self.a[i] if a is None else a
        whole = (a @ a) * self.products[i, i] + (c @ c) * square
        found = whole - 2 * (a @ c) * both
        if found < CLOSE * whole and other.kinds[0] == self.own.kinds[i]:
            own, image = self.own.chosen([i]), self.mirror[i, 0] * other.rows
            if np.linalg.norm(own.rows - image) < np.linalg.norm(own.rows - other.rows):
                other, c, both = other._replace(rows=image), self.mirror[i, -1] * c, self.mirror[i, -1] * both
            change, near = a - c, self.space.apart(own, other)[0]
            found = (a @ a) * near**2 + 2 * (a @ change) * (both - square) + change @ change * square
        return float((max(found, 0.0) / ((c @ c) * square)) ** 0.5)

    def copied(self, i: int) -> tuple[float, tuple[int, ...]]:
        """The distance to the nearest teacher neuron, and which it is."""
        if self.teacher is None or not self.unit > 0.0:
            return np.inf, ()
        squares = (self.a[i] @ self.a[i]) * self.products[i, i] + self.their_sizes**2
        squares -= 2 * (self.c @ self.a[i]) * self.crossed[i]
        sizes = np.where(self.their_sizes > 0, self.their_sizes, np.nan)
        best = int(np.nanargmin(squares / sizes**2))
        other = self.theirs.chosen([best])
        return self.between(i, other, self.c[best], self.crossed[i, best], self.their_squares[best]), (best,)

    def averaged(self, i: int) -> tuple[float, tuple[int, ...]]:
        """The distance to the best single neuron for the teachers in w, and which they are."""
        teachers, signs = self.mixture(i)
        if len(teachers) < 2:
            return np.inf, ()
        key = (teachers, tuple(signs), self.own.kinds[i])
        if key not in self.found:
            self.found[key] = self.best(i, teachers, signs)
        best = self.found[key]
        if best is None:
            return np.inf, ()
        other, c, square, products = best
        return self.between(i, other, c, products[i], square), teachers

    def best(self, i: int, teachers: tuple[int, ...], signs: np.ndarray) -> Best | None:
        """The best neuron of the kind of i for some teachers, by Newton's method from their sum; or None."""
        chosen = list(teachers)
        part = self.theirs.chosen(chosen).network(self.c[chosen].T)
        middle = (signs @ self.theirs.rows[chosen])[None] / len(chosen)
        start = Neurons(middle, (self.own.kinds[i],), self.own.biased)
        guess = start.network((signs @ self.c[chosen])[:, None])
        refiner = TrustRegionNewton(max_iterations=200)
        try:
            result = train(part, guess, self.law, solver=None, refiner=refiner, progress=False)
        except GradflowError:
            return None
        found, outputs = units(result.student, self.own.biased)
        square = float(self.space.squares(found)[0])
        if not result.converged or not square > 0:
            return None
        return found, outputs[0], square, self.space.products(self.own, found)[:, 0]

    def mixture(self, i: int) -> tuple[tuple[int, ...], np.ndarray]:
        """The teachers that w is made of, and the signs with which their vectors add up."""
        if self.teacher is None:
            return (), np.zeros(0)
        V, w = self.teacher.weights[0], self.student.weights[0][i]
        signs = self.signs(i, V @ w < 0)
        coefficients, _, rank, _ = np.linalg.lstsq(V.T, w, rcond=None)
        coefficients = np.where(coefficients * signs > 0, np.abs(coefficients), 0.0)
        if rank < len(V):
            lengths = np.maximum(np.linalg.norm(V, axis=1), 1e-300)
            near = np.sort(np.argsort(-np.abs(V @ w) / lengths, kind="stable")[:20]).tolist()
            sets = [s for size in (1, 2) for s in itertools.combinations(near, size)]
            teachers = min(sets, key=lambda s: _sine(w, signs[list(s)] @ V[list(s)]))
        elif not coefficients.any():
            return (), np.zeros(0)
        else:
            teachers = tuple(np.flatnonzero(coefficients >= 0.5 * coefficients.max()).tolist())
        return teachers, signs[list(teachers)]

    def signs(self, i: int, backwards: np.ndarray) -> np.ndarray:
        """The sign s for which aσ(s v_j·x) adds to the output as teacher j does; 0 where none does."""
        adds = self.c @ self.a[i] >= 0
        if not self.mirror[i, 0] < 0:
            return np.where(adds, 1.0, 0.0)
        if self.mirror[i, -1] < 0:  # odd
            return np.where(adds, 1.0, -1.0)
        return np.where(adds, np.where(backwards, -1.0, 1.0), 0.0)

    def opposed(self, i: int, j: int) -> bool:
        """Whether two neurons nearly cancel, each larger than any teacher neuron."""
        K, both = self.products, self.a[i] @ self.a[j]
        square = self.a[i] @ self.a[i] * K[i, i] + self.a[j] @ self.a[j] * K[j, j] + 2 * both * K[i, j]
        pair = np.linalg.norm(self.a[[i, j]], axis=1) * np.sqrt(K[[i, j], [i, j]])
        grown = self.teacher is None or pair.min() > GROWN * self.unit
        return bool(grown and max(square, 0.0) ** 0.5 <= CHANNEL * pair.sum())

    def limit(self, i: int, j: int) -> float:
        """How far a pair is from its limit: w ± εu, a = c/2 ± δ/ε against the same at ε/3, of order ε²."""
        rows, a = self.own.rows[[i, j]].copy(), self.a[[i, j]].copy()
        if self.products[i, j] < 0:
            rows[1], a[1] = -rows[1], -a[1]
        middle, half = rows.mean(axis=0), (rows[0] - rows[1]) / 2
        total, difference = a.sum(axis=0), (a[0] - a[1]) / 2
        nearer = np.array([middle + half / 3, middle - half / 3])
        outputs = np.array([total / 2 + 3 * difference, total / 2 - 3 * difference])
        both = Neurons(np.concatenate([rows, nearer]), (self.own.kinds[i],) * 4, self.own.biased)
        K, weights = self.space.products(both, both), np.concatenate([a, -outputs])
        square = float(np.sum(weights * (K @ weights)))
        pair = float(np.sum(outputs * (K[2:, 2:] @ outputs)))
        return 9 / 8 * (max(square, 0.0) / max(pair, 1e-300)) ** 0.5


def _sine(w: np.ndarray, meant: np.ndarray) -> float:
    """The sine of the angle between two vectors, 1 beyond a right angle."""
    length = float(np.linalg.norm(meant))
    if length == 0.0 or w @ meant <= 0:
        return 1.0
    meant = meant / length
    return float(np.linalg.norm(w - (w @ meant) * meant) / np.linalg.norm(w))
