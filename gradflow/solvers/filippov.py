"""The solver of flows with kinks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..boundaries.manifold import Manifold
from ..boundaries.zeros import resting, weights_into
from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from .base import FlowSolver
from .dense_output import Interval, Stepper, quintic
from .flow import Flow
from .kinked.following import follow
from .kinked.rosenbrock import Rosenbrock
from .records import Checkpoint

HELD = 1e-11
"""z so near to a kink, in units of the neuron's largest |z|, at both ends of a step: the flow slides
there."""


class Filippov(FlowSolver):
    """The flow of a network with kinked activations on samples: crossings located, sliding followed.

    At a point where the pre-activations of some neurons on some samples are at a kink, ∇L jumps, and the flow
    is −r ⊙ the element of least norm of the generalised gradient: Filippov's solution [1]_, which a gradient
    flow of this kind has [2]_. On smooth pieces it is Rodas5P [3]_, with the active neurons held as they are;
    the first boundary that a step passes is located by its own shorter steps to a tenth of the tolerance,
    and the next step starts behind it. Where both sides point at a boundary the flow slides along it, on
    several at once if need be, until the fraction of one of them in the generalised gradient reaches 0 or 1.

    A crossing whose effect is below a twentieth of the tolerance, such as most are with thousands of samples,
    is passed over, corrected to first order; `Flow.events` tells which.

    For up to some hundred parameters: it forms Hessians. Settings as in `FlowSolver`.

    References
    ----------
    .. [1] A. F. Filippov, Differential Equations with Discontinuous Righthand Sides, Kluwer 1988.
    .. [2] D. Davis, D. Drusvyatskiy, S. Kakade and J. D. Lee, Stochastic subgradient method converges on tame
       functions, Found. Comput. Math. 20 (2020) 119–154.
    .. [3] G. Steinebach, BIT Numer. Math. 63 (2023) 27.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> student = gf.MLP([[[1.0, -0.5]], [[1.0]]], None, "relu")
    >>> result = gf.train(np.array([[-1.0], [1.0]]), student, X, solver=gf.solvers.Filippov(t1=10.0),
    ...                   refiner=None, progress=False)
    >>> result.flow.events
    <Events: 1 sliding>
    """

    name: ClassVar[str] = "Filippov"
    implicit: ClassVar[bool] = True

    def integrate(
        self,
        objective: Objective,
        theta: np.ndarray,
        rates: np.ndarray,
        monitor: Monitor,
        checkpoint: Checkpoint | None = None,
    ) -> Flow:
        if objective.pieces() is None:
            allowed = "a loss on samples with kinked activations, as relu; BDF() where it is smooth"
            raise ArgumentError("solver", "Filippov", allowed)
        return follow(self, objective, theta, rates, monitor, checkpoint)

    def stepper(self, objective: Objective, rates: np.ndarray) -> Stepper:
        """Each point by a step of the method itself, on the piece and boundaries of the interval.

        For the flow of this `objective` with these `rates`.
        """
        root = np.sqrt(rates)

        def path(interval: Interval, times: np.ndarray) -> np.ndarray:
            points = quintic(interval, times)[0]
            if not interval.whole:
                return points
            pieces = objective.pieces()
            assert pieces is not None
            ends = []
            for theta in interval.theta:
                theta = np.ascontiguousarray(theta)
                for _ in range(int(pieces.layers.max()) + 1):
                    z = pieces.states(theta).z
                    pieces.phases[:] = pieces.natural(z)
                ends.append(z)
            size = np.maximum(*(np.abs(z).max(axis=1) for z in ends))[:, None]
            on = np.zeros(z.shape, dtype=bool)
            kinks = np.zeros(z.shape)
            near = [np.zeros(z.shape, dtype=bool) for _ in ends]
            for column in range(1, pieces.ends.shape[1] - 1):
                kink = pieces.ends[:, column, None]
                at = [np.abs(z - kink) <= HELD * size for z in ends]
                both = at[0] & at[1]
                on |= both
                kinks = np.where(both, kink, kinks)
                near = [a | b for a, b in zip(near, at)]
            start = np.ascontiguousarray(interval.theta[0])
            rest = resting(pieces, start, ends[0])
            on[rest] = False
            middle = pieces.natural(0.5 * (ends[0] + ends[1]))
            crossed = (pieces.natural(ends[0]) != pieces.natural(ends[1])) & ~near[0] & ~near[1]
            if crossed.any():
                return points
            pieces.phases[:] = middle
            places = np.stack(np.nonzero(on), axis=1)
            left = np.zeros(len(places), dtype=np.int64)
            for k, (neuron, sample) in enumerate(places):
                left[k] = np.flatnonzero(pieces.ends[neuron] == kinks[neuron, sample])[0] - 1
            pieces.phases[tuple(places.T)] = left + 0.5
            _, gradient, hessian = pieces.all_derivatives(start)
            held = weights_into(pieces, rest)
            manifold = Manifold(pieces, root, start, places, kinks[tuple(places.T)], held)
            stepper = Rosenbrock(manifold, start, gradient, hessian)
            for k, t in enumerate(times):
                found = stepper.step(t - interval.times[0])
                if found is not None:
                    points[k] = found[0]
            return points

        return path
