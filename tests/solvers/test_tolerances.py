"""Tolerances mean what they say: the error at t stays within 10·tol·κ(t), κ from the variational equation."""

import itertools
from functools import cache

import numpy as np
import pytest
import scipy.integrate

import gradflow as gf
from gradflow import solvers
from gradflow.support.progress import Monitor
from gradflow.support.threads import single_threaded_blas

STIFF = ["BDF", "KenCarp58", "Kvaerno5", "Rodas5P"]
NOT_STIFF = ["Tsit5", "Dopri8"]
TOLERANCES = {"loose": (1e-4, 1e-5, 1e-6), "tight": (1e-7, 1e-8, 1e-9)}
CASES = [(method, kind) for method in STIFF + NOT_STIFF for kind in TOLERANCES]
CASES.append(("RKC2", "loose"))  # of second order: its error over a flow falls as tol^(2/3)


def erf_population():
    """Follows a saddle from t = 20 to 80, then leaves it; perturbations grow by several tens."""
    student = gf.MLP.random((5, 3, 1), "erf", False, seed=1)
    return gf.Problem(gf.teachers.orthonormal(4, 5), student), 150.0


def softplus_samples():
    """13 parameters, 50 samples; the flow contracts, so that the tolerance itself is at stake."""
    X = np.random.default_rng(3).standard_normal((50, 2))
    teacher = gf.teachers.random((2, 4, 1), "softplus", seed=50)
    return gf.Problem(teacher, gf.MLP.random((2, 3, 1), "softplus", seed=0), X, threads=1), 30.0


PROBLEMS = {"erf": erf_population, "softplus": softplus_samples}


def scipy_flow(problem, t, method, tolerance, **options):
    solution = scipy.integrate.solve_ivp(
        lambda _, y: -problem.gradient(np.ascontiguousarray(y)),
        (0.0, t),
        problem.theta0,
        method=method,
        rtol=tolerance,
        atol=tolerance,
        **options,
    )
    assert solution.success
    return solution


def scaled(theta):
    """The solvers' measure of θ at rtol = atol = 1: each component in units of 1 + |θ|."""
    return 1.0 / (1.0 + np.abs(theta))


@cache
def truth(name):
    """θ(t) by DOP853 and Radau, and κ(t) = max over s ≤ t of ‖Φ(t, s)‖ in the solvers' measure.

    Φ' = −∇²L(θ(t)) Φ, Φ(s, s) = 1, interval by interval, so that no inverse is needed.
    """
    with single_threaded_blas():
        return compute_truth(*PROBLEMS[name]())


def compute_truth(problem, t):
    size = problem.size
    flow = scipy_flow(problem, t, "DOP853", 1e-13, dense_output=True)
    theta = flow.y[:, -1]
    other = scipy_flow(problem, t, "Radau", 1e-11, jac=lambda _, y: -problem.hessian(np.ascontiguousarray(y)))
    times = np.concatenate([[0.0], np.geomspace(0.1, t, 60)])

    def variation(time, matrix):
        hessian = problem.hessian(np.ascontiguousarray(flow.sol(time)))
        return -(hessian @ matrix.reshape(size, size)).ravel()

    growth, later = [], np.eye(size)
    for start, end in reversed(list(itertools.pairwise(times))):
        piece = scipy.integrate.solve_ivp(variation, (start, end), np.eye(size).ravel(), rtol=1e-4, atol=1e-6)
        later = later @ piece.y[:, -1].reshape(size, size)
        weighted = scaled(theta)[:, None] * later / scaled(flow.sol(start))
        growth.append(np.linalg.norm(weighted, 2))
    return problem, t, theta, measure(theta, other.y[:, -1]), max(1.0, *growth)


def measure(theta, reference):
    """Root mean square of the difference in units of 1 + |θ|."""
    return float(np.sqrt(np.mean((scaled(reference) * (theta - reference)) ** 2)))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_reference_is_good_to_one_per_cent_of_the_smallest_bound(name):
    _, _, _, difference, growth = truth(name)
    assert difference < 0.01 * 10 * 1e-9 * growth
    assert 1 <= growth < 100


@pytest.mark.parametrize(("method", "tolerances"), CASES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_error_stays_within_the_tolerance_times_the_growth(name, method, tolerances):
    problem, t, reference, _, growth = truth(name)
    for tolerance in TOLERANCES[tolerances]:
        solver = getattr(solvers, method)(rtol=tolerance, atol=tolerance, t1=t, gtol=0.0)
        flow = solver.integrate(problem.objective, problem.theta0, np.ones(problem.size), Monitor(False))
        assert flow.end_time == t
        error = measure(flow.step_theta[-1], reference)
        assert error <= 10 * tolerance * growth, f"{error / tolerance / growth:.2g} · tol · κ"
