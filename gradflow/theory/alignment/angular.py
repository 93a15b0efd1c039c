"""The angular function of every activation: how a teacher turns a student, by the angle between them.

Across a student w the pull of a teacher v is E σ(v·x) σ'(w·x) x⊥ = ψ(θ) v⊥ for x ~ N(0, I), by Stein's
identity with

    ψ(θ) = E σ'(w·x) σ'(v·x),    dψ/dcos θ = |w||v| E σ''(w·x) σ''(v·x),

(π − θ)/2π for ReLU. Zhu, Ying & Zuo reduce their proof to properties of such a function ("Angular Distance
function", not defined in the text; this one is derived here). Where σ is odd up to a constant σ' is even and
ψ(π − θ) = ψ(θ): a student opposite to a teacher is pulled as one beside it, and students need not align
(`alignment.not_for`). Where σ rises ψ ≥ 0: no student is pushed away from a teacher; where σ is convex ψ
falls from 0 to π (gelu's and silu's do as well). selu and g rise and are not convex: their ψ does not fall
everywhere, and students align all the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ...activations import ACTIVATIONS
from ..check import Check, at_least, at_most
from ..registry import Progress, register
from ..soft_committee import soft_committee
from .activations import ODD
from .one_teacher import SOURCE

__all__ = [
    "angular",
    "by_sectors",
    "check_angular",
    "closed",
    "convex",
    "rises",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def angular(activation: str, angle: float) -> float:
    """ψ(θ) of unit vectors, from this package's gradient.

    Parameters
    ----------
    activation : str
        σ.
    angle : float
        0 < θ < π.

    Returns
    -------
    float

    Examples
    --------
    >>> round(angular("relu", math.pi / 2), 12)
    0.25
    """
    v = np.array([[math.cos(angle), math.sin(angle)]])
    there = soft_committee(activation, np.array([[1.0, 0.0]]), v)
    return -0.5 * float(there.gradient(there.theta0)[1]) / math.sin(angle)


def by_sectors(activation: str, angle: float) -> float:
    """ψ(θ) by quadrature: Gauss–Legendre over the polar angle between kinks at 0, and over the radius.

    Parameters
    ----------
    activation, angle
        As in `angular`.

    Returns
    -------
    float

    Examples
    --------
    >>> bool(abs(by_sectors("relu", 1.0) - (math.pi - 1.0) / (2 * math.pi)) < 1e-13)
    True
    """
    sigma = ACTIVATIONS[activation]
    edges = np.sort(
        np.mod([0.5 * math.pi, 1.5 * math.pi, angle + 0.5 * math.pi, angle + 1.5 * math.pi], 2 * math.pi)
    )
    edges = np.append(edges, edges[0] + 2 * math.pi)
    nodes, weights = np.polynomial.legendre.leggauss(48)
    radii, radial = np.polynomial.legendre.leggauss(160)
    r, by_r = 6.5 * (radii + 1.0), 6.5 * radial
    by_r = by_r * r * np.exp(-0.5 * r * r) / (2 * math.pi)
    total = 0.0
    for low, high in itertools.pairwise(edges):
        phi = 0.5 * (high - low) * (nodes + 1.0) + low
        first = sigma.derivatives(np.outer(np.cos(phi), r).ravel(), 1)[1]
        second = sigma.derivatives(np.outer(np.cos(phi - angle), r).ravel(), 1)[1]
        values = (first * second).reshape(nodes.size, r.size)
        total += 0.5 * (high - low) * float(weights @ values @ by_r)
    return total


def closed(activation: str, angle):
    """ψ(θ) of "relu" or "erf" in mpmath's arithmetic.

    Parameters
    ----------
    activation : str
        One of the two.
    angle : mpf
        θ.

    Returns
    -------
    mpf
        (π − θ)/2π, or (2/π)/√(4 − cos² θ).

    Examples
    --------
    >>> import mpmath
    >>> closed("relu", mpmath.mpf(0))
    mpf('0.5')
    """
    from mpmath import mp

    if activation == "relu":
        return (mp.pi - angle) / (2 * mp.pi)
    return 2 / mp.pi / mp.sqrt(4 - mp.cos(angle) ** 2)


def rises(activation: str) -> bool:
    """Whether σ' ≥ 0 on a grid.

    Parameters
    ----------
    activation : str
        σ.

    Returns
    -------
    bool

    Examples
    --------
    >>> rises("relu"), rises("gelu")
    (True, False)
    """
    return bool((ACTIVATIONS[activation].derivatives(np.linspace(-8.0, 8.0, 1601), 1)[1] >= 0.0).all())


def convex(activation: str) -> bool:
    """Whether σ' never falls on a grid.

    Parameters
    ----------
    activation : str
        σ; the identity, whose σ' is constant, does not count.

    Returns
    -------
    bool

    Examples
    --------
    >>> convex("softplus"), convex("selu"), convex("identity")
    (True, False, False)
    """
    slopes = ACTIVATIONS[activation].derivatives(np.linspace(-8.0, 8.0, 1601), 1)[1]
    return bool((np.diff(slopes) >= -1e-14).all() and slopes[-1] > slopes[0])


def _by_mpmath(activation: str, angle):
    """ψ(θ) by mpmath's quadrature: over the arc where both are open, or over w·x and what is across it."""
    from mpmath import mp

    if activation == "relu":
        arc = mp.quad(lambda phi: mp.mpf(1), [angle - mp.pi / 2, mp.pi / 2])
        radius = mp.quad(lambda r: r * mp.exp(-r * r / 2), [0, 4, mp.inf])
        return arc * radius / (2 * mp.pi)
    # σ'(z) = √(2/π) e^{−z²/2}: a Gaussian integral over the plane, the inner one done exactly.
    c, s = mp.cos(angle), mp.sin(angle)

    def inner(z):
        # E over y of e^{−(cz + sy)²/2}, y standard normal
        return mp.exp(-((c * z) ** 2) / (2 * (1 + s * s))) / mp.sqrt(1 + s * s)

    density = mp.quad(lambda z: inner(z) * mp.exp(-z * z), [-mp.inf, 0, mp.inf])
    return 2 / mp.pi * density / mp.sqrt(2 * mp.pi)


