"""Tian 2020, section 5.3: a student opposite to its teacher turns slowly, without a bound.

One ReLU student with output weight one and no bias on standard Gaussian inputs. L = E|f − f*|², no ½.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.integrate
import scipy.optimize

from ... import solvers
from ...run.training import train
from ..check import Check, at_most
from ..registry import Progress, register
from ..soft_committee import frozen_outputs, soft_committee
from .gradients import PAPER

__all__ = [
    "escape_from_opposite",
    "escape_time",
    "fixed_norm_time",
    "flow_escape_time",
    "student_at",
    "worst_case",
]


def __dir__() -> list[str]:
    return sorted(__all__)


TEACHER = np.array([[1.0, 0.0]])


def student_at(gap: float, length: float = 1.0) -> np.ndarray:
    """The weights of a student at the angle π − gap from the teacher.

    Parameters
    ----------
    gap : float
        See above.
    length : float, default 1
        |w|.

    Returns
    -------
    ndarray, shape (1, 2)

    Examples
    --------
    >>> student_at(np.pi / 2).round(12)
    array([[-0.,  1.]])
    """
    return length * np.array([[-math.cos(gap), math.sin(gap)]])


def escape_time(gap: float, length: float = 1.0) -> float:
    """Time until one student, started nearly opposite to a unit teacher, is at a right angle with it.

    Parameters
    ----------
    gap : float
        It starts at the angle π − gap.
    length : float, default 1
        |w| at the start.

    Returns
    -------
    float

    Notes
    -----
    The flow in the plane (output weight fixed at one), with δ = π − θ and r = |w|:
    ṙ = F(π−δ)/π − r,  δ̇ = δ sin δ/(π r). Integrated in ln r and ln δ.

    Examples
    --------
    >>> escape_time(1e-3) < escape_time(1e-4)
    True
    """

    def field(t, y):
        r, gap_now = np.exp(y)
        # F(π − δ) = sin δ − δ cos δ, by its series where it cancels.
        pull = (
            gap_now**3 / 3 * (1 - gap_now**2 / 10)
            if gap_now < 1e-2
            else math.sin(gap_now) - gap_now * math.cos(gap_now)
        )
        return [pull / (math.pi * r) - 1.0, math.sin(gap_now) / (math.pi * r)]

    def turned(t, y):
        return y[1] - math.log(math.pi / 2)

    turned.terminal = True  # type: ignore[attr-defined]
    start = [math.log(length), math.log(gap)]
    path = scipy.integrate.solve_ivp(field, (0.0, 1e4), start, "LSODA", rtol=1e-11, atol=1e-11, events=turned)
    return float(path.t_events[0][0])


def flow_escape_time(gap: float, length: float = 1.0) -> float:
    """The time of `escape_time` from this package's population flow in two dimensions.

    Parameters
    ----------
    gap, length
        As in `escape_time`.

    Returns
    -------
    float

    Examples
    --------
    >>> bool(abs(flow_escape_time(0.1) / escape_time(0.1) - 1) < 1e-5)
    True
    """
    W = student_at(gap, length)
    # The student shrinks to |w| ~ gap before it turns: an absolute tolerance would have to be below gap².
    solver = solvers.Dopri8(rtol=1e-10, atol=1e-30, t1=100.0, gtol=0.0)
    problem = soft_committee("relu", W, TEACHER)
    flow = train(problem, rates=frozen_outputs(W), solver=solver, refiner=None, progress=False).flow
    assert flow is not None
    after = int(np.argmax(flow.step_theta[:, 0] > 0))
    before, later = flow.step_times[after - 1], flow.step_times[after]
    return float(scipy.optimize.brentq(lambda t: flow.at(t)[0], before, later, xtol=1e-12))


def fixed_norm_time(gap: float, length: float = 1.0) -> float:
    """The time to a right angle where |w| is held, from the package's gradient across w.

    δ̇ = ∇L·ŵ'/|w| with ŵ' across w, away from the teacher; ∫ dδ/δ̇ in ln δ.

    Parameters
    ----------
    gap : float
        It starts at the angle π − gap.
    length : float, default 1
        |w|.

    Returns
    -------
    float

    Examples
    --------
    >>> bool(fixed_norm_time(1e-2) < fixed_norm_time(1e-3))
    True
    """

    def time(u: float) -> float:
        delta = math.exp(u)
        problem = soft_committee("relu", student_at(delta, length), TEACHER)
        gradient = problem.gradient(problem.theta0)[:2]
        return delta * length / -float(gradient @ [math.sin(delta), math.cos(delta)])

    return scipy.integrate.quad(time, math.log(gap), math.log(math.pi / 2), epsabs=0.0, epsrel=1e-10)[0]


def escape_from_opposite(gaps: Sequence[float] = (1e-1, 1e-3, 1e-5, 1e-7), length: float = 1.0) -> Check:
    """The time that the flow takes against the equations of |w| and the angle.

    Parameters
    ----------
    length : float, default 1.0
        |w| at the start, in the equations only.

    Returns
    -------
    Check
    """
    mine = np.array([flow_escape_time(gap) for gap in gaps])
    plane = np.array([escape_time(gap, length) for gap in gaps])
    return Check(
        name="specialization.slow.flow",
        statement="One ReLU student with output weight one, started at angle pi - gap from its teacher: "
        "the time until it stands at a right angle, from the population flow and from the equations of "
        "|w| and the angle.",
        source=f"{PAPER}, section 5.3 (worst case, in words); the equations derived",
        parts=[at_most("relative difference of the times", np.abs(mine / plane - 1), 1e-8)],
        computed={"gaps": list(gaps), "times": mine, "times_from_the_plane": plane},
    )


def worst_case(
    expected_slope: float = 1.0,
    gaps: Sequence[float] = (1e-5, 3e-7, 1e-8),
    fixed: Sequence[float] = (1e-2, 1e-3, 1e-4),
    length: float = 1.0,
) -> Check:
    """How the time grows as the student starts closer to the opposite of its teacher.

    Parameters
    ----------
    length : float, default 1.0
        |w| where it is held fixed, in the gradient only.

    Returns
    -------
    Check
    """
    times = np.array([flow_escape_time(gap) for gap in gaps])
    slopes = np.diff(times) / np.diff(-np.log(gaps))
    held = np.array([fixed_norm_time(gap, length) for gap in fixed])
    return Check(
        name="specialization.slow.worst_case",
        statement="The time grows without bound as the student starts closer to the opposite of its "
        "teacher: like ln(1/gap) along the flow, where |w| shrinks meanwhile, and like pi |w|/(|v| gap) "
        "along the gradient across w, where |w| is held fixed.",
        source=f"{PAPER}, section 5.3: the time is infinite in the limit; the two rates derived",
        parts=[
            at_most("|slope of the time over ln(1/gap) − 1|", np.abs(slopes - expected_slope), 3e-6),
            at_most("|time · gap/π − 1|/gap at fixed |w|", np.abs(held / math.pi - 1 / np.array(fixed)), 0.5),
        ],
        computed={
            "gaps": list(gaps),
            "times": times,
            "slope_against_log": slopes,
            "times_at_fixed_norm": dict(zip(map(str, fixed), held)),
        },
    )


@register("specialization.slow")
def _slow(size: str, progress: Progress) -> Iterator[Check]:
    yield escape_from_opposite()
    yield worst_case()
