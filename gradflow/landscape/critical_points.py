"""A search for critical points: many starts, several methods, duplicates removed."""

from __future__ import annotations

import numpy as np

from ..losses.problem import Problem, check_hessian_memory
from ..networks import MLP
from ..objective import Objective, Restricted
from ..refiners import EigenvectorFollowing, TrustRegionNewton
from ..refiners.bordered import Examined, degenerate_point, examine
from ..support.eigen import symmetric_eigen
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from ..support.validate import check_rates, generator, integer, number, sequence
from .isotropy import isotropy
from .points import CriticalPoint, CriticalPoints
from .symmetries import balanced, same_point

METHODS = ("minimum", "gradient norm", "newton", "eigenvectors", "perturbed saddles")
"""What `critical_points` starts from every point; "perturbed saddles" works on what the others found."""

STEP = 0.3
"""First bound on the steps of Newton's method and of eigenvector following, in θ."""

BALANCED = 5
"""Homogeneous neurons are balanced after so many steps of those."""

CUT = 1e-8
"""Singular values of the outputs' Hessian below this times the largest are left out (equal neurons)."""

NEAR = 1e-8
"""Relative gradient norm at which those hand over to the refiner."""

EQUAL = 1e-7
"""Relative difference of losses and eigenvalues below which points can be images of each other."""

VANISHED = 1e-8
"""A neuron of degree one with |w| below this part of the teacher's largest, both balanced, has run into the
point where L has no Hessian."""


def critical_points(
    problem: Problem,
    starts: int = 100,
    *,
    seed,
    methods=METHODS,
    scale: float = 1.0,
    rates=None,
    images: bool = True,
    max_iterations: int = 300,
    progress: bool | None = False,
) -> CriticalPoints:
    """Critical points of L from `starts` random students, each tried with every method.

    Parameters
    ----------
    problem : Problem
        Its student has one hidden layer.
    starts : int, default 100
        Number of random students.
    seed : int
        Every number depends on it alone.
    methods : sequence of str
        "minimum": trust-region Newton on L; "gradient norm": Gauss–Newton on |∇L|²; "newton": Newton on ∇L
        = 0 with a pseudo-inverse and steps of bounded length; "eigenvectors": uphill along the lowest 1–3
        modes, downhill along the others; "perturbed saddles": minimise from both sides of the lowest mode
        of every saddle that the others found. All of them unless given.
    scale : float, default 1.0
        Of the starting points: Glorot-normal weights times `scale`.
    rates : optional
        As for `train`: parameters of rate zero stay as they are in problem.student.
    images : bool, default True
        True: points with equal loss and Hessian spectrum are one (images of each other under permutations
        of the teachers), and so are degenerate points with equal loss, index and number of zero eigenvalues
        (a manifold of critical points, with dead or duplicate neurons); False: only permutations, signs and
        scalings of the student's neurons make points one.
    max_iterations : int, default 300
        Of each run.
    progress : bool, optional
        Whether a line is shown; None: where standard error is a terminal.

    Returns
    -------
    CriticalPoints

    Raises
    ------
    ArgumentError
        For other problems and methods.

    Notes
    -----
    An index is stated where it is the same a Newton step further on; near degenerate saddles, at which
    Newton's method only creeps, the degenerate point itself is sought (`refiners.bordered`), which has exact
    zeros, and where there is none the point's index is None and `inertia.reason` says why.

    Methods that look for saddles begin with the output weights that are best for the random hidden neurons.
    Spectra of homogeneous neurons are those at |(w, b)|^k = |a|. Runs that end with a relu neuron at zero
    weights, where L has no Hessian, do not count as ended at a critical point. Ctrl-C ends the search with
    what was found. Every number depends on the seed alone.

    Examples
    --------
    >>> problem = gf.Problem(gf.teachers.orthonormal(2, 2), gf.MLP.random((2, 1, 1), bias=False, seed=0))
    >>> points = gf.landscape.critical_points(problem, 5, seed=0, methods=["minimum", "newton"])
    >>> [point.index for point in points if point.index == 0]
    [0]
    """
    starts, max_iterations = integer("starts", starts, 1), integer("max_iterations", max_iterations, 1)
    scale = number("scale", scale)
    if not isinstance(images, (bool, np.bool_)):
        raise ArgumentError("images", repr(images), "True or False")
    methods = sequence("methods", methods, f"some of {METHODS}")
    for method in methods:
        if method not in METHODS:
            raise ArgumentError("methods", repr(method), f"some of {METHODS}")
    if not isinstance(problem, Problem) or problem.student is None or len(problem.student.weights) != 2:
        raise ArgumentError("problem", repr(problem), "a Problem whose student has one hidden layer")
    check_hessian_memory(problem.size)
    rng = generator("seed", seed)
    free = check_rates(rates, problem.size) != 0
    search = _Search(problem, free, images, max_iterations, Monitor(progress))
    with search.monitor.listening(), single_threaded_blas():
        for _ in range(starts):
            if search.monitor.interrupted:
                break
            student = MLP.random(
                problem.student.sizes,
                list(problem.student.activations),
                [b is not None for b in problem.student.biases],
                seed=rng,
                gain=scale,
            )
            uphill = int(rng.integers(1, 4))
            for method in methods:
                if search.monitor.interrupted:
                    break
                if method == "minimum":
                    search.run(method, student.flat()[free])
                elif method != "perturbed saddles":
                    search.run(method, search.best_outputs(student.flat()[free]), uphill)
        if "perturbed saddles" in methods:
            search.leave_saddles()
    return CriticalPoints(search.found, search.runs, search.ended)


