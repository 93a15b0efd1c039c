"""Ends at infinity of networks on samples: limits that are known from elsewhere, and ends that are finite."""

import numpy as np
import pytest
import scipy.optimize

import gradflow as gf
from gradflow.activations import resolve
from gradflow.infinity import Limit
from gradflow.infinity.charts import finite, in_order, realised
from gradflow.infinity.limit_network import LimitLoss, LimitNetwork, Unit

X1 = np.random.default_rng(0).standard_normal((60, 1))
X2 = np.random.default_rng(1).standard_normal((150, 2))


def best(residuals, *starts):
    """The least mean square that SciPy finds."""
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 5000}
    found = [scipy.optimize.least_squares(residuals, np.array(start), **tight) for start in starts]
    return min(2 * end.cost / len(end.fun) for end in found)


def units(result):
    return sorted(unit.kind for unit in result.limit.moved)


def noise(count, size, seed=2):
    return size * np.random.default_rng(seed).standard_normal(count)


def test_slopes_of_all_units():
    sigma, rng = resolve("sigmoid"), np.random.default_rng(0)
    first = (Unit("neuron", (0,), sigma), Unit("pair", (1, 2), sigma), Unit("triple", (3, 4, 5), sigma),
             Unit("exponential", (6,), sigma, side=-1))  # fmt: skip
    second = (Unit("linear", (0,), sigma), Unit("neuron", (1,), sigma),
              Unit("hinge", (2,), resolve("softplus")), Unit("step", (3,), sigma, free=(3, 7)))  # fmt: skip
    shapes = ((7, 3), (4, 8), (2, 5))
    weights = tuple(0.5 * rng.standard_normal(shape) for shape in shapes)
    none = np.zeros(0)
    values = ((none,) * 4, (none, none, none, np.array([0.3, -0.5])))
    network = LimitNetwork((first, second), weights, (True, True, True), values)
    Y = rng.standard_normal((len(X2), 2))
    loss = LimitLoss(network, X2, Y, np.full(len(X2), 1 / len(X2)), 1.0)
    residuals, jacobian = loss.least_squares(loss.start)
    steps = 1e-6 * np.eye(loss.size)
    differences = [
        (loss.residual_vector(loss.start + e) - loss.residual_vector(loss.start - e)) / 2e-6 for e in steps
    ]
    np.testing.assert_allclose(jacobian, np.array(differences).T, atol=1e-8)
    value, gradient = loss.loss_and_gradient(loss.start)
    np.testing.assert_allclose(gradient, 2 * jacobian.T @ residuals, atol=1e-13)
    assert value == pytest.approx(residuals @ residuals, rel=1e-14)


def test_z_that_are_pinned_stay_zero():
    sigma, rng = resolve("elu"), np.random.default_rng(0)
    units = ((Unit("neuron", (0,), sigma), Unit("pair", (1, 2), sigma)),)
    weights = 0.5 * rng.standard_normal((3, 3)), rng.standard_normal((1, 4))
    network = LimitNetwork(units, weights, (True, True), ((np.zeros(0),) * 2,))
    share, Y = np.full(len(X2), 1 / len(X2)), rng.standard_normal((len(X2), 1))
    loss = LimitLoss(network, X2, Y, share, 1.0, {1: np.array([4, 9])})
    assert loss.size == network.flat().size - 2
    theta = loss.start + 0.1 * rng.standard_normal(loss.size)
    z = loss.at(theta).forward(X2)[0][0]
    assert np.abs(z[[4, 9], 1]).max() < 1e-14 < np.abs(z[[4, 9], 0]).min()
    residuals, jacobian = loss.least_squares(theta)
    np.testing.assert_allclose(loss.gradient(theta), 2 * jacobian.T @ residuals, atol=1e-13)
    steps = 1e-6 * np.eye(loss.size)
    ends = [(loss.residual_vector(theta + e) - loss.residual_vector(theta - e)) / 2e-6 for e in steps]
    np.testing.assert_allclose(jacobian, np.array(ends).T, atol=1e-7)


