"""Which road a pair takes: right numbers where units are steep, nearly parallel or fast, and true bounds."""

import math

import mpmath
import numpy as np
import pytest
import scipy.special

import gradflow as gf
from gradflow import MLP, Gaussian
from gradflow.activations import ACTIVATIONS
from gradflow.losses.population import PopulationLoss

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)

FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "softplus": lambda z: np.logaddexp(0.0, z),
    "silu": lambda z: z * scipy.special.expit(z),
    "g": lambda z: scipy.special.expit(4.0 * z) + np.logaddexp(0.0, z),
    "sin": np.sin,
    "cos": np.cos,
    "relu": lambda z: np.maximum(z, 0.0),
}


def _graded(places, widths, longest):
    """Nodes and weights for E over N(0, 1): panels that grow in length away from steep places."""
    edges = {-9.5, 9.5}
    for place, width in zip(places, widths, strict=True):
        steps = 0.5 * width * 2.5 ** np.arange(45)
        edges |= {x for x in (place, *(place + steps), *(place - steps)) if abs(x) < 9.5}
    edges = np.array(sorted(edges))
    parts = np.maximum(1, np.ceil(np.diff(edges) / longest)).astype(int)
    edges = np.concatenate(
        [*(np.linspace(a, b, p, False) for a, b, p in zip(edges, edges[1:], parts, strict=False)), [9.5]]
    )
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    x, weights = (middle[:, None] + half[:, None] * _NODES).ravel(), (half[:, None] * _WEIGHTS).ravel()
    return x, weights * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def pair(names, w, b, v, c, plane=False):
    """E σ(w·x + b) τ(v·x + c) by quadrature in the plane, X along w, panels graded towards all that is steep.

    The mean of a wave across w is e^{−s²/2} times its mean field, the characteristic function of a Gaussian.
    """
    across = None if w is not v else 0.0
    w, v = np.asarray(w, dtype=np.longdouble), np.asarray(v, dtype=np.longdouble)
    r = np.sqrt(w @ w)
    along = w @ v / r
    if across is None:
        across = float(np.sqrt(((v - along * w / r) ** 2).sum()))
    r, along, size = float(r), float(along), float(np.sqrt(v @ v))
    first, second = (FUNCTIONS[name] for name in names)
    longest = min(1.0, 8.0 / max(abs(along), 1e-9)) if names[1] in ("sin", "cos") else 1.0
    if across == 0.0 or (names[1] in ("sin", "cos") and plane is False):
        outer, shares, across = np.zeros(1), np.exp(-0.5 * np.array([across]) ** 2), 0.0
    else:
        pinch = (along * b / r - c) / across
        outer, shares = _graded([pinch], [min(1.0, (1.0 / r + 1.0 / size) / across)], 1.0)
    total = np.longdouble(0.0)
    for y, share in zip(outer, shares, strict=True):
        places, widths = [-b / r], [min(1.0, 1.0 / r)]
        if abs(along) > 1e-12:
            places.append(-(c + across * y) / along)
            widths.append(min(1.0, 1.0 / abs(along)))
        x, weights = _graded(places, widths, longest)
        total += share * np.sum(
            weights * first(b + r * x) * second(c + along * x + across * y), dtype=np.longdouble
        )
    return float(total)


def test_the_mean_of_a_wave_across():
    w, v = np.array([0.7, 0.2]), np.array([2.0, -1.5])
    args = (("tanh", "sin"), w, 0.4, v, -0.3)
    assert pair(*args) == pytest.approx(pair(*args, plane=True), rel=1e-13)


def unit(name, w, b=0.0):
    return MLP([np.atleast_2d(w), [[1.0]]], [np.array([b]), None] if b else None, activation=name)


