"""Neurons as functions: scalar products and distances E (…)² of σ(w·x + b) under a law of the inputs.

All scalar products come from the loss of a problem of its own: with students σ_i, all output weights zero,
and teachers τ_j with one output each, ∂L/∂a_ji = −2 E σ_i τ_j. So every law and activation that a problem has
is served. ‖f − g‖² = ‖f‖² − 2 ⟨f, g⟩ + ‖g‖² is rounding below 1e-16 of its terms; for near functions it comes
from the Hessian of L at f = g instead, 2 E ∂f ∂fᵀ there: ‖f_θ − f_θ+δ‖² = ½ δᵀ∇²L δ to first order in δ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..inputs import Gaussian, Inputs
from ..losses.problem import Problem
from ..networks import MLP
from ..support.errors import ArgumentError
from ..support.threads import single_threaded_blas

CLOSE = 1e-10
"""Squared distances below this part of the terms that cancel are taken from the Hessian."""

BLOCK = 128
"""So many neurons are treated at once: the problem has as many outputs."""

DRAWS = 64
"""Inputs by which functions are first compared."""

FIXED = 4096
"""Gaussian inputs, of a fixed seed, in place of the law for activations that no population loss serves."""


class Neurons(NamedTuple):
    """Hidden neurons without their output weights.

    rows    (n, d) weights, or (n, d + 1) with the biases last if `biased`
    kinds   their activations, n
    """

    rows: np.ndarray
    kinds: tuple
    biased: bool

    def chosen(self, which) -> Neurons:
        """Some of them."""
        return Neurons(self.rows[which], tuple(self.kinds[i] for i in np.atleast_1d(which)), self.biased)

    def network(self, outputs: np.ndarray, last: np.ndarray | None = None) -> MLP:
        """The network of these neurons with output weights (m, n) and biases (m,)."""
        d = self.rows.shape[1] - self.biased
        hidden = self.rows[:, d] if self.biased else None
        kind = self.kinds[0] if len(set(self.kinds)) == 1 else self.kinds
        return MLP([self.rows[:, :d], outputs], [hidden, last], [kind])


class FunctionSpace:
    """L² of the inputs.

    law       of the inputs, None for the standard Gaussian
    centred   functions that differ by a constant are one: an output bias takes it up
    """

    def __init__(self, law: Inputs | None = None, centred: bool = False):
        self.law, self.centred = Gaussian() if law is None else law, centred

    def products(self, first: Neurons, second: Neurons, centred: bool | None = None) -> np.ndarray:
        """E σ_i τ_j, or their covariances, (n, k)."""
        centred = self.centred if centred is None else centred
        blocks = []
        for start in range(0, len(second.rows), BLOCK):
            part = second.chosen(np.arange(start, min(start + BLOCK, len(second.rows))))
            blocks.append(self._products(first, part, centred))
        return np.concatenate(blocks, axis=1)

    def _products(self, first: Neurons, second: Neurons, centred: bool) -> np.ndarray:
        n, k = len(first.rows), len(second.rows)
        slope = self._gradient(second.network(np.eye(k)), first.network(np.zeros((k, n)), np.zeros(k)))
        outputs = slope[first.rows.size :]
        values = -0.5 * outputs[: k * n].reshape(k, n).T
        return values - np.outer(self.means(first), -0.5 * outputs[k * n :]) if centred else values

    def means(self, neurons: Neurons) -> np.ndarray:
        """E σ_i, (n,)."""
        n = len(neurons.rows)
        silent = neurons.network(np.zeros((n, n)), np.zeros(n))
        return -0.5 * self._gradient(neurons.network(np.eye(n)), silent)[-n:]

    def squares(self, neurons: Neurons, centred: bool | None = None) -> np.ndarray:
        """E σ_i², or the variances, (n,)."""
        parts = []
        for start in range(0, len(neurons.rows), BLOCK):
            part = neurons.chosen(np.arange(start, min(start + BLOCK, len(neurons.rows))))
            parts.append(np.diag(self.products(part, part, centred)))
        return np.maximum(np.concatenate(parts), 0.0) if parts else np.zeros(0)

    def sizes(self, neurons: Neurons) -> np.ndarray:
        """‖σ_i‖, (n,)."""
        return np.sqrt(self.squares(neurons))

    def on_draws(self, neurons: Neurons) -> np.ndarray:
        """σ_i at a few inputs, the same at every call, (draws, n); less their means if `centred`."""
        d = neurons.rows.shape[1] - neurons.biased
        if self.law.samples is not None:
            X = self.law.samples.weighted
            X = X[np.random.default_rng(0).permutation(len(X))[:DRAWS]]
        else:
            X = self.law.sample(DRAWS, d, np.random.default_rng(0))
        values = neurons.network(np.eye(len(neurons.rows)))(X)
        return values - values.mean(axis=0) if self.centred else values

    def apart(self, first: Neurons, second: Neurons) -> np.ndarray:
        """‖σ_i − τ_i‖ for neurons of the same activations, pair by pair, (n,)."""
        found = np.empty(len(first.rows))
        for start in range(0, found.size, BLOCK):
            which = np.arange(start, min(start + BLOCK, found.size))
            found[which] = self._apart(first.chosen(which), second.chosen(which))
        return found

    def _apart(self, first: Neurons, second: Neurons) -> np.ndarray:
        if not len(first.rows):
            return np.zeros(0)
        whole = self.squares(first) + self.squares(second)
        square = whole - 2 * np.diag(self.products(first, second))
        close = square < CLOSE * whole
        if close.any():
            a, b = (neurons.chosen(np.flatnonzero(close)) for neurons in (first, second))
            square[close] = self._changes(b, a.rows - b.rows)
            if self.centred:
                square[close] -= (self.means(a) - self.means(b)) ** 2
        return np.sqrt(np.maximum(square, 0.0))

    def _changes(self, neurons: Neurons, moves: np.ndarray) -> np.ndarray:
        """E (∂σ_i · v_i)² for a move v_i of each row, from the Hessian of L at f = f*, (n,)."""
        n, d = neurons.rows.shape[0], neurons.rows.shape[1] - neurons.biased
        largest = float(np.abs(moves).max(initial=0.0))
        if largest == 0.0:
            return np.zeros(n)
        there = neurons.network(np.eye(n))
        move = np.zeros(there.size)
        move[: moves.size] = np.concatenate([moves[:, :d].ravel(), moves[:, d:].ravel()]) / largest
        terms = (move * self._problem(there, there).hvp(there.flat(), move))[: moves.size]
        square = terms[: n * d].reshape(n, d).sum(axis=1)
        if neurons.biased:
            square += terms[n * d :]
        return 0.5 * largest**2 * np.maximum(square, 0.0)

    def chart(self, neurons: Neurons, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers whose differences are distances of neurons: (n, d) for directions, (n, 1 + m) for sizes.

        They are ŵ · ‖∂f/∂ŵ‖, log|w| · ‖∂f/∂log|w|‖ and a · ‖σ‖ of f = aσ(w·x), without
        biases, in units of the largest neuron; where it is larger, of f = σ in units of the largest σ.
        Homogeneous neurons are to have |w| = 1.
        """
        n, d = neurons.rows.shape
        lengths = np.linalg.norm(neurons.rows, axis=1)
        units = neurons.rows / np.where(lengths > 0, lengths, 1.0)[:, None]
        sizes, outputs = np.sqrt(self.squares(neurons)), np.linalg.norm(a, axis=1)
        across = np.zeros_like(units)
        across[np.arange(n), np.abs(units).argmin(axis=1)] = 1.0
        across -= np.sum(across * units, axis=1, keepdims=True) * units
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-300)
        turns = sizes if d == 1 else self._lengths(neurons, lengths[:, None] * across)
        stretches = self._lengths(neurons, neurons.rows)
        free = np.array([sigma.degree is None for sigma in neurons.kinds])
        stretches[~free] = 0.0
        largest = max(float((outputs * sizes).max()), 1e-300)
        alone = np.where(free | (outputs == 0), 1.0 / max(float(sizes.max()), 1e-300), 0.0)
        weights = np.maximum(outputs / largest, alone)
        logarithms = np.log(np.where(lengths > 0, lengths, 1.0))
        labels = np.column_stack([logarithms * weights * stretches, a * (sizes / largest)[:, None]])
        return units * (weights * turns)[:, None], labels

    def _lengths(self, neurons: Neurons, moves: np.ndarray) -> np.ndarray:
        """(E (∂σ_i · v_i)²)^½ for any number of neurons."""
        parts = []
        for start in range(0, len(moves), BLOCK):
            which = np.arange(start, min(start + BLOCK, len(moves)))
            parts.append(np.sqrt(self._changes(neurons.chosen(which), moves[which])))
        return np.concatenate(parts)

    def _problem(self, teacher: MLP, student: MLP) -> Problem:
        with single_threaded_blas():
            try:
                return Problem(teacher, student, self.law)
            except ArgumentError:
                if self.law.samples is not None:
                    raise
                draws = np.random.default_rng(0).standard_normal((FIXED, student.sizes[0]))
                return Problem(teacher, student, draws)

    def _gradient(self, teacher: MLP, student: MLP) -> np.ndarray:
        return self._problem(teacher, student).gradient(student.flat())


def units(net: MLP, biased: bool) -> tuple[Neurons, np.ndarray]:
    """Hidden neurons and their output weights (n, m); homogeneous ones at |(w, b)| = 1."""
    rows, a = np.array(net.weights[0]), np.array(net.weights[1].T)
    if biased:
        hidden = net.biases[0]
        rows = np.column_stack([rows, np.zeros(len(rows)) if hidden is None else hidden])
    kinds = tuple(net.neuron_activations(0))
    for i, sigma in enumerate(kinds):
        length = np.linalg.norm(rows[i])
        if sigma.degree is not None and length > 0:
            rows[i], a[i] = rows[i] / length, a[i] * length**sigma.degree
    return Neurons(rows, kinds, biased), a
