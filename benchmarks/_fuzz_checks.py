"""What a case of the fuzz run is held against: pairs (error, bound), each of which can fail."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

import gradflow as gf

from . import _fuzz_samples, _fuzz_symmetries
from ._fuzz_activations import REFERENCES
from ._fuzz_cases import Case
from ._fuzz_truth import Stacked, Truth, components, names_of, truth

SAMPLES = 20_000
"""Draws of a law where there is no quadrature."""

SIGMAS = 7.0
"""2.6e-12 of a normal law: one false alarm in 10⁵ cases with a probability of 3e-7."""

TINY = 1e-9
"""Derivatives of a unit that is off (σ' below this in the mean) are not held to their own size."""

LEAST = 1e-12
"""Components of the gradient and the Hessian are held to this part of the largest, if they are smaller."""

GRADIENT, PRODUCT, HESSIAN = 60, 100, 3000
"""Bounds of relative errors of derivatives, in units of the kernel's error and of the weights' last bits.

The package claims an error of the loss; these are what 10⁴ cases showed, doubled: a wrong road is wrong by
far more. In natural units, which count what cancels, not what is left.
"""

LAST_BIT = 2.2e-16
"""Of a weight: on a unit of norm r it moves the field by r times as much."""


@dataclass
class Outcome:
    """What a case showed.

    checks   name -> (error, bound); outside where the error is not ≤ the bound
    facts    numbers for the statistics: "kernel error", "claim", "norm", "actual", …
    status   "checked", "refused" (an `ArgumentError` that has its reason) or "raised"
    """

    status: str = "checked"
    message: str = ""
    checks: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    truth: Truth | None = None
    seconds: float = 0.0

    @property
    def outside(self) -> list[str]:
        """Names of the checks that failed."""
        return [name for name, (error, bound) in self.checks.items() if not error <= bound]


def check(case: Case) -> Outcome:
    """Run every check that the case allows; exceptions become the outcome."""
    start = time.perf_counter()
    outcome = Outcome()
    rng = np.random.default_rng([case.index, 1])
    try:
        with np.errstate(all="ignore"):
            if case.kind == "samples":
                problem = gf.Problem(case.teacher, case.student, case.inputs, **case.options)
                outcome.checks.update(_fuzz_samples.compared(case, problem, rng))
            else:
                _population(case, outcome, rng)
    except gf.ArgumentError as error:
        outcome.status = "refused" if _may_refuse(case) else "raised"
        outcome.message = f"ArgumentError: {error}"
    except Exception as error:  # whatever it is, it is found out
        outcome.status, outcome.message = "raised", f"{type(error).__name__}: {error}"
    outcome.seconds = time.perf_counter() - start
    return outcome


def _names(case: Case) -> list[str]:
    return [n for network in (case.teacher, case.student) for n in names_of(network) if n is not None]


def _may_refuse(case: Case) -> bool:
    """Whether a number may be beyond Float64: e^u of a large weight, powers of powers of one."""
    if case.kind != "samples":
        return "exp" in _names(case)
    if not isinstance(case.teacher, gf.MLP):
        return False
    layers = _fuzz_samples.network_names(case.teacher)
    return any(REFERENCES[name].growth > 1 for layer in layers for name in layer)


@dataclass
class _Posed:
    """A population problem at its θ: what the package says, and the sizes it is measured in.

    size    Σ_outputs (Σ_i |o_i| √K_ii)², the unit of the kernel error
    claim   the absolute error of L that the package claims
    """

    problem: gf.Problem
    theta: np.ndarray
    parts: list[Stacked]
    kernel_error: float
    claim: float
    size: float
    loss: float
    gradient: np.ndarray
    hessian: np.ndarray
    natural: _Natural

    @property
    def epsilon(self) -> float:
        """The unit of tolerances for derivatives: nothing is better than the last bit of the weights."""
        norm = max(float(part.norms.max()) for part in self.parts)
        lost = max(max(part.cancelled, part.off) for part in self.parts)
        return max(self.kernel_error, 2e-15, LAST_BIT * norm, LAST_BIT * lost)


def _posed(case: Case) -> _Posed:
    problem, theta = gf.Problem(case.teacher, case.student, case.inputs), case.student.flat()
    degrees = {REFERENCES[name].degree for name in _names(case)}
    degree = degrees.pop() if len(degrees) == 1 else None
    laws = components(case.inputs, case.student.sizes[0], degree)
    parts = [Stacked(case.student, case.teacher, law) for law in laws]
    kernel_error = problem.objective.kernel_error(theta)
    size = sum(part.component.share * part.total() for part in parts)
    claim = problem.loss_error(theta)
    derivatives = problem.objective.all_derivatives(theta)
    return _Posed(problem, theta, parts, kernel_error, claim, size, *derivatives, _natural(parts))


def _population(case: Case, outcome: Outcome, rng) -> None:
    posed = _posed(case)
    norm = max(float(part.norms.max()) for part in posed.parts)
    outcome.facts.update({"kernel error": posed.kernel_error, "claim": posed.claim, "norm": norm})
    if not (math.isfinite(posed.kernel_error) and math.isfinite(posed.claim)):  # nothing is claimed
        return
    if not (math.isfinite(posed.size) and math.isfinite(posed.loss)):
        # an overflow is no number, and has to be one that the sizes explain
        outcome.checks["finite"] = float(posed.size <= 1e290), 0.0
        return
    _consistent(case, posed, outcome.checks, rng)
    found = truth(posed.parts, posed.claim, 2.5e6 if case.kind == "space" else 2.5e7)
    if found is not None:
        _against(found, posed, outcome)
    elif case.equal:
        outcome.truth = Truth()
        outcome.facts.update({"truth": 0, "actual": abs(posed.loss)})
    else:
        _sampled(case, posed, outcome.checks, rng)
    if (found is None or found.hessian is None) and not posed.natural.dead:
        _slopes(case, posed, outcome.checks, rng)


def _consistent(case: Case, posed: _Posed, checks: dict, rng) -> None:
    """What needs no truth: signs, identities, and one road against another."""
    problem, theta, loss, claim = posed.problem, posed.theta, posed.loss, posed.claim
    checks["negative"] = -loss, claim
    others = problem.loss(theta), problem.objective.loss_and_gradient(theta)[0]
    checks["loss paths"] = max(abs(other - loss) for other in others), claim
    if case.equal:
        checks["equal networks"] = abs(loss), claim
    other, moved = _fuzz_symmetries.turned(case, posed.parts, rng)
    bound = 2.0 * claim + moved
    checks["symmetries"] = abs(other - loss), math.inf if math.isnan(bound) else bound
    checks["symmetric"] = float(np.abs(posed.hessian - posed.hessian.T).max()), 0.0
    v = rng.standard_normal(theta.size) * posed.natural.moves
    scale = posed.natural.hessian @ np.abs(v)
    checks["product"] = _worst(problem.hvp(theta, v), posed.hessian @ v, scale, PRODUCT * posed.epsilon)


def _against(found: Truth, posed: _Posed, outcome: Outcome) -> None:
    """Loss, gradient and Hessian against the truth."""
    outcome.truth = found
    error, natural = abs(posed.loss - found.loss), posed.natural
    blunt = found.error > 10.0 * posed.claim  # the truth's own error is an estimate, and all there is
    outcome.checks["loss"] = error, posed.claim + (10.0 if blunt else 1.0) * found.error
    # a loss is a Float64 number: what its rounding to the nearest one costs in the mean is the least
    actual = max(error, 2.0**-54 * abs(posed.loss))
    outcome.facts.update({"truth": found.dimensions, "actual": actual, "blunt": blunt})
    if blunt:
        return
    if found.gradient is not None:
        gradient = _worst(posed.gradient, found.gradient, natural.gradient, GRADIENT * posed.epsilon)
        outcome.checks["gradient"] = gradient
    if found.hessian is not None and not natural.dead:
        hessian = _worst(posed.hessian, found.hessian, natural.hessian, HESSIAN * posed.epsilon)
        outcome.checks["Hessian"] = hessian


@dataclass
class _Natural:
    """The sizes of the terms that derivatives are sums of, by Cauchy and Schwarz, in flat θ.

    moves   a step of this size in a parameter is a relative change of its neuron
    dead    a kinked unit stands at zero, where second derivatives are a convention
    """

    gradient: np.ndarray
    hessian: np.ndarray
    moves: np.ndarray
    dead: bool


def _natural(parts: list[Stacked]) -> _Natural:
    student = parts[0].student
    n, d, width = parts[0].hidden, student.sizes[0], student.sizes[2]
    hidden, last = (b is not None for b in student.biases)
    # rows: what moves z_i, by neuron, then what moves output weights, by output and unit
    inner = [i for i in range(n) for _ in range(d)] + list(range(n)) * hidden
    outer = [(o, i) for o in range(width) for i in range(n)]
    order = [(None, i) for i in inner] + outer + [(o, n) for o in range(width)] * last
    kinds = np.array([-1 if o is None else o for o, _ in order])
    units = np.array([i for _, i in order])
    gradient = np.zeros(len(order))
    hessian = np.zeros((len(order), len(order)))
    dead = False
    same = units[:, None] == units[None, :]
    for s in parts:
        share = s.component.share
        pull = np.abs(s.outputs) @ s.value_sizes  # (outputs,)
        stretch = float(np.abs(s.component.factor).sum(axis=0).max() + np.abs(s.component.mean).max())
        values = s.value_sizes + TINY
        with np.errstate(divide="ignore"):
            inverse = np.where(s.norms > 0.0, 1.0 / s.norms, 0.0)
        # what the package claims for ∂_w K is relative to √(K K)/|w|
        slopes = np.maximum(s.slope_sizes, values * inverse) + TINY
        curves = np.maximum(s.curve_sizes, values * inverse**2) + TINY
        level = np.where(kinds < 0, slopes[units] * max(stretch, 1.0), values[units])
        mine = np.abs(s.outputs[:, : s.moving])
        pulls = mine.T @ pull
        weight = np.where(kinds < 0, pulls[units], pull[kinds])
        gradient += share * 2.0 * weight * level
        gram = mine.T @ mine
        z, a = kinds < 0, kinds >= 0
        block = np.zeros_like(hessian)
        block[np.ix_(z, z)] = gram[np.ix_(units[z], units[z])] * np.outer(level[z], level[z])
        block[np.ix_(a, a)] = (kinds[a][:, None] == kinds[a][None, :]) * np.outer(level[a], level[a])
        cross = mine[kinds[a]][:, units[z]].T * np.outer(level[z], level[a])
        cross += same[np.ix_(z, a)] * level[z][:, None] * pull[kinds[a]][None, :]
        block[np.ix_(z, a)], block[np.ix_(a, z)] = cross, cross.T
        curve = curves[units] * max(stretch, 1.0) ** 2 * pulls[units]
        block[np.ix_(z, z)] += (same * curve[:, None])[np.ix_(z, z)]
        hessian += share * 2.0 * block
        for name, norm, bias in zip(s.names[:n], s.norms, s.biases):
            dead |= bool(REFERENCES[name].pieces and norm <= 1e-12 * float(abs(bias) + 1e-290))
    W = student.weights[0]
    norms = np.linalg.norm(W, axis=1)
    scale = np.append(np.where(norms > 0.0, norms, 1.0), 1.0)[np.minimum(units, n)]
    outputs = np.abs(student.weights[1])
    size = np.where(kinds < 0, scale, 1e-3 + np.append(outputs.max(axis=0), 1.0)[np.minimum(units, n)])
    gradient = np.maximum(gradient, LEAST * gradient.max())
    hessian = np.maximum(hessian, LEAST * hessian.max())
    return _Natural(gradient, hessian, size, dead)


def _worst(given, true, natural, tolerance: float) -> tuple[float, float]:
    """The largest error in natural units, beside the tolerance; zero size asks for equality."""
    difference = np.abs(given - true)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0.0, 0.0, difference / natural)
    ratio = np.where(np.isfinite(natural), ratio, 0.0)  # sizes beyond Float64: nothing is asked
    return float(ratio.max()), tolerance


