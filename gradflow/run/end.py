"""What a run has come to: one name for its end, with the numbers that justify it and what is not certain."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..infinity import Limit, Recession, Saturation
from ..losses.tangents import named_tangents
from ..support.stopping import CRITICAL, StopReason
from .curvature import null_part

if TYPE_CHECKING:
    from .result import Result

KINDS = ("critical point", "manifold of minima", "kink", "infinity", "unfinished")
"""What an end can be."""

DECADES = 2.0
"""Exponents are slopes over so many decades of t at the end of a flow."""

MOVING = 1e-3
"""A parameter moves if it changes in the last decade of t by more than this part of the largest weight of a
vector that it belongs to (`MLP.weight_vectors`)."""

NEARLY_ZERO, NORMAL = 1e-8, 1e-5
"""Below the first times what was to be explained L is nearly zero: residuals are to be normal to all
∂f/∂θ_i to the second."""

SHOWN = 3
"""Parameters that still move, in a sentence; `End.moving` has all of them."""


class Evidence(NamedTuple):
    """A number that was measured and, where one is meant, the bound that it was to keep."""

    what: str
    value: float
    tolerance: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the number keeps its bound."""
        return self.tolerance is None or bool(abs(self.value) <= self.tolerance)

    def __str__(self) -> str:
        bound = "" if self.tolerance is None else f" (bound {self.tolerance:.2g})"
        return f"{self.what}: {self.value:.6g}{bound}"


class Moving(NamedTuple):
    """A parameter that still moves: its name, its value, and d log|θ_i| / d log t at the end of the flow."""

    name: str
    value: float
    exponent: float

    def __str__(self) -> str:
        return f"{self.name} = {self.value:.4g} ~ t^{self.exponent:.2f}"


