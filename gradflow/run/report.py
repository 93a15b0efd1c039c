"""A result as a short text for people."""

from __future__ import annotations

import decimal
import math

from ..infinity import Recession
from ..networks import MLP
from ..support.errors import GradflowError
from .result import REPORTED_NEURONS, SPECTRUM_SIZE, Result

KERNEL_GOAL = 1e-13
"""Expectations that are less accurate than this are reported with a warning."""


def report(result: Result) -> str:
    """The report that `print(result)` shows."""
    lines = [
        _headline(result),
        *_problem_lines(result),
        _row("loss", _loss_text(result)),
        _row("gradient", f"∞-norm {result.grad_norm:.3e} over {int((result.rates != 0).sum())} parameters"),
        _row("Hessian", _hessian_text(result)),
    ]
    if result.kernel_error > 0:
        lines.insert(-2, _row("kernels", _kernel_text(result.kernel_error)))
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
        small = refined.small_eigenvalues
        if small is not None and any(small):
            lines.append(_row("", str(small)))
    if result.channel is not None:
        lines.append(_row("infinity", str(result.channel)))
    return "\n".join(lines + _neuron_lines(result))


def _row(label: str, text: str) -> str:
    return f"  {label:<11}{text}"


def _headline(result: Result) -> str:
    if result.interrupted:
        state = "interrupted; the last point reached"
    elif isinstance(result.channel, Recession):
        state = f"no minimum: the loss falls to {result.channel.loss:.6g} along a direction to infinity"
    elif result.channel is not None:
        state = "goes to infinity"
    elif result.zero_loss and (result.flat_directions or not result.critical):
        state = "zero loss within rounding" + _degenerate(result)
    elif result.converged:
        state = "converged to a critical point" + _saddle(result)
    elif result.refinement is None:
        state = "flow only, not refined"
    else:
        state = "not converged"
    if result.converged and result.flow_ended is False:
        assert result.flow is not None
        state += f", perhaps not the flow's, which was stopped at t = {result.flow.end_time:.4g}"
    return f"gradflow: {state} (|∇L| = {result.grad_norm:.1e}, {result.seconds:.2f} s in all)"


def _degenerate(result: Result) -> str:
    count = result.flat_directions
    return f"; the minimum is degenerate, {count} flat directions" if count else ""


def _saddle(result: Result) -> str:
    spectrum = result.spectrum_at_hand
    negative = 0 if spectrum is None else spectrum.negative
    return f", a saddle or maximum with {negative} negative eigenvalue(s)" if negative else ""


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
        return str(result.spectrum_at_hand)
    if result.spectrum_order > SPECTRUM_SIZE:
        return f"{result.theta.size:,} parameters: ask result.spectrum()"
    try:
        return str(result.spectrum())
    except GradflowError as error:
        return str(error)


def _neuron_lines(result: Result) -> list[str]:
    rows = result.neurons()
    if not rows:
        return []
    lines = ["  neuron       norm  output weight   closest teacher   cosine"]
    for row in rows[:REPORTED_NEURONS]:
        line = f"  {row['neuron']:>6} {row['norm']:>10.6f} {row['output_weight']:>14.8f}"
        if row["norm"] == 0:
            line += "   dead (zero weights)"
        elif row["dead"]:
            line += "   dead (no sample activates it)"
        elif row["teacher"] is not None:
            line += f"   {row['teacher']:>15}  {row['cosine']:+.6f}"
        lines.append(line)
    if len(rows) > REPORTED_NEURONS:
        lines.append(f"  … {len(rows) - REPORTED_NEURONS} more: result.neurons()")
    return lines
