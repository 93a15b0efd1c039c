"""Channels to infinity: a known run, its limit against quadrature-free closed forms, no false alarms."""

import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.special

import gradflow as gf
from gradflow import StopReason
from gradflow.infinity.channels import candidates, recognise
from gradflow.infinity.coordinates import Coordinates
from gradflow.support.progress import Monitor


def tanh_channel():
    """A sample problem with an attracting channel, and a start in it.

    The targets are c σ(w·x) + (v·x) σ'(w·x) less a tenth of the term in ε² of the pair's output.
    """
    X = np.random.default_rng(0).standard_normal((400, 2))
    w, v, c = np.array([0.9, -0.4]), np.array([0.5, 0.8]), 0.7
    z = X @ w
    first, u = 1 / np.cosh(z) ** 2, X @ v
    second = -2 * np.tanh(z) * first
    third = 4 * np.tanh(z) ** 2 * first - 2 * first**2
    targets = c * np.tanh(z) + u * first - 0.1 * (c / 2 * u**2 * second + u**3 * third / 6)
    epsilon = 0.05
    rows = np.array([w + epsilon * v, w - epsilon * v])
    outputs = np.array([[c / 2 + 1 / (2 * epsilon), c / 2 - 1 / (2 * epsilon)]])
    return X, targets, gf.MLP([rows, outputs], [None, None], "tanh")


def limit_loss(X, targets, w, v, c):
    z = X @ w
    return np.mean((c * np.tanh(z) + (X @ v) / np.cosh(z) ** 2 - targets) ** 2)


def test_the_limit_is_a_critical_point_of_the_limit_network():
    X, targets, start = tanh_channel()
    problem = gf.Problem(targets, start, X)
    channel, theta = recognise(problem, start.flat(), Monitor(False))
    assert channel.pair == (0, 1) and channel.signs == (1, 1)
    assert channel.residual <= 1e-3 and channel.slope > 0
    at = np.concatenate([channel.w, channel.v, [channel.c]])

    def loss(p):
        return limit_loss(X, targets, p[:2], p[2:4], p[4])

    assert loss(at) == pytest.approx(channel.loss, abs=1e-10)
    assert abs(loss(at) - channel.loss) <= 10 * channel.loss_error + 1e-13
    best = scipy.optimize.minimize(loss, at, method="BFGS", options={"gtol": 1e-10})
    assert np.abs(best.x - at).max() <= 1e-5
    # L = L₀ + h (ε|v|)² at the point that is handed back.
    rise = problem.loss(theta) - channel.loss
    assert rise == pytest.approx(channel.slope * channel.epsilon**2, rel=1e-2)


def random_channel(seed, scale=1.0):
    """A problem as `tanh_channel` makes it, with another channel."""
    rng = np.random.default_rng(seed)
    X, w, v = rng.standard_normal((400, 2)), rng.standard_normal(2), rng.standard_normal(2)
    w *= rng.uniform(0.6, 1.3) / np.linalg.norm(w)
    v *= rng.uniform(0.3, 1.2) / np.linalg.norm(v)
    c, epsilon, z, u = rng.uniform(0.3, 1.5), 0.05, X @ w, X @ v
    first = 1 / np.cosh(z) ** 2
    second = -2 * np.tanh(z) * first
    third = 4 * np.tanh(z) ** 2 * first - 2 * first**2
    targets = c * np.tanh(z) + u * first - 0.1 * (c / 2 * u**2 * second + u**3 * third / 6)
    outputs = np.array([[c / 2 + 1 / (2 * epsilon), c / 2 - 1 / (2 * epsilon)]])
    rows = np.array([w + epsilon * v, w - epsilon * v])
    return X, scale * targets, gf.MLP([rows, scale * outputs], [None, None], "tanh")


