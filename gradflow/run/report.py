"""A result as a short text for people."""

from __future__ import annotations

import decimal
import math

import numpy as np

from ..boundaries.events import Events
from ..infinity import Recession
from ..networks import MLP
from ..support.errors import GradflowError
from .advice import advice
from .extremes import Extremes
from .result import REPORTED_NEURONS, SPECTRUM_SIZE, Result

KERNEL_GOAL = 1e-13
"""Expectations that are less accurate than this are reported with a warning."""


def report(result: Result) -> str:
    """The report that `print(result)` shows."""
    lines = [
        _headline(result),
        *_problem_lines(result),
        _row("loss", _loss_text(result)),
    ]
    if result.kernel_error > 0:
        lines.append(_row("kernels", _kernel_text(result.kernel_error)))
    moving = int((result.rates != 0).sum())
    lines.append(_row("gradient", f"∞-norm {result.grad_norm:.3e} over {moving} parameters"))
    if result.kink is not None:
        lines[-1] += ", of the element of least norm of the generalised gradient"
        lines.append(_row("kink", str(result.kink)))
    lines.append(_row("Hessian", _hessian_text(result)))
    if result.spectrum_at_hand is not None and result.spectrum_at_hand.small:
        lines.append(_row("", result.spectrum_at_hand.small))
    if result.flow is not None:
        flow = result.flow
        lines.append(
            _row(
                "flow",
                f"{flow.settings['solver']}, t = {flow.end_time:.4g}, {flow.accepted} steps "
                f"({flow.rejected} rejected), {flow.seconds:.2f} s + {flow.compile_seconds:.2f} s compiling",
            )
        )
        lines.append(_row("", f"loss {flow.loss:.6g}, |∇L| {flow.grad_norm:.2e}: {flow.stop_reason.value}"))
        if flow.events is not None and len(flow.events):
            lines.append(_row("", _events_text(flow.events)))
    if result.refinement is not None:
        refined = result.refinement
        lines.append(
            _row(
                "refinement",
                f"{refined.settings['refiner']}, {refined.iterations} steps"
                + (f" and {refined.extended.iterations} in double-double" if refined.extended else "")
                + f", {refined.seconds:.2f} s",
            )
        )
        lines.append(_row("", refined.stop_reason.value))
        if refined.stalled is not None:
            lines.append(_row("", str(refined.stalled)))
    if result.channel is not None:
        lines.append(_row("infinity", str(result.channel)))
    lines += [_row("unsure", text) for text in result.end.unsure]
    if result.end.advice:
        lines.append(_row("to go on", result.end.advice))
    lines += [_row("try", text) for text in advice(result)]
    return "\n".join(lines + _neuron_lines(result))


def _row(label: str, text: str) -> str:
    return f"  {label:<11}{text}"


def _headline(result: Result) -> str:
    state = result.end.sentence
    if result.end.kind == "infinity" and not isinstance(result.channel, Recession):
        state = "goes to infinity"
    if result.end.kind == "critical point" and not result.zero_loss:
        state += _saddle(result)
    if result.converged and result.flow_ended is False:
        assert result.flow is not None
        state += f", perhaps not the flow's, which was stopped at t = {result.flow.end_time:.4g}"
    return f"gradflow: {state} (|∇L| = {result.grad_norm:.1e}, {result.seconds:.2f} s in all)"


def _events_text(events: Events) -> str:
    """What happened at the kinks, in numbers."""
    words = {
        "crossing": "crossed", "sliding": "slid along", "leaving": "left again", "branching": "branched at",
        "passing": "passed over, each of an effect below the tolerance",
    }  # fmt: skip
    counts = {text: events.count(kind) for kind, text in words.items()}
    return "kinks: " + ", ".join(f"{count:,} {text}" for text, count in counts.items() if count)


def _saddle(result: Result) -> str:
    spectrum = result.spectrum_at_hand
    if spectrum is None:
        ends = _extremes(result)
        return f", a saddle: an eigenvalue is {ends.smallest[0]:.3g}" if ends and ends.negative else ""
    if spectrum.index == 0:
        return ""
    if spectrum.index is None:
        return f", {spectrum.inertia}"
    return f", a saddle or maximum with {spectrum.index} negative eigenvalue(s)"


