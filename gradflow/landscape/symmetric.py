"""Symmetric points: critical points of an ansatz to many digits, and families of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ..refiners import TrustRegionNewton
from ..support.eigen import symmetric_eigen
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.threads import single_threaded_blas
from ..support.validate import number, sequence
from .ansatz import Ansatz
from .ansatz_loss import AnsatzLoss
from .isotypic import Blocks, blocks

DIGITS = 40
"""Decimal digits of the arithmetic in which critical points are finished."""

NEAR = 1e-20
"""A residual below this is that of a critical point."""

HALVINGS = 6
"""How often `follow` tries half the step before it goes on from a point that is not critical."""

NULL_CUT = 1e-11
"""Eigenvalues of the Hessian below this times the largest are null directions (ReLU scaling)."""


@dataclasses.dataclass(frozen=True, eq=False)
class SymmetricPoint:
    """A critical point of an ansatz.

    Attributes
    ----------
    ansatz : Ansatz
        What is tied to what.
    x : ndarray, shape (p,)
        Its numbers, rounded to Float64.
    loss : float
        L there.
    residual : float
        Largest |∂L/∂θ| over all entries of the full θ, by arithmetic of `DIGITS` digits.
    digits : tuple of str
        The numbers to 30 digits.
    loss_digits : str
        L to 30 digits.

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(2,), groups=(None,))
    >>> point = gf.landscape.symmetric_point(ansatz, ansatz.point([[0.7, 1.0]]))
    >>> point.loss_digits
    '0.0232216806253367164990651200388'
    >>> point.spectrum.index
    0
    """

    ansatz: Ansatz
    x: np.ndarray
    loss: float
    residual: float
    digits: tuple[str, ...]
    loss_digits: str

    def __str__(self) -> str:
        lines = [f"L = {self.loss_digits}, |∇L| = {self.residual:.1e} in {DIGITS} digits"]
        for parameter, value in zip(self.ansatz.parameters, self.digits):
            block = "own weight" if parameter.own else f"weights on block {parameter.block}"
            what = "output weight" if parameter.block < 0 else block
            lines.append(f"  group {parameter.group}, {what} (× {parameter.size:g}): {value}")
        return "\n".join(lines)

    @cached_property
    def spectrum(self) -> Blocks:
        """Eigenvalues of the full Hessian with their multiplicities."""
        return blocks(self.ansatz, self.x)


def symmetric_point(
    ansatz: Ansatz, start, target: str = "critical point", max_iterations: int = 300
) -> SymmetricPoint:
    """A critical point of L within the ansatz.

    Parameters
    ----------
    ansatz : Ansatz
        What is tied to what.
    start : array_like, shape (p,)
        Where to begin.
    target : str, default "critical point"
        "critical point" (Newton on ∇L, saddles included) or "minimum" (within the ansatz: the full loss may
        have directions of descent that break the symmetry).
    max_iterations : int, default 300
        Of Newton's method in Float64.

    Returns
    -------
    SymmetricPoint

    Notes
    -----
    Newton in Float64, then to `DIGITS` digits with the residual in mpmath. A run that ends anywhere else
    gives a large `residual`: look at it.

    Examples
    --------
    >>> ansatz = gf.landscape.Ansatz(teachers=(3,), groups=(None,))
    >>> point = gf.landscape.symmetric_point(ansatz, ansatz.point([[0.7, 1.0]]))
    >>> point.residual < 1e-25
    True
    """
    from mpmath import mp

    objective = AnsatzLoss(ansatz)
    start = ansatz.check("start", start)
    refiner = TrustRegionNewton(target=target, max_iterations=max_iterations)
    with single_threaded_blas():
        if target == "critical point":  # from nearby, as when a family is followed, Newton alone is enough
            with mp.workdps(DIGITS):
                near = _finish(objective, start, mp)
            if near.residual <= NEAR:
                return near
        found = refiner.refine(objective, objective.from_point(start), Monitor(False))
        x = objective.to_point(found.theta)
        with mp.workdps(DIGITS):
            return _finish(objective, x, mp)


def follow(
    family: Callable[[float | int], Ansatz], sizes: Sequence, start, ratio: float = 1.2
) -> list[SymmetricPoint]:
    """Critical points of the ansätze family(s) for all sizes s in turn, each found from those before.

    Parameters
    ----------
    family : callable
        size → an ansatz with the same numbers for every size s > 0 between the sizes, fractions included.
    sizes : sequence of numbers
        In the order in which they are visited.
    start : array_like, shape (p,)
        Near the point at the first size.
    ratio : float, default 1.2
        > 1; sizes that are further apart are joined by steps of this factor. Each begins on the straight
        line in log s through the last two points.

    Returns
    -------
    list of SymmetricPoint
        One for each size.

    Raises
    ------
    ArgumentError
        For sizes that are not positive and finite.

    Notes
    -----
    A step whose end is not a critical point (residual above `NEAR`) is halved, `HALVINGS` times at most; an
    end that is none even so carries its residual, and the next one begins there.

    Examples
    --------
    >>> family = lambda k: gf.landscape.Ansatz(teachers=(k,), groups=(None,))
    >>> points = gf.landscape.follow(family, [2, 3, 4], family(2).point([[0.7, 1.0]]))
    >>> [point.ansatz.teachers for point in points]
    [(2,), (3,), (4,)]
    """
    ratio = number("ratio", ratio, minimum=1.0, exclusive=True)
    wanted = sequence("sizes", sizes, "a sequence of sizes")
    if not wanted or not all(number("sizes", s, minimum=0.0, exclusive=True) < np.inf for s in wanted):
        raise ArgumentError("sizes", wanted, "at least one size, all of them positive and finite")
    at = wanted[0]
    last = symmetric_point(family(at), start)
    points, slope = [last], np.zeros(last.x.size)
    for size in wanted[1:]:
        while at != size:
            whole = math.log(size / at)
            length = math.copysign(min(abs(whole), math.log(ratio)), whole)
            for halving in range(HALVINGS + 1):
                length = length if halving == 0 else 0.5 * length
                to = size if abs(length) >= abs(whole) * (1 - 1e-12) else at * math.exp(length)
                found = symmetric_point(family(to), last.x + length * slope)
                if found.residual <= NEAR:
                    break
            else:
                to, found = size, symmetric_point(family(size), last.x + whole * slope)
            slope = (found.x - last.x) / math.log(to / at)
            last, at = found, to
        points.append(last)
    return points


def _finish(objective: AnsatzLoss, x: np.ndarray, mp) -> SymmetricPoint:
    """Newton with the residual in `DIGITS` digits and the Hessian in Float64, till it no longer helps."""
    numbers = [mp.mpf(float(v)) for v in x]
    sizes = objective.ansatz.sizes
    best, before = None, np.inf
    for _ in range(16):
        value, gradient = objective.precise(numbers, mp)
        residual = float(max(abs(g) / mp.mpf(n) for g, n in zip(gradient, sizes)))
        helped = best is None or residual < 0.5 * best[1]
        if helped:
            best = numbers, residual, value
        if residual < 10.0 ** (8 - DIGITS) or not np.isfinite(residual):
            break
        roots = np.sqrt(sizes)
        point = np.array([float(v) for v in numbers])
        hessian = objective.derivatives(point)[2] / np.outer(roots, roots)
        if not np.isfinite(hessian).all():
            break
        values, vectors = symmetric_eigen(hessian)
        used = np.abs(values) > NULL_CUT * np.abs(values).max()
        # The residual is scaled to size one first: 1e-30 keeps its digits in Float64, but products do not.
        scale = mp.mpf(residual)
        scaled = np.array([float(g / scale) for g in gradient]) / roots
        step = -(vectors[:, used] / values[used]) @ (vectors[:, used].T @ scaled) / roots
        # A step may raise the residual, whose stiff directions see others squared, if the next is shorter.
        length = residual * float(np.linalg.norm(step * roots))
        if not helped and not length < 0.5 * before:
            break
        before = length
        numbers = [v + scale * mp.mpf(float(d)) for v, d in zip(numbers, step)]
    assert best is not None
    numbers, residual, value = best
    return SymmetricPoint(
        objective.ansatz,
        np.array([float(v) for v in numbers]),
        float(value),
        residual,
        tuple(mp.nstr(v, 30) for v in numbers),
        mp.nstr(value, 30),
    )
