"""Pair kernels by Hermite expansion against mpmath quadrature in the plane of the two weight vectors."""

import math

import mpmath
import numpy as np
import pytest
from numba import njit

from gradflow import MLP, Activation, ArgumentError, Gaussian
from gradflow.kernels.pairs import close as pair_close
from gradflow.kernels.pairs import serving
from gradflow.losses.pieces import inconsistency, pieces
from gradflow.losses.population import PopulationLoss

TINY = 2.0**-600


def _softplus(z):
    return z + mpmath.log1p(mpmath.exp(-z)) if z > 0 else mpmath.log1p(mpmath.exp(z))


def _logistic(z, slope=1):
    return 1 / (1 + mpmath.exp(-slope * z))


def _derivatives(name, z):
    """σ, σ', σ'' in mpmath."""
    s = _logistic(z)
    if name == "softplus":
        return _softplus(z), s, s * (1 - s)
    if name == "sigmoid":
        return s, s * (1 - s), s * (1 - s) * (1 - 2 * s)
    if name == "silu":
        d, b = s * (1 - s), s * (1 - s) * (1 - 2 * s)
        return z * s, s + z * d, 2 * d + z * b
    if name == "tanh":
        t = mpmath.tanh(z)
        return t, 1 - t * t, -2 * t * (1 - t * t)
    if name == "gelu":
        density = mpmath.npdf(z)
        return z * mpmath.ncdf(z), mpmath.ncdf(z) + z * density, (2 - z * z) * density
    s4 = _logistic(z, 4)
    d4 = s4 * (1 - s4)
    return s4 + _softplus(z), 4 * d4 + s, 16 * d4 * (1 - 2 * s4) + s * (1 - s)


def moments(names, w, b, v, c, step=5):
    """E στ, E σ'τ, and E σ'τ x, E σ''τ xxᵀ, E σ'τ' xxᵀ, E σ''τ x, E σ'τ' x: trapezoid rule, step 1/5."""
    mp = mpmath.mp
    r = mpmath.norm(w)
    first = w / r
    rest = v - (v @ first) * first
    across = rest / mpmath.norm(rest)
    q, s = v @ first, mpmath.norm(rest)
    points = [mp.mpf(k) / step for k in range(-9 * step, 9 * step + 1)]
    weights = [mpmath.npdf(x) / step for x in points]
    own = [_derivatives(names[0], r * x + b) for x in points]
    sums = {}
    for x, p, f in zip(points, weights, own):
        inner = [[mp.zero] * 3 for _ in range(2)]
        for y, g in zip(points, weights):
            if p * g < mp.mpf(10) ** -24:
                continue
            t = _derivatives(names[1], q * x + s * y + c)
            for k in range(2):
                for m in range(3):
                    inner[k][m] += g * y**m * t[k]
        for k, i in ((0, 0), (1, 0), (2, 0), (1, 1)):
            for m in range(3):
                for l in range(3 - m):
                    key = (k, i, m, l)
                    sums[key] = sums.get(key, 0) + p * x**m * f[k] * inner[i][l]
    frame = np.array([first, across])

    def vector(k, i):
        return np.array([sums[k, i, 1, 0], sums[k, i, 0, 1]]) @ frame

    def matrix(k, i):
        plane = np.array([[sums[k, i, 2, 0], sums[k, i, 1, 1]], [sums[k, i, 1, 1], sums[k, i, 0, 2]]])
        return frame.T @ plane @ frame + sums[k, i, 0, 0] * (np.eye(len(w), dtype=int) - frame.T @ frame)

    return {
        "value": sums[0, 0, 0, 0], "w": vector(1, 0), "b": sums[1, 0, 0, 0], "ww": matrix(2, 0),
        "bw": vector(2, 0), "bb": sums[2, 0, 0, 0], "wv": matrix(1, 1), "wc": vector(1, 1),
        "bc": sums[1, 1, 0, 0],
    }  # fmt: skip


