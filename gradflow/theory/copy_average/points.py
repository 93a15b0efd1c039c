"""Checks of copy/average: one-neuron optima, CA points as critical points, the best partition."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...losses.problem import Problem
from ...networks import MLP
from ...refiners import TrustRegionNewton
from ...run.training import train
from ...teachers import orthonormal
from ..check import Check, at_most
from ..registry import Progress, register
from .configurations import SOURCE, OneNeuron, bucket_student, one_neuron, partitions

__all__ = [
    "LARGEST_BY_NEWTON",
    "check_best_partition",
    "check_concave",
    "check_critical",
    "check_one_neuron",
    "check_orthogonal",
    "minimise_along_the_sum",
    "minimise_the_loss",
]


def __dir__() -> list[str]:
    return sorted(__all__)


DIGITS = 40

LARGEST_BY_NEWTON = 50
"""Beyond, the full Hessian's condition number, about ℓ⁵ for erf, is past what Newton in Float64 resolves."""


def minimise_along_the_sum(teachers: int, activation: str) -> OneNeuron:
    """The one-neuron optimum by mpmath: a eliminated, the root of dL/dr along Σ v_j/√ℓ, 40 digits.

    Parameters
    ----------
    teachers : int
        ℓ.
    activation : str
        "erf" or "relu".

    Returns
    -------
    OneNeuron

    Notes
    -----
    L(r) = ℓ K(1) − ℓ² K(r, 1)²/K(r, r) (+ pairs of teachers for relu), from the kernels alone.

    Examples
    --------
    >>> bool(abs(minimise_along_the_sum(3, "erf").norm - one_neuron(3).norm) < 1e-14)
    True
    """
    from mpmath import mp

    with mp.workdps(DIGITS):
        l = mp.mpf(teachers)
        cosine = 1 / mp.sqrt(l)
        if activation == "erf":

            def kernels(r):
                cross = 2 / mp.pi * mp.asin(r * cosine / mp.sqrt(2 * (1 + r * r)))
                return cross, 2 / mp.pi * mp.asin(r * r / (1 + r * r)), l / 3

            def explained(r):
                cross, own, _ = kernels(r)
                return cross**2 / own

            norm = mp.findroot(lambda r: mp.diff(explained, r), 1.1 / mp.sqrt(2 * l - 1) if l > 1 else 1.05)
        else:
            angle = mp.atan2(mp.sqrt(1 - cosine**2), cosine)

            def kernels(r):
                cross = r * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / (2 * mp.pi)
                return cross, r * r / 2, l / 2 + l * (l - 1) / (2 * mp.pi)

            cross, own, _ = kernels(mp.mpf(1))
            norm = mp.sqrt(l * cross / own)  # a = |w|
        cross, own, teacher = kernels(norm)
        output = l * cross / own
        return OneNeuron(float(output), float(norm), float(teacher - (l * cross) ** 2 / own))


def minimise_the_loss(teachers: int, activation: str, seed: int) -> tuple[OneNeuron, float]:
    """The one-neuron optimum by Newton's method on the full loss from a random start in d = ℓ + 1.

    Parameters
    ----------
    teachers : int
        ℓ.
    activation : str
        "erf" or "relu".
    seed : int
        Of the start.

    Returns
    -------
    optimum : OneNeuron
    sine : float
        Of the angle between w and Σ v_j.

    Examples
    --------
    >>> optimum, sine = minimise_the_loss(2, "erf", seed=0)
    >>> bool(sine < 1e-7)
    True
    """
    dim = teachers + 1
    start = MLP.random((dim, 1, 1), activation, False, seed=seed)
    # A relu neuron that starts with a negative output weight dies.
    student = MLP([start.weights[0], np.abs(start.weights[1])], None, activation)
    teacher = orthonormal(teachers, dim, activation, seed=seed + 1)
    result = train(teacher, student, solver=None, refiner=TrustRegionNewton(), progress=False)
    w, a = result.student.weights[0][0], float(result.student.weights[1][0, 0])
    norm = float(np.linalg.norm(w))
    along = teacher.weights[0].sum(axis=0) * math.copysign(1.0, a) / math.sqrt(teachers)
    sine = float(np.linalg.norm(w / norm - along))
    if activation == "relu":
        norm = math.sqrt(norm * abs(a))
        a = norm
    return OneNeuron(abs(a), norm, result.loss), sine