def check(names, w, b, v, c, rounding=1e-15):
    student, teacher = unit(names[0], w, b), unit(names[1], v, c)
    loss, theta = PopulationLoss(student, teacher, Gaussian()), student.flat()
    theta[-1] = 0.0
    sizes = [pair((name,) * 2, z, shift, z, shift) for name, z, shift in zip(names, (w, v), (b, c))]
    scale = math.sqrt(sizes[0] * sizes[1])
    exact = pair(names, w, b, v, c)
    error = abs(-loss.gradient(theta)[-1] / 2 - exact) / scale
    assert error < rounding
    assert error <= loss.kernel_error(theta)
    theta = student.flat()
    assert abs(loss.loss(theta) - (sum(sizes) - 2 * exact)) <= loss.loss_error(theta)


@pytest.mark.parametrize(
    "names", [("tanh", "tanh"), ("softplus", "silu"), ("g", "sigmoid"), ("relu", "tanh")]
)
@pytest.mark.parametrize("norm", [30.0, 1000.0])
@pytest.mark.parametrize("sine", [0.0, 1e-5, 0.01, 0.2])
def test_steep_nearly_parallel_units(names, norm, sine):
    """Series, rules across and graded panels: all norms and angles, on a bias and off it."""
    w = np.array([norm, 0.0])
    v = -0.6 * norm * np.array([math.sqrt(1.0 - sine * sine), sine])
    check(names, w, 0.0, v, 0.0)
    if sine < 0.1:
        check(names, w, 0.3 * norm, v, -0.2 * norm)


@pytest.mark.parametrize("slopes", [(10.0, 15.0), (20.0, 30.0), (30.0, 45.0), (400.0, -1000.0)])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "silu", "g"])
def test_a_steep_teacher_copied_has_loss_zero(name, slopes):
    teacher = MLP([[[slopes[0]], [slopes[1]]], [[1.0, -1.0]]], activation=name)
    problem = gf.Problem(teacher, teacher)
    bound = problem.loss_error(teacher.flat())
    assert abs(problem.loss(teacher.flat())) <= bound < 5 * problem.objective.loss_floor


@pytest.mark.parametrize("norm", [10.0, 40.0])
def test_many_close_neighbours(norm):
    """Twelve parallel units: against one integral in one dimension."""
    rng = np.random.default_rng(3)
    weights = norm * rng.standard_normal((12, 1))
    outputs = rng.standard_normal(12)
    teacher = MLP([weights[:6], outputs[None, :6]], activation="tanh")
    student = MLP([weights[6:], outputs[None, 6:]], activation="tanh")
    problem, theta = gf.Problem(teacher, student), student.flat()
    x, p = _graded(np.zeros(12), np.minimum(1.0, 1.0 / np.abs(weights[:, 0])), 1.0)
    values = np.tanh(weights * x)
    residual = outputs[6:] @ values[6:] - outputs[:6] @ values[:6]
    assert abs(problem.loss(theta) - p @ residual**2) <= problem.loss_error(theta) < 1e-12
    slopes = 2 * ((p * residual) @ (outputs[6:, None] * (1 - values[6:] ** 2) * x).T)
    np.testing.assert_allclose(problem.gradient(theta)[:6], slopes, rtol=0, atol=1e-14)


@pytest.mark.parametrize("names", [("tanh", "sin"), ("softplus", "cos"), ("silu", "sin"), ("g", "cos")])
@pytest.mark.parametrize("norm, sine", [(3.0, 0.4), (46.0, 0.1), (46.0, 0.0), (1400.0, 0.002), (3000.0, 0.5)])
def test_fast_waves_beside_other_units(names, norm, sine):
    w = np.array([0.44, 0.0])
    v = norm * np.array([math.sqrt(1.0 - sine * sine), sine])
    check(names, w, 0.0, v, 0.0)
    check(names, 50.0 * w, 3.0, v, 0.7, rounding=2e-15)


