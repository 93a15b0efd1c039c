"""Mean squared error reached within equal wall-clock budgets, by every method from the same starts.

    python -m benchmarks minima [--problems 33 1153 same-width] [--seeds 0 1 …] [--methods NAME …]
                                [--seconds 5 30] [--executor threads] [--workers 1] [--folder FOLDER]
                                [--store FOLDER] [--anew] [--quick]

Softplus networks with biases, 10,000 standard normal inputs, random normal teachers, Glorot students:
"33" parameters (input 2, width 8, teacher width 4; ten seeds), "1153" (input 16, width 64, teacher width
16; three seeds), and "same-width" (33 parameters, teacher width 8, targets from the student's own kernel;
ten seeds), whose floor is the rounding of the outputs, mean (2⁻⁵³ Σ|a_i σ_i|)².

Each method runs once per start for the last of the budgets; the best loss at each budget is read from its
course. Compilation comes first and is not counted. "train" is the default of the package, flow and
refinement, for which the seconds to a gradient ∞-norm ≤ 1e-13 are given too. Finished runs are kept in
FOLDER/minima.runs (`gradflow.sweep`), and the next call goes on from there: the benchmark can be run in
pieces, on threads, processes or dask. More workers than idle cores make it unfair.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import threadpoolctl

import gradflow as gf
from gradflow.objective import Objective
from gradflow.refiners import (
    BFGS,
    LBFGS,
    GaussNewton,
    GramLevenbergMarquardt,
    SciPy,
    TrustRegionNewton,
    VariableProjection,
    default_refiner,
)
from gradflow.solvers import Adam, KenCarp58, default_solver
from gradflow.support.progress import Monitor

from . import _runs, _timing

GOAL = 1e-13
"""The gradient ∞-norm to which the seconds of the default are given."""


class Course(Objective):
    """An objective that notes when its best losses, and gradients ≤ GOAL, were reached."""

    def __init__(self, inner: Objective):
        self.inner = inner
        self.size, self.sum_of_squares = inner.size, inner.sum_of_squares
        self.loss_floor, self.gradient_scale = inner.loss_floor, inner.gradient_scale
        self.nonnegative, self.sample_count = inner.nonnegative, inner.sample_count
        self.spread, self.weight_vectors = inner.spread, inner.weight_vectors
        self.start()

    def start(self) -> None:
        """The clock at zero."""
        self.began = time.perf_counter()
        self.best: list[tuple[float, float]] = []
        self.goal: float | None = None

    def note(self, loss: float, norm: float, now: float | None = None) -> None:
        """A point was reached, now or at the time given."""
        now = time.perf_counter() - self.began if now is None else now
        if math.isfinite(loss) and (not self.best or loss < self.best[-1][1]):
            self.best.append((now, loss))
        if norm <= GOAL and self.goal is None:
            self.goal = now

    def at(self, seconds: float) -> float:
        """The best loss at that time."""
        return min((loss for when, loss in self.best if when <= seconds), default=self.best[0][1])

    def loss_and_gradient(self, theta):
        loss, gradient = self.inner.loss_and_gradient(theta)
        self.note(loss, float(np.abs(gradient).max()))
        return loss, gradient

    def all_derivatives(self, theta):
        loss, gradient, hessian = self.inner.all_derivatives(theta)
        self.note(loss, float(np.abs(gradient).max()))
        return loss, gradient, hessian

    def least_squares(self, theta):
        residuals, jacobian = self.inner.least_squares(theta)
        self.note(float(residuals @ residuals), 2 * float(np.abs(jacobian.T @ residuals).max()))
        return residuals, jacobian

    def residual_vector(self, theta):
        return self.inner.residual_vector(theta)

    def hvp(self, theta, v):
        return self.inner.hvp(theta, v)

    @property
    def has_gauss_newton(self):
        return self.inner.has_gauss_newton

    def gauss_newton(self, theta):
        loss, gradient, matrix = self.inner.gauss_newton(theta)
        self.note(loss, float(np.abs(gradient).max()))
        return loss, gradient, matrix

    def gauss_newton_product(self, theta, v):
        return self.inner.gauss_newton_product(theta, v)

    def gauss_newton_diagonal(self, theta):
        return self.inner.gauss_newton_diagonal(theta)

    def gradient_sizes(self, theta):
        return self.inner.gradient_sizes(theta)

    def loss_error(self, theta):
        return self.inner.loss_error(theta)

    def separable(self):
        return Noted(self, self.inner.separable())

    def batch(self, selection):
        return self.inner.batch(selection)

    @property
    def oracle(self):
        return self.inner.oracle

    def counts(self):
        return self.inner.counts()


class Noted:
    """A separable problem that notes the loss of every set of best output weights."""

    def __init__(self, course: Course, model):
        self.course, self.model, self.targets = course, model, model.targets

    def coefficients(self, Phi):
        C, Q = self.model.coefficients(Phi)
        self.course.note(float(np.sum((Phi @ C - self.targets) ** 2)), math.inf)
        return C, Q

    def __getattr__(self, name):
        return getattr(self.model, name)


def _flow(course: Course, theta: np.ndarray, solver, budgets: list[float]) -> np.ndarray:
    """A compiled flow in pieces that end at the budgets, so that its losses there are known."""
    done = 0.0
    for budget in budgets:
        piece = type(solver)(gtol=solver.gtol, max_steps=10**9, max_seconds=max(budget - done, 1e-3))
        flow = piece.integrate(course.inner, theta, np.ones(theta.size), Monitor(False))
        theta = flow.step_theta[-1]
        loss, gradient = course.inner.loss_and_gradient(theta)
        # Writing the samples of the trajectory is not part of the search, nor is the end of a step.
        done = min(done + flow.seconds, budget)
        course.note(loss, float(np.abs(gradient).max()), done)
        course.began = time.perf_counter() - done
        if flow.stop_reason is not gf.StopReason.MAX_SECONDS:
            break
    return theta


def _refine(refiner) -> Callable:
    def run(course: Course, theta: np.ndarray, budgets: list[float]) -> None:
        settings = {"gtol": 0.0, "max_iterations": 10**9, "max_seconds": budgets[-1]}
        refiner(**settings).refine(course, theta, Monitor(False))

    return run


def _adam(course: Course, theta: np.ndarray, budgets: list[float]) -> None:
    solver = Adam(rate=1e-3, gtol=0.0, max_steps=10**9, max_seconds=budgets[-1])
    solver.integrate(course, theta, np.ones(theta.size), Monitor(False))


def _kencarp58(course: Course, theta: np.ndarray, budgets: list[float]) -> None:
    _flow(course, theta, KenCarp58(gtol=0.0), budgets)


def _train(course: Course, theta: np.ndarray, budgets: list[float]) -> None:
    """What `gf.train` does by default, with the clock of this benchmark."""
    theta = _flow(course, theta, default_solver(theta.size), budgets)
    left = budgets[-1] - (time.perf_counter() - course.began)
    if left > 0:
        chosen = type(default_refiner(theta.size, course.sum_of_squares))
        _refine(chosen)(course, theta, [left])


METHODS: dict[str, Callable] = {
    "train": _train,
    "Adam": _adam,
    "L-BFGS": _refine(LBFGS),
    "KenCarp58": _kencarp58,
    "Newton trust region": _refine(TrustRegionNewton),
    "BFGS": _refine(BFGS),
    "SLSQP": _refine(SciPy),
    "Gauss–Newton": _refine(GaussNewton),
    "Gram LM": _refine(GramLevenbergMarquardt),
    "variable projection": _refine(VariableProjection),
}

PROBLEMS = {"33": (2, 8, 4, 10), "1153": (16, 64, 16, 3), "same-width": (2, 8, 8, 10)}
"""Inputs, width, teacher width, seeds."""


def pose(name: str, seed: int, count: int) -> tuple[gf.Problem, float | None]:
    """The problem and, where the loss can be the rounding of the outputs, that floor."""
    inputs, width, teacher_width, _ = PROBLEMS[name]
    X = np.random.default_rng(100 + seed).standard_normal((count, inputs))
    teacher = gf.teachers.random((inputs, teacher_width, 1), "softplus", seed=seed + 50)
    student = gf.MLP.random((inputs, width, 1), "softplus", seed=seed)
    found = gf.Problem(teacher, student, X)
    if teacher_width != width:
        return found, None
    W, A = teacher.weights
    hidden = np.logaddexp(0.0, X @ W.T + teacher.biases[0])
    floor = float(np.mean((2.0**-53 * (hidden @ np.abs(A[0]))) ** 2))
    return gf.Problem(found.objective.outputs(teacher.flat()), student, X), floor


def run(problem: str, seed: int, method: str, budgets: tuple[float, ...], samples: int) -> dict:
    """One run, after a short one of the same shape that compiles."""
    posed, floor = pose(problem, seed, samples)
    course = Course(posed.objective)
    with threadpoolctl.threadpool_limits(1, "blas"):
        METHODS[method](course, posed.theta0.copy(), [1e-3])
        course.start()
        METHODS[method](course, posed.theta0.copy(), list(budgets))
    row: dict = {f"loss_{budget:g}s": course.at(budget) for budget in budgets}
    row["seconds_to_gradient_1e-13"] = course.goal
    row["last_improvement"] = course.best[-1][0]
    if floor is not None:
        row["floor"] = floor
    return row


def table(results: dict, budgets: list[float]) -> None:
    """Median, smallest and largest loss of each method."""
    for name in PROBLEMS:
        keys = [key for key in results if key.startswith(f"{name}/")]
        if not keys:
            continue
        print(f"{name}: mean squared error, median (smallest … largest)")
        for method in METHODS:
            rows = [results[key] for key in keys if key.endswith(f"/{method}")]
            if not rows:
                continue
            cells = []
            for budget in budgets:
                losses = [row[f"loss_{budget:g}s"] for row in rows if f"loss_{budget:g}s" in row]
                if losses:
                    spread = f"({min(losses):.1e} … {max(losses):.1e})"
                    cells.append(f"{budget:g} s {statistics.median(losses):.1e} {spread}")
            if floors := [row[f"loss_{budgets[-1]:g}s"] / row["floor"] for row in rows if "floor" in row]:
                cells.append(f"≤ 10 floors: {sum(f <= 10 for f in floors)} of {len(floors)}")
            reached = [row["seconds_to_gradient_1e-13"] for row in rows]
            reached = [seconds for seconds in reached if seconds is not None]
            if method == "train" and reached:
                median = statistics.median(reached)
                cells.append(f"|grad| ≤ 1e-13: {len(reached)} of {len(rows)}, median {median:.2g} s")
            print(f"  {method:<20} {'  '.join(cells)}")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks minima")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", nargs="+", type=float, default=[5.0, 30.0])
    parser.add_argument("--quick", action="store_true", help="one seed of 33 parameters, 500 samples, 0.3 s")
    _runs.add_options(parser, "minima", workers=1)
    chosen = parser.parse_args(argv)
    count, budgets = 10_000, sorted(chosen.seconds)
    if chosen.quick:
        count, budgets, chosen.seeds = 500, [0.1, 0.3], [0]
        chosen.problems = [name for name in chosen.problems if name != "1153"]
    facts = _timing.machine()
    print(_timing.describe(facts))
    results = {}
    with _runs.executor(chosen) as pool:
        for name in chosen.problems:
            seeds = chosen.seeds if chosen.seeds is not None else list(range(PROBLEMS[name][3]))
            grid = {
                "problem": [name], "seed": seeds, "method": chosen.methods, "budgets": [tuple(budgets)],
                "samples": [count],
            }  # fmt: skip
            for row in _runs.sweep(name, grid, run, chosen, pool):
                key = f"{name}/{row['seed']}/{row['method']}"
                results[key] = {k: v for k, v in row.items() if k not in grid and k != "failure"}
                losses = "  ".join(f"{b:g} s {row[f'loss_{b:g}s']:.2e}" for b in budgets)
                print(f"  {name:<10} seed {row['seed']}  {row['method']:<20} {losses}", flush=True)
    table(results, budgets)
    print(f"written: {_timing.write('minima', results, facts, chosen.folder)}")
