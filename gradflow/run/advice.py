"""What to try next, by the reason for which a run stopped: one sentence, with the code to type."""

from __future__ import annotations

from collections.abc import Callable

from ..activations import Activation
from ..support.stopping import StopReason
from .result import Result


def advice(result: Result) -> list[str]:
    """What to try, a sentence for each stage that did not do all it was asked for; nothing if all is well.

    (Longer runs of the same stage are what `result.end.advice` has.)
    """
    if result.channel is not None:
        return [_infinite(result)]
    found: list[str] = []
    if result.flow is not None and result.flow_ended is False:
        found.append(_FLOW.get(result.flow.stop_reason, _nothing)(result))
    if result.flow is not None and result.flow.stop_reason is StopReason.SADDLE:
        found.append(_saddle(result))
    if not found and result.refinement is not None and not (result.critical or result.zero_loss):
        found.append(_REFINEMENT.get(result.refinement.stop_reason, _nothing)(result))
    return list(dict.fromkeys(text for text in found if text))


def _nothing(result: Result) -> str:
    return ""


def _solver(result: Result, **settings) -> str:
    """The run's own solver with other settings, as code."""
    assert result.flow is not None
    name = result.flow.settings["solver"]
    return f"solver=gf.solvers.{name}({_settings(settings)})"


def _settings(values: dict) -> str:
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
    )


def _kinked(result: Result) -> bool:
    student = result.problem.student
    samples = result.problem.inputs is not None and result.problem.inputs.samples is not None
    if student is None or not samples:
        return False
    layers = range(len(student.activations))
    known: list[Activation] = [sigma for layer in layers for sigma in student.neuron_activations(layer)]
    return any(sigma.kinks.size for sigma in known)


def _saddle(result: Result) -> str:
    return (
        "to leave the saddle: student.with_flat(theta + 1e-4 * rng.standard_normal(theta.size)) as the start"
    )


def _more_time(result: Result) -> str:
    assert result.flow is not None
    return f"follow further: {_solver(result, t1=10.0 * result.flow.end_time)}"


def _more_steps(result: Result) -> str:
    assert result.flow is not None
    if _kinked(result):
        return (
            "kinks stop high orders on samples: a smooth activation, or a larger tolerance, "
            f"{_solver(result, rtol=1e-4, atol=1e-4)}"
        )
    more = 10 * int(result.flow.settings["max_steps"])
    return f"follow further: {_solver(result, max_steps=more)}; checkpoint='run.h5' lets gf.resume go on"


def _more_seconds(result: Result) -> str:
    return "follow further: a larger max_seconds; checkpoint='run.h5' lets gf.resume('run.h5') go on"


def _stiff(result: Result) -> str:
    return "an implicit method: solver=gf.solvers.BDF(), or gf.solvers.KrylovBDF() without Hessians"


def _underflow(result: Result) -> str:
    if _kinked(result):
        return _more_steps(result)
    return (
        f"a larger tolerance, or another method: {_solver(result, rtol=1e-5)}, solver=gf.solvers.KenCarp58()"
    )


def _finer(result: Result) -> str:
    return f"smaller steps: {_solver(result, rtol=1e-9, atol=1e-9)}; inputs and targets of size about 1"


def _again(result: Result) -> str:
    return "go on from the checkpoint: gf.resume('run.h5'), if checkpoint='run.h5' was given"


def _closer(result: Result) -> str:
    if result.flow is None:
        return "a flow before it: solver='auto'"
    return f"follow further first: {_solver(result, gtol=1e-13)}"


def _valley(result: Result) -> str:
    text = "a flat valley: fewer neurons"
    samples = result.problem.inputs is not None and result.problem.inputs.samples is not None
    return text + (", or gf.Problem(…, weight_decay=1e-6), which ends it" if samples else "")


def _other_point(result: Result) -> str:
    return "another start, or a minimum: refiner=gf.refiners.TrustRegionNewton(target='minimum')"


def _infinite(result: Result) -> str:
    assert result.channel is not None
    text = f"the limit is result.channel.loss = {result.channel.loss:.6g}"
    samples = result.problem.inputs is not None and result.problem.inputs.samples is not None
    return text + ("; a finite minimum: gf.Problem(…, weight_decay=1e-4)" if samples else "")


_Advice = Callable[[Result], str]

_FLOW: dict[StopReason, _Advice] = {
    StopReason.END_TIME: _more_time,
    StopReason.MAX_STEPS: _more_steps,
    StopReason.MAX_SECONDS: _more_seconds,
    StopReason.NO_PROGRESS: _finer,
    StopReason.NON_FINITE: _finer,
    StopReason.STEP_UNDERFLOW: _underflow,
    StopReason.STIFF: _stiff,
    StopReason.INTERRUPTED: _again,
}
_REFINEMENT: dict[StopReason, _Advice] = {
    StopReason.MAX_STEPS: _closer,
    StopReason.MAX_SECONDS: _closer,
    StopReason.STATIONARY_RESIDUAL: _other_point,
    StopReason.OTHER_INDEX: _other_point,
    StopReason.VALLEY: _valley,
    StopReason.NO_PROGRESS: _closer,
    StopReason.FLOOR: _closer,
    StopReason.NON_FINITE: _closer,
    StopReason.UNBOUNDED: _valley,
    StopReason.INTERRUPTED: _again,
}
