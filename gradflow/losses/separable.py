"""One hidden layer as separable least squares: its outputs are linear in the last layer's weights."""

from __future__ import annotations

import copy

import numpy as np
import scipy.linalg

from ..activations import Activation

RANK = 1e-11
"""Basis functions whose part outside the others is below this share of themselves are left out."""


class HiddenLayer:
    """L(V, C) = Σ_s w_s |Cᵀφ(V, x_s) − y_s|² with φ = (σ(V [x; 1]), extra functions of x).

    X            Float[Array, "samples features"]
    Y            Float[Array, "samples outputs"]
    activation   one σ for all neurons
    affine       whether x is among the extra functions: for σ with σ(−z) = σ(z) − cz this makes a neuron and
                 its mirror image the same
    constant     whether 1 is (the bias of the outputs)
    bias         whether V has a last column of biases
    weights      w_s, (samples,), with sum 1; equal ones unless given

    V (neurons, features + 1), or (neurons, features) without biases, holds the nonlinear parameters,
    C (neurons + extra, outputs) the linear ones. A row of V moves one basis function only, which
    `refiners.variable_projection` builds on. All rows are scaled by √w_s, so that L = |Φ C − targets|².
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        activation: Activation,
        *,
        affine: bool = False,
        constant: bool = True,
        bias: bool = True,
        weights: np.ndarray | None = None,
    ):
        count = X.shape[0]
        ones = np.ones((count, 1))
        root = np.full((count, 1), count**-0.5) if weights is None else np.sqrt(weights)[:, None]
        self.activation = activation
        self.inputs = np.hstack([X, ones]) if bias else X
        self.scaled = self.inputs * root
        self.targets = Y * root
        self.root = root
        parts = ([X] if affine else []) + ([ones] if constant else [])
        self.extra = np.hstack(parts) * root if parts else np.zeros((count, 0))
        self.affine, self.constant, self.bias = affine, constant, bias

    def in_units(self, unit: float) -> HiddenLayer:
        """The same with targets, and so output weights, in units of `unit`."""
        other = copy.copy(self)
        other.targets = self.targets / unit
        return other

    def basis(self, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Φ (samples, neurons + extra) and σ' (samples, neurons)."""
        values, slopes = self.activation.derivatives(self.inputs @ V.T, 1)
        return np.hstack([values * self.root, self.extra]), slopes

    def moves(self, slopes: np.ndarray) -> np.ndarray:
        """∂φ_i/∂V_id, shape (samples, neurons · columns of V)."""
        count, neurons = slopes.shape
        return (slopes[:, :, None] * self.scaled[:, None, :]).reshape(count, neurons * self.scaled.shape[1])

    def coefficients(self, Phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least-squares C (functions, outputs) and orthonormal columns that span Φ.

        QR with pivoting of the columns of unit norm: those that depend on others to `RANK` get C = 0.
        """
        norms = np.linalg.norm(Phi, axis=0)
        scale = np.where(norms > 0.0, norms, 1.0)
        Q, R, order = scipy.linalg.qr(Phi / scale, mode="economic", pivoting=True, check_finite=False)
        diagonal = np.abs(np.diag(R))
        rank = int(np.sum(diagonal > RANK * diagonal[0])) if diagonal[0] > 0.0 else 0
        Q = Q[:, :rank]
        C = np.zeros((Phi.shape[1], self.targets.shape[1]))
        C[order[:rank]] = scipy.linalg.solve_triangular(R[:rank, :rank], Q.T @ self.targets)
        return C / scale[:, None], Q

    def residuals(self, V: np.ndarray, C: np.ndarray) -> np.ndarray:
        """Φ C − targets, output by output, shape (outputs · samples,)."""
        values = self.activation.derivatives(self.inputs @ V.T, 0)[0]
        m = V.shape[0]
        R = self.root * (values @ C[:m]) - self.targets
        if self.extra.shape[1]:
            R += self.extra @ C[m:]
        return R.T.ravel()

    def linearise(self, V: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The residuals and their Jacobian in (V, C), both row by row, shape (outputs · samples, P)."""
        Phi, slopes = self.basis(V)
        outputs, m = C.shape[1], V.shape[0]
        residuals = Phi @ C - self.targets
        moves = self.moves(slopes)
        if outputs == 1:
            moves *= np.repeat(C[:m, 0], V.shape[1])
            return residuals[:, 0], np.hstack([moves, Phi])
        J = np.zeros((outputs, len(Phi), moves.shape[1] + C.size))
        for o in range(outputs):
            J[o, :, : moves.shape[1]] = moves * np.repeat(C[:m, o], V.shape[1])
            J[o, :, moves.shape[1] + o :: outputs] = Phi
        return residuals.T.ravel(), J.reshape(outputs * len(Phi), -1)

    def split(self, theta: np.ndarray) -> np.ndarray:
        """V of the flat θ of an `MLP`."""
        features = self.inputs.shape[1] - self.bias
        outputs = self.targets.shape[1]
        m = (theta.size - outputs * self.constant) // (features + self.bias + outputs)
        W = theta[: m * features].reshape(m, features)
        return np.hstack([W, theta[m * features :][:m, None]]) if self.bias else W

    def join(self, V: np.ndarray, C: np.ndarray) -> np.ndarray:
        """The flat θ of an `MLP`."""
        m = V.shape[0]
        hidden = [V[:, :-1].ravel(), V[:, -1]] if self.bias else [V.ravel()]
        return np.concatenate([*hidden, C[:m].T.ravel(), C[m:].ravel()])