@register("copy_average.one_neuron")
def check_one_neuron(
    size: str, progress: Progress, closed: Callable = one_neuron, norm_bound: float = 1.0
) -> list[Check]:
    """The one-neuron optimum by three routes, and the bounds a ≥ ℓ, |w| ≤ 1/√ℓ for erf.

    Parameters
    ----------
    norm_bound : float, default 1.0
        The bound on √ℓ |w| that is tested, 1 in the theorem.

    Returns
    -------
    list[Check]
    """
    counts = [1, 2, 3, 5, 8, 13, 200] if size == "quick" else [*range(1, 31), 50, 100, 300, 1000]
    formulas = {
        "erf": "a = ℓ, |w|² = 1/(2ℓ−1), L = ℓ/3 − (2ℓ²/π) asin(1/(2ℓ))",
        "relu": "a|w| = 2ℓ h(1/√ℓ), L = ℓ/2 + ℓ(ℓ−1)/2π − 2ℓ² h(1/√ℓ)²",
    }
    checks = []
    for activation, formula in formulas.items():
        precise, newton, sines, found = [], [], [], {}
        for l in counts:
            progress(f"one {activation} neuron for {l} teachers")
            precise.append(_apart(closed(l, activation), minimise_along_the_sum(l, activation)))
            if l <= LARGEST_BY_NEWTON:
                found[l], sine = minimise_the_loss(l, activation, seed=l)
                newton.append(_apart(closed(l, activation), found[l]) / l**2)
                sines.append(sine)
        check = Check(
            name=f"copy_average.one_neuron.{activation}",
            statement=(
                f"The best single neuron for ℓ orthonormal teachers, {formula}, along Σ v_j: the closed "
                "form, a one-dimensional root in 40 digits and Newton's method on the full loss from a "
                "random start (ℓ ≤ 50, where its Hessian can be resolved) agree in a, |w| and L."
            ),
            source=f"{SOURCE}; the closed form is derived",
            parts=[
                at_most("distance from the root in 40 digits", precise, 1e-13),
                at_most("distance from Newton's end over ℓ²", newton, 2e-14),
                at_most("sine of its angle to the sum", sines, 1e-14),
            ],
            computed={"teachers": counts, "losses": [closed(l, activation).loss for l in counts]},
        )
        checks.append(check)
        if activation == "erf":
            bounds = _check_bounds(found, norm_bound)
    return [*checks, bounds]