def _problem_lines(result: Result) -> list[str]:
    problem = result.problem
    if problem.student is None:
        return [_row("problem", repr(problem))]
    teacher = problem.teacher
    described = repr(teacher) if isinstance(teacher, MLP) else "given targets"
    lines = [
        _row("teacher", described),
        _row("student", repr(problem.student)),
        _row("inputs", repr(problem.inputs)),
    ]
    if result.reduced_dim is not None:
        lines.append(_row("", f"solved in the {result.reduced_dim}-dimensional span of all weights (exact)"))
    return lines


def _loss_text(result: Result) -> str:
    """The loss with its error; below that error it is not told as a number, which might be negative."""
    bound = result.loss_bound
    extended = result.theta_low is not None
    origin = "double-double, error at most" if extended else "rounding error about"
    if bound == math.inf:
        return f"{result.loss:.16g} (no bound on its error is known)"
    if abs(result.loss) <= bound:
        return f"0 within {bound:.1e} (computed {result.loss:.1e}; {origin} {bound:.1e})"
    if not extended:
        return f"{result.loss:.16g}" + (f" ({origin} {bound:.1e})" if bound > 0 else "")
    # As many digits as the bound leaves.
    digits = max(1, math.ceil(math.log10(abs(result.loss) / bound)))
    total = decimal.Decimal(result.loss) + decimal.Decimal(result.loss_low)
    return f"{total:.{digits}g} ({origin} {bound:.1e})"


def _kernel_text(error: float) -> str:
    """The error of the expectations, and whether it is as small as it should be."""
    if error == math.inf:
        return (
            "NOT WHAT THEY CLAIM: the loss is negative beyond its claimed error, or an expectation diverges"
        )
    text = f"estimated relative error {error:.1e}"
    if error > KERNEL_GOAL:
        text += f", MORE THAN {KERNEL_GOAL:.0e}: weights too steep or too nearly aligned for their expansion"
    return text


def _hessian_text(result: Result) -> str:
    if result.spectrum_at_hand is not None:
        return result.spectrum_at_hand.summary
    try:
        if result.spectrum_order > SPECTRUM_SIZE:
            return result.extremes().summary
        return result.spectrum().summary
    except GradflowError as error:
        return str(error)


def _extremes(result: Result) -> Extremes | None:
    """Both ends of the spectrum where it is out of reach; None where there is no Hessian."""
    try:
        return result.extremes() if result.spectrum_order > SPECTRUM_SIZE else None
    except GradflowError:
        return None


def _neuron_lines(result: Result) -> list[str]:
    """Norm, output weight and nearest direction of every neuron of the first hidden layer."""
    if result.problem.student is None or len(result.student.weights) < 2:
        return []
    W, A = result.student.weights[:2]
    norms = _row_norms(W)
    outgoing = A[0] if A.shape[0] == 1 else _row_norms(A.T)
    asleep, cosines = result.asleep(), _cosines(result)
    lines = ["  neuron       norm  output weight   closest teacher   cosine"]
    for i in range(min(len(W), REPORTED_NEURONS)):
        line = f"  {i:>6} {norms[i]:>10.6f} {outgoing[i]:>14.8f}"
        if norms[i] == 0:
            line += "   dead (zero weights)"
        elif asleep[i]:
            line += "   dead (no sample activates it)"
        elif cosines is not None:
            best = int(np.argmax(np.abs(cosines[i])))
            line += f"   {best:>15}  {cosines[i, best]:+.6f}"
        lines.append(line)
    if len(W) > REPORTED_NEURONS:
        lines.append(f"  … {len(W) - REPORTED_NEURONS} more: gradflow.landscape.neurons(result) has them all")
    return lines


def _cosines(result: Result) -> np.ndarray | None:
    """cos(w_i, v_j), None where the teacher has no neurons of the same input dimension."""
    teacher, W = result.problem.teacher, result.student.weights[0]
    if not isinstance(teacher, MLP) or len(teacher.weights) < 2 or teacher.sizes[0] != W.shape[1]:
        return None
    return _directions(W) @ _directions(teacher.weights[0]).T


def _row_norms(matrix: np.ndarray) -> np.ndarray:
    """Euclidean norms of rows, for entries of any size."""
    largest = np.abs(matrix).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0)
    return scale * np.linalg.norm(matrix / scale[:, None], axis=1)


def _directions(matrix: np.ndarray) -> np.ndarray:
    """Rows divided by their norms; zero rows stay zero."""
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    rows = matrix / np.where(scale > 0, scale, 1.0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)
