"""Empirical losses of smooth activations in balls: L = Σ_s ω_s |f_θ(x_s) − y_s|², one hidden layer.

    J = ∂f/∂θ at all samples,  ∇L = 2 Σ_s ω_s (f − y)·J,  ∇²L = 2 Jᵀ ω J + 2 Σ_s ω_s (f − y)·∂²f

Each activation is a function of balls that gives σ, σ', σ''.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .balls import arb, arb_mat, exact


def _tanh(z):
    t = z.tanh()
    slope = 1 - t * t
    return t, slope, -2 * t * slope


def _logistic(z):
    s = 1 / (1 + (-z).exp())
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s)


def _softplus(z):
    s, slope, _ = _logistic(z)
    # log(1 + e^z) from the side on which e is small
    value = z + (-z).exp().log1p() if z > 0 else z.exp().log1p()
    return value, s, slope


def _erf(z):
    slope = (-z * z / 2).exp() * (2 / arb.pi()).sqrt()
    return (z / arb(2).sqrt()).erf(), slope, -z * slope


def _g(z):
    a, da, dda = _logistic(4 * z)
    b, db, ddb = _softplus(z)
    return a + b, 4 * da + db, 16 * dda + ddb


ACTIVATIONS: dict[str, Callable] = {
    "tanh": _tanh,
    "sigmoid": _logistic,
    "softplus": _softplus,
    "erf": _erf,
    "g": _g,
}
"""Activations whose empirical losses can be enclosed, by name: z to σ, σ' and σ''."""


class EmpiricalBalls:
    """The empirical loss of a student with one hidden layer.

    Parameters
    ----------
    activation : str
        One of `ACTIVATIONS`.
    sizes : (d, n, o)
    bias, output_bias : bool
    X, Y : rows of floats, (samples, d) and (samples, o)
    weight : floats (samples,), their sum is one up to rounding; None for the mean
    """

    def __init__(self, activation, sizes, bias, output_bias, X, Y, weight=None):
        self.activation = ACTIVATIONS[activation]
        self.d, self.n, self.o = sizes
        self.bias, self.output_bias = bias, output_bias
        self.samples = len(X)
        self.X = [exact(row) for row in X]
        self.Y = [exact(row) for row in Y]
        self.weight = None if weight is None else exact(weight)
        self.size = self.n * (self.d + bias + self.o) + self.o * output_bias
        self._inputs = [[*row, arb(1)] if bias else row for row in self.X]
        self._transposed = arb_mat(self._inputs).transpose()

    def _omega(self):
        """ω_s: weights are divided by their exact sum."""
        if self.weight is None:
            share = arb(1) / self.samples
            return [share] * self.samples
        total = sum(self.weight, arb(0))
        return [w / total for w in self.weight]

    def _forward(self, theta: Sequence):
        n, d, o = self.n, self.d, self.o
        rows = [list(theta[i * d : (i + 1) * d]) for i in range(n)]
        at = n * d
        if self.bias:
            for i in range(n):
                rows[i].append(theta[at + i])
            at += n
        A = [list(theta[at + r * n : at + (r + 1) * n]) for r in range(o)]
        c = list(theta[at + n * o : at + n * o + o]) if self.output_bias else [arb(0)] * o
        Z = (arb_mat(rows) * self._transposed).tolist()  # (n, samples)
        units = [[self.activation(z) for z in row] for row in Z]
        hidden = [[unit[0] for unit in row] for row in units]
        outputs = (arb_mat(A) * arb_mat(hidden)).tolist()  # (o, samples)
        residual = [
            [f + c[r] - self.Y[s][r] for s, f in enumerate(outputs[r])] for r in range(o)
        ]  # (o, samples)
        return units, hidden, A, residual

    def value_and_gradient(self, theta: Sequence, value: bool = True):
        """L and ∇L over a box of θ; L None if not asked for."""
        units, hidden, A, residual = self._forward(theta)
        omega = self._omega()
        scaled = [[w * e for w, e in zip(omega, row)] for row in residual]
        n, d, o = self.n, self.d, self.o
        back = []
        for i in range(n):
            weights = [unit[1] for unit in units[i]]
            signal = [A[0][i] * e for e in scaled[0]]
            for r in range(1, o):
                signal = [y + A[r][i] * e for y, e in zip(signal, scaled[r])]
            back.append([2 * s * w for s, w in zip(signal, weights)])
        inner = (arb_mat(back) * arb_mat(self._inputs)).tolist()
        gradient = [g for row in inner for g in row[:d]]
        if self.bias:
            gradient += [row[d] for row in inner]
        outer = (arb_mat(scaled) * arb_mat(hidden).transpose()).tolist()
        gradient += [2 * g for row in outer for g in row]
        if self.output_bias:
            gradient += [2 * sum(row, arb(0)) for row in scaled]
        if not value:
            return None, gradient
        loss = sum((e * s for row, line in zip(residual, scaled) for e, s in zip(row, line)), arb(0))
        return loss, gradient

    def hessian(self, theta: Sequence):
        """∇²L over a box of θ, rows of balls (P, P)."""
        units, hidden, A, residual = self._forward(theta)
        omega = self._omega()
        n, d, o, N = self.n, self.d, self.o, self.samples
        width = d + self.bias
        zero = arb(0)
        slopes = [[unit[1] for unit in row] for row in units]
        H = [[zero] * self.size for _ in range(self.size)]
        places = [[i * d + a for a in range(d)] + ([n * d + i] if self.bias else []) for i in range(n)]
        start = n * width
        for r in range(o):
            columns = []  # J of output r: inner parameters neuron by neuron, then hidden units, then one
            where = []
            for i in range(n):
                factor = A[r][i]
                scaled = [factor * s for s in slopes[i]]
                for a in range(width):
                    columns.append([s * row[a] for s, row in zip(scaled, self._inputs)])
                    where.append(places[i][a])
            for i in range(n):
                columns.append(hidden[i])
                where.append(start + r * n + i)
            if self.output_bias:
                columns.append([arb(1)] * N)
                where.append(start + n * o + r)
            left = arb_mat(columns)
            right = arb_mat([[2 * w * e for w, e in zip(omega, column)] for column in columns])
            product = (left * right.transpose()).tolist()
            for line, i in zip(product, where):
                target = H[i]
                for value, j in zip(line, where):
                    target[j] = target[j] + value
        scaled = [[2 * w * e for w, e in zip(omega, row)] for row in residual]
        left = self._transposed
        for i in range(n):
            signal = [A[0][i] * e for e in scaled[0]]
            for r in range(1, o):
                signal = [y + A[r][i] * e for y, e in zip(signal, scaled[r])]
            bend = [s * unit[2] for s, unit in zip(signal, units[i])]
            block = left * arb_mat([[b * x for x in row] for b, row in zip(bend, self._inputs)])
            for a, line in zip(places[i], block.tolist()):
                for b, value in zip(places[i], line):
                    H[a][b] = H[a][b] + value
            for r in range(o):
                row = arb_mat([[s * e for s, e in zip(slopes[i], scaled[r])]]) * arb_mat(self._inputs)
                at = start + r * n + i
                for a, value in zip(places[i], row.entries()):
                    H[a][at] = H[a][at] + value
                    H[at][a] = H[at][a] + value
        return H
