"""Theorem 6 of Tian 2020: what pulls a student's weights towards a teacher's, for spherical inputs.

For x with a spherically symmetric law in R^d, r = |w| and θ the angle between w and w',

    E[1(w'·x > 0) relu(w·x) x] = (m/2π) [(π−θ) w + r sin θ ŵ'],    m = E|x|²/d.

Both coefficients are ≥ 0: the vector lies between w and w'. m = 1 for N(0, I) and for the sphere of radius
√d, R²/(d+2) for the ball of radius R, ν/(ν−2) for Student's t with ν > 2 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import mpmath
import numpy as np
import scipy.stats

from ...inputs import Gaussian
from ...losses.problem import Problem
from ...networks import MLP
from ...spherical import Ball, Sphere, Spherical, StudentT
from ...support.validate import integer
from ..check import Check, at_least, at_most
from ..geometry import angle_between
from ..registry import Progress, register

__all__ = [
    "DEGREES",
    "LAWS",
    "pull",
    "radial_moment",
    "second_moment",
    "theorem_6",
    "theorem_6_sampled",
]


def __dir__() -> list[str]:
    return sorted(__all__)


DEGREES = 9.0
"""Of the Student t law that is sampled: its fourth moments are finite, so means have error bars."""

LAWS: dict[str, Gaussian | Spherical] = {
    "gaussian": Gaussian(),
    "sphere": Sphere(),
    "ball": Ball(1.0),
    "student-t": StudentT(DEGREES),
}
"""Standard Gaussian, sphere of radius √d, unit ball, Student's t."""

CHUNK = 100_000


def pull(w: np.ndarray, gate: np.ndarray, moment: float = 1.0) -> np.ndarray:
    """E[1(w'·x > 0) relu(w·x) x] of Theorem 6: what pulls the student w' towards w.

    Parameters
    ----------
    w, gate : ndarray (d,)
        w and w', not zero.
    moment : float
        m = E|x|²/d of the spherically symmetric law.

    Returns
    -------
    ndarray (d,)
        (m/2π) [(π−θ) w + |w| sin θ ŵ'].

    References
    ----------
    Tian, ICML 2020, Theorem 6.

    Examples
    --------
    >>> import numpy as np
    >>> from gradflow.theory.specialization.spherical import pull
    >>> pull(np.array([1.0, 0.0]), np.array([0.0, 2.0])).round(6).tolist()  # 1/4 and 1/2π
    [0.25, 0.159155]
    """
    angle = angle_between(w, gate)
    direction = gate / np.linalg.norm(gate)
    inner = (math.pi - angle) * w + np.linalg.norm(w) * math.sin(angle) * direction
    return moment / (2 * math.pi) * inner


def second_moment(law: str, dim: int) -> float:
    """E|x|²/d of a law.

    Parameters
    ----------
    law : str
        A name of `LAWS`.
    dim : int
        d.

    Returns
    -------
    float

    Examples
    --------
    >>> second_moment("gaussian", 3)
    1.0
    """
    moments = {"gaussian": 1.0, "sphere": 1.0, "ball": 1.0 / (dim + 2), "student-t": DEGREES / (DEGREES - 2)}
    return moments[law]


def radial_moment(law: str, dim: int) -> float:
    """E|x|²/d by quadrature over the density of |x| at 30 digits: nothing of `second_moment` is used.

    Parameters
    ----------
    law : str
        A name of `LAWS`.
    dim : int
        d.

    Returns
    -------
    float

    Examples
    --------
    >>> abs(radial_moment("sphere", 3) - second_moment("sphere", 3)) < 1e-12
    True
    """
    if law == "sphere":
        return 1.0  # |x|² = d
    tails = {
        "gaussian": lambda r: mpmath.exp(-r * r / 2),
        "ball": lambda r: mpmath.mpf(1),
        "student-t": lambda r: (1 + r * r / DEGREES) ** (-(DEGREES + dim) / 2),
    }
    middle = math.sqrt(dim)
    edges = [0, 1] if law == "ball" else [0, middle / 2, middle, 2 * middle, 8 * middle, mpmath.inf]
    with mpmath.workdps(30):
        mass = mpmath.quad(lambda r: r ** (dim - 1) * tails[law](r), edges)
        return float(mpmath.quad(lambda r: r ** (dim + 1) * tails[law](r), edges) / mass / dim)


def _plane_integral(w: np.ndarray, gate: np.ndarray, moment: float) -> np.ndarray:
    """The same expectation by quadrature over the polar angle in the plane of w and the gate.

    The part of x in that plane has a uniform angle φ and a mean square 2·moment; both gates are open on an
    arc, on which Gauss–Legendre with 30 nodes is exact to rounding.
    """
    r, angle = float(np.linalg.norm(w)), angle_between(w, gate)
    unit = w / r
    across = gate - (gate @ unit) * unit
    across -= (across @ unit) * unit
    size = float(np.linalg.norm(across))
    across = across / size if size > 0 else across
    nodes, weights = np.polynomial.legendre.leggauss(30)
    lower, upper = angle - math.pi / 2, math.pi / 2
    phi = 0.5 * (upper - lower) * nodes + 0.5 * (upper + lower)
    factor = 0.5 * (upper - lower) * weights * 2 * moment / (2 * math.pi) * r * np.cos(phi)
    return (factor @ np.cos(phi)) * unit + (factor @ np.sin(phi)) * across


