"""Population problems in the span of their weights, where the law of the inputs has no direction.

Let the law of x be spherically symmetric and S = span(teacher weights, student weights), of dimension
r < d. ∂L/∂w_i is a combination of the w_j and v_j, so it lies in S: a flow (with rates that are equal within
each w_i) never leaves S, nor does a Newton step, and a rotation that puts S on the first r axes shows
the same path in r dimensions. On the complement the Hessian is E ⊗ I, E (n, n), multiplicity d − r; one axis
of the complement kept along is enough to read E off. Biases and output weights are not touched.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ..networks import MLP
from ..support.threads import single_threaded_blas
from .compiled import KernelLoss
from .mixture import population_loss

RANK_CUT = 4 * float(np.finfo(np.float64).eps)
"""A direction counts if its pivot in the QR factorisation of the m unit vectors exceeds m times this."""


def span(student: MLP, teacher: MLP) -> np.ndarray:
    """An orthonormal basis (r, d) of the span of both networks' first weights, by QR with pivoting."""
    rows = np.concatenate([student.weights[0], teacher.weights[0]])
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows[largest[:, 0] > 0] / largest[largest[:, 0] > 0]
    if rows.shape[0] == 0:
        return np.eye(1, student.sizes[0])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with single_threaded_blas():
        Q, R, _ = scipy.linalg.qr(rows.T, mode="economic", pivoting=True)
    rank = int((np.abs(np.diag(R)) > RANK_CUT * rows.shape[0]).sum())
    return np.ascontiguousarray(Q[:, :rank].T)


def find_span(student, teacher, inputs, rates: np.ndarray) -> np.ndarray | None:
    """The `span` of a problem that can be reduced to it, None for one that cannot."""
    if not (isinstance(student, MLP) and isinstance(teacher, MLP) and inputs.isotropic):
        return None
    n, d = student.weights[0].shape
    per_neuron = rates[: n * d].reshape(n, d)
    if teacher.sizes[0] != d or inputs.dim not in (None, d) or (per_neuron != per_neuron[:, :1]).any():
        return None
    basis = span(student, teacher)
    return basis if basis.shape[0] < d else None


class Reduced:
    """A population problem in the coordinates of a basis of its span.

    basis      (r, d), orthonormal rows whose span contains all weights
    padding    so many axes of the complement are kept as well (all weights are zero along them)
    objective  the loss of reduced parameters: W B^T row by row, then biases and outputs unchanged
    """

    def __init__(self, student: MLP, teacher: MLP, inputs, basis: np.ndarray, padding: int = 0):
        self.basis = basis
        self.neurons, self.full_dim = student.weights[0].shape
        self.dim = basis.shape[0] + padding
        self._padding = padding
        small = self.network(student), self.network(teacher)
        law = inputs.within(self.dim)
        self.objective: KernelLoss = population_loss(small[0], small[1], law, self.full_dim)

    def network(self, network: MLP) -> MLP:
        """Student or teacher in the coordinates of the basis."""
        first = self._weights(network.weights[0])
        return MLP([first, *network.weights[1:]], network.biases, list(network.activations))

    def _weights(self, weights: np.ndarray) -> np.ndarray:
        with single_threaded_blas():
            return np.pad(weights @ self.basis.T, ((0, 0), (0, self._padding)))

    def lower(self, theta: np.ndarray) -> np.ndarray:
        """The reduced parameters of a flat θ (P,) whose weights lie in the span."""
        inputs = self.neurons * self.full_dim
        weights = self._weights(theta[:inputs].reshape(self.neurons, self.full_dim))
        return np.concatenate([weights.ravel(), theta[inputs:]])

    def lower_rates(self, rates: np.ndarray) -> np.ndarray:
        """One rate per reduced parameter."""
        inputs = self.neurons * self.full_dim
        return np.concatenate([np.repeat(rates[: inputs : self.full_dim], self.dim), rates[inputs:]])

    def lift(self, rows: np.ndarray) -> np.ndarray:
        """Reduced vectors, (p,) or (m, p), in full coordinates; linear, so velocities as well."""
        inputs, outputs = self.neurons * self.dim, self.neurons * self.full_dim
        lead = rows.shape[:-1]
        full = np.empty((*lead, outputs + rows.shape[-1] - inputs))
        weights = rows[..., :inputs].reshape(*lead, self.neurons, self.dim)[..., : self.basis.shape[0]]
        view = full[..., :outputs].reshape(*lead, self.neurons, self.full_dim)  # splits an axis: no copy
        with single_threaded_blas():
            np.matmul(weights, self.basis, out=view)
        full[..., outputs:] = rows[..., inputs:]
        return full
