"""Coordinates of a channel in which its limit is finite: at fixed ε the parameters are affine in them."""

from __future__ import annotations

import numpy as np

from ..networks import MLP


class Coordinates:
    """θ as an affine function of φ = (w, c, v, rest) at fixed ε: θ = M(ε) φ + o(ε).

    size   c, v and the output weights in `rest` are in units of this, so that the Hessian in φ is as well
           conditioned for outputs of any size
    """

    def __init__(self, student: MLP, pair: tuple[int, int], signs: tuple[int, int], size: float = 1.0):
        inputs, width = student.sizes[:2]
        bias, last = student.biases[0] is not None, width * inputs

        def places(i: int) -> np.ndarray:
            row = np.arange(i * inputs, (i + 1) * inputs)
            return np.append(row, last + i) if bias else row

        outputs = last + (width if bias else 0)
        self.size, self.signs = student.size, signs
        self.first, self.second = places(pair[0]), places(pair[1])
        self.outputs = outputs + pair[0], outputs + pair[1]
        taken = np.concatenate([self.first, self.second, self.outputs])
        self.rest = np.setdiff1d(np.arange(self.size), taken)
        self.dim = d = self.first.size
        self.units = np.concatenate(
            [np.ones(d), [size], np.full(d, size), np.where(self.rest < outputs, 1, size)]
        )

    def of(self, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """φ and ε of a point; a_i − a_j = 1/ε > 0 after the mirrored neuron is turned back."""
        one, two = self.signs[0] * theta[self.first], self.signs[1] * theta[self.second]
        a, b = self.signs[0] * theta[self.outputs[0]], self.signs[1] * theta[self.outputs[1]]
        epsilon = 1.0 / (a - b)
        phi = np.concatenate([(one + two) / 2, [a + b], (one - two) / (2 * epsilon), theta[self.rest]])
        return phi / self.units, epsilon

    def parts(self, phi: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
        """w, c, v and the rest at a φ."""
        values, d = self.units * phi, self.dim
        return values[:d], float(values[d]), values[d + 1 : 2 * d + 1], values[2 * d + 1 :]

    def affine(self, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
        """M (P, P − 1) and o (P,)."""
        d, identity = self.dim, np.eye(self.dim)
        matrix, offset = np.zeros((self.size, self.size - 1)), np.zeros(self.size)
        for places, output, side, sign in (
            (self.first, self.outputs[0], 1.0, self.signs[0]),
            (self.second, self.outputs[1], -1.0, self.signs[1]),
        ):
            matrix[places, :d] = sign * identity
            matrix[places, d + 1 : 2 * d + 1] = sign * side * epsilon * identity
            matrix[output, d] = 0.5 * sign
            offset[output] = sign * side / (2 * epsilon)
        matrix[self.rest, np.arange(2 * d + 1, self.size - 1)] = 1.0
        return matrix * self.units, offset
