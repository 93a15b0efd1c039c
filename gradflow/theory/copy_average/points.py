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
from ..check import Check
from ..registry import Progress, register
from .configurations import SOURCE, OneNeuron, copy_average, one_neuron, partitions

DIGITS = 40

LARGEST_BY_NEWTON = 50
"""Beyond, the full Hessian's condition number, about ℓ⁵ for erf, is past what Newton in Float64 resolves."""


def minimise_along_the_sum(teachers: int, activation: str) -> OneNeuron:
    """The one-neuron optimum by mpmath: a eliminated, the root of dL/dr along Σ v_j/√ℓ, 40 digits.

    L(r) = ℓ K(1) − ℓ² K(r, 1)²/K(r, r) (+ pairs of teachers for relu), from the kernels alone.
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

    Also the sine of the angle between w and Σ v_j.
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

    norm_bound   the bound on √ℓ |w| that is tested, 1 in the theorem
    """
    counts = [1, 2, 3, 5, 8, 13, 200] if size == "quick" else [*range(1, 31), 50, 100, 300, 1000]
    checks = []
    found: dict[int, OneNeuron] = {}
    for activation in ("erf", "relu"):
        worst, sines = 0.0, 0.0
        for l in counts:
            progress(f"one {activation} neuron for {l} teachers")
            formula = closed(l, activation)
            precise = minimise_along_the_sum(l, activation)
            others = [precise]
            if l <= LARGEST_BY_NEWTON:
                newton, sine = minimise_the_loss(l, activation, seed=l)
                others, sines = [precise, newton], max(sines, sine)
                if activation == "erf":
                    found[l] = newton
            for other in others:
                gaps = [abs(a - b) / max(1.0, abs(b)) for a, b in zip(formula, other)]
                worst = max(worst, *gaps)
        checks.append(
            Check(
                name=f"copy_average.one_neuron.{activation}",
                statement=(
                    "The best single neuron for ℓ orthonormal teachers, "
                    + (
                        "a = ℓ, |w|² = 1/(2ℓ−1), L = ℓ/3 − (2ℓ²/π) asin(1/(2ℓ))"
                        if activation == "erf"
                        else "a|w| = 2ℓ h(1/√ℓ), L = ℓ/2 + ℓ(ℓ−1)/2π − 2ℓ² h(1/√ℓ)²"
                    )
                    + ", along Σ v_j: the closed form, a one-dimensional root in 40 digits and Newton's "
                    "method on the full loss from a random start (ℓ ≤ 50) agree in a, |w| and L."
                ),
                source=f"{SOURCE}; the closed form is derived",
                computed={"teachers": counts, "losses": [closed(l, activation).loss for l in counts]}
                | {"sine of the angle to the sum": sines},
                residual=max(worst, sines),
                tolerance=2e-11,
            )
        )
    excess = max(max(1 - f.output / l, f.norm * l**0.5 - norm_bound) for l, f in found.items())
    checks.append(
        Check(
            name="copy_average.one_neuron.bounds",
            statement=(
                "For erf, the best neuron for ℓ teachers has a ≥ ℓ and |w| ≤ 1/√ℓ (by Newton; relative)."
            ),
            source=SOURCE,
            computed={"teachers": list(found), "a": [f.output for f in found.values()]}
            | {"norm": [f.norm for f in found.values()]},
            residual=max(0.0, excess),
            tolerance=2e-11,
        )
    )
    return checks