def _sampled(case: Case, posed: _Posed, checks: dict, rng) -> None:
    """L against a mean over draws, where no unit grows so fast that such a mean says nothing."""
    if any(REFERENCES[name].growth > 1 for name in _names(case)):
        return
    law = gf.Gaussian() if case.inputs is None else case.inputs
    dim = case.student.sizes[0]
    if "StudentT" in repr(law):  # its draws have no variance; homogeneous units know its Gaussian
        parts = [part.component for part in posed.parts]
        draws = [
            (c.share, (c.mean + rng.standard_normal((SAMPLES, dim)) @ c.factor.T).astype(np.float64))
            for c in parts
        ]
    else:
        draws = [(1.0, law.sample(SAMPLES, dim, rng))]
    mean = variance = 0.0
    for share, X in draws:
        difference = _fuzz_samples.outputs(case.student, X) - _fuzz_samples.outputs(case.teacher, X)
        squares = (difference**2).sum(axis=1)
        mean += share * float(squares.mean())
        variance += (share * float(squares.std())) ** 2 / SAMPLES
    # what 20,000 draws have not met: of probability below 30/N, and of the size of the terms
    bound = SIGMAS * math.sqrt(variance) + 30.0 * posed.size / SAMPLES + posed.claim
    checks["sampled"] = abs(posed.loss - mean), bound


