"""How far two trajectories are from each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..solvers import Flow
from ..support.errors import ArgumentError
from ..support.settings import one_of
from .result import Result

MATCHED = ("time", "path")


class TrajectoryDistance(NamedTuple):
    """Distances ‖θ_a − θ_b‖ along a flow: what `trajectory_distance` returns.

    Attributes
    ----------
    times : ndarray, shape (m,)
        Of the first flow.
    distances : ndarray, shape (m,)
        There.
    others : ndarray, shape (m,)
        The times of the second flow that are compared; the same with `matched="time"`.

    Examples
    --------
    >>> gf.TrajectoryDistance(np.zeros(2), np.array([1.0, 3.0]), np.zeros(2)).largest
    3.0
    """

    times: np.ndarray
    distances: np.ndarray
    others: np.ndarray

    @property
    def largest(self) -> float:
        """The largest of them."""
        return float(self.distances.max())


def trajectory_distance(a: Result | Flow, b: Result | Flow, *, matched: str = "time") -> TrajectoryDistance:
    """The Euclidean distance of two flows in parameter space.

    Parameters
    ----------
    a, b : Result or Flow
        Of equally many parameters. Neurons are not exchanged: `gradflow.landscape.same_point` does that for
        end points.
    matched : {"time", "path"}
        "time" compares equal times, as for two solvers or tolerances; "path" compares each point of `a` with
        the nearest one of `b`, as for rates or minibatches that change the speed and not the way.

    Returns
    -------
    TrajectoryDistance
        At the sample times of both flows up to the earlier end ("time"), or at those of `a`.

    Raises
    ------
    ArgumentError
        For results without a flow, and different numbers of parameters.

    Notes
    -----
    Between steps both flows are `Flow.at`. The nearest point of a path is looked for between the neighbours
    of the nearest of its samples, to 1e-6 of the time between these.

    Examples
    --------
    >>> import gradflow as gf
    >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> solvers = gf.solvers.BDF(t1=5.0), gf.solvers.Dopri8(t1=5.0)
    >>> runs = [gf.train(teacher, student, solver=s, refiner=None, progress=False) for s in solvers]
    >>> gf.trajectory_distance(*runs).largest < 1e-4
    True
    """
    if matched not in MATCHED:
        raise ArgumentError("matched", repr(matched), one_of(matched, MATCHED))
    first, second = _flow("a", a), _flow("b", b)
    if first.theta.shape[1] != second.theta.shape[1]:
        given = f"{second.theta.shape[1]} parameters"
        raise ArgumentError("b", given, f"{first.theta.shape[1]}, as in a")
    if matched == "time":
        end = min(first.end_time, second.end_time)
        times = np.union1d(first.times, second.times)
        times = np.append(times[times < end], end)
        return TrajectoryDistance(times, _norms(first.at(times) - second.at(times)), times)
    times, points = first.times, first.at(first.times)
    known = np.union1d(second.times, second.step_times)
    samples = second.at(known)
    nearest = np.array([int(np.argmin(_norms(samples - point))) for point in points])
    low, high = known[np.maximum(nearest - 1, 0)], known[np.minimum(nearest + 1, known.size - 1)]
    fractions = np.linspace(0.0, 1.0, 9)
    for _ in range(10):  # each round leaves a quarter of the interval
        grid = low[:, None] + (high - low)[:, None] * fractions
        others = second.at(grid.ravel()).reshape(*grid.shape, -1)
        best = np.argmin(np.linalg.norm(others - points[:, None], axis=2), axis=1)
        rows = np.arange(times.size)
        low, high = grid[rows, np.maximum(best - 1, 0)], grid[rows, np.minimum(best + 1, 8)]
    found = grid[rows, best]
    return TrajectoryDistance(times, _norms(others[rows, best] - points), found)


def _flow(argument: str, given) -> Flow:
    flow = given.flow if isinstance(given, Result) else given
    if not isinstance(flow, Flow):
        raise ArgumentError(argument, repr(given), "a Flow, or a Result with one (not solver=None)")
    return flow


def _norms(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1)