def test_a_hinge_on_a_sample():
    """A constant and a line that begins at a sample, where L has a kink: the best height and slope."""
    x = np.sort(X1[:, 0])
    middle = x[30]
    y = np.where(x > middle, 2.0 * (x - middle), 0.0) + noise(60, 0.02)
    y[30] -= 1.0
    start = gf.MLP([[[40.0]], [[2.0 / 40.0]]], [[-40.0 * middle], [0.0]], "softplus")
    result = gf.train(y[:, None], start, x[:, None], solver=None, progress=False)
    columns = np.column_stack([np.maximum(x - middle, 0.0), np.ones(60)])
    truth = np.mean((columns @ np.linalg.lstsq(columns, y, rcond=None)[0] - y) ** 2)
    assert result.end.kind == "infinity" and units(result) == ["hinge"]
    assert result.channel.loss == pytest.approx(truth, rel=1e-12) and result.loss > truth
    assert result.channel.approaches[0].exponent == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("kind", "order"), [("pair", 2), ("triple", 2), ("exponential", 1), ("linear", 2)])
def test_neurons_in_place_of_a_unit_come_to_it_with_its_order(kind, order):
    sigma = resolve("tanh")
    neurons = {"pair": (0, 1), "triple": (0, 1, 2)}.get(kind, (0,))
    unit = Unit(kind, neurons, sigma, side=-1 if kind == "exponential" else 0)
    rng = np.random.default_rng(3)
    rows, outputs = unit.rows, unit.outputs
    weights = (0.5 * rng.standard_normal((rows, 3)), rng.standard_normal((1, outputs + 1)))
    network = LimitNetwork(((unit,),), weights, (True, True), ((np.zeros(0),),))
    small = 1e-4 if kind == "exponential" else 1e-2
    distances = [np.abs(realised(network, 0, 0, e)(X2) - network(X2)).max() for e in (2 * small, small)]
    assert np.log2(distances[0] / distances[1]) == pytest.approx(order, abs=0.2)


def test_a_linear_teacher_is_where_a_neuron_without_bias_goes():
    x = X1[:, 0]
    # The residual of a linear fit falls with the cube: tanh's third derivative makes the limit attract.
    targets = (x + 0.02 * x**3)[:, None]
    result = gf.train(targets, gf.MLP([[[0.3]], [[2.0]]], None, "tanh"), X1, progress=False)
    line = x @ targets[:, 0] / (x @ x)
    assert result.end.kind == "infinity" and not result.converged and units(result) == ["linear"]
    assert result.channel.loss == pytest.approx(np.mean((line * x - targets[:, 0]) ** 2), rel=1e-12)
    assert result.channel.approaches[0].exponent == pytest.approx(2, abs=0.1)
    np.testing.assert_allclose(result.limit(np.array([[3.0]])), [[3.0 * line]], rtol=1e-9)
    # The other way round the minimum is finite.
    other = gf.train(2 * x[:, None] - targets, gf.MLP([[[0.3]], [[2.0]]], None, "tanh"), X1, progress=False)
    assert other.end.kind == "critical point" and other.converged


def test_an_exponential_teacher_is_where_a_sigmoid_goes(tmp_path):
    x = X1[:, 0]
    y = np.exp(0.7 * x) + noise(60, 0.05)
    student = gf.MLP([[[0.6]], [[20.0]]], [[-3.0], [0.0]], "sigmoid")
    result = gf.train(y[:, None], student, X1, progress=False)
    assert result.end.kind == "infinity" and units(result) == ["exponential"]
    truth = best(lambda p: p[0] * np.exp(p[1] * x) + p[2] - y, [1.0, 0.7, 0.0])
    assert result.channel.loss == pytest.approx(truth, rel=1e-12)
    assert result.channel.loss < result.loss and result.channel.approaches[0].exponent == pytest.approx(
        1, abs=0.1
    )
    assert "exponential" in str(result) and result.stop_reason is gf.StopReason.CHANNEL
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5")
    assert (
        loaded.channel.loss == result.channel.loss and loaded.channel.approaches == result.channel.approaches
    )
    np.testing.assert_array_equal(loaded.limit(X1), result.limit(X1))
    assert loaded.end.to_json() == result.end.to_json()


