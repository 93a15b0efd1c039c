"""Newton without matrices: linear systems, minima, saddles, singular Hessians, the measured floor."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.objective import Restricted
from gradflow.refiners import (
    EigenvectorFollowing,
    GaussNewton,
    NewtonKrylov,
    TrustRegionNewton,
    default_refiner,
)
from gradflow.refiners.krylov import minres, truncated_cg
from gradflow.refiners.newton_krylov import gradient_rounding
from gradflow.support import limits
from gradflow.support.errors import ArgumentError
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason


def refine(function, theta, **settings):
    theta = np.asarray(theta, dtype=np.float64)
    return NewtonKrylov(**settings).refine(JaxLoss(function, theta.size), theta, Monitor(False))


def symmetric(values, rng):
    turn = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return turn * values @ turn.T, turn


@pytest.mark.parametrize("values", [np.linspace(1, 9, 40), np.linspace(-3.1, 10, 40)])
def test_minres_solves_definite_and_indefinite_systems(values, rng):
    H, _ = symmetric(values, rng)
    b = rng.standard_normal(40)
    found = minres(lambda v: H @ v, b, 1e-10, 100)
    assert found.solved and np.linalg.norm(found.x - np.linalg.solve(H, b)) < 1e-7
    assert found.residual == pytest.approx(np.linalg.norm(b - H @ found.x), abs=1e-12)


def test_minres_gives_the_shortest_solution_of_a_singular_system(rng):
    H, turn = symmetric(np.concatenate([np.zeros(5), [-2.0, -1.0], np.linspace(1, 2, 33)]), rng)
    b = H @ rng.standard_normal(40)
    found = minres(lambda v: H @ v, b, 1e-10, 100)
    assert found.solved and np.abs(turn[:, :5].T @ found.x).max() < 1e-9
    beyond = minres(lambda v: H @ v, b + turn[:, 0], 1e-10, 100)
    assert not beyond.solved and beyond.residual == pytest.approx(1.0, rel=1e-6)
    assert np.linalg.norm(H @ beyond.x - b) < 1e-4


def test_truncated_steps_stay_inside_and_do_at_least_as_well_as_steepest_descent(rng):
    for _ in range(30):
        values = rng.standard_normal(8) * 10.0 ** rng.uniform(-2, 2)
        H, _ = symmetric(values, rng)
        g, radius = rng.standard_normal(8), 10.0 ** rng.uniform(-2, 1)
        step = truncated_cg(lambda v, H=H: H @ v, g, radius, 1e-10, 50)
        s = step.vector
        assert np.linalg.norm(s) <= radius * (1 + 1e-10)
        assert step.reduction == pytest.approx(-(g @ s + 0.5 * s @ H @ s), rel=1e-9)
        lengths = np.linspace(0, radius / np.linalg.norm(g), 1000)
        assert step.reduction >= max(t * g @ g - 0.5 * t * t * g @ H @ g for t in lengths) * (1 - 1e-9)
        if step.negative:
            assert step.on_boundary and values.min() < 0


def rosenbrock(theta):
    return (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2


def test_a_minimum_is_reached_at_the_floor():
    found = refine(rosenbrock, [-1.2, 1.0])
    assert found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT)
    assert found.grad_norm <= 1e-13 and np.abs(found.theta - 1.0).max() <= 1e-14
    assert found.iterations <= 60


def test_a_saddle_in_the_hard_case_is_left_for_a_minimum():
    """θ₁ = 0 is kept by the gradient; only the Lanczos run at the end sees the negative curvature."""
    found = refine(lambda x: x[0] ** 2 - x[1] ** 2 + 0.25 * x[1] ** 4 + 3.0, [0.3, 0.0])
    assert found.loss == pytest.approx(2.0, abs=1e-15)
    assert abs(found.theta[1]) == pytest.approx(np.sqrt(2.0), abs=1e-15)


def test_a_saddle_is_found_when_a_critical_point_is_asked_for():
    function = lambda x: x[0] ** 2 - x[1] ** 2 + 0.25 * x[1] ** 4 + 0.1 * x[0] * x[1]  # noqa: E731
    found = refine(function, [0.2, 0.1], target="critical point")
    assert found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT)
    assert np.abs(found.theta).max() <= 1e-15


def test_a_line_of_minima_does_not_move_the_point_along_it():
    found = refine(lambda x: (x[0] * x[1] - 1.0) ** 2 + 0.5 * x[2] ** 2, [1.5, 0.9, 0.3])
    assert found.grad_norm <= 1e-15 and np.abs(found.theta).max() < 2.0


def test_the_rounding_is_measured_and_the_end_is_within_ten_of_it():
    student = gf.MLP.random((13, 7, 1), "erf", False, seed=2)
    problem = gf.Problem(gf.teachers.orthonormal(12, 13), student)
    objective = problem.objective
    start = gf.train(problem, solver=gf.solvers.BDF(gtol=1e-5), refiner=None, progress=False).theta
    found = NewtonKrylov().refine(objective, start, Monitor(False))
    dense = TrustRegionNewton().refine(objective, start, Monitor(False))
    assert found.stop_reason is StopReason.FLOOR
    rounding = gradient_rounding(objective, found.theta, objective.gradient(found.theta))
    assert 1e-17 < rounding < 1e-14 and found.grad_norm <= 10 * rounding
    assert found.loss == pytest.approx(dense.loss, abs=1e-14)
    assert np.abs(found.theta - dense.theta).max() < 1e-10
    assert found.counts.hessians == 0 and found.counts.products < 400


def test_reasons_to_stop_and_bad_settings():
    assert refine(lambda x: -jnp.sum(x**2) - x[0], [1.0, 2.0]).stop_reason is StopReason.UNBOUNDED
    assert refine(rosenbrock, [-1.2, 1.0], max_iterations=2).stop_reason is StopReason.MAX_STEPS
    assert refine(lambda x: jnp.log(x[0]), [-1.0]).stop_reason is StopReason.NON_FINITE
    for wrong in ({"target": "maximum"}, {"radius": 0.0}, {"products": 0}, {"probe": 1.5}):
        with pytest.raises(ArgumentError):
            NewtonKrylov(**wrong)


def test_the_default_beyond_a_thousand_parameters():
    assert isinstance(default_refiner(1001), NewtonKrylov)
    assert isinstance(default_refiner(1001, sum_of_squares=True), GaussNewton)
    assert isinstance(default_refiner(1000), TrustRegionNewton)


def test_the_units_of_the_output_layer_do_not_matter():
    """Output weights in units of 40: blocks of ∇²L of sizes 1 and 1/1600, and flat directions."""
    student = gf.MLP.random((21, 13, 1), "relu", False, seed=0)
    problem = gf.Problem(gf.teachers.orthonormal(20, 21, "relu"), student)
    start = gf.train(problem, solver=gf.solvers.BDF(gtol=1e-5), refiner=None, progress=False).theta
    everything = np.ones(start.size, dtype=bool)
    ends = []
    for unit in (1.0, 40.0, 1 / 40.0):
        objective = Restricted(problem.objective, start, everything, unit)
        found = NewtonKrylov().refine(objective, objective.part(start), Monitor(False))
        assert found.stop_reason is StopReason.FLOOR and found.counts.products < 1200
        assert found.grad_norm <= 10 * gradient_rounding(
            objective, found.theta, objective.gradient(found.theta)
        )
        ends.append(found.loss * unit**2)
    assert ends == pytest.approx([ends[0]] * 3, rel=1e-13)


def test_a_system_that_is_not_solved_says_so():
    """Eigenvalues from 1 to 1e-7, and three products for each step."""
    values = np.geomspace(1.0, 1e-7, 60)
    direction = np.random.default_rng(0).standard_normal((60, 60))
    basis = np.linalg.qr(direction)[0]
    matrix = jnp.asarray(basis * values @ basis.T)
    loss = JaxLoss(lambda x: 1.0 + 0.5 * (x - 1.0) @ matrix @ (x - 1.0), 60)
    start = basis @ np.ones(60)
    end = NewtonKrylov(products=3, max_iterations=40).refine(loss, start, Monitor(False))
    assert end.stop_reason is StopReason.MAX_STEPS
    assert end.stalled.products == 3 and end.stalled.residual > 1e-3
    assert 1.0 < end.stalled.condition <= 1e7
    solved = NewtonKrylov(products=400).refine(loss, start, Monitor(False))
    assert solved.stop_reason is StopReason.FLOOR and solved.stalled is None
    system = minres(lambda v: np.asarray(matrix @ v), start, 1e-12, 5)
    assert system.exhausted and not system.solved and 1.0 <= system.condition <= 1e7


@pytest.mark.parametrize(
    "refiner",
    [NewtonKrylov(), NewtonKrylov(target="critical point"), EigenvectorFollowing(dense=0)],
    ids=["minimum", "critical point", "saddle"],
)
@pytest.mark.parametrize("after", [1, 40])
def test_interruption_within_a_linear_system(refiner, after, monkeypatch):
    """The system is left at once; what a minimisation returns is no worse than the start."""
    teacher, student = gf.teachers.orthonormal(6, 7, "erf"), gf.MLP.random((7, 4, 1), "erf", False, seed=0)
    objective, theta, monitor = gf.Problem(teacher, student).objective, student.flat(), Monitor(False)
    product, taken = objective.hvp, []

    def counted(theta, v):
        taken.append(1)
        monitor.interrupted = len(taken) >= after
        return product(theta, v)

    monkeypatch.setattr(objective, "hvp", counted)
    end = refiner.refine(objective, theta, monitor)
    units = 8  # products by which the units of the layers are found come before
    assert end.stop_reason is StopReason.INTERRUPTED and len(taken) <= max(after, units)
    loss, gradient = objective.loss_and_gradient(theta)
    if isinstance(refiner, NewtonKrylov):
        assert end.loss <= loss and end.grad_norm <= np.abs(gradient).max()


def test_a_limit_of_time_holds_within_a_linear_system(monkeypatch):
    teacher, student = gf.teachers.orthonormal(6, 7, "erf"), gf.MLP.random((7, 4, 1), "erf", False, seed=0)
    objective, now = gf.Problem(teacher, student).objective, [0.0]
    product = objective.hvp

    def slow(theta, v):
        now[0] += 100.0
        return product(theta, v)

    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(objective, "hvp", slow)
    end = NewtonKrylov(max_seconds=1000.0).refine(objective, student.flat(), Monitor(False))
    assert end.stop_reason is StopReason.MAX_SECONDS and now[0] <= 1000.0 + 100.0
