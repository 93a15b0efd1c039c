"""Stationary points at kinks: the least element of the generalised gradient, and second order beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..support.eigen import symmetric_eigen, zero_tolerance
from .corner import Resolver
from .hull import normal_space
from .manifold import Manifold
from .zeros import falls_from_zero, resting, weights_into

ON = 64 * float(np.finfo(np.float64).eps)
"""z is at a kink where it is so near to it, in units of the neuron's largest |z|."""

BOUND = 1e-6
"""A fraction this near to 0 or 1 may be there."""


def settle_phases(pieces: Any, theta: np.ndarray) -> np.ndarray:
    """Put all places on the pieces that they are on at θ, layer by layer; their z (H, N)."""
    for _ in range(int(pieces.layers.max()) + 1):
        z = pieces.states(theta).z
        pieces.phases[:] = pieces.natural(z)
    return z


def places_at_kinks(pieces: Any, theta: np.ndarray, near: float = ON) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) at a kink at which σ' jumps, and the pieces (m,) to the left of it; phases are set.

    Not those whose z does not depend on θ, as of a zero sample without biases, nor those of which L depends
    in no way, as of neurons whose output weights are zero; nor those of neurons that rest (`zeros`).
    """
    z = settle_phases(pieces, theta)
    zero = resting(pieces, theta, z)
    size = np.abs(z).max(axis=1, initial=0.0)[:, None]
    found, left = [], []
    for column in range(pieces.ends.shape[1] - 2):
        kink, jump = pieces.ends[:, column + 1], pieces.jumps[:, column]
        close = (np.abs(z - kink[:, None]) <= near * np.maximum(size, np.abs(kink)[:, None])) & (jump != 0.0)[
            :, None
        ]
        close[zero] = False
        for place in np.argwhere(close):
            found.append(place)
            left.append(column)
    places, sides = np.array(found, dtype=np.int64).reshape(-1, 2), np.array(left, dtype=np.int64)
    if len(places):
        matters = (np.abs(pieces.gradients(theta, places)).max(axis=1) > 0.0) & (
            pieces.states(theta).slopes[tuple(places.T)] != 0.0
        )
        places, sides = places[matters], sides[matters]
    return places, sides


@dataclasses.dataclass(frozen=True, eq=False)
class Kink:
    """A point at which ∇L jumps: where some neurons are at a kink on some samples.

    Attributes
    ----------
    layers, neurons, samples : numpy.ndarray, shape (m,)
        The hidden layers, from 0, the neurons in them and the samples: the active places.
    fractions : numpy.ndarray, shape (m,)
        Of the right piece of each in the element of least norm of the generalised gradient.
    gradient : numpy.ndarray, shape (p,)
        That element, over the parameters that move.
    convex : numpy.ndarray, shape (m,)
        Whether L has a convex kink there: it rises away from the boundary faster on both sides than along one
        of its gradients. A point with a concave one is no local minimum.
    eigenvalues : numpy.ndarray
        Of the Hessian of L along the boundaries, ascending; L itself has none across them.
    symmetric : int
        Zeros among them that symmetries of the network explain, as the scaling of a relu.
    minimum : bool or None
        Whether the point, if critical, is a local minimum, up to these symmetries; None where second order
        does not tell.
    zero : numpy.ndarray, shape (m,)
        Which places are of neurons with zero weights, at their kinks on all samples at once.
    """

    layers: np.ndarray
    neurons: np.ndarray
    samples: np.ndarray
    fractions: np.ndarray
    gradient: np.ndarray
    convex: np.ndarray
    eigenvalues: np.ndarray
    symmetric: int
    minimum: bool | None
    zero: np.ndarray

    @property
    def grad_norm(self) -> float:
        """∞-norm of the element of least norm."""
        return float(np.abs(self.gradient).max(initial=0.0))

    def __len__(self) -> int:
        return self.neurons.size

    def __str__(self) -> str:
        own = np.flatnonzero(~self.zero)
        named = [f"neuron {self.neurons[k]} on sample {self.samples[k]}" for k in own[:3]]
        if own.size > 3:
            named.append(f"{own.size - 3} more")
        rest = np.unique(np.stack([self.layers, self.neurons])[:, self.zero], axis=1).shape[1]
        if rest:
            named.append(f"{rest} neuron{'s' * (rest > 1)} with zero weights")
        where = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
        kind = {
            True: "a local minimum",
            False: "no local minimum",
            None: "second order does not tell what it is",
        }
        return f"at the kinks of {where}; if critical, {kind[self.minimum]}"


def examine(pieces: Any, theta: np.ndarray, tangents: np.ndarray | None = None) -> Kink | None:
    """What is at θ if it is at a kink; None where L is smooth there.

    tangents   (k, P) of the orbits of symmetries
    """
    places, left = places_at_kinks(pieces, theta)
    rest = resting(pieces, theta, pieces.states(theta).z)
    zero, falls = falls_from_zero(pieces, theta, rest)
    if not len(places) and not len(zero):
        return None
    corner = Resolver(pieces, np.ones(theta.size)).hull(theta, places, left)
    states = pieces.states(theta)
    jump = states.slopes[tuple(places.T)] * pieces.jumps[places[:, 0], left]
    normals = pieces.gradients(theta, places)
    convex = jump > 0.0
    held = weights_into(pieces, rest)
    values, extra = _along(pieces, theta, places, tangents, held)
    firm = (corner.fractions > BOUND) & (corner.fractions < 1.0 - BOUND)
    minimum = _minimum(values, extra)
    if not convex.all():
        minimum = False
    elif minimum is not False and not firm.all() and not _spanned(normals, firm):
        # Directions in which L is flat to first order leave the boundaries: these must not be concave either.
        wider, more = _along(pieces, theta, places[firm], tangents, held)
        minimum = minimum if _minimum(wider, more) else None
    if falls is not False:
        minimum = False if falls or minimum is False else None
    whole = np.concatenate([places, zero])
    number = whole[:, 0]
    layers = pieces.layers[number]
    return Kink(
        layers, number - np.searchsorted(pieces.layers, layers), whole[:, 1],
        np.append(corner.fractions, np.zeros(len(zero))), corner.vector,
        np.append(convex, states.slopes[tuple(zero.T)] > 0.0), values, extra, minimum,
        np.arange(len(whole)) >= len(places),
    )  # fmt: skip


def _spanned(normals: np.ndarray, firm: np.ndarray) -> bool:
    """Whether all normals are combinations of the firm ones."""
    if not firm.any():
        return False
    basis = normal_space(normals[firm])[0]
    rest = normals - (normals @ basis) @ basis.T
    return bool((np.linalg.norm(rest, axis=1) <= 1e-9 * np.linalg.norm(normals, axis=1)).all())


def _along(pieces: Any, theta: np.ndarray, places: np.ndarray, tangents: np.ndarray | None, held: np.ndarray):
    """Eigenvalues of the Hessian along the boundaries of places, and how many zeros symmetries explain."""
    manifold = Manifold(pieces, np.ones(theta.size), theta, places, np.zeros(len(places)), held)
    if not manifold.size:
        return np.zeros(0), 0
    matrix = manifold.matrix(pieces.all_derivatives(theta)[2])
    values = symmetric_eigen(matrix)[0]
    count = 0
    if tangents is not None and len(tangents):
        along = np.array([manifold.along(t) for t in tangents])
        size = np.linalg.norm(along, axis=1)
        kept = along[size > 0.0] / size[size > 0.0, None]
        if len(kept):
            singular = np.linalg.svd(kept, compute_uv=False)
            count = int((singular > 1e-9).sum())
    return values, min(count, int((np.abs(values) <= _small(values)).sum()))


def _small(values: np.ndarray) -> float:
    return max(zero_tolerance(values), 1e-9 * float(np.abs(values).max(initial=0.0)))


def _minimum(values: np.ndarray, explained: int) -> bool | None:
    """Whether eigenvalues are those of a minimum; None where there are more zeros than explained."""
    small = _small(values)
    if (values < -small).any():
        return False
    return True if int((np.abs(values) <= small).sum()) <= explained else None