def found(names, w, b, v, c):
    """The same from the gradient and Hessian of losses made for it."""
    unit = MLP([v[None], [[1.0]]], biases=[np.array([c]), None], activation=names[1])
    one = MLP([w[None], [[1.0]]], biases=[np.array([b]), None], activation=names[0])
    both = MLP([np.stack([w, v]), np.ones((1, 2))], biases=[np.array([b, c]), None], activation=names)
    loss, d = PopulationLoss(one, unit, Gaussian()), len(w)
    _, gradient, hessian = loss.all_derivatives(np.concatenate([w, [b, 0.0]]))
    own = loss.all_derivatives(np.concatenate([w, [b, TINY]]))[2] / TINY
    pair = PopulationLoss(both, unit, Gaussian()).all_derivatives(both.flat())[2]
    return {
        "value": -gradient[-1] / 2, "w": -hessian[:d, -1] / 2, "b": -hessian[d, -1] / 2,
        "ww": -own[:d, :d] / 2, "bw": -own[d, :d] / 2, "bb": -own[d, d] / 2,
        "wv": pair[:d, d : 2 * d] / 2, "wc": pair[:d, 2 * d + 1] / 2, "bc": pair[2 * d, 2 * d + 1] / 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "names, size, angle",
    [
        (("tanh", "tanh"), 1.0, 0.9),
        (("g", "g"), 0.5, 1e-3),
        (("softplus", "silu"), 1.0, 2.6),
        (("gelu", "sigmoid"), 1.2, 0.3),
    ],
)  # fmt: skip
def test_values_and_derivatives(names, size, angle):
    rng = np.random.default_rng(5)
    w = rng.standard_normal(3)
    w *= size / np.linalg.norm(w)
    across = np.cross(w, rng.standard_normal(3))
    across *= size / np.linalg.norm(across)
    v = 1.1 * (np.cos(angle) * w + np.sin(angle) * across)
    b, c = 0.3, -0.4
    with mpmath.workdps(25):
        exact = [np.array([mpmath.mpf(float(a)) for a in u]) for u in (w, v)]
        true = moments(names, exact[0], mpmath.mpf(b), exact[1], mpmath.mpf(c))
    mine = found(names, w, b, v, c)
    for name, value in mine.items():
        wanted = np.array(true[name], dtype=float)
        np.testing.assert_allclose(
            value,
            wanted,
            rtol=0,
            atol=2e-14 * max(abs(wanted).max(), abs(float(true["value"]))),
            err_msg=name,
        )


