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


def claimed_error(kernel_error: float, parts: list[Stacked]) -> float:
    """The absolute error that the package claims for L(θ).

    L = Σ_ij o_i·o_j K_ij over all units with kernels right to ε √(K_ii K_jj), ε = `kernel_error`: the
    error is at most ε Σ_outputs (Σ_i |o_i| √K_ii)², for a mixture the weighted sum of that.
    """
    return kernel_error * sum(s.component.share * s.total() for s in parts)


def check(case: Case, truths: bool = True) -> Outcome:
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
                _population(case, outcome, rng, truths)
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
    """Whether a number may be beyond Float64: e^u of a large weight."""
    if case.kind != "samples":
        return "exp" in _names(case)
    return isinstance(case.teacher, gf.MLP) and any(
        "exp" in layer for layer in _fuzz_samples.network_names(case.teacher)
    )


def _population(case: Case, outcome: Outcome, rng, truths: bool) -> None:
    theta = case.student.flat()
    problem = gf.Problem(case.teacher, case.student, case.inputs)
    objective = problem.objective
    degrees = {REFERENCES[name].degree for name in _names(case)}
    degree = next(iter(degrees)) if len(degrees) == 1 else None
    parts = [
        Stacked(case.student, case.teacher, c) for c in components(case.inputs, case.student.sizes[0], degree)
    ]
    kernel_error = objective.kernel_error(theta)
    claim = claimed_error(kernel_error, parts)
    loss, gradient, hessian = objective.all_derivatives(theta)
    size = sum(s.component.share * s.total() for s in parts)
    facts = outcome.facts
    facts["kernel error"] = kernel_error
    facts["norm"] = max(float(s.norms.max()) for s in parts)
    facts["claim"] = claim
    if not (math.isfinite(size) and math.isfinite(loss)):
        # an overflow is no number, and has to be one that the sizes explain
        outcome.checks["finite"] = float(size <= 1e290 and math.isfinite(claim)), 0.0
        return
    checks = outcome.checks
    checks["negative"] = -loss, claim
    checks["loss paths"] = (
        max(abs(problem.loss(theta) - loss), abs(objective.loss_and_gradient(theta)[0] - loss)),
        claim,
    )
    if case.equal:
        checks["equal networks"] = abs(loss), claim
    natural = _natural(parts)
    epsilon = max(facts["kernel error"], 2e-15)
    v = rng.standard_normal(theta.size) * natural.moves
    checks["symmetric"] = float(np.abs(hessian - hessian.T).max()), 0.0
    product = problem.hvp(theta, v)
    bend = natural.hessian @ np.abs(v)
    checks["product"] = _worst(product, hessian @ v, bend, 50 * epsilon)
    other, moved = _fuzz_symmetries.turned(case, parts, rng)
    checks["symmetries"] = abs(other - loss), 2.0 * claim + moved
    exact = Truth(0.0, 0.0) if case.equal else None
    found = truth(parts, claim, 2.5e6 if case.kind == "space" else 2.5e7) if truths else None
    if found is not None:
        outcome.truth = found
        checks["loss"] = abs(loss - found.loss), claim + found.error
        facts["truth"] = found.dimensions
        facts["blunt"] = found.error > 10.0 * claim
        # a loss is a Float64 number: what its rounding to the nearest one costs in the mean is the least
        facts["actual"] = max(abs(loss - found.loss), 2.0**-54 * abs(loss))
        checks["gradient"] = _worst(gradient, found.gradient, natural.gradient, 10 * epsilon)
        if found.hessian is not None and not natural.dead:
            checks["Hessian"] = _worst(hessian, found.hessian, natural.hessian, 1000 * epsilon)
    elif exact is not None:
        outcome.truth = exact
        facts["truth"] = 0
        facts["actual"] = abs(loss)
    elif truths:
        _sampled(case, outcome, rng, loss, claim, size)
    if (found is None or found.hessian is None) and not natural.dead:
        _slopes(objective, outcome, rng, theta, natural, claim, epsilon)


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
    return _Natural(gradient, hessian, size, dead)


def _worst(given, true, natural, tolerance: float) -> tuple[float, float]:
    """The largest error in natural units, beside the tolerance; zero size asks for equality."""
    difference = np.abs(given - true)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0.0, 0.0, difference / natural)
    return float(ratio.max()), tolerance


def _sampled(case, outcome, rng, loss, claim, size) -> None:
    """L against a mean over draws, where no unit grows so fast that such a mean says nothing."""
    if any(REFERENCES[name].growth > 1 for name in _names(case)):
        return
    law = gf.Gaussian() if case.inputs is None else case.inputs
    X = law.sample(SAMPLES, case.student.sizes[0], rng)
    difference = _fuzz_samples.outputs(case.student, X) - _fuzz_samples.outputs(case.teacher, X)
    squares = (difference**2).sum(axis=1)
    spread = float(squares.std()) / math.sqrt(SAMPLES)
    # what 20,000 draws have not met: of probability below 30/N, and of the size of the terms
    bound = SIGMAS * spread + 30.0 * size / SAMPLES + claim
    outcome.checks["sampled"] = abs(loss - float(squares.mean())), bound


def _slopes(objective, outcome, rng, theta, natural, claim, epsilon) -> None:
    """Loss against gradient against Hessian along a random direction, by differences (Ridders)."""
    v = rng.standard_normal(theta.size) * natural.moves
    _, gradient, hessian = objective.all_derivatives(theta)
    best: dict = {}
    previous: list = []
    ratio = 4.0
    for level in range(9):
        h = 0.03 / ratio**level
        (above, up), (below, down) = (objective.loss_and_gradient(theta + s * h * v) for s in (1.0, -1.0))
        row = [(np.append((up - down), above - below) / (2.0 * h))]
        for j, coarse in enumerate(previous):
            row.append(row[j] + (row[j] - coarse) / (ratio ** (2 * (j + 1)) - 1.0))
            error = np.maximum(np.abs(row[j + 1] - row[j]), np.abs(row[j + 1] - coarse))
            for key, part in (("slope", slice(-1, None)), ("curvature", slice(0, -1))):
                worst = float(error[part].max())
                if math.isfinite(worst) and worst < best.get(key, (math.inf,))[0]:
                    best[key] = worst, row[j + 1][part], h
        previous = row
    bounds = {
        "slope": float(natural.gradient @ np.abs(v)),
        "curvature": float((natural.hessian @ np.abs(v)).max()),
    }
    noise = {"slope": claim, "curvature": 10 * epsilon * float(natural.gradient.max())}
    exact = {"slope": np.array([gradient @ v]), "curvature": hessian @ v}
    for key, (error, value, h) in best.items():
        difference = float(np.abs(value - exact[key]).max())
        outcome.checks[key] = (
            difference,
            (30.0 * error + (1e-9 + 100 * epsilon) * bounds[key] + 10.0 * noise[key] / h),
        )