@dataclasses.dataclass(frozen=True, eq=False)
class End:
    """The end of a run.

    Printing it gives one sentence.

    Attributes
    ----------
    kind : str
        "critical point": ∇L = 0 within rounding, or L = 0 at a point without flat directions;
        "manifold of minima": the same at a minimum that is one of a continuum;
        "kink": a point at which the gradient jumps and its generalised one has an element zero
        (`Result.kink`): a local minimum, or none;
        "infinity": no minimum on this path, the loss approaches a limit while parameters grow;
        "unfinished": none of these is known.
    sentence : str
        What is said of it.
    reached : bool
        Whether θ is the end itself, to rounding: what `Result.converged` says.
    evidence : tuple of Evidence
        The numbers, each with its bound where it has one.
    unsure : tuple of str
        What the numbers leave open.
    dimension : int or None
        Of the set of critical points around θ; None where it is not known.
    directions : tuple of (str, int)
        How many dimensions each symmetry explains.
    moving : tuple of Moving
        Of an unfinished run, the parameters that still move, the fastest first.
    advice : str
        Of an unfinished run, what to type to go on.
    """

    kind: str
    sentence: str
    reached: bool
    evidence: tuple[Evidence, ...] = ()
    unsure: tuple[str, ...] = ()
    dimension: int | None = None
    directions: tuple[tuple[str, int], ...] = ()
    moving: tuple[Moving, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        return self.sentence

    def to_json(self) -> str:
        """Itself as text, for a file."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> End:
        """The end that `to_json` wrote."""
        values = json.loads(text)
        values["evidence"] = tuple(Evidence(*entry) for entry in values["evidence"])
        values["moving"] = tuple(Moving(*entry) for entry in values["moving"])
        values["directions"] = tuple((name, int(count)) for name, count in values["directions"])
        values["unsure"] = tuple(values["unsure"])
        return cls(**values)


def reached(result: Result) -> bool:
    """Whether θ is the end itself, to rounding: the one predicate behind `converged`."""
    finite = result.channel is None or isinstance(result.channel, Saturation | Limit)
    return finite and (result.critical or result.zero_loss)


def find_end(result: Result) -> End:
    """The end of a run, by the first of these that can name it."""
    for finder in (_interrupted, _infinity, _zero, _kink, _critical):
        found = finder(result)
        if found is not None:
            return found
    return _unfinished(result)


def _interrupted(result: Result) -> End | None:
    if not result.interrupted:
        return None
    return _unfinished(result, "interrupted; the last point reached")


def _infinity(result: Result) -> End | None:
    channel = result.channel
    if channel is None:
        return None
    evidence = [
        Evidence("limit of the loss", channel.loss),
        Evidence("loss here above it", result.loss - channel.loss),
    ]
    if isinstance(channel, Recession):
        sentence = f"no minimum: the loss falls to {channel.loss:.6g} along a direction to infinity"
        if channel.margin is not None:
            evidence.append(Evidence("margin at norm 1", channel.margin))
        return End("infinity", sentence, False, tuple(evidence))
    evidence.append(Evidence("∞-norm of the gradient of the limit", channel.grad_norm))
    if isinstance(channel, Limit):
        evidence.append(Evidence("error of the limit", channel.loss_error))
        evidence.append(Evidence("distance of the outputs from those of the limit", channel.distance))
        for approach in channel.approaches:
            if approach.exponent is not None:
                evidence.append(Evidence(f"{approach.unit}: exponent of L − L₀ in ε", approach.exponent))
                evidence.append(
                    Evidence(f"{approach.unit}: its coefficient (> 0: it attracts)", approach.slope)
                )
    elif isinstance(channel, Saturation):
        evidence.append(Evidence("loss at |z| ≥ 6 above the limit", channel.excess))
    else:
        evidence.append(Evidence("error of the limit", channel.loss_error))
        evidence.append(Evidence("coefficient of ε² (> 0: it attracts)", channel.slope))
        evidence.append(Evidence("residual of the fit in ε²", channel.residual, 1e-3))
    unsure: tuple[str, ...] = ()
    nothing = 1e-26 * result.problem.objective.spread**2
    if isinstance(channel, Limit) and channel.loss <= max(nothing, channel.loss_error):
        unsure = ("whether the loss is zero at a finite point, too",)
    return End("infinity", f"goes to infinity: {channel}", reached(result), tuple(evidence), unsure)


def _zero(result: Result) -> End | None:
    if not (result.zero_loss and (result.flat_directions or not result.critical)):
        return None
    flat = result.flat_directions
    sentence = "zero loss within rounding"
    bound = max(result.problem.objective.loss_error(result.theta), abs(result.loss))
    evidence = [Evidence("loss", result.loss, bound)]
    if not flat:
        open_question = () if flat is not None else ("whether the minimum is isolated: no spectrum",)
        return End("critical point", sentence, True, tuple(evidence), open_question)
    evidence.append(Evidence("flat directions", flat))
    dimension, directions, unsure = _dimension(result)
    sentence += f"; the minimum is degenerate, {flat} flat directions" + _explained(dimension, directions)
    gap = _gap(result, flat)
    if gap is not None:
        evidence.append(Evidence("gap between flat and other singular values of the Jacobian", gap))
        if gap < 10.0:
            unsure = (*unsure, f"the rank: the gap in the singular values is {gap:.2g} only")
    return End("manifold of minima", sentence, True, tuple(evidence), unsure, dimension, directions)


def _kink(result: Result) -> End | None:
    kink = result.kink
    if kink is None or not result.critical:
        return None
    evidence = [
        Evidence("∞-norm of the least element of the generalised gradient", kink.grad_norm),
        Evidence("neurons at their kinks on samples", float(len(kink))),
    ]
    if kink.eigenvalues.size:
        evidence.append(Evidence("smallest eigenvalue along the kinks", float(kink.eigenvalues[0])))
    words = {True: ", a local minimum", False: ", no local minimum", None: ""}
    unsure = () if kink.minimum is not None else ("whether it is a local minimum: flat to second order",)
    sentence = f"converged to a critical point at a kink{words[kink.minimum]}"
    return End("kink", sentence, True, tuple(evidence), unsure)


def _critical(result: Result) -> End | None:
    if not result.critical:
        return None
    objective = result.problem.objective
    moves = result.rates != 0
    tolerances = objective.gradient_sizes(result.theta).tolerances(CRITICAL)[moves]
    share = float(
        np.max(np.abs(objective.gradient(result.theta)[moves]) / np.where(tolerances > 0, tolerances, np.inf))
    )
    evidence = [
        Evidence("∞-norm of the gradient", result.grad_norm),
        Evidence("largest component of the gradient in units of its own tolerance", share, 1.0),
    ]
    spectrum, sentence = result.spectrum_at_hand, "converged to a critical point"
    if spectrum is None:
        unknown = "the index and whether the point is isolated: no spectrum"
        return End("critical point", sentence, True, tuple(evidence), (unknown,))
    evidence.append(Evidence("smallest eigenvalue", spectrum.smallest))
    dimension, directions, unsure = _dimension(result)
    if spectrum.index is None:
        unsure = (*unsure, str(spectrum.inertia))
    cosine = _cosine(result)
    if cosine is not None:
        evidence.append(Evidence("largest cosine of the residuals with a ∂f/∂θ_i", cosine, NORMAL))
        if cosine > NORMAL:
            unsure = (*unsure, "whether L, which is nearly zero, goes on to zero")
    kind = "manifold of minima" if dimension and spectrum.index == 0 else "critical point"
    sentence += _explained(dimension, directions)
    return End(kind, sentence, True, tuple(evidence), unsure, dimension, directions)


def _cosine(result: Result) -> float | None:
    """The largest |J_iᵀρ| / |J_i||ρ| where L is nearly zero: there ∇L is small whether critical or not."""
    objective = result.problem.objective
    if not objective.sum_of_squares or not 0.0 < result.loss <= NEARLY_ZERO * objective.spread**2:
        return None
    # ∇L = 2 Jᵀρ and L = |ρ|²: from columns' sizes alone, where J has as many rows as there are samples.
    moves = result.rates != 0
    products = 0.5 * np.abs(objective.gradient(result.theta))[moves]
    sizes = np.sqrt(objective.jacobian_squares(result.theta).sum(axis=0) * result.loss)[moves]
    return float(np.max(products / np.where(sizes > 0, sizes, np.inf)))


def _dimension(result: Result) -> tuple[int | None, tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Of the set of critical points around θ, with the symmetries that explain it and what is left open."""
    spectrum = result.spectrum_at_hand
    if spectrum is None or spectrum.lines is None:
        return None, (), ("the dimension of the set of critical points",)
    unsure: tuple[str, ...] = ()
    dimension = spectrum.exactly_singular
    if spectrum.zero > dimension:
        unsure = (f"{spectrum.zero - dimension} directions are flat to second order only",)
    directions = _symmetries(result, np.abs(spectrum.eigenvalues).max()) if spectrum.symmetry_zeros else ()
    return dimension, directions, unsure


def _symmetries(result: Result, scale: float) -> tuple[tuple[str, int], ...]:
    """How many dimensions each family of symmetries has at the end point."""
    problem = result.problem
    if problem.student is None or result.span is not None:
        return ()
    softmax = problem.options["loss"] == "cross_entropy"
    families = named_tangents(result.student, problem.teacher, problem.inputs, softmax=softmax)
    hessian, moves, found = result.hessian(), result.rates != 0, []
    hessian = hessian[np.ix_(moves, moves)]
    for name, rows in families.items():
        rows = rows[(rows[:, ~moves] == 0).all(axis=1)][:, moves]
        count = len(null_part(rows, hessian, scale)[0])
        if count:
            found.append((name, count))
    return tuple(found)


def _explained(dimension: int | None, directions: tuple[tuple[str, int], ...]) -> str:
    if not dimension:
        return ""
    text = f", on a {dimension}-dimensional manifold of such"
    if directions:
        text += " (" + ", ".join(f"{name}: {count}" for name, count in directions) + ")"
    return text


def _gap(result: Result, flat: int) -> float | None:
    """σ_r/σ_{r+1} of the Jacobian at zero loss, `flat` of its singular values being zero; None without."""
    objective, moves = result.problem.objective, result.rates != 0
    if objective.sum_of_squares:
        jacobian = objective.least_squares(result.theta)[1][:, moves]
        values = np.zeros(jacobian.shape[1])
        sizes = np.linalg.svd(jacobian, compute_uv=False)
        values[: sizes.size] = sizes
    else:
        spectrum = result.spectrum_at_hand
        if spectrum is None:
            return None
        values = np.sqrt(np.sort(np.abs(spectrum.eigenvalues))[::-1])
    rank = values.size - flat
    if not 0 < rank < values.size:
        return None
    return float(values[rank - 1] / max(values[rank], 1e-300))


def _unfinished(result: Result, sentence: str = "") -> End:
    """What is still going on, and how to go on with it."""
    evidence = [Evidence("∞-norm of the gradient", result.grad_norm)]
    if not sentence:
        sentence = "flow only, not refined" if result.refinement is None else "not converged"
    moving, rates = _rates(result)
    evidence += rates
    if moving:
        sentence += "; moving: " + ", ".join(str(entry) for entry in moving[:SHOWN])
        if len(moving) > SHOWN:
            sentence += f" and {len(moving) - SHOWN} more"
    return End("unfinished", sentence, False, tuple(evidence), moving=moving, advice=_advice(result))


def _rates(result: Result) -> tuple[tuple[Moving, ...], list[Evidence]]:
    """The exponents of what moves at the end of the flow, and those of L and ∇L."""
    flow = result.flow
    if flow is None or flow.step_times.size < 4 or not flow.end_time > 0:
        return (), []
    times, theta = flow.step_times, flow.step_theta
    chosen = times >= max(flow.end_time * 10.0**-DECADES, times[1])
    if chosen.sum() < 3:
        return (), []
    log_t = np.log(times[chosen])
    if not np.ptp(log_t) > 0:
        return (), []
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = _slopes(log_t, np.log(np.abs(theta[chosen])))
    late = theta[times >= 0.1 * flow.end_time]
    change = np.ptp(late, axis=0) / _sizes(result, theta[-1])
    order = np.argsort(-change)
    names = _names(result)
    moving = tuple(
        Moving(names[i], float(theta[-1, i]), float(slopes[i]))
        for i in order.tolist()
        if change[i] > MOVING and np.isfinite(slopes[i])
    )
    found = []
    for what, values in (("loss", flow.losses), ("gradient", flow.grad_norms)):
        late = (flow.times >= np.exp(log_t[0])) & (values > 0)
        if late.sum() > 2:
            slope = _slopes(np.log(flow.times[late]), np.log(values[late])[:, None])[0]
            found.append(Evidence(f"d log {what} / d log t", float(slope)))
    return moving, found


def _sizes(result: Result, theta: np.ndarray) -> np.ndarray:
    """What each parameter's motion is measured by, (P,), in the parameter's own unit."""
    vectors, values = result.problem.objective.weight_vectors, np.abs(theta)
    if vectors is None:
        return np.full(theta.size, max(float(values.max()), 1e-300))
    largest = np.zeros(int(vectors.max()) + 1)
    for names in vectors:
        np.maximum.at(largest, names, values)
    return np.maximum(np.minimum(*largest[vectors]), 1e-300)


def _slopes(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Slopes of the columns of `rows` (m, p) against x (m,), by least squares."""
    centred = x - x.mean()
    return centred @ (rows - rows.mean(axis=0)) / (centred @ centred)


def _names(result: Result) -> list[str]:
    """Names of the parameters: W0[2, 1] is weights[0][2, 1], b0[2] is biases[0][2]."""
    student = result.problem.student
    if student is None:
        return [f"θ[{i}]" for i in range(result.theta.size)]
    names = []
    for layer, (W, b) in enumerate(zip(student.weights, student.biases)):
        names += [f"W{layer}[{i}, {j}]" for i in range(W.shape[0]) for j in range(W.shape[1])]
        names += [f"b{layer}[{i}]" for i in range(0 if b is None else b.size)]
    return names


def _advice(result: Result) -> str:
    """What to type to go on from here."""
    if result.problem.student is None:
        return "gf.train(gf.Problem.from_jax(loss, result.theta))"
    again = "gf.train(teacher, result.student, inputs"
    stage = result.refinement or result.flow
    assert stage is not None
    steps = {StopReason.MAX_STEPS, StopReason.MAX_SECONDS}
    if result.refinement is None:
        return f"{again}) follows the flow further and refines its end"
    if stage.stop_reason in steps:
        name = stage.settings["refiner"]
        most = 10 * int(stage.settings.get("max_iterations", 1000))
        return f"{again}, solver=None, refiner=gf.refiners.{name}(max_iterations={most}))"
    if result.flow is not None and result.flow.stop_reason in steps:
        name = result.flow.settings["solver"]
        most = 10 * int(result.flow.settings.get("max_steps", 10_000))
        return f"{again}, solver=gf.solvers.{name}(max_steps={most}))"
    return f"{again}) goes on from here with a flow of its own"
