"""The loss of an ansatz in its few numbers, with derivatives, in Float64 and in any number of digits."""

from __future__ import annotations

import numpy as np

from ..objective import Counts, Objective
from ..support.errors import ArgumentError
from . import pair_functions
from .ansatz import Ansatz


class AnsatzLoss(Objective):
    """L as a function of y = √size · x: distances, gradients and Hessians are those of the full θ.

    Parameters
    ----------
    ansatz : Ansatz
        What is tied to what; `to_point(y)` and `from_point(x)` convert.

    Raises
    ------
    ArgumentError
        For anything but an `Ansatz`.

    Notes
    -----
    Cost: one kernel evaluation per kind of pair, whatever the sizes of the blocks.

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(3,), groups=(0,))
    >>> loss = gf.landscape.AnsatzLoss(ansatz)
    >>> abs(loss.loss(loss.from_point(ansatz.point([[(1.0, 0.0), 1.0]])))) < 1e-14
    True
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
        """The parameters x of the ansatz from the scaled ones y that are minimised over."""
        return y / self._roots

    def from_point(self, x: np.ndarray) -> np.ndarray:
        """The scaled parameters y of the parameters x of the ansatz."""
        return np.asarray(x, dtype=np.float64) * self._roots

    def all_derivatives(self, theta):
        self._evaluations += 1
        value, gradient, hessian = self.derivatives(self.to_point(theta))
        return value, gradient / self._roots, hessian / np.outer(self._roots, self._roots)

    def loss_and_gradient(self, theta):
        return self.all_derivatives(theta)[:2]

    def hvp(self, theta, v):
        return self.all_derivatives(theta)[2] @ v

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
        """L and ∂L/∂x in the arithmetic of the mpmath context `mp`, x a list of its numbers."""
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
