"""Online SGD: its averages against tilted Gaussians in mpmath, its path against the flow and simulations."""

import mpmath
import numpy as np
import pytest
import scipy.special

import gradflow as gf
from gradflow import ArgumentError, StopReason


def networks(d=6, n=2, k=3):
    teacher = gf.teachers.random((d, k, 1), "erf", bias=False, seed=2, gain=0.6)
    return teacher, gf.MLP.random((d, n, 1), "erf", bias=False, seed=1, init="normal", gain=0.5)


def tilted(C, indices):
    """C' and factor with E σ'(z_a)… f(z) = factor · E f(z'), z' ~ N(0, C'): σ' is itself a Gaussian."""
    precision = C**-1
    for a in indices:
        precision[a, a] += 1
    image = precision**-1
    factor = mpmath.sqrt(2 / mpmath.pi) ** len(indices) * mpmath.sqrt(mpmath.det(image) / mpmath.det(C))
    return image, factor


def truth(teacher, student, eta, eta_second, variance):
    """d(Q, R, v)/dt at the start, by tilting the joint covariance."""
    n = student.sizes[1]
    rows = mpmath.matrix(np.concatenate([student.weights[0], teacher.weights[0]]).tolist())
    o = [mpmath.mpf(float(x)) for x in (*student.weights[1][0], *-teacher.weights[1][0])]
    C = rows * rows.T
    total = len(o)

    def average_2(C, a, b):
        root = mpmath.sqrt((1 + C[a, a]) * (1 + C[b, b]))
        return 2 / mpmath.pi * mpmath.asin(C[a, b] / root)

    def drift(i, j):
        image, factor = tilted(C, [i])
        terms = (o[a] * image[j, a] / mpmath.sqrt(1 + image[a, a]) for a in range(total))
        return -eta * o[i] * factor * mpmath.sqrt(2 / mpmath.pi) * mpmath.fsum(terms)

    def noise(i, j):
        image, factor = tilted(C, [i, j])
        square = mpmath.fsum(o[a] * o[b] * average_2(image, a, b) for a in range(total) for b in range(total))
        return eta**2 * o[i] * o[j] * factor * (square + variance)

    dR = [[drift(i, j) for j in range(n, total)] for i in range(n)]
    dQ = [[drift(i, j) + drift(j, i) + noise(i, j) for j in range(n)] for i in range(n)]
    dv = [-eta_second * mpmath.fsum(o[a] * average_2(C, i, a) for a in range(total)) for i in range(n)]
    return [np.array(part, dtype=float) for part in (dQ, dR, dv)]


@pytest.mark.parametrize("second", [None, 0.0, 1.7])
def test_rates_of_change(second):
    """The path's slope at t = 0, which contains every I2, J2, I3 and I4 of five neurons."""
    teacher, student = networks()
    sgd = gf.online.OnlineSGD(learning_rate=0.9, noise=0.4, second_learning_rate=second)
    Q, R, T = gf.order_parameters(student, teacher)
    rate, _ = sgd._functions(gf.ACTIVATIONS["erf"], 2, 3, T, teacher.weights[1][0].copy())
    found = rate(np.concatenate([Q.ravel(), R.ravel(), student.weights[1][0]]))
    with mpmath.workdps(40):
        dQ, dR, dv = truth(teacher, student, 0.9, 0.9 if second is None else second, mpmath.mpf(0.4) ** 2)
    np.testing.assert_allclose(found[:4].reshape(2, 2), dQ, atol=5e-15)
    np.testing.assert_allclose(found[4:10].reshape(2, 3), dR, atol=5e-15)
    np.testing.assert_allclose(found[10:], dv, atol=5e-15)
    run = sgd.integrate(teacher, student, t1=1.0)
    h = 1e-4
    slope = (run.at(2 * h).Q * -1 + 4 * run.at(h).Q - 3 * run.at(0.0).Q) / (2 * h)
    np.testing.assert_allclose(slope, dQ, atol=1e-5)


def test_small_learning_rates_give_the_gradient_flow():
    """η → 0 at fixed ηt: dθ/dt = −∇L is η = 2, so its time is ηt/2; the difference is of order η."""
    teacher, student = networks()
    options = {"solver": gf.solvers.Kvaerno5(rtol=1e-11, atol=1e-11, t1=20.0), "refiner": None}
    path = gf.train(teacher, student, progress=False, **options).flow
    deviations = []
    for eta in (1e-3, 1e-4):
        sgd = gf.online.OnlineSGD(learning_rate=eta, noise=0.5)
        run = sgd.integrate(teacher, student, t1=40.0 / eta)
        assert run.stop_reason is StopReason.END_TIME and run.times[-1] == 40.0 / eta
        worst = 0.0
        for t in (0.5, 3.0, 20.0):
            theta = path.at(t)
            Q, R, _ = gf.order_parameters(student, teacher, theta=theta)
            state = run.at(2 * t / eta)
            worst = max(worst, np.abs(state.Q - Q).max(), np.abs(state.R - R).max())
            worst = max(worst, np.abs(state.output_weights - student.with_flat(theta).weights[1][0]).max())
            assert state.loss == pytest.approx(gf.Problem(teacher, student).loss(theta), abs=5 * eta)
        deviations.append(worst)
    assert deviations[1] < 2e-4 and 8 < deviations[0] / deviations[1] < 12


