"""Copy/average beyond erf: the best single neuron of every activation, and where CA points are critical.

Along u = Σ_j v_j/√ℓ, ℓ orthonormal teachers are on average E[Σ_j σ(v_j·x) | u·x = t] = ℓ E σ(t/√ℓ + √(1 −
1/ℓ) Z), Z standard normal: their Hermite components ℓ^{1−m/2} c_m. An activation that is *closed under
smoothing*, E σ(t + sZ) = A σ(Rt), has a neuron that is this mean exactly: every component m of a bucket's
error is then zero along its own direction, so that buckets neither push nor pull each other: CA points are
critical and their losses add up. erf, normal_cdf, sin, cos, exp and identity are closed; relu, gelu, silu,
tanh, softplus and the others are not, whether odd or not. (For a bucket i and another one j it takes the
components m = 0, 1 of j only.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.optimize

from ...activations import ACTIVATIONS
from ...losses.problem import Problem
from ...networks import MLP
from ...refiners import TrustRegionNewton
from ...run.training import train
from ...teachers import orthonormal
from ..check import Check, at_least, at_most, never
from ..registry import Progress, register
from .configurations import SOURCE, OneNeuron, bucket_student, partitions

__all__ = [
    "CLOSED",
    "PUBLISHED",
    "TO_INFINITY",
    "best_neuron",
    "check_closed",
    "check_not_closed",
    "check_optimum",
    "explained",
    "mean_is_free",
    "smoothed_neuron",
]


def __dir__() -> list[str]:
    return sorted(__all__)


CLOSED = ("erf", "normal_cdf", "sin", "cos", "exp", "identity")
"""Activations of the table that are closed under smoothing by a Gaussian."""

PUBLISHED = {"tanh": (2.090776, 0.493948), "softplus": (2.167918, 0.651495)}
"""a and |w| at ℓ = 2, known from before this module (six decimals)."""

TO_INFINITY = {*(("gelu", l) for l in (2, 3, 5, 10)), *(("silu", l) for l in (3, 5, 10))}
"""(activation, ℓ) for which the best neuron has |w| → ∞, among those that are looked at."""


def smoothed_neuron(teachers: int, activation: str = "erf") -> OneNeuron:
    """The neuron that is the mean of ℓ orthonormal teachers along their sum, for a closed activation.

    Parameters
    ----------
    teachers : int
        ℓ.
    activation : str
        One of `CLOSED`.

    Returns
    -------
    OneNeuron
        a, |w| along Σ v_j/√ℓ, and E(f* − aσ(w·x))².

    Examples
    --------
    >>> smoothed_neuron(4, "erf").output, round(smoothed_neuron(4, "sin").norm, 12)
    (4.0, 0.5)
    """
    l, spread = teachers, 1.0 - 1.0 / teachers
    norm, output = l**-0.5, float(l)
    if activation in ("erf", "normal_cdf"):
        norm = (2 * l - 1) ** -0.5
    elif activation in ("sin", "cos"):
        output = l * math.exp(-0.5 * spread)
    elif activation == "exp":
        output = l * math.exp(0.5 * spread)
    student = MLP([[[norm * l**-0.5] * l], [[output]]], None, activation)
    problem = Problem(orthonormal(l, l, activation), student)
    return OneNeuron(output, norm, problem.loss(problem.theta0))


def explained(activation: str, teachers: int, norm: float) -> tuple[float, float]:
    """What one neuron of length r along Σ v_j can explain of ℓ teachers, and its output weight.

    Parameters
    ----------
    activation : str
        σ.
    teachers : int
        ℓ.
    norm : float
        r.

    Returns
    -------
    share : float
        max over a of 1 − L/E f*².
    output : float
        The best a.

    Notes
    -----
    From three losses, a = −1, 0, 1, which are quadratic in a.

    Examples
    --------
    >>> share, output = explained("erf", 2, 3**-0.5)
    >>> round(output, 12)
    2.0
    """
    row = np.full((1, teachers), norm / math.sqrt(teachers))
    # Rescaling a keeps the three losses apart at any length.
    size = max(norm, 1.0)
    problem = Problem(
        orthonormal(teachers, teachers, activation), MLP([row, [[0.0]]], None, activation), reduce=False
    )
    low, middle, high = (problem.loss(np.append(row[0], a / size)) for a in (-1.0, 0.0, 1.0))
    own, cross = 0.5 * (low + high) - middle, 0.25 * (low - high)
    return cross**2 / own / middle, cross / own / size


def best_neuron(activation: str, teachers: int, longest: float = 300.0) -> tuple[float, float, float]:
    """The best neuron along Σ v_j over all lengths.

    Parameters
    ----------
    activation : str
        σ.
    teachers : int
        ℓ.
    longest : float, default 300
        Where the search ends.

    Returns
    -------
    output, norm : float
        a and |w|; the latter infinite where what is explained still rises at `longest` above all that is
        before.
    share : float
        Of E f*² that is explained.

    Examples
    --------
    >>> best_neuron("gelu", 3)[1]
    inf
    """
    grid = np.geomspace(1e-2, longest, 46)
    shares = np.array([explained(activation, teachers, float(r))[0] for r in grid])
    at = int(shares.argmax())
    if at == grid.size - 1:
        return math.inf, math.inf, float(shares[-1])
    bracket = np.log(grid[[max(at - 1, 0), at + 1]])
    found = scipy.optimize.minimize_scalar(
        lambda s: -explained(activation, teachers, math.exp(s))[0],
        bounds=bracket,
        method="bounded",
        options={"xatol": 1e-9},
    )
    norm = math.exp(found.x)
    return explained(activation, teachers, norm)[1], norm, -float(found.fun)


def check_optimum(
    activations: Sequence[str],
    counts: Sequence[int],
    infinite: set = TO_INFINITY,
    published: dict | None = None,
    progress: Progress | None = None,
) -> Check:
    """The best neuron of other activations: finite or not, the bounds of the source, and critical in full.

    Parameters
    ----------
    activations, counts : sequence
        σ and ℓ.
    infinite : set
        The cases in which it is claimed to run to infinity.
    published : dict, optional
        a and |w| at ℓ = 2, `PUBLISHED` unless given.
    progress : callable, optional
        Told between cases.

    Returns
    -------
    Check
    """
    known = PUBLISHED if published is None else published
    wrong, off, gradients, lowest, ruled, found = [], [], [], [], [], {}
    for name in activations:
        for l in counts:
            if progress is not None:
                progress(f"one {name} neuron for {l} teachers")
            output, norm, share = best_neuron(name, l)
            wrong.append(math.isinf(norm) != ((name, l) in infinite))
            found[f"{name} {l}"] = [output, norm, share]
            bounded = math.isfinite(norm) and output / l >= 1.0 - 1e-9 and norm * math.sqrt(l) <= 1.0 + 1e-9
            ruled.append(bounded != mean_is_free(name))
            if math.isinf(norm):
                continue
            W = np.append(np.full(l, norm / math.sqrt(l)), 0.0)[None]
            start, teacher = MLP([W, [[output]]], None, name), orthonormal(l, l + 1, name)
            end = train(teacher, start, solver=None, refiner=TrustRegionNewton(), progress=False)
            w, a = end.student.weights[0][0], float(end.student.weights[1][0, 0])
            there = float(np.linalg.norm(w))
            off.append(max(abs(there / norm - 1.0), abs(a / output - 1.0)))
            if l == 2 and name in known:
                off.append(max(abs(a - known[name][0]), abs(there - known[name][1])))
            gradients.append(end.grad_norm)
            values = np.linalg.eigvalsh(end.problem.hessian(end.theta))
            lowest.append(float(values[0] / values[-1]))
    return Check(
        name="copy_average.activations.optimum",
        statement="The best single neuron for l orthonormal teachers: a >= l and |w| <= 1/sqrt(l) for "
        "tanh, softplus, sigmoid, g and erf, and not for elu, selu, gelu and silu, of which gelu (l >= 2) "
        "and silu (l >= 3) run to infinity, where they are a relu. What tells them apart: the mean of the "
        "teachers grows like l, their linear part like sqrt(l); a short neuron has so much mean for its "
        "slope if sigma(0) != 0, and needs none if E sigma(z) = 0; the others have sigma(0) = 0 and must "
        "be long.",
        source=f"{SOURCE}, bounds (for activations whose linear part dominates); derived and measured",
        parts=[
            never("cases that are finite where infinity is claimed, or the reverse", wrong),
            never("cases in which the rule and the bounds differ", ruled),
            at_most("distance of the end of Newton's method in d = l + 1, and of known values", off, 2e-6),
            at_most("|∇L|_∞ there", gradients, 1e-13),
            at_least("smallest eigenvalue over the largest", lowest, -1e-9),
        ],
        computed={"a, |w| and the share explained": found},
    )


def mean_is_free(activation: str) -> bool:
    """Whether a short neuron has any mean for its slope: σ(0) ≠ 0, or E σ(z) = 0 so that none is needed.

    Parameters
    ----------
    activation : str
        σ.

    Returns
    -------
    bool

    Examples
    --------
    >>> [mean_is_free(name) for name in ("tanh", "softplus", "gelu")]
    [True, True, False]
    """
    sigma = ACTIVATIONS[activation]
    z = 0.02 * np.arange(-500, 501)
    mean = float(np.sum(sigma(z) * np.exp(-0.5 * z * z)) / np.sum(np.exp(-0.5 * z * z)))
    return bool(sigma(np.zeros(1))[0] != 0.0 or abs(mean) < 1e-12)


def check_closed(
    largest: int = 5, activations: Sequence[str] = CLOSED, optimum: Callable = smoothed_neuron
) -> Check:
    """CA points of activations that are closed under smoothing: all partitions of up to `largest` teachers.

    Parameters
    ----------
    largest : int, default 5
        Of the teacher widths.
    activations : sequence of str
        σ.
    optimum : callable
        Gives the neuron of a bucket, `smoothed_neuron`.

    Returns
    -------
    Check
    """
    gradients, additive = [], []
    for name in activations:
        for k in range(1, largest + 1):
            teacher = orthonormal(k, k + 1, name, seed=k)
            for n in range(1, k + 1):
                for sizes in partitions(k, n):
                    student = bucket_student(sizes, teacher.weights[0], name, optimum)
                    loss, slope = Problem(teacher, student).loss_and_gradient(student.flat())
                    scale = 1.0 if name != "exp" else math.exp(2.0)
                    gradients.append(float(np.abs(slope).max()) / k / scale)
                    parts = [optimum(l, name).loss for l in sizes]
                    additive.append(abs(loss - sum(parts)) / k / scale)
    return Check(
        name="copy_average.activations.closed",
        statement="For activations that are closed under Gaussian smoothing (erf, normal_cdf, sin, cos, "
        "exp, identity; odd or not) the mean of a bucket's teachers along their sum is a neuron; with "
        "these every partition of the teachers is a critical point of the full loss, and the losses of the "
        "buckets add up.",
        source=f"{SOURCE} for erf; the others derived",
        parts=[at_most("|∇L|_∞/k", gradients, 2e-14), at_most("|L − Σ L(ℓ_i)|/k", additive, 3e-14)],
        computed={"activations": list(activations), "largest k": largest},
    )


def check_not_closed(
    activations: Sequence[str] = ("tanh", "softplus", "sigmoid"),
    cases: Sequence[tuple[int, ...]] = ((2, 1), (3, 1)),
) -> Check:
    """CA points of other activations: how far from critical, and the critical point beside each.

    Parameters
    ----------
    activations : sequence of str
        σ.
    cases : sequence of tuple of int
        Sizes of the buckets, of which one is larger than 1.

    Returns
    -------
    Check
    """
    gradients, moved, ends, differences = [], [], [], {}
    for name in activations:
        best = {l: best_neuron(name, l) for l in {size for sizes in cases for size in sizes}}

        def found(l: int, _: str, best=best) -> OneNeuron:
            return OneNeuron(best[l][0], best[l][1], 0.0)

        for sizes in cases:
            k = sum(sizes)
            teacher = orthonormal(k, k + 1, name)
            student = bucket_student(sizes, teacher.weights[0], name, found)
            _, slope = Problem(teacher, student).loss_and_gradient(student.flat())
            refiner = TrustRegionNewton(target="critical point")
            end = train(teacher, student, solver=None, refiner=refiner, progress=False)
            gradients.append(float(np.abs(slope).max()))
            step = end.theta - student.flat()
            moved.append(float(np.linalg.norm(step) / np.linalg.norm(student.flat())))
            ends.append(end.grad_norm)
            differences[f"{name} {'+'.join(map(str, sizes))}"] = [gradients[-1], moved[-1], end.loss]
    return Check(
        name="copy_average.activations.not_closed",
        statement="Best neurons of other activations, one per bucket, are no critical point of the full "
        "loss; Newton's method finds a critical point beside it, moved by a part of the weights: a "
        "perturbed copy and a perturbed average.",
        source=f"{SOURCE}, open question (other activations); measured",
        parts=[
            at_least("|∇L|_∞ at the CA point", gradients, 1e-6),
            at_most("relative distance of the critical point beside it", moved, 0.1),
            at_most("|∇L|_∞ there", ends, 1e-13),
        ],
        computed={"|∇L|_∞, relative distance and L": differences},
    )


@register("copy_average.activations")
def _activations(size: str, progress: Progress) -> Iterator[Check]:
    quick = size == "quick"
    yield check_closed(3 if quick else 7)
    names = ("tanh", "softplus", "gelu", "silu", "elu")
    more = (*names, "selu", "sigmoid", "g", "erf")
    yield check_optimum(names if quick else more, (2, 3) if quick else (2, 3, 5, 10), progress=progress)
    yield check_not_closed(("tanh",), ((2, 1),)) if quick else check_not_closed()
