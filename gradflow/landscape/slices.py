"""Pictures of the loss: planes through parameter space, and straight paths between two points."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.optimize

from ..losses.problem import Problem
from ..objective import Affine
from ..refiners import LBFGS, TrustRegionNewton
from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.threads import single_threaded_blas
from ..support.validate import check_rates, integer, real_array, sequence
from .symmetries import arranged, balanced, network, same_point

DENSE = 300
"""Up to so many dimensions the complement is minimised by Newton's method, above by L-BFGS."""

EXACT = 1e-12
"""Tolerance of the match for paths: the matched network is to have the same loss."""

DEPENDENT = 1e-12
"""Directions with a smaller sine between them count as one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """L over a plane, origin + x e₁ + y e₂.

    Attributes
    ----------
    x, y : ndarray, shapes (p,) and (q,)
        Coordinates along the two orthonormal directions.
    losses : ndarray, shape (p, q)
        L: losses[i, j] is at (x[i], y[j]).
    origin : ndarray, shape (P,)
        Where x = y = 0.
    directions : ndarray, shape (2, P)
        e₁ and e₂.
    grad_norms : ndarray or None, shape (p, q)
        With `minimised`, the ∞-norm of ∇L along the complement at each point: how well the minimum was
        found; else None.

    Examples
    --------
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 1, 1), bias=False, seed=0))
    >>> found = gf.landscape.slice_plane(problem, problem.theta0, np.eye(2, 3), [0.0, 0.1], [0.0, 0.1, 0.2])
    >>> found.losses.shape
    (2, 3)
    """

    x: np.ndarray
    y: np.ndarray
    losses: np.ndarray
    origin: np.ndarray
    directions: np.ndarray
    grad_norms: np.ndarray | None = None


def plane(points) -> tuple[np.ndarray, np.ndarray]:
    """Origin and orthonormal directions of the plane through three points.

    Parameters
    ----------
    points : sequence of three array_like, shape (P,)
        Not on a line.

    Returns
    -------
    origin : ndarray, shape (P,)
        The first point.
    directions : ndarray, shape (2, P)
        The first one points from the first point to the second.

    Raises
    ------
    ArgumentError
        Where they lie on a line, or are of different sizes.

    Examples
    --------
    >>> origin, directions = gf.landscape.plane([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [1.0, 3.0, 1.0]])
    >>> directions
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    points = sequence("points", points, "three points that are not on a line")
    if len(points) != 3:
        raise ArgumentError("points", f"{len(points)} points", "three points that are not on a line")
    a, b, c = (real_array(f"points[{i}]", p, 1) for i, p in enumerate(points))
    for i, point in ((1, b), (2, c)):
        if point.size != a.size:
            raise ArgumentError(f"points[{i}]", f"shape {point.shape}", f"shape {a.shape}, as points[0]")
    first = b - a
    if not np.linalg.norm(first) > 0:
        raise ArgumentError("points", "two equal points", "three points that are not on a line")
    first = first / np.linalg.norm(first)
    second = (c - a) - first * (first @ (c - a))
    if np.linalg.norm(second) <= DEPENDENT * np.linalg.norm(c - a):
        raise ArgumentError("points", "three points on a line", "three points that are not")
    return a, np.stack([first, second / np.linalg.norm(second)])


