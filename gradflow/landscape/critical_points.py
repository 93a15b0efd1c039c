"""A search for critical points: many starts, several methods, duplicates removed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg

from ..losses.base import Objective
from ..losses.problem import Problem, check_hessian_memory
from ..losses.restricted import Restricted
from ..networks import MLP
from ..refiners import TrustRegionNewton
from ..support.eigen import symmetric_eigen
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.stopping import StopReason
from ..support.threads import single_threaded_blas
from ..support.validate import check_rates, generator, integer, number, sequence
from .isotropy import isotropy
from .spectrum import zero_tolerance
from .symmetries import balanced, same_point
from .table import table

METHODS = ("minimum", "gradient norm", "newton", "eigenvectors", "perturbed saddles")
"""What `critical_points` starts from every point; "perturbed saddles" works on what the others found."""

STEP = 0.3
"""Longest step of Newton's method and of eigenvector following, in θ."""

CUT = 1e-8
"""Singular values of the outputs' Hessian below this times the largest are left out (equal neurons)."""

NEAR = 1e-8
"""Relative gradient norm at which those hand over to the refiner."""

EQUAL = 1e-7
"""Relative difference of losses and eigenvalues below which points can be images of each other."""

VANISHED = 1e-8
"""A neuron of degree one with smaller weights has run into the point where L has no Hessian."""


@dataclasses.dataclass(eq=False)
class CriticalPoint:
    """One critical point, or one class of them under the symmetries.

    student, loss, grad_norm   the point of smallest gradient norm among the hits
    index, zero     numbers of negative and of zero eigenvalues (within 8 P ε |λ|_max, at least 1e-11)
    eigenvalues     of ∇²L over the parameters that move, ascending
    isotropy        order of the group of teacher permutations that leave the point fixed; None unless the
                    teachers are orthogonal
    hits            how many runs ended there, by method
    """

    student: MLP
    loss: float
    grad_norm: float
    index: int
    zero: int
    eigenvalues: np.ndarray
    isotropy: int | None
    hits: dict