@register("copy_average.critical")
def check_critical(
    size: str,
    progress: Progress,
    activation: str = "erf",
    optimum: Callable = one_neuron,
    build: Callable = copy_average,
) -> list[Check]:
    """Every CA point is critical, its loss the sum of its buckets', its weight vectors orthogonal."""
    top, samples, wide = (7, 20, (100,)) if size == "quick" else (10, 200, (100, 300, 1000))
    rng = np.random.default_rng(2023)
    cases = [p for k in range(1, top + 1) for n in range(1, k + 1) for p in partitions(k, n)]
    for _ in range(samples):  # beyond: random cuts of up to 60 teachers
        k = int(rng.integers(top + 1, 61))
        n = int(rng.integers(1, k + 1))
        cuts = np.sort(rng.choice(np.arange(1, k), n - 1, replace=False)) if n > 1 else np.empty(0, int)
        cases.append(tuple(np.diff(np.concatenate([[0], cuts, [k]])).astype(int).tolist()))
    cases += [(*[1] * (k // 2 - 1), k - k // 2 + 1) for k in wide]
    gradient, additive, overlap, scale = 0.0, 0.0, 0.0, 0.0
    for index, sizes in enumerate(cases):
        if index % 20 == 0:
            progress(f"CA points {index} of {len(cases)}")
        k = sum(sizes)
        teacher = orthonormal(k, k + 1, activation, seed=index)
        student = build(sizes, teacher.weights[0], activation, optimum)
        loss, slope = Problem(teacher, student).loss_and_gradient(student.flat())
        gradient = max(gradient, float(np.abs(slope).max()) / k)
        additive = max(additive, abs(loss - sum(optimum(l, activation).loss for l in sizes)) / k)
        W = student.weights[0]
        gram = W @ W.T
        overlap = max(overlap, float(np.abs(gram - np.diag(np.diag(gram))).max()))
        scale = max(scale, k)
    numbers = {"points": len(cases), "largest k": scale}
    return [
        Check(
            name="copy_average.critical.gradient",
            statement="Every copy-average point (erf) is a critical point of the full loss: |∇L|_∞/k = 0.",
            source=SOURCE,
            computed=numbers | {"largest gradient over k": gradient},
            residual=gradient,
            tolerance=2e-14,
        ),
        Check(
            name="copy_average.critical.additive",
            statement="The loss of a copy-average point is Σ_i L(ℓ_i) over its buckets (residual over k).",
            source=SOURCE,
            computed=numbers | {"largest difference over k": additive},
            residual=additive,
            tolerance=1e-14,
        ),
        Check(
            name="copy_average.critical.orthogonal",
            statement="The weight vectors of a copy-average point are orthogonal to each other.",
            source=SOURCE,
            computed=numbers,
            residual=overlap,
            tolerance=1e-14,
        ),
    ]


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
        scaled = [
            float(l**3 * (loss(mp.mpf(l + 1)) - 2 * loss(mp.mpf(l)) + loss(mp.mpf(l - 1)))) for l in counts
        ]
        second = max(scaled)
    return Check(
        name="copy_average.concave",
        statement=(
            "L(ℓ) = ℓ/3 − (2ℓ²/π) asin(1/(2ℓ)) is discrete concave on ℓ ≥ 1: every second difference times "
            "ℓ³ is at most its limit for large ℓ, −1/(12π)."
        ),
        source=f"{SOURCE}, discrete concavity; the limit is derived",
        computed={"largest scaled second difference": second, "limit": -1 / (12 * math.pi)}
        | {"at 2": scaled[0], "largest l": counts[-1], "L/l there": float(one_neuron(10**6).loss / 10**6)},
        residual=max(0.0, second + 1 / (12 * math.pi)),
        tolerance=1e-6,
    )


@register("copy_average.best_partition")
def check_best_partition(size: str, progress: Progress, activation: str = "erf") -> Check:
    """The best of all partitions, by dynamic programming over k and n, is (1, …, 1, k − n + 1)."""
    top = 60 if size == "quick" else 400
    loss = np.array([0.0] + [one_neuron(l, activation).loss for l in range(1, top + 1)])
    best = np.full(top + 1, np.inf)
    best[0] = 0.0
    worst = 0.0
    for n in range(1, top + 1):
        progress(f"partitions into {n}")
        nxt = np.full(top + 1, np.inf)
        for k in range(n, top + 1):
            nxt[k] = (best[:k] + loss[k:0:-1]).min()
        best = nxt
        for k in range(n, top + 1):
            worst = max(worst, (n - 1) * loss[1] + loss[k - n + 1] - best[k])
    return Check(
        name="copy_average.best_partition",
        statement=(
            "Among all partitions of k teachers into n buckets, n − 1 copies and one average of k − n + 1 "
            "have the smallest loss (claimed minus smallest, over all n ≤ k)."
        ),
        source=SOURCE,
        computed={"largest k": top, "pairs (n, k)": top * (top + 1) // 2},
        residual=worst,
        tolerance=1e-13,
    )