def test_a_step_teacher_is_where_a_sigmoid_goes():
    x = X1[:, 0]
    y = np.where(x > 0.3, 2.0, -1.0) + noise(60, 0.1)
    result = gf.train(y[:, None], gf.MLP([[[3.0]], [[3.0]]], [[-1.0], [-1.0]], "sigmoid"), X1, progress=False)
    assert result.end.kind == "infinity" and units(result) == ["step"]
    within = sum(np.sum((y[side] - y[side].mean()) ** 2) for side in (x > 0.3, x <= 0.3)) / 60
    # One sample at the threshold may have a value of its own: then the limit is lower.
    free = sum(len(unit.free) for unit in result.limit.moved)
    if free == 0:
        assert result.channel.loss == pytest.approx(within, rel=1e-12)
    else:
        assert result.channel.loss <= within


def derivative_teacher(order, seed):
    w, v = np.array([0.9, -0.4]), np.array([0.5, 0.8])
    z, s = X2 @ w, np.tanh(X2 @ w)
    first, second = 1 - s**2, -2 * s * (1 - s**2)
    y = 0.7 * s + (X2 @ v) * first
    if order == 2:
        y = y + 1.5 * (X2 @ v) ** 2 * second
    return z, y + noise(150, 0.03, seed)


def jets(p, order):
    z, z1 = X2 @ p[:2], X2 @ p[3:5]
    s = np.tanh(z)
    first, second = 1 - s**2, -2 * s * (1 - s**2)
    f = p[2] * s + z1 * first
    return f if order == 1 else f + p[5] * (X2 @ np.array([np.cos(p[6]), np.sin(p[6])])) ** 2 * second


def merged(order, epsilon):
    """Neurons near the teacher's limit."""
    w, v = np.array([0.9, -0.4]), np.array([0.5, 0.8])
    if order == 1:
        return gf.MLP(
            [[w + epsilon * v, w - epsilon * v], [[0.35 + 0.5 / epsilon, 0.35 - 0.5 / epsilon]]], None, "tanh"
        )
    bent, e = 1.5 / epsilon**2, epsilon
    rows = [w + e * v, w - e * v, w]
    return gf.MLP([rows, [[bent + 0.5 / e, bent - 0.5 / e, 0.7 - 2 * bent]]], None, "tanh")


@pytest.mark.parametrize("order", [1, 2])
def test_a_derivative_is_where_merging_neurons_go(order):
    """Among seeds of the noise some attract: h is the residual's correlation with the next derivatives."""
    kinds = ["pair", "triple"]
    for seed in range(6):
        _, y = derivative_teacher(order, seed)
        result = gf.train(y[:, None], merged(order, 0.3), X2, progress=False)
        if result.end.kind != "infinity":
            assert result.converged or result.end.kind == "unfinished"
            continue
        assert units(result) == [kinds[order - 1]]
        start = [0.9, -0.4, 0.7, 0.5, 0.8]
        starts = [start] if order == 1 else [[*start, 1.3, 1.0], [*start, 1.0, 0.8]]
        truth = best(lambda p, y=y: jets(p, order) - y, *starts)
        assert result.channel.loss == pytest.approx(truth, rel=1e-12)
        assert result.channel.loss < result.loss
        return
    raise AssertionError("no seed attracts")


def test_a_linear_unit_that_finite_neurons_can_be():
    """elu is linear for z > 0."""
    sigma = resolve("elu")
    units = ((Unit("linear", (1,), sigma), Unit("neuron", (0,), sigma)),)
    rng = np.random.default_rng(5)
    weights = (rng.standard_normal((2, 3)), rng.standard_normal((1, 3)))
    network = LimitNetwork(units, weights, (True, True), ((np.zeros(0), np.zeros(0)),))
    found = in_order(finite(network, X2))
    student = gf.MLP.random((2, 2, 1), "elu", seed=0).with_flat(found)
    np.testing.assert_allclose(student(X2), network(X2), atol=1e-13)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])
def test_finite_ends_are_not_called_infinite(activation):
    """Targets of a teacher with a little noise: the minimum is near the teacher."""
    for seed in range(6):
        teacher = gf.teachers.random((2, 2, 1), activation, seed=seed)
        y = teacher(X2) + 1e-3 * np.random.default_rng(seed).standard_normal((150, 1))
        start = gf.MLP.random((2, 2, 1), activation, seed=0).with_flat(teacher.flat() + 0.02)
        result = gf.train(y, start, X2, progress=False)
        assert not isinstance(result.channel, Limit) and result.end.kind != "infinity"
