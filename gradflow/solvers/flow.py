"""The path of θ through time: what an integration returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..boundaries.events import Events
from ..objective import Counts, Objective
from ..support.errors import ArgumentError
from ..support.lanczos import Product, largest_eigenvalues
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from ..support.validate import integer, real_array
from .dense_output import CompiledPath, Interval, Stepper, Steps, mapped_stepper, quintic

SAMPLES = 100
"""Number of log-spaced times kept between the first accepted step and the end."""


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """A solution of dθ/dt = −r ⊙ ∇L(θ): its steps, and about a hundred log-spaced samples of it.

    The end of the flow is `theta[-1]`; the refined point is elsewhere (`Result.theta`).

    Attributes
    ----------
    times : ndarray, shape (m,)
        Sample times: 0, then log-spaced from the first accepted step to the end.
    theta : ndarray, shape (m, P)
        θ at those times.
    losses, grad_norms : ndarray, shape (m,)
        L and the ∞-norm of ∇L there.
    step_times : ndarray, shape (s,)
        Times of the accepted steps.
    step_theta, step_velocity, step_acceleration : ndarray, shape (s, P)
        θ, θ' and θ'' there.
    stiffness : ndarray, shape (s − 1,)
        Step length times the largest curvature, Δt·|λ|_max, one per interval.
    stop_reason : StopReason
        Why the integration ended; `grad_norm` and `loss` are those of its own end point.
    accepted, rejected : int
        Numbers of steps.
    counts : Counts
        Evaluations.
    seconds, compile_seconds : float
        Wall-clock times.
    settings : dict
        The solver's settings, with its name.
    events : Events or None
        Where it met kinks, on samples (`solvers.Filippov`): their times are in step_times twice, with θ' on
        either side. None where L is smooth.
    stepper : callable or None
        What computes points between steps; None after loading, until it is asked for.
    curvature : callable or None
        θ → products with ∇²L(θ) of the parameters that move, and how many these are; a result has it.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> flow = gf.train(teacher, student, refiner=None, progress=False).flow
    >>> flow.at([0.0, 0.5]).shape, bool(flow.losses[-1] < flow.losses[0])
    ((2, 10), True)
    """

    times: np.ndarray
    theta: np.ndarray
    losses: np.ndarray
    grad_norms: np.ndarray
    step_times: np.ndarray
    step_theta: np.ndarray
    step_velocity: np.ndarray
    step_acceleration: np.ndarray
    stiffness: np.ndarray
    stop_reason: StopReason
    accepted: int
    rejected: int
    counts: Counts
    seconds: float
    compile_seconds: float
    settings: dict
    stepper: Stepper | None = dataclasses.field(default=None, repr=False)
    events: Events | None = None
    curvature: Callable[[np.ndarray], tuple[Product, int]] | None = dataclasses.field(
        default=None, repr=False
    )
    """θ → products with ∇²L(θ) of the parameters that move, and how many these are; a result has it."""

    @property
    def loss(self) -> float:
        """L at the end of the flow."""
        return float(self.losses[-1])

    @property
    def grad_norm(self) -> float:
        """∞-norm of ∇L at the end of the flow."""
        return float(self.grad_norms[-1])

    @property
    def end_time(self) -> float:
        """The time at which the flow was stopped."""
        return float(self.step_times[-1])

    def __repr__(self) -> str:
        return (
            f"<Flow: {self.settings['solver']}, t = {self.end_time:g}, {self.accepted} steps, "
            f"loss {self.loss:.6g}, |grad| {self.grad_norm:.2g}, {self.stop_reason.value}>"
        )

    def at(self, t) -> np.ndarray:
        """θ at time t: shape (P,) for a number, (m, P) for an array (m,).

        By a step of the solver itself from the accepted step before t, or (BDF) by the formula's polynomial,
        with a Newton step from it where the interval is stiff: as accurate as the steps. Times outside
        [0, end] raise `ArgumentError`.
        """
        points = np.atleast_1d(real_array("t", t, (0, 1)))
        end = self.step_times[-1]
        if points.size and (points.min() < 0 or points.max() > end):
            worst = points.min() if points.min() < 0 else points.max()
            raise ArgumentError("t", worst, f"times between 0 and the end of the flow, {end:g}")
        values = self._path(points)
        return values[0] if np.ndim(t) == 0 else values

    def sharpness(self, k: int = 1) -> np.ndarray:
        """The largest eigenvalues of ∇²L along the flow.

        What the literature on the edge of stability plots against time: gradient descent with rate η is
        stable where the largest is below 2/η. In this package's convention (no ½ in L).

        Parameters
        ----------
        k
            How many at each time.

        Returns
        -------
        np.ndarray
            Shape (m, k), at `times`, descending; over the parameters that move.

        Raises
        ------
        ArgumentError
            For k below 1 or above the number of parameters that move, and for a flow without its problem (one
            that was not taken from a `Result`).

        Notes
        -----
        By Hessian-vector products alone, in ARPACK's restarted Lanczos method, each time from the eigenvector
        of the time before: some 20 products a time, memory for some 20 vectors. Residuals are below 1e-8 of
        the eigenvalue; where k is close to the number of parameters the matrix is formed from products.

        References
        ----------
        .. [1] J. M. Cohen, S. Kaur, Y. Li, J. Z. Kolter and A. Talwalkar, Gradient descent on neural networks
           typically occurs at the edge of stability, ICLR 2021.
        .. [2] R. B. Lehoucq, D. C. Sorensen and C. Yang, ARPACK Users' Guide, SIAM 1998.

        Examples
        --------
        >>> import gradflow as gf
        >>> teacher = gf.teachers.orthonormal(2, 3, "erf")
        >>> student = gf.MLP.random((3, 2, 1), "erf", bias=False, seed=0)
        >>> flow = gf.train(teacher, student, progress=False).flow
        >>> flow.sharpness().shape == (flow.times.size, 1)
        True
        """
        if self.curvature is None:
            raise ArgumentError("flow", "one without its problem", "the flow of a Result")
        start, rows = None, []
        with single_threaded_blas():
            for theta in self.theta:
                product, size = self.curvature(np.ascontiguousarray(theta))
                count = integer("k", k, 1)
                if count > size:
                    raise ArgumentError("k", k, f"at most {size}, the number of parameters that move")
                values, start = largest_eigenvalues(product, size, count, start)
                rows.append(values)
        return np.array(rows)

    def _path(self, points: np.ndarray) -> np.ndarray:
        times = self.step_times
        place = np.searchsorted(times, points, side="right") - 1
        values = self.step_theta[place]
        between = points > times[place]
        stepper = self.stepper or (lambda interval, wanted: quintic(interval, wanted)[0])
        with single_threaded_blas():
            if isinstance(stepper, CompiledPath):
                whole = between & (np.append(self.stiffness, 0.0)[place] < np.inf)
                steps = Steps(
                    times, self.step_theta, self.step_velocity, self.step_acceleration, self.stiffness
                )
                values[whole] = stepper.along(steps, place[whole], points[whole])
                between &= ~whole
            for i in np.unique(place[between]):
                wanted, ends = between & (place == i), slice(i, i + 2)
                interval = Interval(
                    times[ends], self.step_theta[ends], self.step_velocity[ends],
                    self.step_acceleration[ends], float(self.stiffness[i]),
                )  # fmt: skip
                values[wanted] = stepper(interval, points[wanted])
        return values

    def mapped(self, point: Callable, velocity: Callable, back: Callable, clock: float = 1.0) -> Flow:
        """The same flow in other coordinates.

        Parameters
        ----------
        point, velocity : callable
            θ (m, p) → θ (m, P), and the same for tangent vectors.
        back : callable
            The inverse on the image, of one θ or velocity, (P,) → (p,).
        clock : float, default 1
            How much faster the time of this flow runs than that of the new one.

        Returns
        -------
        Flow
        """
        return dataclasses.replace(
            self,
            times=self.times / clock,
            theta=point(self.theta),
            step_times=self.step_times / clock,
            events=None if self.events is None else self.events.later(clock),
            step_theta=point(self.step_theta),
            step_velocity=velocity(self.step_velocity) * clock,
            step_acceleration=velocity(self.step_acceleration) * clock * clock,
            stepper=None if self.stepper is None else mapped_stepper(self.stepper, point, back, clock),
        )

    def __getstate__(self) -> dict:
        return {**self.__dict__, "stepper": None, "curvature": None}  # addresses in this process


def sample_times(step_times: np.ndarray, count: int = SAMPLES) -> np.ndarray:
    """0, then `count` log-spaced times from the first accepted step to the end, both exactly."""
    if step_times.size < 3:
        return step_times.copy()
    times = np.geomspace(step_times[1], step_times[-1], count)
    times[0], times[-1] = step_times[1], step_times[-1]
    return np.concatenate([[0.0], times])


def nearest_steps(step_times: np.ndarray) -> np.ndarray:
    """The accepted steps nearest to `sample_times`, each once: samples that cost nothing between steps."""
    wanted = sample_times(step_times)
    place = np.clip(np.searchsorted(step_times, wanted), 1, step_times.size - 1) if wanted.size > 1 else [0]
    earlier = np.maximum(np.asarray(place) - 1, 0)
    closer = wanted - step_times[earlier] < step_times[place] - wanted
    return step_times[np.unique(np.where(closer, earlier, place))]


def build_flow(
    objective: Objective,
    step_times: np.ndarray,
    step_theta: np.ndarray,
    step_velocity: np.ndarray,
    step_acceleration: np.ndarray,
    stiffness: np.ndarray,
    at_steps: bool = False,
    known: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
    **fields,
) -> Flow:
    """A `Flow` from accepted steps, with its samples: at log-spaced times, or at the steps next to them.

    known   L and |∇L| at some steps by their numbers, where these are not the objective's (at kinks)
    """
    none = np.empty(0)
    flow = Flow(
        times=none,
        theta=none,
        losses=none,
        grad_norms=none,
        step_times=step_times,
        step_theta=step_theta,
        step_velocity=step_velocity,
        step_acceleration=step_acceleration,
        stiffness=stiffness,
        **fields,
    )
    times = nearest_steps(step_times) if at_steps else sample_times(step_times)
    theta = flow.at(times)
    if known is not None:
        losses, norms = known(np.searchsorted(step_times, times, side="right") - 1)
    else:
        losses, norms = objective.losses_and_norms(theta).T.copy()
    return dataclasses.replace(flow, times=times, theta=theta, losses=losses, grad_norms=norms)