def slice_plane(
    problem, origin, directions, x, y, *, minimised: bool = False, rates=None, max_iterations: int = 200
) -> Slice:
    """L on a grid of a plane, origin + x d₁ + y d₂ (d made orthonormal).

    Parameters
    ----------
    problem : Problem
        Whose loss.
    origin : array_like, shape (P,)
        Where x = y = 0.
    directions : array_like, shape (2, P)
        Two independent ones.
    x, y : array_like
        Coordinates.
    minimised : bool, default False
        The minimum of L over the orthogonal complement of the plane at every grid point, each found from
        its neighbour's (a snake over the grid) or from the plane itself, where L is lower there: a local
        minimum, never above the plane.
    rates : array_like, shape (P,), optional
        As for `train`: of the complement only parameters of rate other than zero move.
    max_iterations : int, default 200
        Of each minimisation.

    Returns
    -------
    Slice

    Raises
    ------
    ArgumentError
        For shapes that do not fit, dependent directions, and rates that leave nothing to move.

    Examples
    --------
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 1, 1), bias=False, seed=0))
    >>> around = np.linspace(-0.5, 0.5, 3)
    >>> found = gf.landscape.slice_plane(problem, problem.theta0, np.eye(2, 3), around, around)
    >>> bool(found.losses[1, 1] == problem.loss(problem.theta0))
    True
    """
    _check(problem)
    moving = check_rates(rates, problem.size) != 0
    integer("max_iterations", max_iterations, 1)
    origin = real_array("origin", origin, 1)
    given = real_array("directions", directions, 2)
    if origin.size != problem.size:
        raise ArgumentError("origin", f"shape {origin.shape}", f"shape ({problem.size},)")
    if given.shape != (2, problem.size):
        raise ArgumentError("directions", f"shape {given.shape}", f"shape (2, {problem.size})")
    x, y = real_array("x", x, 1), real_array("y", y, 1)
    for argument, values in (("x", x), ("y", y)):
        if not values.size:
            raise ArgumentError(argument, "no values", "one coordinate at least")
    with single_threaded_blas():
        sizes = np.linalg.norm(given, axis=1, keepdims=True)
        independent = sizes.all() and np.linalg.svd(given / sizes, compute_uv=False)[1] > DEPENDENT
        if not independent:
            raise ArgumentError("directions", "dependent vectors", "two independent directions")
        basis = np.linalg.qr(given.T)[0]
        basis = basis * np.where(np.sum(basis * given.T, axis=0) < 0, -1.0, 1.0)
        losses = np.empty((x.size, y.size))
        if not minimised:
            for i, j in np.ndindex(*losses.shape):
                losses[i, j] = problem.loss(origin + basis @ np.array([x[i], y[j]]))
            return Slice(x, y, losses, origin, basis.T)
        norms = np.empty_like(losses)
        complement = scipy.linalg.null_space(np.vstack([basis.T, np.eye(problem.size)[~moving]]))
        if not complement.size:
            raise ArgumentError("rates", "nothing that moves across the plane", "moving parameters")
        refiner = (TrustRegionNewton if complement.shape[1] <= DENSE else LBFGS)(
            max_iterations=max_iterations
        )
        rest = np.zeros(complement.shape[1])
        for i in range(x.size):
            for j in range(y.size) if i % 2 == 0 else reversed(range(y.size)):
                base = origin + basis @ np.array([x[i], y[j]])
                affine = Affine(problem.objective, complement, base)
                if affine.loss(np.zeros_like(rest)) < affine.loss(rest):
                    rest = np.zeros_like(rest)
                end = refiner.refine(affine, rest, Monitor(False))
                rest, losses[i, j], norms[i, j] = end.theta, end.loss, end.grad_norm
    return Slice(x, y, losses, origin, basis.T, norms)


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """L on the straight line from one point to another.

    Attributes
    ----------
    fractions, losses : ndarray, shape (m,)
        s in [0, 1], and L there.
    barrier : float
        Max over s of L(s) − [(1−s) L(0) + s L(1)], at least 0, refined beyond the grid.
    distance : float
        |θ(1) − θ(0)|.

    Examples
    --------
    >>> a, b = (gf.MLP.random((2, 2, 1), bias=False, seed=seed) for seed in (0, 1))
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), a)
    >>> path = gf.landscape.connectivity(problem, a, b)
    >>> path.losses.shape, path.barrier >= 0
    ((51,), True)
    """

    fractions: np.ndarray
    losses: np.ndarray
    barrier: float
    distance: float


def connectivity(problem, a, b, *, matched: bool = True, scaled: bool = True, count: int = 51) -> Path:
    """The loss on the straight line between two students of a problem.

    Parameters
    ----------
    problem : Problem
        Whose loss.
    a, b : Result or MLP
        The ends.
    matched : bool, default True
        b is first moved by the permutation and signs of hidden neurons (one hidden layer) that bring it
        nearest to a, without a change of the function (`same_point`, `arranged`). The barrier of the
        nearest image is mostly, not always, lower.
    scaled : bool, default True
        Homogeneous neurons are then normalised in both, to |(w, b)|^k = |a|. False leaves output weights as
        they are: for problems that freeze them.
    count : int, default 51
        Points on the line; around the highest of them the barrier is refined.

    Returns
    -------
    Path

    Raises
    ------
    ArgumentError
        For networks of other sizes than the problem's.

    Examples
    --------
    >>> a = gf.MLP.random((2, 2, 1), bias=False, seed=0)
    >>> b = gf.MLP([a.weights[0][::-1], a.weights[1][:, ::-1]])
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), a)
    >>> gf.landscape.connectivity(problem, a, b).distance
    0.0
    """
    _check(problem)
    count = integer("count", count, 2)
    for argument, point in (("a", a), ("b", b)):
        size = network(argument, point, 1 if matched else None).size
        if size != problem.size:
            raise ArgumentError(argument, f"{size} parameters", f"{problem.size}, as the problem has")
    first, second = (p.student if isinstance(p, Result) else p for p in (a, b))
    if matched:
        second = arranged(second, same_point(first, second, EXACT), scaled)
        first = balanced(first) if scaled else first
    start, stop = first.flat(), second.flat()

    def loss(s: float) -> float:
        return problem.loss((1 - s) * start + s * stop)

    fractions = np.linspace(0.0, 1.0, count)
    losses = np.array([loss(s) for s in fractions])
    above = losses - (1 - fractions) * losses[0] - fractions * losses[-1]
    top = int(np.argmax(above))
    barrier = max(0.0, float(above[top]))
    if barrier:
        highest = scipy.optimize.minimize_scalar(
            lambda s: (1 - s) * losses[0] + s * losses[-1] - loss(s),
            bounds=(fractions[top - 1], fractions[top + 1]),
            method="bounded",
        )
        barrier = max(barrier, -float(highest.fun))
    return Path(fractions, losses, barrier, float(np.linalg.norm(stop - start)))


def _check(problem) -> None:
    if not isinstance(problem, Problem):
        raise ArgumentError("problem", type(problem).__name__, "a Problem")
