"""A zero of ∇L in a box by Krawczyk's test, in coordinates in which the Hessian is nearly diagonal.

Let m be the centre, D a scale for every parameter (powers of two), J an enclosure of the Hessian over a box
X ∋ m of θ, V approximate eigenvectors of D J D and Λ its approximate eigenvalues (floats, of which nothing is
assumed), and

    θ = m + D V y,   F(y) = Vᵀ D ∇L(m + D V y),   M = Λ⁻¹ Vᵀ D J D V

If κ = ‖M − I‖_∞ < 1 and |Λ⁻¹ F(0)|_∞ + κ ρ < ρ, where m + D V y is in X for all |y|_∞ ≤ ρ, then there is one
zero with |y|_∞ ≤ ρ, by Krawczyk 1969, and it has |y|_∞ ≤ |Λ⁻¹ F(0)|_∞/(1 − κ). κ < 1 says as well that in
every row of Vᵀ D J D V Gershgorin's disc around Λ_i does not contain zero: V is regular and each matrix in J
has exactly as many negative eigenvalues as Λ, by Sylvester's law.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..support.threads import single_threaded_blas
from .balls import arb, arb_mat, exact, largest, midpoint, precision, upper
from .inertia import defect

PRECISIONS = (64, 128, 256)
"""Bits of the working precision, tried in turn."""

FIRST_BOX = 2.0**-33
"""The first box has this radius relative to the largest parameter."""

POLISHES = 4
"""Newton steps in balls before a centre is given up at one precision."""


@dataclasses.dataclass
class Zero:
    """What was found: `proved`, and if not, `reason`.

    center        exact balls, all P parameters
    radius        the zero is within it of the centre, ∞-norm
    unique_radius every point within it of the centre (that agrees with it in the parameters held) is in the
                  box in which there is no other zero
    contraction   κ
    step          |Λ⁻¹ Vᵀ D ∇L(m)|_∞, Newton's own step
    offset        V y*, enclosures of θ* − m over the parameters that move
    eigenvalues   Λ; `index` of them are negative
    undecided     rows of M − I whose sum is not below one
    """

    proved: bool
    reason: str
    center: list
    bits: int
    box: float
    radius: Any = None
    unique_radius: Any = None
    contraction: float = np.inf
    step: float = np.inf
    offset: list = dataclasses.field(default_factory=list)
    eigenvalues: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    undecided: int = 0
    hessian: Any = None

    @property
    def index(self) -> int:
        """The number of negative eigenvalues."""
        return int((self.eigenvalues < 0).sum())


def find_zero(
    gradient: Callable[[list], list],
    hessian: Callable[[list], Any],
    center: Sequence,
    free: Sequence[int],
    precisions: Sequence[int] = PRECISIONS,
    box: float | None = None,
    polish: bool = True,
    scales: Sequence[float] | None = None,
) -> Zero:
    """A zero of the gradient near `center`, proved if it can be.

    Parameters
    ----------
    gradient, hessian : callable
        Enclosures over a box of θ: lists (p,) and rows (p, p) of balls over the parameters that move.
    center : sequence of exact balls (P,)
    free : sequence of int
        Which parameters move; the others stay at the centre.
    precisions : sequence of int
        Bits, tried in turn.
    box : float, optional
        The radius of the first box; by default 2⁻³³ of the largest parameter.
    polish : bool
        Whether the centre may move by Newton steps.
    scales : sequence of float, optional
        D, powers of two, one for every parameter that moves: the box has `box` times D as its radii.
    """
    center = list(center)
    if not free:
        return Zero(False, "no parameter moves", center, precisions[0], 0.0)
    D = np.ones(len(free)) if scales is None else np.array(scales, dtype=np.float64)
    sizes = [1.0, *(abs(midpoint(center[i])) / d for i, d in zip(free, D))]
    first = FIRST_BOX * max(sizes) if box is None else box
    last: Zero | None = None
    for bits in precisions:
        with precision(bits):
            found = _at_precision(gradient, hessian, center, list(free), bits, first, polish, D)
        if found.proved:
            return found
        if last is not None and not found.contraction < 0.5 * last.contraction:
            return found  # more bits do not help: the Hessian is singular, or the box was not the trouble
        last, center = found, found.center
    assert last is not None
    return last


def _at_precision(gradient, hessian, center, free, bits, box, polish, D) -> Zero:
    radius = box
    found = Zero(False, "", center, bits, box)
    steps = POLISHES if polish else 0
    for _ in range(12):
        found = _test(gradient, hessian, center, free, bits, radius, D)
        if found.proved:
            return found
        if found.contraction < 1.0 and np.isfinite(found.step):
            # The box is too small for the step: widen it, or come nearer.
            if steps and found.step > 2.0 ** (8 - bits):
                steps -= 1
                center = _moved(center, free, found)
                if found.step < radius:
                    continue
            elif found.step / (1 - found.contraction) < 1e-3:
                radius = max(2 * radius, 4 * np.sqrt(len(free)) * found.step)
            else:
                return found
        else:
            if radius < 2.0 ** (6 - bits):
                return found
            radius *= 2.0**-8
    return found


def _moved(center, free, found: Zero) -> list:
    """The centre after a Newton step, an exact number again."""
    result = list(center)
    for i, move in zip(free, found.offset):
        result[i] = (result[i] + move.mid()).mid()
    return result


def _test(gradient, hessian, center, free, bits, radius, D) -> Zero:
    around = arb(radius)
    plain = bool((D == 1.0).all())
    scales = exact(D)
    boxed = list(center)
    for i, d in zip(free, scales):
        boxed[i] = boxed[i] + arb(0, (around * d).upper())
    found = Zero(False, "", center, bits, radius)
    rows = hessian(boxed)
    found.hessian = rows
    if not plain:
        rows = [[d * v * e for v, e in zip(row, scales)] for row, d in zip(rows, scales)]
    J = arb_mat(rows)
    middle = np.array([[midpoint(v) for v in row] for row in rows])
    if not np.isfinite(middle).all():
        found.reason = "the Hessian has no finite enclosure over the box (a ReLU neuron of weight zero?)"
        return found
    with single_threaded_blas():
        values, vectors = np.linalg.eigh(0.5 * (middle + middle.T))
    found.eigenvalues = values
    p = len(free)
    V = arb_mat(vectors.tolist())
    Vt = V.transpose()
    M = (Vt * (J * V)).tolist()
    inverse = [1 / arb(float(v)) if v else arb("inf") for v in values]
    sums = []
    for i, row in enumerate(M):
        factor = abs(inverse[i]).upper()
        total = abs(row[i] - arb(float(values[i]))).upper()
        for j, entry in enumerate(row):
            if j != i:
                total += abs(entry)
        sums.append((total * factor).upper())
    kappa = largest(sums)
    found.contraction = upper(kappa)
    found.undecided = sum(not s < 1 for s in sums)
    g = gradient(center)
    if not plain:
        g = [d * v for v, d in zip(g, scales)]
    newton = [f * e for f, e in zip(inverse, (Vt * arb_mat(p, 1, g)).entries())]
    step = largest(newton)
    found.step = upper(step)
    if not np.isfinite(found.step):
        found.reason = "the gradient has no finite enclosure at the point"
        return found
    found.offset = [-d * v for d, v in zip(scales, (V * arb_mat(p, 1, newton)).entries())]
    if not kappa < 1:
        worst = int(np.argmin(np.abs(values)))
        found.reason = (
            f"contraction number {found.contraction:.2g}, not below 1: {found.undecided} eigenvalue(s) of "
            f"the Hessian are not separated from zero (the smallest is near {values[worst]:.2e})"
        )
        return found
    # m + V y stays in the box for |y| ≤ ρ
    # (floats: p additions of non-negative numbers lose less than p·2⁻⁵³ of their sum)
    row_sum = arb(float(np.abs(vectors).sum(axis=1).max()) * (1 + p * 2.0**-50))
    rho = (around / row_sum).lower()
    if not step + kappa * rho < rho:
        found.reason = (
            f"Newton's step {found.step:.2g} does not fit into the box of radius {radius:.2g} "
            f"(contraction number {found.contraction:.2g})"
        )
        return found
    length = (step / (1 - kappa)).upper()
    slack = arb(0, (kappa * length).upper())
    zero = [slack - e for e in newton]
    found.offset = [d * v for d, v in zip(scales, (V * arb_mat(p, 1, zero)).entries())]
    found.radius = largest(found.offset)
    # |y|_∞ ≤ |y|_2 ≤ |D⁻¹(θ − m)|_2/σ_min(V), σ_min² ≥ 1 − ‖VᵀV − I‖_∞
    lost = defect(vectors)
    if lost < 1:
        found.unique_radius = (arb(float(D.min())) * rho * arb(1 - lost).sqrt() / arb(p).sqrt()).lower()
    found.proved = True
    return found