class CriticalPoints(list):
    """Critical points in the order of their losses.

    runs, ended   how many runs were made, and how many of them ended at a critical point
    """

    def __init__(self, points: list, runs: int, ended: int):
        super().__init__(sorted(points, key=lambda point: point.loss))
        self.runs, self.ended = runs, ended

    def __str__(self) -> str:
        header = f"{self.ended} of {self.runs} runs ended at a critical point, at {len(self)} different ones"
        return f"{header}\n{self.table()}"

    def table(self) -> Any:
        """One row per point; a DataFrame if pandas is installed."""
        names = ("loss", "grad_norm", "index", "zero", "isotropy")
        used = [method for method in METHODS if any(method in p.hits for p in self)]
        rows = [
            {
                **{name: getattr(p, name) for name in names},
                "hits": sum(p.hits.values()),
                **{method: p.hits.get(method, 0) for method in used},
            }
            for p in self
        ]
        return table(rows, (*names, "hits", *used))


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

    methods   "minimum": trust-region Newton on L; "gradient norm": Gauss–Newton on |∇L|²; "newton":
              Newton on ∇L = 0 with a pseudo-inverse and steps of bounded length; "eigenvectors":
              uphill along the lowest 1–3 modes, downhill along the others; "perturbed saddles": minimise
              from both sides of the lowest mode of every saddle that the others found
    scale     of the starting points: Glorot-normal weights times `scale`
    rates     as for `train`: parameters of rate zero stay as they are in problem.student
    images    True: points with equal loss and Hessian spectrum are one (images of each other under
              permutations of the teachers), and so are degenerate points with equal loss, index and number
              of zero eigenvalues (a manifold of critical points, with dead or duplicate neurons); False:
              only permutations, signs and scalings of the student's neurons make points one

    Methods that look for saddles begin with the output weights that are best for the random hidden neurons.
    Spectra of homogeneous neurons are those at |(w, b)|^k = |a|. Runs that end with a relu neuron at zero
    weights, where L has no Hessian, do not count as ended at a critical point. Ctrl-C ends the search with
    what was found. Every number depends on the seed alone.
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
            self.keep(end.theta, end.loss, end.grad_norm, method)

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

    def walk(self, theta: np.ndarray, uphill: int | None) -> np.ndarray:
        """Newton (None), or uphill along so many of the lowest eigenvectors, by steps of bounded length."""
        for _ in range(self.max_iterations):
            _, gradient, hessian = self.objective.all_derivatives(theta)
            if not np.isfinite(hessian).all() or self.monitor.interrupted:
                return theta
            if self.objective.is_critical(theta, gradient, NEAR):
                return theta
            values, vectors = symmetric_eigen(hessian)
            coefficients = vectors.T @ gradient
            if uphill is None:
                used = np.abs(values) > 1e-10 * np.abs(values).max()
                step = np.where(used, -coefficients / np.where(used, values, 1.0), 0.0)
            else:
                step = -coefficients / np.maximum(np.abs(values), 1e-6 * np.abs(values).max())
                step[:uphill] *= -1.0
            length = float(np.linalg.norm(step))
            theta = self.rescaled(theta + vectors @ (step * min(1.0, STEP / max(length, 1e-300))))
        return theta

    def rescaled(self, theta: np.ndarray) -> np.ndarray:
        """Homogeneous neurons `balanced`: bounded steps else drift along their scalings."""
        assert self.problem.student is not None
        if self.restricted is not None or all(
            s.degree is None for s in self.problem.student.neuron_activations(0)
        ):
            return theta
        return balanced(self.problem.student.with_flat(theta)).flat()

    def leave_saddles(self) -> None:
        for point in [p for p in self.found if p.index]:
            theta = point.student.flat()[self.free]
            lowest = symmetric_eigen(self.objective.hessian(theta))[1][:, 0]
            for sign in (1.0, -1.0):
                if not self.monitor.interrupted:
                    self.run("perturbed saddles", theta + 1e-2 * sign * lowest)

    def keep(self, theta: np.ndarray, loss: float, grad_norm: float, method: str) -> None:
        full = theta if self.restricted is None else self.restricted.full(theta)
        assert self.problem.student is not None
        student = self.problem.student.with_flat(full)
        norms = np.linalg.norm(student.weights[0], axis=1)
        if any(sigma.degree == 1 and r <= VANISHED for sigma, r in zip(student.neuron_activations(0), norms)):
            return
        self.ended += 1
        if self.restricted is None:
            student = balanced(student)
        values = scipy.linalg.eigvalsh(self.objective.hessian(student.flat()[self.free]))
        largest = float(np.abs(values).max())
        tolerance = zero_tolerance(values.size) * largest
        index, zero = int((values < -tolerance).sum()), int((np.abs(values) <= tolerance).sum())
        for point in self.found:
            if (point.index, point.zero) == (index, zero) and self.same(point, student, loss, values):
                point.hits[method] = point.hits.get(method, 0) + 1
                if grad_norm < point.grad_norm:
                    point.student, point.loss, point.grad_norm = student, loss, grad_norm
                return
        self.found.append(
            CriticalPoint(
                student=student,
                loss=loss,
                grad_norm=grad_norm,
                index=index,
                zero=zero,
                eigenvalues=values,
                isotropy=isotropy(self.problem, student),
                hits={method: 1},
            )
        )

    def same(self, point: CriticalPoint, student: MLP, loss: float, values: np.ndarray) -> bool:
        if abs(loss - point.loss) > EQUAL * max(abs(loss), self.objective.gradient_scale * 1e-3):
            return False
        if self.images:
            apart = float(np.abs(values - point.eigenvalues).max())
            return point.zero > 0 or apart <= EQUAL * float(np.abs(values).max())
        return same_point(point.student, student).same
