"""Spherically symmetric laws of the inputs, for activations that are homogeneous."""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np

from .inputs import Gaussian, Law
from .support.errors import ArgumentError
from .support.validate import number


class Spherical(Law, abc.ABC):
    """Infinitely many inputs x = ρu with u uniform on the unit sphere and ρ ≥ 0 independent of it.

    For networks without biases whose activations are homogeneous. A law of one's own is a subclass with
    `moment` and `sample`.

    Notes
    -----
    Where σ(cz) = c^p σ(z) for c > 0, pair kernels depend on the law of ρ through one number only,
    E σ(w·x)σ(w'·x) = (E ρ^2p / E χ_d^2p) E σ(w·g)σ(w'·g) with g ~ N(0, I), because |g| = χ_d and g/|g| are
    independent too.

    Examples
    --------
    >>> class Shell(gf.Spherical):
    ...     def moment(self, power, dim):
    ...         return 2.0**power
    ...     def sample(self, count, dim, rng):
    ...         return gf.Sphere(2.0).sample(count, dim, rng)
    >>> bool(Shell().ratio(2, 4) == gf.Sphere(2.0).ratio(2, 4))
    True
    """

    @abc.abstractmethod
    def moment(self, power: int, dim: int) -> float:
        """E ρ^power in `dim` dimensions, for an even power; infinite where it diverges."""

    @abc.abstractmethod
    def sample(self, count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
        """So many draws, shape (count, dim), by the generator `rng`."""

    @property
    def isotropic(self) -> bool:
        return True

    def times_covariance(self, rows, dim) -> np.ndarray:
        return rows * self.ratio(2, dim)

    def gaussians(self, dim, degree) -> list[tuple[float, Any]]:
        return [(self.ratio(2 * degree(), dim), Gaussian())]

    @property
    def parameters(self) -> dict:
        """What the law was made with, by name."""
        return dict(vars(self))

    def ratio(self, power: int, dim: int) -> float:
        """E ρ^power / E χ_d^power for an even power in d = `dim` dimensions.

        Raises `ArgumentError` where the moment is not a positive finite number.
        """
        moment = self.moment(power, dim)
        if not (math.isfinite(moment) and moment > 0):
            raise ArgumentError(
                "inputs", f"{self!r}, where E|x|^{power} is {moment:g}", "a finite moment > 0"
            )
        return moment / math.prod(dim + j for j in range(0, power, 2))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value:g}" for name, value in vars(self).items() if value is not None)
        return f"{type(self).__name__}({given})"


class Sphere(Spherical):
    """Infinitely many inputs, uniform on a sphere.

    Parameters
    ----------
    radius : float > 0, optional
        √d unless given, so that E xxᵀ = I.

    Examples
    --------
    >>> Sphere(radius=2.0).moment(4, 5)
    16.0
    """

    def __init__(self, radius: float | None = None):
        self.radius = _radius(radius)

    def moment(self, power, dim) -> float:
        return (math.sqrt(dim) if self.radius is None else self.radius) ** power

    def sample(self, count, dim, rng) -> np.ndarray:
        draws = rng.standard_normal((count, dim))
        radius = math.sqrt(dim) if self.radius is None else self.radius
        return draws * (radius / np.linalg.norm(draws, axis=1, keepdims=True))


class Ball(Spherical):
    """Infinitely many inputs, uniform in a ball.

    Parameters
    ----------
    radius : float > 0, optional
        √(d + 2) unless given, so that E xxᵀ = I.

    Examples
    --------
    >>> Ball(radius=1.0).moment(2, 3)
    0.6
    """

    def __init__(self, radius: float | None = None):
        self.radius = _radius(radius)

    def moment(self, power, dim) -> float:
        return (math.sqrt(dim + 2) if self.radius is None else self.radius) ** power * dim / (dim + power)

    def sample(self, count, dim, rng) -> np.ndarray:
        radii = rng.uniform(size=(count, 1)) ** (1.0 / dim)
        radii *= math.sqrt(dim + 2) if self.radius is None else self.radius
        return radii * Sphere(1.0).sample(count, dim, rng)


class StudentT(Spherical):
    """Infinitely many inputs from the multivariate Student t law, x = g √(df/χ²_df) with g ~ N(0, I).

    Parameters
    ----------
    df : float > 0
        Degrees of freedom.

    Raises
    ------
    ArgumentError
        For df that is not positive or not finite.

    Notes
    -----
    E xxᵀ = I df/(df − 2). E|x|^m is finite for m < df only, so that activations of degree p ask for 2p < df.

    Examples
    --------
    >>> StudentT(4.0).moment(2, 3)
    6.0
    """

    def __init__(self, df: float):
        self.df = number("df", df, minimum=0.0, exclusive=True)
        if math.isinf(self.df):
            raise ArgumentError("df", self.df, "a finite number; the limit is a gradflow.Gaussian")

    def moment(self, power, dim) -> float:
        if self.df <= power:
            return math.inf
        return math.prod(self.df * (dim + j) / (self.df - 2 - j) for j in range(0, power, 2))

    def sample(self, count, dim, rng) -> np.ndarray:
        draws = rng.standard_normal((count, dim))
        return draws * np.sqrt(self.df / rng.chisquare(self.df, (count, 1)))


LAWS = {law.__name__: law for law in (Sphere, Ball, StudentT)}
"""The laws that files know, by name."""


def _radius(given) -> float | None:
    radius = None if given is None else number("radius", given, minimum=0.0, exclusive=True)
    if radius is not None and math.isinf(radius):
        raise ArgumentError("radius", radius, "a finite number > 0")
    return radius