def exact_limit(X, targets, at, scale):
    """The minimum of the limit network's loss, by least squares, evaluated in extended precision."""
    targets, at = targets / scale, at / np.array([1, 1, scale, scale, scale])

    def residuals(p):
        z = np.tanh(X @ p[:2])
        return p[4] * z + (X @ p[2:4]) * (1 - z**2) - targets

    def jacobian(p):
        z, u = np.tanh(X @ p[:2]), X @ p[2:4]
        first = 1 - z**2
        return np.column_stack([X * (p[4] * first - 2 * u * z * first)[:, None], X * first[:, None], z])

    best = scipy.optimize.least_squares(residuals, at, jacobian, xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    X, targets, best = (np.asarray(array, dtype=np.longdouble) for array in (X, targets, best))
    return np.mean(residuals(best) ** 2) * np.longdouble(scale) ** 2


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
def test_claimed_errors_of_limits_on_samples(scale):
    """Over many channels: no error beyond its claim, and no claim a hundred times too large."""
    errors, claims = [], []
    for seed in range(25):
        X, targets, start = random_channel(seed, scale)
        channel, _ = recognise(gf.Problem(targets, start, X), start.flat(), Monitor(False))
        limit = exact_limit(X, targets, np.concatenate([channel.w, channel.v, [channel.c]]), scale)
        errors.append(abs(float(np.longdouble(channel.loss) - limit)))
        claims.append(channel.loss_error)
    assert (np.array(errors) <= claims).all()
    assert np.median(np.array(claims) / np.array(errors)) <= 100


def precise_limit(problem, theta, pair, signs):
    """L₀ of a channel of erf neurons in 50 digits: Newton in (w, c, v, rest) at ε = 1e-14."""
    inputs, count = problem.student.sizes[:2]
    coordinates = Coordinates(problem.student, pair, signs)
    phi, _ = coordinates.of(theta)
    near = 5e-3 / np.linalg.norm(phi[coordinates.dim + 1 : 2 * coordinates.dim + 1])
    matrix, offset = coordinates.affine(near)
    inverse = np.linalg.inv(matrix.T @ problem.hessian(matrix @ phi + offset) @ matrix)
    with mpmath.workdps(50):
        mp, epsilon = mpmath.mp, mpmath.mpf(10) ** -14
        matrix, offset = exact_affine(coordinates, epsilon, mp)
        teachers = [[mp.mpf(float(x)) for x in row] for row in problem.teacher.weights[0]]
        x = [mp.mpf(float(value)) for value in phi]
        for _ in range(12):
            full = [mp.fdot(row.values(), [x[j] for j in row]) + o for row, o in zip(matrix, offset)]
            rows = [full[i * inputs : (i + 1) * inputs] for i in range(count)]
            loss, slope = erf_loss(rows, full[count * inputs :], teachers, mp)
            gradient = [mp.mpf(0)] * len(x)
            for row, value in zip(matrix, slope):
                for j, factor in row.items():
                    gradient[j] += factor * value
            size = max(abs(value) for value in gradient)
            if size < mp.mpf(10) ** -16:  # what is left of L is the square of it
                return loss
            step = -inverse @ np.array([float(value / size) for value in gradient])
            x = [value + size * mp.mpf(float(change)) for value, change in zip(x, step)]
    raise AssertionError("no convergence")


def exact_affine(coordinates, epsilon, mp):
    """`Coordinates.affine` in many digits: rows {column: factor}, and the offsets."""
    unit, start = coordinates.affine(1.0)
    zero = coordinates.affine(0.5)[0]
    rows, offsets = [], []
    for i in range(len(unit)):
        row = {}
        for j in np.flatnonzero(unit[i]).tolist():
            moves = unit[i, j] != zero[i, j]  # the columns of v are those that ε multiplies
            row[j] = mp.mpf(float(unit[i, j])) * (epsilon if moves else 1)
        rows.append(row)
        offsets.append(mp.mpf(float(start[i])) / epsilon)
    return rows, offsets


def erf_loss(rows, outputs, teachers, mp):
    """L and ∇L of erf neurons with teachers of output weight one, in the arithmetic of `mp`."""
    everyone = [(row, a) for row, a in zip(rows, outputs)] + [(v, mp.mpf(-1)) for v in teachers]
    loss, weights, slopes = mp.mpf(0), [[mp.mpf(0)] * len(rows[0]) for _ in rows], [mp.mpf(0)] * len(rows)
    squares = [1 + mp.fdot(row, row) for row, _ in everyone]
    for i, (u, a) in enumerate(everyone):
        for j, (v, b) in enumerate(everyone):
            inner = mp.fdot(u, v)
            root = mp.sqrt(squares[i] * squares[j] - inner**2)
            kernel = 2 / mp.pi * mp.atan2(inner, root)
            loss += a * b * kernel
            if i < len(rows):
                slopes[i] += 2 * b * kernel
                factor, share = 4 * a * b / (mp.pi * root), inner / squares[i]
                weights[i] = [w + factor * (y - share * x) for w, x, y in zip(weights[i], u, v)]
    return loss, [value for row in weights for value in row] + slopes


# Seeds of students of eight erf teachers (and ten) that end in a channel.
ERF_RUNS = [(8, 8, 64), (8, 9, 3), (8, 9, 55), (8, 9, 61), (10, 11, 2), (10, 11, 22), (10, 11, 33)]


@pytest.mark.parametrize(("count", "dim", "seed"), ERF_RUNS)
def test_claimed_errors_of_limits_in_closed_form(count, dim, seed):
    """Against 50 digits. In double-double the losses at ±1/2ε are exact: what is left is the last bit."""
    teacher = gf.teachers.orthonormal(count, dim)
    student = gf.MLP.random((dim, count, 1), "erf", False, seed=seed)
    result = gf.train(teacher, student, progress=False)
    channel = result.channel
    assert result.stop_reason is StopReason.CHANNEL
    limit = precise_limit(result.problem, result.theta, channel.pair, channel.signs)
    error = abs(float(mpmath.mpf(channel.loss) - limit))
    assert error <= channel.loss_error <= 1e-17


def test_a_run_into_a_channel_says_so(tmp_path):
    X, targets, start = tanh_channel()
    result = gf.train(targets, start, X, progress=False, solver=gf.solvers.KenCarp58(max_steps=200))
    assert result.stop_reason is StopReason.CHANNEL
    assert "goes to infinity" in str(result) and "neurons 0 and 1 merge" in str(result)
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5").channel
    assert loaded.pair == result.channel.pair and loaded.loss == result.channel.loss
    assert np.array_equal(loaded.v, result.channel.v)
    newton = gf.train(
        targets, start, X, solver=None, progress=False,
        refiner=gf.refiners.TrustRegionNewton(max_iterations=30),
    )  # fmt: skip
    assert newton.stop_reason is StopReason.CHANNEL
    assert newton.channel.loss == pytest.approx(result.channel.loss, abs=1e-12)


@pytest.mark.parametrize("signs", [(1, -1), (-1, 1), (-1, -1)])
def test_mirrored_neurons_are_turned_back(signs):
    X, targets, start = tanh_channel()
    (rows, outputs), signs = start.weights, np.array(signs, dtype=np.float64)
    turned = gf.MLP([rows * signs[:, None], outputs * signs], [None, None], "tanh")
    direct, _ = recognise(gf.Problem(targets, start, X), start.flat(), Monitor(False))
    mirrored, _ = recognise(gf.Problem(targets, turned, X), turned.flat(), Monitor(False))
    assert np.prod(mirrored.signs) == np.prod(signs)
    assert mirrored.loss == pytest.approx(direct.loss, abs=1e-14)
    # The limit is the same function: (w, v, c) or, all neurons turned, (−w, v, −c).
    turn = np.sign(mirrored.w @ direct.w)
    assert np.abs(turn * mirrored.w - direct.w).max() <= 1e-10
    assert np.abs(mirrored.v - direct.v).max() <= 1e-9
    assert turn * mirrored.c == pytest.approx(direct.c, abs=1e-10)
    i, j = mirrored.pair
    outputs = mirrored.signs[0] * turned.weights[1][0, i], mirrored.signs[1] * turned.weights[1][0, j]
    assert outputs[0] > 0 > outputs[1]


@pytest.mark.slow
def test_the_erf_run_that_goes_to_infinity():
    # k = n = 8, seed 3: Newton's method follows it to output weights of 100 and more.
    teacher = gf.teachers.orthonormal(8, 9)
    result = gf.train(teacher, gf.MLP.random((9, 8, 1), "erf", False, seed=3), progress=False)
    channel = result.channel
    assert (
        result.stop_reason is StopReason.CHANNEL and np.prod(channel.signs) == -1 and channel.pair == (0, 4)
    )
    assert channel.residual <= 1e-5 and channel.loss_error <= 1e-17
    assert channel.loss == pytest.approx(0.0205921052822289655, abs=1e-17)
    # The limit's loss by Monte Carlo, as a z-score.
    X = np.random.default_rng(1).standard_normal((200_000, 9))
    z = X @ channel.w
    slope = np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
    rest_weights, rest_outputs = channel.rest[:54].reshape(6, 9), channel.rest[54:]
    f = channel.c * scipy.special.erf(z / np.sqrt(2)) + (X @ channel.v) * slope
    f += scipy.special.erf(X @ rest_weights.T / np.sqrt(2)) @ rest_outputs
    squares = (f - teacher(X)[:, 0]) ** 2
    assert abs(squares.mean() - channel.loss) <= 4 * squares.std() / np.sqrt(squares.size)


@pytest.mark.parametrize("seed", [3, 8, 25, 56])
def test_channels_on_samples(seed):
    """Some take a hundred Newton steps at one ε; some have v so small that the wide decade is too wide."""
    X = np.random.default_rng(100 + seed).standard_normal((500, 2))
    teacher = gf.teachers.random((2, 4, 1), "softplus", seed=50 + seed)
    result = gf.train(teacher, gf.MLP.random((2, 5, 1), "softplus", seed=seed), X)
    assert result.stop_reason is StopReason.CHANNEL and result.grad_norm < 3e-11
    channel = result.channel
    assert channel.residual < 1e-3 and channel.loss < result.loss < channel.loss * (1 + 1e-4)
    assert channel.loss_error < 1e-6 * channel.loss


def test_no_channel_where_there_is_none():
    X, targets, start = tanh_channel()
    problem = gf.Problem(gf.MLP.random((2, 2, 1), "tanh", False, seed=1), start, X)
    assert candidates(problem, gf.MLP.random((2, 2, 1), "tanh", False, seed=5).flat()) == []
    # A pair that merges, on a problem whose minimum is finite: the form does not attract or fit.
    near = gf.MLP([np.array([[1.0, 0.3], [0.8, 0.4]]), np.array([[2.0, -1.8]])], [None, None], "tanh")
    finite = gf.Problem(near, near, X)
    assert recognise(finite, near.flat(), Monitor(False)) is None
    relu = gf.MLP(start.weights, [None, None], "relu")
    assert candidates(gf.Problem(targets, relu, X), relu.flat()) == []
    deep = gf.MLP.random((2, 3, 3, 1), "tanh", seed=1)
    assert candidates(gf.Problem(targets, deep, X), deep.flat()) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_a_neuron_that_would_be_linear(seed, tmp_path):
    X = np.random.default_rng(seed).standard_normal((10_000, 2))
    teacher = gf.teachers.random((2, 4, 1), "softplus", seed=seed + 50)
    student = gf.MLP.random((2, 2, 1), "softplus", seed=seed)
    result = gf.train(teacher, student, X, progress=False, refiner="TrustRegionNewton")
    found = result.channel
    assert result.stop_reason is StopReason.CHANNEL and result.converged
    assert found.neuron == 1 and found.side == 1 and found.slope == 1.0 and found.excess > 0
    assert "neuron is linear" in str(result)
    # The limit network: one softplus neuron and an affine function, by least squares in SciPy.
    (w,), b, a = result.student.weights[0][:1], result.student.biases[0][0], result.student.weights[1][0, 0]

    def residuals(p):
        return p[0] * np.logaddexp(0.0, X @ p[1:3] + p[3]) + X @ p[4:6] + p[6] - teacher(X)[:, 0]

    affine = np.linalg.lstsq(
        np.column_stack([X, np.ones(len(X))]), teacher(X)[:, 0] - a * np.logaddexp(0.0, X @ w + b), rcond=None
    )[0]
    best = scipy.optimize.least_squares(residuals, [a, *w, b, *affine], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert 2 * best.cost / len(X) == pytest.approx(found.loss, abs=1e-13)
    result.save(tmp_path / "run.h5")
    assert gf.load(tmp_path / "run.h5").channel == found or (
        gf.load(tmp_path / "run.h5").channel.loss == found.loss
    )


def test_a_neuron_that_no_sample_activates_is_called_dead(rng):
    X = rng.standard_normal((200, 2))
    teacher = gf.MLP.random((2, 2, 1), "relu", seed=1)
    student = gf.MLP([[[1.0, 0.5], [0.3, -0.2]], [[1.0, 1.0]]], [[0.0, -20.0], [0.0]], "relu")
    result = gf.train(teacher, student, X, progress=False, solver=None)
    assert result.asleep().tolist() == [False, True]
    assert "dead (no sample activates it)" in str(result)
    assert np.isfinite(result.loss)


def test_of_many_neurons_the_pair_is_found_that_outweighs_the_others(rng):
    """Wherever it is among them, in either order; and no pair where a third neuron is as large."""
    X = rng.standard_normal((30, 3))
    for n in (2, 3, 12):
        for i, j in ((0, 1), (n - 1, 0), (n // 2, n - 1)):
            if i == j:
                continue
            W, a = rng.standard_normal((n, 3)), rng.uniform(-1.0, 1.0, n)
            W[j] = W[i] + 1e-3
            a[i], a[j] = 50.0, -49.5
            student = gf.MLP([W, a[None]], None, "tanh")
            problem = gf.Problem(X[:, :1], student, X)
            assert candidates(problem, student.flat()) == [((i, j), (1, 1))]
            if n > 2:
                a[({0, 1, 2} - {i, j}).pop()] = 20.0
                assert candidates(problem, np.concatenate([W.ravel(), a])) == []