def _slopes(case: Case, posed: _Posed, checks: dict, rng) -> None:
    """Loss against gradient against Hessian along a random direction, by differences (Ridders)."""
    objective, theta, natural = posed.problem.objective, posed.theta, posed.natural
    v = rng.standard_normal(theta.size) * natural.moves
    parts = {"slope": slice(-1, None), "curvature": slice(0, -1)}
    exact = {"slope": np.array([posed.gradient @ v]), "curvature": posed.hessian @ v}
    scales = {
        "slope": float(natural.gradient @ np.abs(v)),
        "curvature": float((natural.hessian @ np.abs(v)).max()),
    }
    best: dict = {}
    previous: list = []
    ratio = 4.0
    # waves that turned often between the points would look like a plateau
    turns = max(float(part.norms.max()) for part in posed.parts)
    first = 0.03 / max(1.0, turns if any(REFERENCES[name].waves for name in _names(case)) else 1.0)
    for level in range(9):
        h = first / ratio**level
        (above, up), (below, down) = (objective.loss_and_gradient(theta + s * h * v) for s in (1.0, -1.0))
        row = [np.append(up - down, above - below) / (2.0 * h)]
        for j, coarse in enumerate(previous):
            row.append(row[j] + (row[j] - coarse) / (ratio ** (2 * (j + 1)) - 1.0))
            error = np.maximum(np.abs(row[j + 1] - row[j]), np.abs(row[j + 1] - coarse))
            for key, part in parts.items():
                worst = float(error[part].max())
                if worst < best.get(key, (math.inf,))[0]:
                    best[key] = worst, row[j + 1][part], h
        previous = row
    for key, (error, value, h) in best.items():
        if key == "slope":  # the losses that were subtracted may be far larger than the one at θ
            noise = max(posed.problem.loss_error(theta + s * h * v) for s in (1.0, 0.0, -1.0))
        else:
            noise = 10 * posed.epsilon * float(natural.gradient.max())
        tolerance = 30.0 * error + (1e-9 + 100 * posed.epsilon) * scales[key] + 10.0 * noise / h
        checks[key] = float(np.abs(value - exact[key]).max()), tolerance