def test_slopes_of_fast_waves():
    """Gradient and Hessian of waves along another unit, by differences of the closed mean across."""
    v, c = np.array([0.9, -0.4]), 0.3
    w, b = 20.0 * v + np.array([0.01, 0.03]), -0.2

    def exact(w, b):
        return pair(("tanh", "sin"), v, c, w, b)

    student = unit("sin", w, b)
    loss = PopulationLoss(student, unit("tanh", v, c), Gaussian())
    tiny = 2.0**-600
    slope = -loss.gradient(np.array([*w, b, tiny]))[:3] / tiny / 2
    h = 1e-5
    steps = np.eye(3) * h
    differences = [(exact(w + s[:2], b + s[2]) - exact(w - s[:2], b - s[2])) / (2 * h) for s in steps]
    np.testing.assert_allclose(slope, differences, rtol=0, atol=1e-9)
    hessian = -loss.hessian(np.array([*w, b, tiny]))[:3, :3] / tiny / 2
    for s, row in zip(steps, hessian, strict=True):
        up, down = (
            -loss.gradient(np.array([*(w + k * s[:2]), b + k * s[2], tiny]))[:3] / tiny / 2 for k in (1, -1)
        )
        np.testing.assert_allclose(row, (up - down) / (2 * h), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_rows_of_no_length_to_speak_of(name):
    """Norms from 1e-323 to 1e-290: the slopes are those of 1e-260 (ReLU's depend on the direction alone)."""
    teacher = MLP([np.array([[0.3, -0.4], [0.5, 0.1]]), [[1.0, 0.7]]], activation=name)
    problem = gf.Problem(teacher, MLP.random((2, 1, 1), name, bias=False, seed=0))
    at = [problem.gradient(np.array([0.6 * s, 0.8 * s, 0.5])) for s in (1e-323, 1e-309, 1e-290, 1e-260)]
    direction = [problem.gradient(np.array([1e-323 * 3, 1e-323 * 4, 0.5])), at[3]]
    assert all(np.isfinite(g).all() for g in at)
    np.testing.assert_allclose(at[1], at[3], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(at[2], at[3], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(*direction, rtol=1e-12, atol=1e-15)


def test_a_loss_more_negative_than_its_claim_says_so(monkeypatch):
    teacher = MLP([[[1.0, 0.5]], [[1.0]]], activation="tanh")
    problem, theta = gf.Problem(teacher, teacher), teacher.flat()
    assert problem.loss_error(theta) < 1e-14 and problem.objective.kernel_error(theta) < 1e-14
    result = gf.train(teacher, teacher, solver=None)
    monkeypatch.setattr(PopulationLoss, "loss", lambda self, theta: -1e-12)
    assert problem.loss_error(theta) == problem.objective.kernel_error(theta) == math.inf
    assert "negative beyond its claimed error" in str(result)


NAMES = [*ACTIVATIONS, gf.activations.Polynomial([0.1, -0.5, 0.3, 0.05])]


@pytest.mark.slow
@pytest.mark.parametrize("teacher_bias", [False, True])
@pytest.mark.parametrize("student_bias", [False, True])
@pytest.mark.parametrize("second", NAMES, ids=str)
@pytest.mark.parametrize("first", NAMES, ids=str)
def test_every_ordered_pair(first, second, student_bias, teacher_bias):
    """Student × teacher: the loss against 1e5 samples, gradient and Hessian against differences."""
    rng = np.random.default_rng(11)

    def network(name, bias):
        biases = [rng.uniform(0.2, 0.8, 2), rng.uniform(0.2, 0.8, 1)] if bias else None
        return MLP([0.5 * rng.standard_normal((2, 3)), rng.standard_normal((1, 2))], biases, activation=name)

    student, teacher = network(first, student_bias), network(second, teacher_bias)
    problem, theta = gf.Problem(teacher, student), student.flat()
    x = rng.standard_normal((100_000, 3))
    squares = ((student(x) - teacher(x)) ** 2).sum(axis=1)
    deviation = squares.std() / math.sqrt(len(x))
    assert abs(problem.loss(theta) - squares.mean()) < 5 * deviation + 1e-15
    assert problem.objective.kernel_error(theta) < 1e-14
    direction = rng.standard_normal(theta.size)
    h = 1e-5
    up, down = theta + h * direction, theta - h * direction
    slope = (problem.loss(up) - problem.loss(down)) / (2 * h)
    scale = np.abs(problem.gradient(theta)).max() + squares.mean()
    assert problem.gradient(theta) @ direction == pytest.approx(slope, rel=0, abs=1e-8 * scale)
    bend = (problem.gradient(up) - problem.gradient(down)) / (2 * h)
    hessian = problem.hessian(theta)
    np.testing.assert_allclose(hessian @ direction, bend, rtol=0, atol=1e-7 * np.abs(hessian).max())
    np.testing.assert_allclose(
        problem.hvp(theta, direction), hessian @ direction, rtol=0, atol=1e-12 * np.abs(hessian).max()
    )


@pytest.mark.parametrize("offset", [3.0, 7.7, 12.0, 20.0])
@pytest.mark.parametrize("name", ["gelu", "relu"])
def test_units_that_are_off_but_for_a_tail(name, offset):
    """E σ(r X − c r)², relatively: what is left of it lies beyond 9.5 standard deviations."""
    r = 190.0
    inputs = gf.Gaussian([-offset])
    teacher = gf.MLP([[[1.0]], [[0.0]]], None, name)
    student = gf.MLP([[[r], [0.6 * r]], [[0.0, 0.0]]], None, name)
    hessian = gf.Problem(teacher, student, inputs).hessian(student.flat())
    value = {"gelu": lambda z: z * mpmath.ncdf(z), "relu": lambda z: max(z, 0)}[name]
    with mpmath.workdps(30):
        points = [offset + mpmath.mpf(k) / r for k in (-12, -6, -3, 0, 3, 6, 12, 60)]
        points += [offset + mpmath.mpf(k) / 2 for k in range(1, 13)]
        for i, j in ((2, 2), (2, 3), (3, 3)):
            slopes = [r if k == 2 else 0.6 * r for k in (i, j)]
            true = 2 * mpmath.quad(
                lambda x, p=slopes[0], q=slopes[1]: (
                    value(p * (x - offset)) * value(q * (x - offset)) * mpmath.npdf(x)
                ),
                points,
            )
            assert hessian[i, j] == pytest.approx(float(true), rel=1e-11)


@pytest.mark.parametrize("norm", [1.0, 10.0, 100.0, 1000.0])
def test_a_steep_gelu_beside_a_kink(norm):
    """E relu(w·x) gelu(v·x), v along w: homogeneous in w, so that its second derivative along w is zero."""
    direction = np.array([0.6, 0.8])
    for small in (1e-3, 1.0, 30.0):
        teacher = gf.MLP([[norm * direction], [[1.0]]], None, "gelu")
        student = gf.MLP([[small * direction], [[1.0]]], None, "relu")
        hessian = gf.Problem(teacher, student).hessian(student.flat())[:2, :2] - np.eye(2)
        assert abs(direction @ hessian @ direction) < 1e-13 * norm / small


@pytest.mark.parametrize("output_bias", [False, True])
@pytest.mark.parametrize("offset", [1.0, 4.0, 6.0, 8.0, 20.0])
def test_relu_pairs_of_which_one_is_off(offset, output_bias):
    """E relu(r X + b) relu(q (X − c)), relatively, with the tail beyond c all that is left."""
    r, b, q = 2.0, 0.7, 1.5
    biases = [np.array([b, -q * offset]), [0.3] if output_bias else None]
    student = gf.MLP([[[r], [q]], [[0.0, 0.0]]], biases, "relu")
    problem = gf.Problem(gf.MLP([[[1.0]], [[0.0]]], None, "relu"), student)
    hessian = problem.hessian(student.flat())
    with mpmath.workdps(50):
        c = mpmath.mpf(offset)
        tail, density = mpmath.erfc(c / mpmath.sqrt(2)) / 2, mpmath.npdf(c)
        first, second = density - c * tail, (1 + c * c) * tail - c * density  # E (X − c)₊, E (X − c)₊²
        mixed = r * (second + c * first) + b * first  # X = (X − c) + c there
        for given, true in ((hessian[4, 5], q * mixed), (hessian[5, 5], q * q * second)):
            assert given == pytest.approx(2 * float(true), rel=2e-13)
