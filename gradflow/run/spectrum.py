"""The Hessian's eigenvalues at an end point: zeros told apart, equal ones together, and the index."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..support.eigen import Inertia

CONDITION = 1e-8
"""Eigenvalues below this times the largest, though not zero, are called badly conditioned."""

LINES = 40
"""Groups of eigenvalues that are printed at most."""


class Eigenvalue(NamedTuple):
    """One eigenvalue with its multiplicity.

    Attributes
    ----------
    value : float
        The mean of the computed ones that it stands for.
    multiplicity : int
        Their number.
    spread : float
        Their range.
    kind : str
        One of: negative, positive, zero (symmetry), zero (other).
    """

    value: float
    multiplicity: int
    spread: float
    kind: str


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """The eigenvalues of ∇²L over the parameters that move.

    Attributes
    ----------
    eigenvalues : ndarray
        Ascending, with multiplicity; those that symmetry makes zero are exact zeros.
    tolerance : float
        Absolute: eigenvalues within it count as zero, and such differences as none.
    inertia : Inertia
        The index and the number of zeros, where they are the same at θ plus Newton's step.
    symmetry_zeros : int
        Dimension of the orbit of the point under the continuous symmetries of the problem.
    symmetry_error : float
        |H t|_max / |λ|_max over unit tangents t of that orbit: how exactly they are zero.
    lines : int or None
        Dimension of the set of critical points around θ that no symmetry explains; None where θ is not
        known to be critical.
    reduced_dim : int or None
        The input dimension in which it was computed, None without a network.
    order : int
        Of the matrix that was decomposed: some of its eigenvalues may stand for several.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> student = gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> spectrum = gf.train(teacher, student, progress=False).spectrum()
    >>> spectrum.index, spectrum.zero, spectrum.positive
    (0, 0, 10)
    """

    eigenvalues: np.ndarray
    tolerance: float
    inertia: Inertia
    symmetry_zeros: int = 0
    symmetry_error: float = 0.0
    lines: int | None = None
    reduced_dim: int | None = None
    order: int = 0

    @property
    def index(self) -> int | None:
        """The number of negative eigenvalues of the critical point, None where it is not determined."""
        return self.inertia.negative

    @property
    def negative(self) -> int:
        """The number of eigenvalues here that are below the tolerance: at a critical point its `index`."""
        return int((self.eigenvalues < -self.tolerance).sum())

    @property
    def zero(self) -> int:
        """The number of eigenvalues within the tolerance of zero."""
        return int((np.abs(self.eigenvalues) <= self.tolerance).sum())

    @property
    def positive(self) -> int:
        """The number of eigenvalues above the tolerance."""
        return int((self.eigenvalues > self.tolerance).sum())

    @property
    def other_zeros(self) -> int:
        """Eigenvalues within the tolerance of zero that no symmetry explains."""
        return self.zero - self.symmetry_zeros

    @property
    def exactly_singular(self) -> int:
        """The dimension of the set of critical points around θ: along it eigenvalues are exactly zero."""
        return self.symmetry_zeros + (self.lines or 0)

    @property
    def badly_conditioned(self) -> int:
        """The number of eigenvalues that are not zero, but below 1e-8 of the largest |λ|."""
        sizes = np.abs(self.eigenvalues)
        return int(((sizes > self.tolerance) & (sizes <= CONDITION * sizes.max(initial=0.0))).sum())

    @property
    def smallest(self) -> float:
        """The lowest eigenvalue."""
        return float(self.eigenvalues[0])

    @property
    def largest(self) -> float:
        """The highest eigenvalue."""
        return float(self.eigenvalues[-1])

    @property
    def condition(self) -> float:
        """Largest over smallest |λ| among those that are not zero; infinite if all are."""
        away = np.abs(self.eigenvalues[np.abs(self.eigenvalues) > self.tolerance])
        return float(away.max() / away.min()) if away.size else float("inf")

    @cached_property
    def groups(self) -> tuple[Eigenvalue, ...]:
        """Ascending, equal ones together."""
        values = self.eigenvalues
        if self.symmetry_zeros:
            exact = np.flatnonzero(values == 0.0)[: self.symmetry_zeros]
            values = np.delete(values, exact)
        found = [
            Eigenvalue(float(g.mean()), g.size, float(np.ptp(g)), self._kind(float(g.mean())))
            for g in np.split(values, np.flatnonzero(np.diff(values) > self.tolerance) + 1)
            if g.size
        ]
        if self.symmetry_zeros:
            found.append(Eigenvalue(0.0, self.symmetry_zeros, 0.0, "zero (symmetry)"))
        return tuple(sorted(found, key=lambda g: g.value))

    def _kind(self, value: float) -> str:
        if abs(value) <= self.tolerance:
            return "zero (other)"
        return "negative" if value < 0 else "positive"

    @property
    def summary(self) -> str:
        """One line: the range, and how many are positive, zero and negative."""
        return (
            f"eigenvalues {self.smallest:.6g} … {self.largest:.6g}: {self.positive} positive, "
            f"{self.zero} zero (within {self.tolerance:.1e}), {self.negative} negative"
        )

    @property
    def small(self) -> str:
        """What the zeros and the smallest eigenvalues are, "" where there is nothing to say."""
        numbers = (self.exactly_singular, self.zero - self.exactly_singular, self.badly_conditioned)
        if self.lines is None or not any(numbers):
            return ""
        return (
            "{} directions exactly singular (lines of critical points), {} flat to second order only, "
            "{} badly conditioned"
        ).format(*numbers)

    def __str__(self) -> str:
        lines = [
            f"{self.eigenvalues.size} eigenvalues, {self.inertia}, condition {self.condition:.4g}; "
            f"{self.symmetry_zeros} zero by symmetry (to {self.symmetry_error:.1e}), "
            f"{self.other_zeros} other zeros (within {self.tolerance:.1e})"
        ]
        shown = self.groups[:LINES]
        lines += [f"  {g.value:16.9g}  × {g.multiplicity:<5d} {g.kind}" for g in shown]
        if len(shown) < len(self.groups):
            lines.append(f"  … {len(self.groups) - len(shown)} more: groups")
        return "\n".join(lines)