def _kernel_gradient(w: np.ndarray, gate: np.ndarray, law: str, moment: float) -> np.ndarray:
    """The expectation as a derivative of the population loss: ∂L/∂w' = 2 (E[…w'…] − E[…w…])."""
    dim = w.size
    one = np.ones((1, 1))
    problem = Problem(MLP([w[None], one], None, "relu"), MLP([gate[None], one], None, "relu"), LAWS[law])
    return 0.5 * (moment * gate - problem.gradient(problem.theta0)[:dim])


def theorem_6(dim: int, pairs: int, seed: int = 0, pull: Callable = pull) -> Check:
    """The closed form of every law against quadrature and the population gradient."""
    moments = {law: radial_moment(law, dim) for law in LAWS}
    rng = np.random.default_rng(seed)
    quadrature, gradients, coefficients = [], [], []
    angles = np.concatenate(
        [[1e-8, 1e-4, 0.5 * math.pi, math.pi - 1e-4, math.pi - 1e-8], rng.uniform(0, math.pi, pairs)]
    )
    for angle in angles:
        Q = np.linalg.qr(rng.standard_normal((dim, 2)))[0]
        r, s = np.exp(rng.uniform(-2, 2, 2))
        w, gate = r * Q[:, 0], s * (math.cos(angle) * Q[:, 0] + math.sin(angle) * Q[:, 1])
        for law in LAWS:
            closed = pull(w, gate, second_moment(law, dim))
            off = np.abs(closed - _plane_integral(w, gate, moments[law])).max() / r
            # The population gradient has the term of the gate itself, so that its size counts as well.
            other = np.abs(closed - _kernel_gradient(w, gate, law, moments[law])).max() / max(r, s)
            quadrature.append(off / moments[law])
            gradients.append(other / moments[law])
        if 1e-3 < angle < math.pi - 1e-3:
            solution = np.linalg.lstsq(np.column_stack([w, gate]), pull(w, gate, 1.0), rcond=None)[0]
            coefficients.append(solution * [1.0, s / r])
    return Check(
        name="specialization.theorem_6.closed",
        statement="E[1(w'.x>0) relu(w.x) x] = (E|x|^2/d) (1/2pi) [(pi - theta) w + |w| sin(theta) "
        "w'/|w'|] for Gaussian, sphere, ball and Student-t inputs, a vector between w and w'. Against "
        "quadrature over the radius and the polar angle, relative to |w|, and against the gradient of "
        "the population loss of each law, relative to the larger norm.",
        source="Tian 2020, Theorem 6; the constant derived",
        parts=[
            at_most("difference from quadrature", quadrature, 1e-14),
            at_most("difference from the population gradient", gradients, 1e-14),
            at_least("coefficients of w and |w| w'/|w'|", coefficients, 0.0),
        ],
        computed={"dim": dim, "angles": len(angles), "smallest_angle": 1e-8},
    )


def theorem_6_sampled(law: str, dim: int, samples: int, seed: int = 0, stretch: float = 1.0) -> Check:
    """The closed form within the error bars of a mean over samples; `stretch` spoils the symmetry."""
    integer("samples", samples, 1000)
    rng = np.random.default_rng(seed)
    w, gate = rng.standard_normal((2, dim))
    expected = pull(w, gate, second_moment(law, dim))
    total, squares, left = np.zeros(dim), np.zeros(dim), samples
    while left:
        count = min(left, CHUNK)
        X = LAWS[law].sample(count, dim, rng)
        X[:, 0] *= stretch
        values = np.where(X @ gate > 0, np.maximum(X @ w, 0.0), 0.0)[:, None] * X
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
        left -= count
    mean = total / samples
    error = np.sqrt((squares / samples - mean**2) / samples)
    scores = np.abs(mean - expected) / error
    return Check(
        name=f"specialization.theorem_6.{law}",
        statement=f"The same for {samples} samples of the {law} law in dimension {dim}: every component "
        "within its confidence interval of 1 - 1e-6 (all components together).",
        source="Tian 2020, Theorem 6",
        parts=[at_most("|z| of a component", scores, float(scipy.stats.norm.isf(0.5e-6 / dim)))],
        computed={
            "law": law,
            "samples": samples,
            "second_moment": second_moment(law, dim),
            "relative_error_bar": float(np.linalg.norm(error) / np.linalg.norm(expected)),
        },
    )


@register("specialization.theorem_6")
def _theorem_6(size: str, progress: Progress) -> Iterator[Check]:
    for dim in (7,) if size == "quick" else (2, 3, 7, 100):
        yield theorem_6(dim, 20 if size == "quick" else 1000)
    for law in LAWS:
        progress(f"{law} samples")
        yield theorem_6_sampled(law, 7, 1_000_000 if size == "quick" else 20_000_000)