def test_the_expansion_reproduces_closed_forms(monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("erf", "gelu", "square"):
        teacher = MLP([rng.standard_normal((4, 5)), rng.standard_normal((1, 4))], activation=name)
        weights = np.vstack([rng.standard_normal((2, 5)), 1.1 * teacher.weights[0][0], teacher.weights[0][1]])
        student = MLP([weights, rng.standard_normal((1, 4))], activation=name)
        closed = PopulationLoss(student, teacher, Gaussian()).all_derivatives(student.flat())
        with monkeypatch.context() as patch:
            patch.setattr(serving, "closed", lambda *_: None)
            expanded = PopulationLoss(student, teacher, Gaussian()).all_derivatives(student.flat())
        for mine, other in zip(expanded, closed):
            np.testing.assert_allclose(mine, other, rtol=0, atol=2e-14 * np.abs(closed[2]).max())


def test_mixtures_with_kinks():
    """relu beside tanh: symmetric points with a known value, E relu(u) tanh(v) = E |u| tanh(v)/2 + …"""
    w, v = np.array([0.6, -0.2, 1.0]), np.array([0.3, 0.9, 0.1])
    unit, one = MLP([v[None], [[1.0]]], activation="tanh"), MLP([w[None], [[1.0]]], activation="relu")
    q = w @ v
    with mpmath.workdps(25):  # E relu(u) tanh(v) = E u tanh(v)/2 = q E tanh'(v)/2 by symmetry
        slope = mpmath.quad(lambda x: mpmath.npdf(x) / mpmath.cosh(np.linalg.norm(v) * x) ** 2, [-12, 0, 12])
        true = float(q * slope / 2)
    gradient = PopulationLoss(one, unit, Gaussian()).gradient(np.append(w, 0.0))
    np.testing.assert_allclose(-gradient[-1] / 2, true, rtol=2e-15)


@pytest.mark.parametrize("size", [0.5, 3.0])
@pytest.mark.parametrize("name", ["tanh", "silu"])
def test_a_kink_parallel_to_a_smooth_unit(name, size):
    """u = rX + b and v = tX: K, ∂_w K and ∂²_w K of relu with σ are integrals over x > −b/r, and a point."""
    r, b = 0.4, 0.27
    student = MLP([np.array([[r]]), np.array([[1.0]])], [np.array([b]), None], activation="relu")
    teachers = [MLP([np.array([[size]]), np.array([[c]])], activation=name) for c in (1.0, -1.0)]
    losses = [PopulationLoss(student, teacher, Gaussian()) for teacher in teachers]
    theta = student.flat()
    assert losses[0].kernel_error(theta) < 1e-14
    assert losses[0].kernel_error(np.full(3, np.nan)) == np.inf
    gradient = (losses[1].gradient(theta) - losses[0].gradient(theta)) / 4
    hessian = (losses[1].hessian(theta) - losses[0].hessian(theta)) / 4
    with mpmath.workdps(20):
        x0 = -mpmath.mpf(b) / r
        sums = [
            mpmath.quad(
                lambda x, f=f: f(x) * mpmath.npdf(x) * _derivatives(name, size * x)[0], [x0, 0, 1, 3, 6, 10]
            )
            for f in (lambda x: x, lambda x: 1, lambda x: r * x + b)
        ]
        point = mpmath.npdf(x0) * _derivatives(name, size * x0)[0] / r
        true, bend = [float(s) for s in sums], [float(point * x0 * x0), float(point * x0), float(point)]
    np.testing.assert_allclose(gradient, true, rtol=5e-15, atol=3e-15)
    np.testing.assert_allclose(hessian[[0, 0, 1], [0, 1, 1]], bend, rtol=0, atol=2e-14)


def test_the_error_of_the_rules_across_close_pairs():
    rule_for = njit(lambda eta: pair_close.rule_for(eta))
    quadrature_error = njit(lambda eta: pair_close.quadrature_error(eta))
    for eta in (3.3, 4.6, 6.0, 13.0, 45.0, 2e9):
        step = 0.05
        x = np.arange(-300, 301) * step
        exact = np.sum(np.exp(-0.5 * x * x) / np.cosh(0.5 * np.pi * x / eta) ** 2) * step / np.sqrt(2 * np.pi)
        rule = rule_for(eta)
        nodes, weights = pair_close._HERMITE[rule], pair_close._HERMITE_WEIGHTS[rule]
        error = abs(weights @ (1 / np.cosh(0.5 * np.pi * nodes / eta) ** 2) - exact)
        assert error < 1e-15 + quadrature_error(eta) < 2e-15


def test_products_agree_with_hessians():
    rng = np.random.default_rng(1)
    student = MLP.random((4, 3, 2), "softplus", bias=True, seed=0)
    teacher = MLP.random((4, 2, 2), ("g", "erf"), bias=True, seed=1)
    loss = PopulationLoss(student, teacher, Gaussian(mean=rng.standard_normal(4)))
    theta, v = student.flat() + 0.3 * rng.standard_normal(student.size), rng.standard_normal(student.size)
    hessian = loss.all_derivatives(theta)[2]
    np.testing.assert_allclose(loss.hvp(theta, v), hessian @ v, rtol=0, atol=1e-13 * np.abs(hessian).max())


@np.errstate(over="ignore")
def test_pieces_resolve_what_they_claim():
    edges, error, step = pieces(
        lambda z: (np.tanh(z), 1 / np.cosh(z) ** 2, -2 * np.tanh(z) / np.cosh(z) ** 2)
    )
    assert error == step == 0.0 and np.all(np.diff(edges) > 0) and 10 < (np.abs(edges) < 64).sum() < 25
    assert 1.0 < pieces(lambda z: (np.sin(z), np.cos(z), -np.sin(z)))[2] < 20.0  # a wave has no far pieces
    edges, error, _ = pieces(lambda z: (np.maximum(z - 0.3, 0), 1.0 * (z > 0.3), 0.0 * z))
    assert 0.0 < error < 2e-9 and np.abs(edges - 0.3).min() < 1e-6
    relu = lambda z: (np.maximum(z, 0), 1.0 * (z > 0), 0.0 * z)  # noqa: E731
    assert inconsistency(relu, pieces(relu)[0]) == pytest.approx(1.0)


def test_the_error_is_estimated():
    rng = np.random.default_rng(3)
    direction = rng.standard_normal(4)
    direction /= np.linalg.norm(direction)
    aside = np.linalg.svd(direction[None])[2][1]

    def loss_of(norm, angle, activation="g"):
        teacher = MLP([norm * direction[None], [[1.0]]], activation=activation)
        student = MLP([norm * (direction + angle * aside)[None], [[1.0]]], activation=activation)
        return PopulationLoss(student, teacher, Gaussian()), student.flat()

    for norm, angle in ((1e-3, 1.0), (1.0, 1e-3), (3.0, 1.0), (30.0, 1.0)):
        loss, theta = loss_of(norm, angle)
        assert loss.kernel_error(theta) < 1e-14
    for angle in (1e-3, 0.05):  # by quadrature, not by 1e5 coefficients
        close, theta = loss_of(30.0, angle)
        assert close.kernel_error(theta) < 1e-14
    closed, theta = loss_of(1.0, 0.5, "erf")
    assert 0 < closed.kernel_error(theta) < 1e-14
    atan = Activation(
        math.atan, lambda z: 1 / (1 + z * z), lambda z: -2 * z / (1 + z * z) ** 2, symmetry="odd", name="atan"
    )
    own, theta = loss_of(10.0, 0.05, atan)
    assert own.kernel_error(theta) < 2e-14
    steep, theta = loss_of(
        1000.0, 0.01, atan
    )  # poles of one's own function may lie anywhere: told, not hidden
    assert 1e-10 < steep.kernel_error(theta) <= 2.0  # by Cauchy and Schwarz no kernel can be further off


def test_kinks_of_ones_own_are_refused():
    hinge = Activation(lambda z: max(z, 0.0), lambda z: 1.0 if z > 0.0 else 0.0, lambda z: 0.0, name="hinge")
    unit = MLP([[[1.0, 0.0]], [[1.0]]], activation=hinge)
    with pytest.raises(ArgumentError, match="'hinge', whose values or slopes jump"):
        PopulationLoss(unit, unit, Gaussian())


def test_the_estimate_covers_the_rounding_of_close_pairs(rng):
    """Norms 1.6 to 6, angles 0.06 to 0.2, against the trapezoid rule in the plane in the longest reals."""
    x = np.arange(-240, 241).astype(np.longdouble) / 25
    weight = np.exp(-x * x / 2)
    weight /= weight.sum()
    for r, t, angle in ((4.49, 1.84, 0.116), (2.13, 3.68, 0.18), (1.64, 3.41, 0.15), (5.27, 4.55, 0.059)):
        frame = np.linalg.qr(rng.standard_normal((3, 2)))[0].T
        w, v = r * frame[0], t * (np.cos(angle) * frame[0] + np.sin(angle) * frame[1])
        unit = MLP([v[None], [[1.0]]], activation="tanh")
        loss, theta = PopulationLoss(unit, unit, Gaussian()), np.append(w, 0.0)
        w, v = w.astype(np.longdouble), v.astype(np.longdouble)
        size = np.sqrt(w @ w)
        along = w @ v / size
        across = np.sqrt(((v - along * w / size) ** 2).sum())

        def mean(size, along, across):
            other = np.tanh(along * x[:, None] + across * x[None, :])
            return weight @ (np.tanh(size * x) * (other @ weight))

        natural = np.sqrt(mean(size, size, 0.0) * mean(np.sqrt(v @ v), np.sqrt(v @ v), 0.0))
        error = abs(-loss.gradient(theta)[3] / 2 - mean(size, along, across)) / natural
        assert error < 1e-15 < loss.kernel_error(theta) < 1e-14


def test_expectations_that_diverge_are_refused():
    square = Activation(
        lambda z: np.exp(z * z), lambda z: 2 * z * np.exp(z * z), lambda z: (2 + 4 * z * z) * np.exp(z * z),
        name="exp_square",
    )  # fmt: skip
    small = MLP([[[0.3, 0.0]], [[1.0]]], activation=square)
    large = MLP([[[0.6, 0.0]], [[1.0]]], activation=square)
    norm = PopulationLoss(small, small, Gaussian()).loss(np.array([0.3, 0.0, 0.0]))
    np.testing.assert_allclose(norm, 1 / np.sqrt(1 - 4 * 0.09), rtol=1e-13)  # E exp(2z²)
    for student, teacher, argument in ((large, small, "student"), (small, large, "teacher")):
        with pytest.raises(ArgumentError, match=f"^{argument}"):
            PopulationLoss(student, teacher, Gaussian())


@pytest.mark.parametrize("name", ["tanh", "g"])
def test_close_pairs_by_quadrature_agree_with_the_series(name):
    rng = np.random.default_rng(7)
    w = 3 * np.eye(3)[0]
    v = w + np.array([0.1, 0.01, -0.02]) * rng.uniform(0.5, 1.0)

    def constant(*rows):  # E f² of a teacher of these rows: its pairs go by the series
        teacher = MLP([np.array(rows), np.ones((1, len(rows)))], activation=name)
        return PopulationLoss(MLP([w[None], [[0.0]]], activation=name), teacher, Gaussian()).loss(np.zeros(4))

    teacher = MLP([v[None], [[1.0]]], activation=name)
    difference = PopulationLoss(teacher, teacher, Gaussian()).loss(np.append(w, 1.0))
    total = 2 * (constant(w) + constant(v))
    assert abs(difference + constant(w, v) - total) < 1e-13 * total


@pytest.mark.parametrize("name, function", [("tanh", np.tanh), ("softplus", lambda z: np.logaddexp(0.0, z))])
@pytest.mark.parametrize("norm, angle", [(3.0, 0.1), (4.0, 1e-2), (5.0, 1e-3)])
def test_close_pairs_with_a_unit_that_grows_exponentially(name, function, norm, angle):
    # E σ(u) e^v = e^(t/2) E σ(u + q): the mass lies at X = |v|, beyond what bounded units need.
    w, v = np.array([3.0, 0.0]), norm * np.array([np.cos(angle), np.sin(angle)])
    teacher = MLP([v[None], [[1.0]]], activation="exp")
    student = MLP([w[None], [[0.0]]], activation=name)
    loss = PopulationLoss(student, teacher, Gaussian())
    x = np.linspace(-13.0, 13.0, 2001)
    density = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi) * (x[1] - x[0])
    true = np.exp(0.5 * norm**2) * float(density @ function(3.0 * x + w @ v))
    assert -loss.gradient(student.flat())[-1] / 2 == pytest.approx(true, rel=2e-14)