class _Search:
    """The points found so far."""

    def __init__(self, problem: Problem, free, images: bool, max_iterations: int, monitor: Monitor):
        self.problem, self.free, self.images, self.monitor = problem, free, images, monitor
        self.max_iterations = max_iterations
        self.restricted = None if free.all() else Restricted(problem.objective, problem.theta0, free)
        self.objective: Objective = self.restricted or problem.objective
        teacher = (
            problem.teacher
            if isinstance(problem.teacher, MLP) and len(problem.teacher.weights) == 2
            else None
        )
        self.unit = (
            1.0 if teacher is None else float(np.linalg.norm(balanced(teacher).weights[0], axis=1).max())
        )
        self.found: list[CriticalPoint] = []
        self.runs = self.ended = 0

    def run(self, method: str, theta: np.ndarray, uphill: int = 0) -> None:
        self.runs += 1
        target = "minimum" if method in ("minimum", "perturbed saddles") else "critical point"
        if method in ("newton", "eigenvectors"):
            theta = self.walk(theta, uphill if method == "eigenvectors" else None)
        refiner = TrustRegionNewton(target=target, max_iterations=self.max_iterations)
        end = refiner.refine(self.objective, np.ascontiguousarray(theta), self.monitor)
        if end.stop_reason in (StopReason.UNBOUNDED, StopReason.NON_FINITE, StopReason.INTERRUPTED):
            return
        if self.objective.is_critical(end.theta):
            self.keep(end.theta, method)

    def best_outputs(self, theta: np.ndarray) -> np.ndarray:
        """θ with the output weights (and bias) that minimise L at its hidden neurons.

        With those of a random network half of all Newton's iterations end where all output weights are zero.
        """
        assert self.problem.student is not None
        last = self.problem.student.biases[-1]
        count = self.problem.student.weights[-1].size + (0 if last is None else last.size)
        moves = np.flatnonzero(self.free) >= self.problem.size - count
        if self.problem.options["loss"] != "squared" or not moves.any():
            return theta
        _, gradient, hessian = self.objective.all_derivatives(theta)
        if not np.isfinite(hessian).all():
            return theta
        best = theta.copy()
        best[moves] -= np.linalg.lstsq(hessian[np.ix_(moves, moves)], gradient[moves], rcond=CUT)[0]
        return best

    def walk(self, theta: np.ndarray, index: int | None) -> np.ndarray:
        """Eigenvector following; homogeneous neurons are balanced often, or it drifts along scalings."""
        assert self.problem.student is not None
        kinds = self.problem.student.neuron_activations(0)
        scaled = self.restricted is None and any(sigma.degree is not None for sigma in kinds)
        count = BALANCED if scaled else self.max_iterations
        refiner = EigenvectorFollowing(
            index=index, radius=STEP, gtol=NEAR * self.objective.gradient_scale, max_iterations=count
        )
        for _ in range(0, self.max_iterations, count):
            end = refiner.refine(self.objective, np.ascontiguousarray(theta), self.monitor)
            theta = self.balanced(end.theta)
            if end.stop_reason is not StopReason.MAX_STEPS:
                break
        return theta

    def leave_saddles(self) -> None:
        for point in [p for p in self.found if p.index]:
            theta = point.student.flat()[self.free]
            lowest = symmetric_eigen(self.objective.hessian(theta))[1][:, 0]
            for sign in (1.0, -1.0):
                if not self.monitor.interrupted:
                    self.run("perturbed saddles", theta + 1e-2 * sign * lowest)

    def keep(self, theta: np.ndarray, method: str) -> None:
        """A point of small gradient, among the others; near a degenerate one it is brought there first."""
        near = examine(self.objective, self.balanced(theta))
        if near is None:
            return
        near = degenerate_point(self.objective, near) or near
        student = self.student(near.theta)
        norms = np.linalg.norm(student.weights[0], axis=1)
        small = zip(student.neuron_activations(0), norms <= VANISHED * self.unit)
        if any(sigma.degree == 1 and vanished for sigma, vanished in small):
            return
        self.ended += 1
        for point in self.found:
            if self.same(point, student, near):
                point.hits[method] = point.hits.get(method, 0) + 1
                if near.norm < point.grad_norm:
                    point.student, point.loss, point.grad_norm = student, near.loss, near.norm
                    point.eigenvalues = near.values
                return
        self.found.append(
            CriticalPoint(
                student=student,
                loss=near.loss,
                grad_norm=near.norm,
                eigenvalues=near.values,
                inertia=near.inertia,
                isotropy=isotropy(self.problem, student),
                hits={method: 1},
            )
        )

    def student(self, theta: np.ndarray) -> MLP:
        """The network of these moving parameters."""
        assert self.problem.student is not None
        return self.problem.student.with_flat(
            theta if self.restricted is None else self.restricted.full(theta)
        )

    def balanced(self, theta: np.ndarray) -> np.ndarray:
        """Homogeneous neurons `balanced`, unless some of their parameters are frozen."""
        return theta if self.restricted is not None else balanced(self.student(theta)).flat()

    def same(self, point: CriticalPoint, student: MLP, near: Examined) -> bool:
        if point.inertia[:2] != near.inertia[:2]:
            return False
        if abs(near.loss - point.loss) > EQUAL * max(abs(near.loss), self.objective.gradient_scale * 1e-3):
            return False
        if self.images:
            apart = float(np.abs(near.values - point.eigenvalues).max())
            return point.zero != 0 or apart <= EQUAL * float(np.abs(near.values).max())
        return same_point(point.student, student).same
