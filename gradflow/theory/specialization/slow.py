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
from ..alignment.one_teacher import problem
from ..check import Check
from ..registry import Progress, register
from .gradients import PAPER


def escape_time(gap: float, length: float = 1.0) -> float:
    """Time until one student, started at angle π − gap from a unit teacher with |w| = length, is at π/2.

    The flow in the plane (output weight fixed at one), with δ = π − θ and r = |w|:
    ṙ = F(π−δ)/π − r,  δ̇ = δ sin δ/(π r). Integrated in ln r and ln δ.
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
    """The same time from this package's population flow in two dimensions."""
    v = np.array([1.0, 0.0])
    w = length * np.array([[-math.cos(gap), math.sin(gap)]])
    solver = solvers.Kvaerno5(rtol=1e-10, atol=1e-14, t1=60.0, gtol=0.0)
    flow = train(
        problem("relu", w, v), rates=np.array([1.0, 1.0, 0.0]), solver=solver, refiner=None, progress=False
    ).flow
    assert flow is not None
    along = flow.step_theta[:, 0]
    after = int(np.argmax(along > 0))
    before, later = flow.step_times[after - 1], flow.step_times[after]
    return float(scipy.optimize.brentq(lambda t: flow.at(t)[0], before, later, xtol=1e-12))


def slow_escape(
    expected_slope: float = 1.0, gaps: Sequence[float] = (1e-1, 1e-2, 1e-3), length: float = 1.0
) -> Iterator[Check]:
    """A student opposite to its teacher: how long it takes to turn, against how far it is from opposite.

    length   |w| at the start, in the equations only
    """
    mine = np.array([flow_escape_time(gap) for gap in gaps])
    plane = np.array([escape_time(gap, length) for gap in gaps])
    yield Check(
        name="specialization.slow.flow",
        statement="One ReLU student with output weight one, started at angle pi - gap from its teacher: "
        "the time until it stands at a right angle, from the population flow and from the equations of "
        "|w| and the angle.",
        source=f"{PAPER}, section 5.3 (worst case, in words); the equations derived",
        computed={"gaps": list(gaps), "times": mine, "times_from_the_plane": plane},
        residual=float(np.abs(mine / plane - 1).max()),
        tolerance=1e-8,
    )
    tiny = np.array([1e-8, 1e-10, 1e-12])
    times = np.array([escape_time(gap) for gap in tiny])
    slopes = np.diff(times) / np.diff(np.log(1 / tiny))
    fixed = [
        scipy.integrate.quad(
            lambda u, s=gap: math.pi / math.sin(s * math.exp(u)), 0, math.log(math.pi / 2 / gap)
        )[0]
        for gap in (1e-3, 1e-4)
    ]
    yield Check(
        name="specialization.slow.worst_case",
        statement="The time grows without bound as the student starts closer to the opposite of its "
        "teacher: like ln(1/gap) where |w| shrinks meanwhile, and like pi |w| /(|v| gap) where |w| is "
        "held fixed.",
        source=f"{PAPER}, section 5.3: the time is infinite in the limit; the two rates derived",
        computed={
            "gaps": tiny,
            "times": times,
            "slope_against_log": slopes,
            "fixed_norm_time_times_gap_over_pi": [t * g / math.pi for t, g in zip(fixed, (1e-3, 1e-4))],
        },
        residual=max(abs(slopes[-1] - expected_slope), abs(fixed[1] * 1e-4 / math.pi - 1.0)),
        tolerance=1e-3,
    )


@register("specialization.slow")
def _slow(size: str, progress: Progress) -> Iterator[Check]:
    yield from slow_escape()
