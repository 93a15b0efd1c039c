"""`recover` finds networks whose parameters are known, and says nothing is found where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

import gradflow as gf
from gradflow.recovery import compare, recover
from gradflow.recovery.units import Units

CLASSES = ("g", "tanh", "sigmoid", "softplus", "gelu", "silu", "relu", "leaky_relu", "selu", "elu", "erf")


@pytest.fixture(scope="module")
def cube():
    return gf.teachers.uniform_inputs(4, 4000, seed=5)


@pytest.mark.parametrize("activation", CLASSES)
def test_every_symmetry_class(cube, activation):
    teacher = gf.teachers.parity(4, 4, seed=1, activation=activation)
    found = recover(cube, teacher(cube), activation)
    assert found.exact and found.width == 4 and found.rmse < 2e-15
    beside = compare(found.network, teacher, cube)
    assert beside.parameters < 2e-14 and beside.inputs.max() < 1e-28
    if gf.ACTIVATIONS[activation].symmetry == "even+linear":
        assert found.signs.determined and found.signs.residual < 1e-12 and not beside.mirrored.any()
    assert (found.certificate.errors < 1e-12).all()


def test_the_estimate_of_the_error_bounds_it(cube):
    teacher = gf.teachers.parity(4, 4, seed=2)
    noise = 1e-6 * np.random.default_rng(0).standard_normal((len(cube), 1))
    found = recover(cube, teacher(cube) + noise, "g", floor=2e-6)
    assert found.exact and found.width == 4
    beside = compare(found.network, teacher, cube)
    assert 1e-9 < beside.parameters < found.certificate.errors.max()


def test_the_best_fit_lies_below_a_coarse_floor(cube):
    teacher = gf.teachers.parity(4, 4, seed=1)
    noise = 1e-3 * np.random.default_rng(0).standard_normal((len(cube), 1))
    found = recover(cube, teacher(cube) + noise, "g", floor=1e-2)
    assert found.width == 4 and 9.5e-4 < found.rmse < 1e-3
    assert compare(found.network, teacher, cube).parameters < 1.5e-3


def test_several_outputs(cube):
    rng = np.random.default_rng(3)
    W, b = rng.standard_normal((5, 4)), rng.standard_normal(5)
    for activation in ("tanh", "softplus"):
        teacher = gf.MLP([W, rng.standard_normal((4, 5))], [b, rng.standard_normal(4)], activation)
        found = recover(cube[:1500], teacher(cube[:1500]), activation)
        assert found.exact and found.width == 5
        beside = compare(found.network, teacher, cube)
        assert beside.parameters < 1e-10 and found.rmse < 2e-14
        assert activation == "tanh" or not beside.mirrored.any()


def test_a_teacher_function_and_the_same_bits(cube):
    teacher = gf.teachers.parity(4, 2, seed=4)
    one = recover(teacher=teacher, inputs=cube, activation="g", seed=7)
    two = recover(teacher=lambda X: teacher(X), inputs=cube, activation="g", seed=7)
    assert (one.network.flat() == two.network.flat()).all() and one.students == two.students


@pytest.mark.parametrize("size", [1e-200, 1e-8, 1e8, 1e150])
def test_the_size_of_answers_decides_nothing(cube, size):
    teacher = gf.teachers.parity(4, 3, seed=6)
    found = recover(cube, size * teacher(cube), "g")
    assert found.exact and found.width == 3 and found.rmse < 2e-15 * size
    small = gf.MLP(
        [found.network.weights[0], found.network.weights[1] / size],
        [found.network.biases[0], found.network.biases[1] / size],
        "g",
    )
    assert compare(small, teacher, cube).parameters < 2e-14


def test_units_of_queries_and_answers_lose_no_digit(cube):
    teacher = gf.teachers.parity(4, 3, seed=6)
    found = recover(cube, teacher(cube), "g")
    features, answers = 2.0 ** np.array([20, -30, 0, 3]), 2.0**-40
    other = recover(cube * features, answers * teacher(cube), "g")
    assert (other.network.weights[0] * features == found.network.weights[0]).all()
    assert (other.network.weights[1] == found.network.weights[1] * answers).all()
    assert (other.network.biases[0] == found.network.biases[0]).all()
    assert (
        other.rmse == found.rmse * answers and (other.agreed[:, 0] * features[0] == found.agreed[:, 0]).all()
    )
    one, two = found.certificate, other.certificate
    assert (one.neuron_errors == two.neuron_errors).all() and one.singular == two.singular
    ratio = two.errors / one.errors
    assert (
        (ratio[:4] == 1.0 / features).all() and (ratio[12:15] == 1.0).all() and (ratio[15:] == answers).all()
    )
    in_decimals = recover(cube * [1.0, 1e3, 1e-3, 1e8], teacher(cube), "g")
    assert in_decimals.exact and in_decimals.width == 3


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_step_is_no_network(dtype):
    # A saturated neuron has an RMSE of zero; its slope is not known for that.
    X = np.random.default_rng(0).uniform(-1.7, 1.7, (1500, 2))
    step = (X.sum(axis=1) > 0.2).astype(dtype)
    for activation in ("tanh", "sigmoid"):
        found = recover(X, step, activation, students=8, widest=8)
        assert not found.exact
        assert found.certificate is None or found.certificate.neuron_errors.max() > 0.1


def test_float16_answers(cube):
    teacher = gf.teachers.parity(4, 3, seed=6)
    found = recover(cube, teacher(cube).astype(np.float16), "g")
    assert found.width == 3 and compare(found.network, teacher, cube).parameters < 1e-2
    assert 1e-4 < found.rmse < found.certificate.floor < 1e-2


def test_float32_answers(cube):
    teacher = gf.teachers.parity(4, 3, seed=6)
    found = recover(cube, teacher(cube).astype(np.float32), "g")
    assert found.exact and found.width == 3
    assert compare(found.network, teacher, cube).parameters < 1e-6
    assert 1e-9 < found.rmse < found.certificate.floor < 1e-4


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_features_that_never_vary_are_undetermined(cube, value):
    teacher = gf.teachers.parity(4, 3, seed=8)
    X = cube.copy()
    X[:, 2] = value
    assert np.abs(teacher.weights[0][:, 2]).max() > 0
    found = recover(X, teacher(X), "g")
    lost = found.certificate.undetermined
    assert found.exact and found.width == 3
    # w₂ x₂ + b is determined, not w₂ and b apart, unless x₂ = 0
    assert lost[:12].reshape(3, 4)[:, 2].all() and lost.sum() == (3 if value == 0.0 else 6)
    assert compare(found.network, teacher, X).parameters < 1e-12
    assert (found.network.weights[0][:, 2] == 0).all()


def test_automatic_activation(cube):
    teacher = gf.teachers.parity(4, 2, seed=9, activation="softplus")
    found = recover(cube, teacher(cube))
    assert found.exact and found.network.neuron_activations(0)[0].name == "softplus"
    with pytest.raises(gf.ArgumentError, match="no activation of the table explains"):
        recover(cube[:200], np.floor(cube[:200, :1]), students=1, widest=4)


def test_no_student_at_the_floor_is_not_exact(cube):
    teacher = gf.teachers.parity(4, 8, seed=1)
    found = recover(cube, teacher(cube), "g", students=6, widest=4)
    assert not found.exact and found.certificate is None and found.rmse > 1e-3
    assert "no student reached the floor" in str(found)
    wrong = recover(cube, teacher(cube), "tanh", students=10, widest=16)
    assert not wrong.exact


def test_a_smooth_function_of_one_input_is_no_network():
    # Students of one input fit smooth functions far below any teacher's loss: zero must mean the floor.
    x = np.linspace(-1, 1, 800)[:, None]
    found = recover(x, np.sin(2 * x) * np.exp(x / 3), "tanh", students=20, widest=8)
    assert not found.exact


def test_table_and_print(cube):
    teacher = gf.teachers.parity(4, 2, seed=11)
    found = recover(cube, teacher(cube), "g")
    assert len(found.table()) == 2 and "recover: exact, 4-2-1" in str(found)
    assert found.widths == (2,) and "exact" in repr(found)
    assert sum(found.groups.values()) == found.students[-1]["width"]


def bad(match, **changes):
    X = np.random.default_rng(0).standard_normal((60, 3))
    given = {"X": X, "Y": np.tanh(X[:, 0]), "activation": "tanh"} | changes
    with pytest.raises(gf.ArgumentError, match=match):
        recover(**given)


def test_bad_input():
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = np.tanh(X[:, 0])
    bad("answers that do not vary", Y=np.ones(60))
    bad("finite", Y=np.where(np.arange(60) == 3, np.nan, y))
    bad("finite", X=np.where(X > 2, np.inf, X))
    bad("one answer to each query", Y=y[:50])
    bad("at least, for a width of one", X=X[:6], Y=y[:6])
    bad("queries that do not vary", X=np.ones((60, 3)))
    bad("polynomials of degree 2", activation="square")
    bad("biases and output weights are one parameter", activation="exp")
    bad("an integer", students=0)
    bad("floor", floor=0.0)
    bad("one of them", teacher=lambda X: y)
    bad("X and Y, or teacher", Y=None)
    undeclared = gf.Activation(
        lambda z: z / (1 + z * z), lambda z: (1 - z * z) / (1 + z * z) ** 2,
        lambda z: 2 * z * (z * z - 3) / (1 + z * z) ** 3, name="lorentz",
    )  # fmt: skip
    bad("symmetry is not declared: its values are those of 'odd'", activation=undeclared)


def test_an_activation_of_ones_own(cube):
    own = gf.Activation(
        lambda z: z / (1 + z * z), lambda z: (1 - z * z) / (1 + z * z) ** 2,
        lambda z: 2 * z * (z * z - 3) / (1 + z * z) ** 3, symmetry="odd", name="lorentz",
    )  # fmt: skip
    teacher = gf.teachers.parity(4, 3, seed=3, activation=own)
    found = recover(cube, teacher(cube), own)
    assert found.exact and compare(found.network, teacher, cube).parameters < 1e-12


def test_pixels_have_one_unit_and_a_feature_of_another_size_its_own():
    # Rarely lit pixels in units of their own range kept classifiers of digits from being found.
    pixels = np.array([[0.0, 0.0, 0.0], [1.0, 1 / 16, 0.0], [0.5, 0.0, 0.0]])
    units = Units.of(pixels, pixels)
    assert units.features[0] == units.features[1] and units.features[2] == 1.0
    mixed = Units.of(pixels * [1.0, 1e-3, 1.0], pixels)
    assert mixed.features[1] < 1e-3 * mixed.features[0]
