"""Boundaries along which a flow slides, and coordinates along them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .hull import normal_space

_SETTLED = 1e-14
"""A point is on its boundaries when z is at the kinks to this part of the largest |z| of the neuron."""


NONE = np.zeros(0, dtype=np.int64)


class Manifold:
    """The boundaries along which a flow slides at a point θ₀, and coordinates along them.

    Parameters
    ----------
    pieces
        Of the loss (`losses.kinked.Pieces`), with the phases of the point.
    root : numpy.ndarray, shape (P,)
        √r.
    theta : numpy.ndarray, shape (P,)
    places : numpy.ndarray, shape (m, 2)
    kinks : numpy.ndarray, shape (m,)
        Where z is held.
    held : numpy.ndarray, shape (h,), optional
        Parameters that stay at zero: the weights into neurons that rest (`zeros.resting`).
    """

    def __init__(
        self, pieces: Any, root: np.ndarray, theta: np.ndarray, places: np.ndarray, kinks: np.ndarray,
        held: np.ndarray = NONE,
    ):  # fmt: skip
        self.pieces, self.root, self.places, self.kinks, self.held = pieces, root, places, kinks, held
        self.flat = bool((pieces.layers[places[:, 0]] == 0).all())
        self.basis: np.ndarray | None = None
        self.dual: np.ndarray | None = None  # (m, P): the part of a vector along each normal
        if len(places) or held.size:
            self.normals = self.at(theta)
            fixed = np.zeros((held.size, root.size))
            fixed[np.arange(held.size), held] = 1.0
            everything = np.concatenate([self.normals, fixed])
            self.normal, self.basis = normal_space(everything)
            if self.normal.shape[1] == len(places) + held.size:
                self.dual = np.linalg.solve(self.normals @ self.normals.T, self.normals)

    def at(self, theta: np.ndarray) -> np.ndarray:
        """The normals (m, P) of its places at a point, without the parameters that are held."""
        normals = self.pieces.gradients(theta, self.places) * self.root
        normals[:, self.held] = 0.0
        return normals

    @property
    def size(self) -> int:
        """The number of coordinates."""
        return self.root.size if self.basis is None else self.basis.shape[1]

    def along(self, vector: np.ndarray) -> np.ndarray:
        """The coordinates of a vector in θ/√r."""
        return vector if self.basis is None else vector @ self.basis

    def vector(self, coordinates: np.ndarray) -> np.ndarray:
        """The vector in θ/√r of coordinates."""
        return coordinates if self.basis is None else self.basis @ coordinates

    def tangential(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (m, P) without their parts along the normals."""
        return vectors if self.basis is None else vectors - (vectors @ self.normal) @ self.normal.T

    def matrix(self, hessian: np.ndarray) -> np.ndarray:
        """√r H √r in these coordinates."""
        scaled = self.root[:, None] * hessian * self.root
        return scaled if self.basis is None else self.basis.T @ scaled @ self.basis

    def point(self, theta: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
        """θ(φ) over θ₀ = `theta`."""
        found = theta + self.root * self.vector(coordinates)
        return found if self.flat else self.settle(found)

    def settle(self, theta: np.ndarray) -> np.ndarray:
        """The point of the manifold from θ along the normals at θ₀."""
        if self.held.size:
            theta = theta.copy()
            theta[self.held] = 0.0
        if not len(self.places):
            return theta
        neurons, samples = self.places.T
        for _ in range(8):
            z = self.pieces.states(theta).z
            off = z[neurons, samples] - self.kinks
            if (np.abs(off) <= _SETTLED * np.abs(z[neurons]).max(axis=1)).all():
                break
            matrix = self.at(theta) @ self.normal
            theta = theta - self.root * (self.normal @ np.linalg.lstsq(matrix, off, rcond=1e-12)[0])
            theta[self.held] = 0.0
        return theta

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """−φ' at a point of the manifold."""
        gradient = self.root * self.pieces.loss_and_gradient(theta)[1]
        if not self.flat:
            normal = normal_space(self.at(theta))[0]
            gradient = gradient - normal @ (normal.T @ gradient)
        return self.along(gradient)
