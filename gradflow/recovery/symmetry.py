"""Symmetry classes of activations: which neurons compute the same, and the one that stands for them."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..activations import Activation, resolve
from ..kernels.activation_table import COSINE, EXPONENTIAL, SINE
from ..support.errors import ArgumentError

_POINTS = np.array([0.2297, 0.7071, 1.3591, 1.7607, 2.7183])
"""Where a declared symmetry is compared with the function: irrational, so that kinks are not met."""

_PERIODIC = "it is periodic: biases are known up to its period at best"
_UNIDENTIFIABLE = {
    SINE: _PERIODIC,
    COSINE: _PERIODIC,
    EXPONENTIAL: "exp(w·x + b) = exp(b) exp(w·x): biases and output weights are one parameter",
}
"""Why weights cannot be told, for functions that are one of these parts of the table (and powers)."""


@dataclasses.dataclass(frozen=True)
class Symmetry:
    """What is equivalent for neurons (w, b, a) of one activation (A.2.3 of the paper).

    Attributes
    ----------
    activation : Activation
        σ.
    mirror : int
        −1 where σ(−z) = −σ(z) + constant: (−w, −b, −a) is the same; +1 where σ(−z) = σ(z) − cz: (−w, −b, a)
        is, up to a linear function; 0 where nothing is.
    affine : bool
        Whether mirror images differ by a linear function (c ≠ 0).
    slope : float
        That c.
    constant : float
        σ(z) + σ(−z) for mirror −1.
    scaling : bool
        Whether (cw, cb, a/c) is the same for all c > 0.

    Examples
    --------
    >>> gf.recovery.symmetry_of("g").words
    'no symmetry'
    """

    activation: Activation
    mirror: int
    affine: bool
    slope: float
    constant: float
    scaling: bool

    @property
    def words(self) -> str:
        """The class in the paper's words."""
        kind = {0: "no symmetry", -1: "odd", 1: "even"}[self.mirror]
        parts = [kind] + ["linear"] * self.affine
        parts += ["constant"] * (self.mirror < 0 and self.constant != 0.0)
        parts += ["positive scaling"] * self.scaling
        return " + ".join(parts)

    def canonical(self, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows [w, b] of V made comparable; the signs and the norms by which they were divided.

        Signs are `row_signs` where the class has a mirror, and rows have unit norm where it has scaling.
        """
        signs, norms = np.ones(len(V)), np.ones(len(V))
        if self.mirror:
            signs = row_signs(V)
        if self.scaling:
            norms = np.linalg.norm(V, axis=1)
            norms[norms == 0.0] = 1.0
        return V * (signs / norms)[:, None], signs, norms

    def output_factor(self, signs: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """By what output weights are multiplied so that canonical rows compute the same.

        For the `signs` and `norms` that `canonical` gives.
        """
        return (signs if self.mirror < 0 else np.ones_like(signs)) * norms


def row_signs(V: np.ndarray) -> np.ndarray:
    """±1 by which rows are multiplied so that their largest entry is positive.

    The paper takes the first entry, which is often zero. Here it is the first of those within 1 % of the
    largest, so that rounding does not choose.
    """
    size = np.abs(V)
    chosen = (size >= 0.99 * size.max(axis=1, keepdims=True, initial=0.0)).argmax(axis=1)
    return np.where(V[np.arange(len(V)), chosen] < 0.0, -1.0, 1.0)


def _why_not(sigma: Activation) -> str | None:
    """Why the weights of its networks cannot be told, if so."""
    record = sigma.record
    if record.is_polynomial:
        return f"all networks of it are polynomials of degree {len(record.powers) - 1}"
    return next((_UNIDENTIFIABLE[part] for part in record.parts if part in _UNIDENTIFIABLE), None)


def can_be_told(sigma: Activation) -> bool:
    """Whether weights of its networks can be recovered, up to its symmetry."""
    return _why_not(sigma) is None


def symmetry_of(activation) -> Symmetry:
    """The class of an activation: which neurons (w, b, a) are equivalent.

    Parameters
    ----------
    activation : str or Activation
        As in `MLP`.

    Returns
    -------
    Symmetry

    Raises
    ------
    ArgumentError
        Where it has none that weights can be recovered for.

    Examples
    --------
    >>> gf.recovery.symmetry_of("tanh").mirror, gf.recovery.symmetry_of("relu").scaling
    (-1, True)
    """
    sigma = resolve(activation)
    known = _why_not(sigma)
    if known is not None:
        raise ArgumentError("activation", f"{sigma.name!r}: {known}", "one whose weights can be identified")
    plus, minus = sigma(_POINTS), sigma(-_POINTS)
    found = _found(plus, minus)
    if sigma.symmetry == "none" and found != "none":
        given = f"{sigma.name!r}, whose symmetry is not declared: its values are those of {found!r}"
        raise ArgumentError("activation", given, f"an Activation made with symmetry={found!r}")
    mirror = {"none": 0, "odd": -1, "odd+constant": -1, "even": 1, "even+linear": 1}[sigma.symmetry]
    slope = float((plus - minus)[0] / _POINTS[0]) if sigma.symmetry == "even+linear" else 0.0
    constant = float((plus + minus)[0]) if sigma.symmetry == "odd+constant" else 0.0
    doubled = sigma(np.concatenate([2 * _POINTS, -2 * _POINTS]))
    scaling = bool(np.allclose(doubled, 2 * np.concatenate([plus, minus]), rtol=1e-12, atol=0.0))
    return Symmetry(sigma, mirror, slope != 0.0, slope, constant, scaling)


def _found(plus: np.ndarray, minus: np.ndarray) -> str:
    """The symmetry that values at ±z have."""
    size = 1e-12 * np.abs(np.concatenate([plus, minus])).max()
    even, odd, slopes = plus + minus, plus - minus, (plus - minus) / _POINTS
    if np.ptp(plus) <= size and np.ptp(minus) <= size:
        return "none"
    if np.abs(even).max() <= size:
        return "odd"
    if np.abs(odd).max() <= size:
        return "even"
    if np.ptp(even) <= size:
        return "odd+constant"
    return "even+linear" if np.ptp(slopes) <= 10 * size else "none"