def simulate(teacher, student, sgd, t1, seed):
    """Online SGD itself, step by step; R and Q at the end."""
    rng = np.random.default_rng(seed)
    d = student.sizes[0]
    W, v = student.weights[0].copy(), student.weights[1][0].copy()
    V, A = teacher.weights[0], teacher.weights[1][0]
    for _ in range(int(t1 * d)):
        x = rng.standard_normal(d)
        z = W @ x
        hidden = scipy.special.erf(z / np.sqrt(2))
        target = A @ scipy.special.erf(V @ x / np.sqrt(2)) + sgd.noise * rng.standard_normal()
        error = v @ hidden - target
        slope = np.sqrt(2 / np.pi) * np.exp(-z * z / 2)
        W -= (sgd.learning_rate / d) * np.outer(v * slope * error, x)
        v -= (sgd.second_learning_rate / d) * hidden * error
    return np.concatenate([(W @ W.T).ravel(), (W @ V.T).ravel(), v])


def test_a_simulation_of_sgd():
    """d = 1000, large steps, label noise: the mean of 6 runs within its error plus O(1/d)."""
    d, runs, t1 = 1000, 6, 5.0
    teacher = gf.teachers.orthonormal(2, d, "erf", output_weights=[1.0, 1.5])
    start = gf.MLP.random((d, 2, 1), "erf", bias=False, seed=1, init="normal", gain=d**-0.5)
    student = gf.MLP([start.weights[0], [[1.0, -0.8]]], None, "erf")
    sgd = gf.online.OnlineSGD(learning_rate=1.5, noise=0.5, second_learning_rate=0.8)
    state = sgd.integrate(teacher, student, t1=t1).at(t1)
    wanted = np.concatenate([state.Q.ravel(), state.R.ravel(), state.output_weights])
    ends = np.array([simulate(teacher, student, sgd, t1, seed) for seed in range(runs)])
    error = ends.std(axis=0, ddof=1) / np.sqrt(runs)
    assert (np.abs(ends.mean(axis=0) - wanted) < 4 * error + 5 / d).all()
    # Without the η² terms the path ends elsewhere: the test can see them.
    slow = gf.online.OnlineSGD(learning_rate=1e-5, second_learning_rate=0.8e-5 / 1.5)
    limit = slow.integrate(teacher, student, t1=t1 * 1.5e5).at(t1 * 1.5e5)
    assert np.abs(limit.Q - state.Q).max() > 0.1


def test_what_comes_back():
    teacher, student = networks()
    run = gf.online.OnlineSGD(learning_rate=0.5).integrate(teacher, student, t1=10.0, times=[0.0, 1.0, 10.0])
    assert run.times.tolist() == [0.0, 1.0, 10.0] and run.Q.shape == (3, 2, 2) and run.R.shape == (3, 2, 3)
    assert run.losses[0] == pytest.approx(gf.Problem(teacher, student).loss(student.flat()), rel=1e-13)
    np.testing.assert_array_equal(run.generalization_errors, run.losses / 2)
    state = run.at([1.0, 10.0])
    np.testing.assert_allclose(state.Q, run.Q[1:], rtol=1e-12)
    assert state.loss.shape == (2,) and run.at(1.0).loss == state.loss[0]
    assert (run.T == gf.order_parameters(student, teacher).T).all()
    assert run.settings["learning_rate"] == run.settings["second_learning_rate"] == 0.5


def test_a_learning_rate_that_is_too_large():
    """The path diverges: an end before t1 with a reason, or finite numbers; no exception, no silent NaN."""
    teacher, student = networks()
    run = gf.online.OnlineSGD(learning_rate=50.0, second_learning_rate=100.0).integrate(
        teacher, student, t1=1e3
    )
    assert np.isfinite(run.Q).all() or run.stop_reason is not StopReason.END_TIME


def test_bad_input():
    teacher, student = networks()
    sgd = gf.online.OnlineSGD(learning_rate=1.0)
    erf = {"activation": "erf", "bias": False, "seed": 0}
    for call in (
        lambda: gf.online.OnlineSGD(learning_rate=0.0),
        lambda: gf.online.OnlineSGD(learning_rate=np.inf),
        lambda: gf.online.OnlineSGD(learning_rate=1.0, noise=-1.0),
        lambda: gf.online.OnlineSGD(learning_rate=1.0, second_learning_rate=-1.0),
        lambda: gf.online.OnlineSGD(learning_rate=1.0, rtol=0.0),
        lambda: sgd.integrate(teacher, student, t1=0.0),
        lambda: sgd.integrate(teacher, student, t1=np.inf),
        lambda: sgd.integrate(teacher, student, t1=1.0, times=[0.5, 0.5]),
        lambda: sgd.integrate(teacher, student, t1=1.0, times=[0.5, 1.5]),
        lambda: sgd.integrate(teacher, "student", t1=1.0),
        lambda: sgd.integrate(teacher, gf.MLP.random((6, 2, 1), "erf", seed=0), t1=1.0),
        lambda: sgd.integrate(teacher, gf.MLP.random((6, 2, 1), "tanh", bias=False, seed=0), t1=1.0),
        lambda: sgd.integrate(teacher, gf.MLP.random((6, 2, 2), **erf), t1=1.0),
        lambda: sgd.integrate(teacher, gf.MLP.random((5, 2, 1), **erf), t1=1.0),
        lambda: sgd.integrate(teacher, student, t1=1.0).at(2.0),
    ):
        with pytest.raises(ArgumentError):
            call()
