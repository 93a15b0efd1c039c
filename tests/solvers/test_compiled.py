"""The compiled loop: orders by slope, diffrax as a test of it, the kernels it calls, ways to stop."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.objective import Counts, Objective, Restricted
from gradflow.solvers import Dopri8, KenCarp58, Rodas5P, Tsit5, diffrax, known_solvers
from gradflow.solvers.compiled import layout as at
from gradflow.solvers.compiled_run import Run, pack_settings
from gradflow.support.progress import Monitor
from gradflow.support.stopping import StopReason
from gradflow.support.threads import single_threaded_blas


def smooth(x):
    return jnp.cosh(x[0]) + 2 * jnp.cosh(x[1]) + 0.5 * x[0] * x[1] + jnp.exp(-x[2]) + x[2] ** 2 * x[0] ** 2


SMOOTH = JaxLoss(smooth, 3)
START = np.array([0.9, -0.7, 0.3])


def integrate(solver, objective, start, rates=None):
    start = np.asarray(start, dtype=np.float64)
    rates = np.ones(start.size) if rates is None else rates
    with single_threaded_blas():
        return solver.integrate(objective, start, rates, Monitor(False))


@pytest.mark.parametrize(
    ("name", "order", "step", "allowed"),
    [("KenCarp58", 5, 0.1, 0.3), ("Kvaerno3", 3, 0.02, 0.3), ("Kvaerno4", 4, 0.04, 0.3),
     ("Kvaerno5", 5, 0.1, 0.3), ("Rodas5P", 5, 0.05, 0.3), ("Tsit5", 5, 0.1, 0.5), ("Dopri8", 8, 0.4, 0.6)],
)  # fmt: skip
def test_observed_order(name, order, step, allowed):
    solver = known_solvers()[name](rtol=1e-12, atol=1e-12)
    run = Run(solver.method, SMOOTH, np.ones(3), pack_settings(solver, solver.method, -1.0, -np.inf, np.inf))
    loss, gradient = SMOOTH.loss_and_gradient(START)
    errors = []
    for h in (step, step / 2, step / 4):
        run.start(0.0, START, -gradient, loss, gradient, h)
        run.attempt(h)
        assert run.integers[at.FAILED] == 0
        exact = integrate(Dopri8(rtol=1e-14, atol=1e-14, t1=h, gtol=0.0), SMOOTH, START).step_theta[-1]
        errors.append(np.abs(run.fresh[at.NEW_THETA] - exact).max())
    # The explicit ones are at rounding before they are in the asymptotic range.
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes[-1] - (order + 1)) < allowed, (slopes, errors)


@pytest.mark.parametrize("name", ["Kvaerno5", "Tsit5"])
def test_diffrax_takes_the_same_path(name):
    mine = integrate(known_solvers()[name](rtol=1e-8, atol=1e-8, t1=2.0, gtol=0.0), SMOOTH, START)
    theirs = getattr(diffrax, name)(rtol=1e-8, atol=1e-8, t1=2.0, gtol=0.0)
    other = integrate(theirs, SMOOTH, START)
    assert np.abs(mine.step_theta[-1] - other.step_theta[-1]).max() < 1e-7
    assert 0.6 < mine.accepted / other.accepted < 1.6
    times = np.geomspace(1e-3, 2.0, 13)
    assert np.abs(mine.at(times) - other.at(times)).max() < 1e-7


def test_points_between_steps_are_as_good_as_the_steps():
    start = np.array([1.0, -2.0, 3.0])
    for solver in (KenCarp58(rtol=1e-7, atol=1e-7, gtol=1e-9), Rodas5P(rtol=1e-7, atol=1e-7, gtol=1e-9)):
        flow = integrate(
            solver, JaxLoss(lambda x: 0.5 * jnp.sum(jnp.asarray([1e-2, 1.0, 1e3]) * x**2), 3), start
        )
        assert flow.end_time > 1e3 and (flow.stiffness > 1e3).any() and (flow.stiffness < 1).any()
        times = 0.5 * (flow.step_times[1:] + flow.step_times[:-1])
        exact = start * np.exp(-np.array([1e-2, 1.0, 1e3]) * times[:, None])
        assert np.abs(flow.at(times) - exact).max() < 2e-6
        # The end of an interval is met continuously.
        late = flow.step_times[-2] * (1 - 1e-12)
        assert np.abs(flow.at(late) - flow.step_theta[-2]).max() < 1e-8


def test_restricted_kernels_agree_with_python(rng):
    whole = JaxLoss(smooth, 3)
    free = np.array([True, False, True])
    part = Restricted(whole, START, free)
    rates = np.array([1.0, 0.5])
    flow = integrate(KenCarp58(rtol=1e-9, atol=1e-9, t1=1.0, gtol=0.0), part, START[free], rates)

    def reduced(y):
        return smooth(jnp.stack([y[0], jnp.asarray(START[1]), y[1]]))

    direct = integrate(
        KenCarp58(rtol=1e-9, atol=1e-9, t1=1.0, gtol=0.0), JaxLoss(reduced, 2), START[free], rates
    )
    assert np.abs(flow.step_theta[-1] - direct.step_theta[-1]).max() < 1e-12
    assert flow.counts.gradients == direct.counts.gradients


class Failing(Objective):
    """½ θ·Λθ in Python, which raises after some evaluations, or answers NaN."""

    size = 2

    def __init__(self, error, after, curvatures=(1.0, 1.0)):
        self.error, self.left, self.curvatures = error, after, np.asarray(curvatures)

    def loss_and_gradient(self, theta):
        self.left -= 1
        if self.left < 0 and self.error is not None:
            raise self.error
        if self.left < 0:
            return np.nan, np.full(2, np.nan)
        gradient = self.curvatures * theta
        return 0.5 * float(theta @ gradient), gradient

    def all_derivatives(self, theta):
        return (*self.loss_and_gradient(theta), np.diag(self.curvatures))

    def hvp(self, theta, v):
        return self.curvatures * v

    oracle = None

    def counts(self):
        return Counts(0, 0, 0)


@pytest.mark.parametrize("inputs", ["population", "mixture", "samples", "frozen"])
def test_methods_with_hessians_compile_no_products(inputs, rng):
    teacher = gf.teachers.orthonormal(3, 4)
    student = gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    law = {
        "mixture": gf.Mixture([gf.Gaussian(), gf.Gaussian(cov=2 * np.eye(4))]),
        "samples": rng.standard_normal((50, 4)),
    }.get(inputs)
    rates = np.ones(student.size)
    rates[-1] = inputs != "frozen"
    problem = gf.Problem(teacher, student, law)
    for solver in (None, KenCarp58(t1=1.0)):  # None: the default
        chosen = {} if solver is None else {"solver": solver}
        gf.train(problem, rates=rates, refiner=None, progress=False, **chosen)
    assert "product" not in vars(problem.objective)
    before = problem.objective.gradient(problem.theta0)
    step = 1e-6 * rng.standard_normal(student.size)
    change = problem.objective.gradient(problem.theta0 + step) - before
    assert np.abs(problem.objective.hvp(problem.theta0, step) - change).max() <= 1e-10


def test_an_exception_in_a_users_objective_comes_out():
    with pytest.raises(ZeroDivisionError, match="mine"):
        integrate(KenCarp58(), Failing(ZeroDivisionError("mine"), 20), [1.0, 2.0])
    flow = integrate(KenCarp58(), Failing(None, 60), [1.0, 2.0])
    assert flow.stop_reason is StopReason.NON_FINITE
    assert np.isfinite(flow.step_theta).all() and flow.accepted > 0


def test_an_explicit_method_on_a_stiff_problem_stops_and_names_a_stiff_one():
    stiff = Failing(None, 10**9, (1e-2, 1e3))
    flow = integrate(Tsit5(max_steps=10**7, gtol=1e-12), stiff, [1.0, 1.0])
    assert flow.stop_reason is StopReason.STIFF and "BDF" in flow.stop_reason.value
    assert 2000 <= flow.accepted < 20_000 and not flow.stop_reason.succeeded


def test_an_explicit_method_at_its_stability_limit_goes_on_to_the_end_time():
    X = np.random.default_rng(0).standard_normal((200, 2))
    student = gf.MLP.random((2, 8, 1), "softplus", seed=0)
    problem = gf.Problem(gf.teachers.random((2, 4, 1), "softplus", seed=50), student, X)
    flow = integrate(Tsit5(rtol=1e-3, atol=1e-3, t1=500.0), problem.objective, problem.theta0)
    assert flow.stop_reason is StopReason.END_TIME and flow.end_time == 500.0


def test_noise_at_the_floor_is_no_progress():
    for solver in (KenCarp58(gtol=0.0), Rodas5P(gtol=0.0)):
        flow = integrate(solver, JaxLoss(lambda x: 1.0 + jnp.sum((x - 1 / 3) ** 2), 3), START)
        assert flow.stop_reason in (StopReason.NO_PROGRESS, StopReason.GRADIENT)
        assert flow.accepted < 2000


def test_an_indefinite_hessian_is_factorised():
    # From near a saddle: the matrix of a long step is indefinite, and the step must still be right.
    saddle = JaxLoss(lambda x: 0.25 * (x[0] ** 2 - 1) ** 2 + 0.5 * x[1] ** 2, 2)
    for solver in (KenCarp58(gtol=1e-10), Rodas5P(gtol=1e-10)):
        flow = integrate(solver, saddle, [1e-9, 1.0])
        assert flow.stop_reason is StopReason.GRADIENT
        assert np.abs(flow.step_theta[-1] - [1.0, 0.0]).max() < 1e-9
        # Leaving the saddle takes ln(1e9) units of time.
        assert flow.at(np.log(1e9))[0] == pytest.approx(1 / np.sqrt(2), abs=1e-2)