def _apart(one: OneNeuron, other: OneNeuron) -> float:
    """The largest relative difference (absolute below one) of a, |w| and L."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(one, other))


def _check_bounds(found: dict[int, OneNeuron], norm_bound: float) -> Check:
    return Check(
        name="copy_average.one_neuron.bounds",
        statement="For erf, the best neuron for ℓ teachers has a ≥ ℓ and |w| ≤ 1/√ℓ (by Newton).",
        source=SOURCE,
        parts=[
            at_most("(1 − a/ℓ)/ℓ²", [(1 - f.output / l) / l**2 for l, f in found.items()], 2e-14),
            at_most("√ℓ |w| − 1", [f.norm * l**0.5 - norm_bound for l, f in found.items()], 1e-14),
        ],
        computed={"teachers": list(found), "a": [f.output for f in found.values()]}
        | {"norm": [f.norm for f in found.values()]},
    )


@register("copy_average.critical")
def check_critical(
    size: str, progress: Progress, activation: str = "erf", optimum: Callable = one_neuron
) -> Check:
    """Every CA point is critical, and its loss the sum of its buckets'."""
    top, samples, wide = (7, 20, (100,)) if size == "quick" else (10, 200, (100, 300, 1000))
    rng = np.random.default_rng(2023)
    cases = [p for k in range(1, top + 1) for n in range(1, k + 1) for p in partitions(k, n)]
    for _ in range(samples):  # beyond: random cuts of up to 60 teachers
        k = int(rng.integers(top + 1, 61))
        n = int(rng.integers(1, k + 1))
        cuts = np.sort(rng.choice(np.arange(1, k), n - 1, replace=False)) if n > 1 else np.empty(0, int)
        cases.append(tuple(np.diff(np.concatenate([[0], cuts, [k]])).astype(int).tolist()))
    cases += [(*[1] * (k // 2 - 1), k - k // 2 + 1) for k in wide]
    gradients, additive = [], []
    for index, sizes in enumerate(cases):
        if index % 20 == 0:
            progress(f"CA points {index} of {len(cases)}")
        k = sum(sizes)
        teacher = orthonormal(k, k + 1, activation, seed=index)
        student = bucket_student(sizes, teacher.weights[0], activation, optimum)
        loss, slope = Problem(teacher, student).loss_and_gradient(student.flat())
        gradients.append(float(np.abs(slope).max()) / k)
        additive.append(abs(loss - sum(optimum(l, activation).loss for l in sizes)) / k)
    return Check(
        name="copy_average.critical",
        statement=(
            "Every copy-average point (erf) is a critical point of the full loss, and its loss is Σ_i L(ℓ_i) "
            "over its buckets: all partitions of small k, random ones beyond."
        ),
        source=SOURCE,
        parts=[
            at_most("|∇L|_∞/k", gradients, 3e-14),
            at_most("|L − Σ L(ℓ_i)|/k", additive, 3e-15),
        ],
        computed={"largest k": max(map(sum, cases))},
    )


@register("copy_average.orthogonal")
def check_orthogonal(size: str, progress: Progress, activation: str = "erf", push: float = 1e-3) -> Check:
    """The weight vectors of the critical points near CA points, found by Newton, are orthogonal."""
    top = 6 if size == "quick" else 9
    angles, away, gradients = [], [], []
    for seed, sizes in enumerate(
        p for k in range(2, top + 1) for n in range(2, k + 1) for p in partitions(k, n)
    ):
        progress(f"Newton to the CA point {'+'.join(map(str, sizes))}")
        k = sum(sizes)
        teacher = orthonormal(k, k + 1, activation, seed=seed)
        exact = bucket_student(sizes, teacher.weights[0], activation)
        pushed = np.random.default_rng(seed).standard_normal(exact.flat().size) * push
        result = train(
            teacher,
            exact.with_flat(exact.flat() + pushed),
            solver=None,
            refiner=TrustRegionNewton(target="critical point"),
            progress=False,
        )
        W = result.student.weights[0]
        gram = W @ W.T / np.outer(np.linalg.norm(W, axis=1), np.linalg.norm(W, axis=1))
        angles.append(float(np.abs(gram - np.eye(len(W))).max()) / k**3)
        away.append(float(np.abs(result.theta - exact.flat()).max()) / k**4)
        gradients.append(result.grad_norm)
    return Check(
        name="copy_average.orthogonal",
        statement=(
            f"Newton's method on ∇L = 0 from copy-average points (erf) with {push:g} randn added to every "
            "weight finds critical points whose weight vectors are orthogonal: the copy-average points, "
            "which are isolated."
        ),
        source=SOURCE,
        parts=[
            at_most("|∇L|_∞", gradients, 3e-14),
            at_most("cosine of two weight vectors over k³", angles, 3e-15),
            at_most("distance from the copy-average point over k⁴", away, 2e-15),
        ],
        computed={"largest k": top},
    )


@register("copy_average.concave")
def check_concave(size: str, progress: Progress, loss: Callable | None = None) -> Check:
    """L(ℓ) is discrete concave for erf: every second difference is negative, in 60 digits."""
    from mpmath import mp

    progress("second differences of L")
    top = 300 if size == "quick" else 10_000
    counts = [*range(2, top + 1), *(10**e for e in range(5, 10))]

    def erf_loss(l):
        return l / mp.mpf(3) - 2 * l * l / mp.pi * mp.asin(1 / (2 * l))

    loss = loss or erf_loss
    with mp.workdps(60):
        limit = -1 / (12 * mp.pi)
        scaled = [l**3 * (loss(mp.mpf(l + 1)) - 2 * loss(mp.mpf(l)) + loss(mp.mpf(l - 1))) for l in counts]
        above = [float(value - limit) for value in scaled]
        apart = [float((limit - value) * l**2 / -limit) for value, l in zip(scaled, counts)]
        slope = loss(mp.mpf(10**9)) / 10**9
        rest = float(10**18 * abs(slope - 1 / mp.mpf(3) + 1 / mp.pi))
    return Check(
        name="copy_average.concave",
        statement=(
            "L(ℓ) = ℓ/3 − (2ℓ²/π) asin(1/(2ℓ)) is discrete concave on ℓ ≥ 1: every second difference times "
            "ℓ³ is below its limit for large ℓ, −1/(12π), by a share of 0 to 4/ℓ². L/ℓ → 1/3 − 1/π."
        ),
        source=f"{SOURCE}, discrete concavity; the limits are derived",
        parts=[
            at_most("second difference · ℓ³ less the limit", above, 0.0),
            at_most("ℓ² times the share that it is below the limit", apart, 4.0),
            at_most("ℓ² |L/ℓ − 1/3 + 1/π| at 10⁹", rest, 1.01 / (24 * math.pi)),
        ],
        computed={"at 2": float(scaled[0]), "limit": float(limit), "largest ℓ": counts[-1]},
    )


@register("copy_average.best_partition")
def check_best_partition(size: str, progress: Progress, activation: str = "erf") -> Check:
    """The best of all partitions, by dynamic programming over k and n, is (1, …, 1, k − n + 1)."""
    top = 60 if size == "quick" else 400
    loss = np.array([0.0] + [one_neuron(l, activation).loss for l in range(1, top + 1)])
    best = np.full(top + 1, np.inf)
    best[0] = 0.0
    excess = []
    for n in range(1, top + 1):
        progress(f"partitions into {n}")
        nxt = np.full(top + 1, np.inf)
        for k in range(n, top + 1):
            nxt[k] = (best[:k] + loss[k:0:-1]).min()
        best = nxt
        excess += [(n - 1) * loss[1] + loss[k - n + 1] - best[k] for k in range(n, top + 1)]
    return Check(
        name="copy_average.best_partition",
        statement=(
            "Among all partitions of k teachers into n buckets, n − 1 copies and one average of k − n + 1 "
            "have the smallest loss, for all n ≤ k."
        ),
        source=SOURCE,
        parts=[at_most("claimed loss less the smallest", excess, 1e-15 * top)],
        computed={"largest k": top},
    )
