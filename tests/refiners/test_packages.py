"""SciPy's and optimistix's minimisers by name, and eigenvector following."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, StopReason
from gradflow.losses.from_jax import JaxLoss
from gradflow.refiners import BFGS, EigenvectorFollowing, SciPy
from gradflow.refiners.packages import GRADIENTS, HESSIANS
from gradflow.support.progress import Monitor


def rosenbrock(theta):
    return (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2


LOSS = JaxLoss(rosenbrock, 2)
START = np.array([-1.2, 1.0])


@pytest.mark.parametrize("method", [m for m in (*GRADIENTS, *HESSIANS) if m != "dogleg"])
def test_scipy_by_name(method):
    found = SciPy(method=method).refine(LOSS, START, Monitor(False))
    assert np.abs(found.theta - 1.0).max() <= 1e-5
    assert found.iterations >= 5 and found.settings["method"] == method
    assert found.grad_norm == np.abs(LOSS.gradient(found.theta)).max()
    # The terms that cancel in ∇L at (1, 1), whose Hessian is ((802, −400), (−400, 200)): 1202 and 600.
    critical = (np.abs(LOSS.gradient(found.theta)) <= 1e-12 * np.array([1202.0, 600.0])).all()
    assert (found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT)) == critical


def test_scipy_limits_and_complaints():
    few = SciPy(method="BFGS", max_iterations=3).refine(LOSS, START, Monitor(False))
    assert few.stop_reason is StopReason.MAX_STEPS and few.iterations == 3
    goal = SciPy(method="SLSQP", gtol=1e-3).refine(LOSS, START, Monitor(False))
    assert goal.stop_reason is StopReason.GRADIENT and goal.grad_norm <= 1e-3
    saddle = JaxLoss(lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, 2)
    gave_up = SciPy(method="dogleg").refine(saddle, np.array([1.0, 0.1]), Monitor(False))
    assert gave_up.stop_reason is StopReason.NO_PROGRESS
    small = SciPy(method="Nelder-Mead", options={"xatol": 1e-10}).refine(LOSS, START, Monitor(False))
    assert np.abs(small.theta - 1.0).max() <= 1e-4
    with pytest.raises(ArgumentError, match="^method: got 'slsqp'"):
        SciPy(method="slsqp")


@pytest.mark.parametrize("history", [None, 10])
def test_optimistix_under_our_own_rules(history):
    found = BFGS(history=history).refine(LOSS, START, Monitor(False))
    assert np.abs(found.theta - 1.0).max() <= 1e-6
    assert found.stop_reason in (StopReason.FLOOR, StopReason.NO_PROGRESS, StopReason.GRADIENT)
    few = BFGS(history=history, max_iterations=3).refine(LOSS, START, Monitor(False))
    assert few.stop_reason is StopReason.MAX_STEPS and few.iterations == 3
    with pytest.raises(ArgumentError, match="^history:"):
        BFGS(history=0)


def test_optimistix_on_compiled_kernels():
    teacher = gf.teachers.orthonormal(3, 4)
    student = gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    options = {"solver": None, "progress": False}
    found = gf.train(teacher, student, refiner="BFGS", **options)
    newton = gf.train(gf.Problem(teacher, found.student), refiner="TrustRegionNewton", **options)
    assert found.grad_norm <= 1e-6 and found.loss == pytest.approx(newton.loss, abs=1e-12)


def wells(theta):
    """Minima near (±1, 0), the softer way out along the first axis, and the saddle of index one at 0."""
    return (theta[0] ** 2 - 1) ** 2 + 20 * theta[1] ** 2 + theta[1] * theta[0] ** 2


def test_a_saddle_from_a_minimum():
    minimum = gf.refiners.TrustRegionNewton().refine(JaxLoss(wells, 2), np.array([0.8, 0.1]), Monitor(False))
    found = EigenvectorFollowing(index=1).refine(JaxLoss(wells, 2), minimum.theta, Monitor(False))
    assert found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT)
    assert np.abs(found.theta).max() <= 1e-12 and found.grad_norm <= 1e-14
    assert found.loss == pytest.approx(1.0, abs=1e-14) and found.loss > minimum.loss
    again = EigenvectorFollowing(index=0).refine(JaxLoss(wells, 2), found.theta + [0.01, 0.0], Monitor(False))
    assert again.loss == pytest.approx(minimum.loss, abs=1e-14)


def test_saddles_of_every_index():
    def egg_box(x):
        return jnp.sum(jnp.cos(x)) + 0.05 * jnp.sum(x[1:] * x[:-1])

    loss = JaxLoss(egg_box, 3)
    for index in range(4):
        found = EigenvectorFollowing(index=index).refine(loss, np.array([2.9, 3.3, 3.0]), Monitor(False))
        assert found.stop_reason in (StopReason.FLOOR, StopReason.GRADIENT), (index, found)
        assert (np.linalg.eigvalsh(loss.hessian(found.theta)) < 0).sum() == index
        assert found.grad_norm <= 1e-14


def test_where_there_is_no_such_saddle_it_is_said():
    bowl = JaxLoss(lambda x: jnp.sum(x**2) + jnp.sum(x**4), 2)
    found = EigenvectorFollowing(index=1, max_iterations=60).refine(
        bowl, np.array([0.3, 0.2]), Monitor(False)
    )
    assert not found.stop_reason.succeeded
    with pytest.raises(ArgumentError, match="^index:"):
        EigenvectorFollowing(index=3).refine(bowl, np.zeros(2), Monitor(False))
    with pytest.raises(ArgumentError, match="^index:"):
        EigenvectorFollowing(index=-1)


def test_a_saddle_of_a_network():
    # A silent neuron, w = 0 and a = 0, is a saddle of index one: L = k/3 − 2a E σ(w·x)f* + …
    teacher = gf.teachers.orthonormal(4, 5)
    near = gf.MLP([np.array([[0.1, 0.05, -0.02, 0.08, 0.01]]), np.array([[0.1]])], [None, None], "erf")
    saddle = gf.train(teacher, near, solver=None, refiner=EigenvectorFollowing(index=1), progress=False)
    assert saddle.grad_norm <= 1e-14 and saddle.spectrum().negative == 1
    assert saddle.loss == pytest.approx(4 / 3, abs=1e-14)