def check_angular(angles: Sequence[float], factor: float = 1.0, formula: Callable = closed) -> Check:
    """ψ of every activation of the table: its values, and what it takes for students to align.

    Parameters
    ----------
    angles : sequence of float
        θ, rising, symmetric about π/2.
    factor : float, default 1.0
        Of ψ from the gradient, 1 in the claim.
    formula : callable
        (activation, θ) → ψ in 30 digits, `closed`.

    Returns
    -------
    Check
    """
    from mpmath import mp

    off, uneven, lowest, steepest, steps, shown = [], [], [], [], [], {}
    for name in ACTIVATIONS:
        values = np.array([factor * angular(name, t) for t in angles])
        truth = np.array([by_sectors(name, t) for t in angles])
        scale = float(np.abs(truth).max())
        off += (np.abs(values - truth) / scale).tolist()
        steps.append(float(np.diff(values).max()) / scale)
        if name in ODD:
            uneven.append(float(np.abs(values - values[::-1]).max()) / scale)
        if rises(name):
            lowest.append(float(values.min()) / scale)
        if convex(name):
            steepest.append(steps[-1])
        shown[name] = [float(values[0]), float(values[-1]), steps[-1]]
    with mp.workdps(35):
        digits = [
            float(abs(formula(name, mp.mpf(t)) / _by_mpmath(name, mp.mpf(t)) - 1))
            for name in ("relu", "erf")
            for t in (mp.mpf(1) / 10, mp.mpf(2), mp.mpf(3))
        ]
    return Check(
        name="alignment.angular",
        statement="A teacher at angle theta pulls a student across its own direction by psi(theta) = E "
        "sigma'(w.x) sigma'(v.x), for every activation of the table: the gradient of the population loss "
        "against quadrature. Where sigma rises psi >= 0, where it is convex psi falls on the whole of (0, "
        "pi), and where it is odd up to a constant psi is symmetric about pi/2. ReLU and erf in 30 digits.",
        source=f"derived; the argument it serves: {SOURCE}",
        parts=[
            at_most("difference of psi over the largest", off, 1e-11),
            at_least("psi of those that rise, over the largest", lowest, 0.0),
            at_most("rise of psi of convex ones from one angle to the next", steepest, -1e-6),
            at_most("asymmetry of the odd ones", uneven, 1e-13),
            at_most("relative difference in 35-digit arithmetic", digits, 1e-30),
        ],
        computed={"psi at the first and the last angle, and its largest rise": shown},
    )


@register("alignment.angular")
def _angular(size: str, progress: Progress) -> Check:
    count = 9 if size == "quick" else 101
    return check_angular(np.linspace(0.0, math.pi, count + 2)[1:-1].tolist())
