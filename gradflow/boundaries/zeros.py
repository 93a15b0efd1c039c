"""Neurons whose weights are zero: at their kink on every sample at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from .manifold import NONE


def resting(pieces: Any, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Which hidden neurons rest (H,): those without output to the left of zero, as relu, with zero weights.

    Of the generalised gradient over the weights into such a neuron one element is zero, that with all its
    samples to the left: they do not move, and with them nothing that leads out of it. z (H, N) at θ.
    """
    found = pieces.rests & (z == 0.0).all(axis=1)
    for neuron in np.flatnonzero(found):
        into = pieces.into(int(neuron))
        found[neuron] = into.size > 0 and not theta[into].any()
    return found


def weights_into(pieces: Any, neurons: np.ndarray) -> np.ndarray:
    """The parameters into the neurons that are so marked (H,), ascending."""
    rows = [pieces.into(int(neuron)) for neuron in np.flatnonzero(neurons)]
    return np.unique(np.concatenate(rows)) if rows else NONE


STARTS, ROUNDS = 32, 50
"""Directions from which one is sought in which L falls, and steps of each search."""


def falls_from_zero(pieces: Any, theta: np.ndarray, neurons: np.ndarray) -> tuple[np.ndarray, bool | None]:
    """The places (m, 2) of neurons that rest on which L depends, and whether it falls as one of these wakes.

    With weights u L changes by Σ_i q_i max(u·x_i, 0) to first order, q_i = ∂L/∂h_i and x_i = ∂z_i/∂u. Where
    all q_i are positive it rises or, on the side on which the neuron sleeps, stays: False. Otherwise a
    direction in which it falls is sought, by gradient descent on the sphere from samples and from the mean
    one; None where none is found, which proves nothing.
    """
    slopes, found = pieces.states(theta).slopes, [np.zeros((0, 2), np.int64)]
    falls: bool | None = False
    for neuron in np.flatnonzero(neurons):
        into = pieces.into(int(neuron))
        everything = np.stack([np.full(slopes.shape[1], neuron), np.arange(slopes.shape[1])], axis=1)
        normals = pieces.gradients(theta, everything)[:, into]
        matters = (np.abs(normals).max(axis=1) > 0.0) & (slopes[neuron] != 0.0)
        found.append(everything[matters])
        q, x = slopes[neuron, matters], normals[matters]
        if falls is not True and not (q > 0.0).all():
            falls = True if _falls(q, x) else None
    return np.concatenate(found), falls


def _falls(q: np.ndarray, x: np.ndarray) -> bool:
    """Whether a direction u is found with Σ q_i max(u·x_i, 0) < 0."""
    chosen = x[np.linspace(0, len(x) - 1, min(len(x), STARTS)).astype(int)]
    for u in [-(q @ x), q @ x, *chosen, *-chosen]:
        for _ in range(ROUNDS):
            size = np.linalg.norm(u)
            if size == 0.0:
                break
            z = x @ (u / size)
            value, scale = q @ np.maximum(z, 0.0), np.abs(q) @ np.abs(z)
            if value < -1e-12 * scale:
                return True
            u = u / size - 0.5 * ((q * (z > 0.0)) @ x) / max(np.linalg.norm(np.abs(q) @ np.abs(x)), 1e-300)
    return False
