"""Labels of neurons, and the table they come in."""

import importlib.util
import math

import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.special

import gradflow as gf
from gradflow import landscape
from gradflow.landscape.table import Table, table


def test_neurons_of_a_copy_average_point():
    rows = [[0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0.2], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    W = np.array(rows, dtype=float)
    W[1] /= math.sqrt(2 * 3)
    student = gf.MLP([W, [[1.0, 2.0, 1.1, 0.5, 0.7]]], None, "erf")
    teacher = gf.teachers.orthonormal(4, 5)
    rows = landscape.neurons((student, teacher))
    kinds = list(rows["kind"])
    assert kinds == ["copy", "average", "perturbed copy", "duplicate", "dead"]
    teachers = list(rows["teachers"])
    assert teachers[0] == (2,) and teachers[1] == (0, 1) and teachers[2] == (3,)
    # Moved by more than the tolerance, exact labels go; with a smaller `loose`, perturbed ones too.
    W[0, 0] += 1e-3
    moved = landscape.neurons((gf.MLP([W, student.weights[1]], None, "erf"), teacher), loose=1e-4)
    kinds = list(moved["kind"])
    assert kinds[0] == "other" and kinds[2] == "other"
    with pytest.raises(gf.ArgumentError, match="tolerance"):
        landscape.neurons((student, teacher), tolerance=-1.0)


E = np.eye(3, 4)
BIASED = [[0.5, -0.3, 0.0]]
HALF = 0.5**0.5
RELU_TWO = 2 * (math.sin(math.pi / 4) + 0.75 * math.pi * math.cos(math.pi / 4)) / math.pi
"""a|w| of the best relu neuron for two orthonormal teachers, 2ℓ h(1/√ℓ)."""

LABELS = [
    # activation, rows of w, biases, a, teacher's biases, kinds
    ("erf", E * [[1], [-1], [1]], [0.5, 0.3, 0.0], [1, -1, 1], BIASED[0], ["copy"] * 3),
    ("erf", E, [0.7, -0.3, 0.0], [1, 1, 1], BIASED[0], ["perturbed copy", "copy", "copy"]),
    ("erf", E, [2.5, -0.3, 0.0], [1, 1, 1], BIASED[0], ["other", "copy", "copy"]),
    ("erf", E, [0.0, 0.0, 0.2], [1, 1, 1], None, ["copy", "copy", "perturbed copy"]),
    ("erf", [0.4 * (E[0] + E[1])], [5.0], [2], BIASED[0], ["other"]),
    ("erf", [E[0], 0 * E[0], 0 * E[0]], [0.5, 1.0, 0.0], [1, 1, 1], BIASED[0], ["copy", "constant", "dead"]),
    ("softplus", [0 * E[0], -E[1], E[2]], None, [1, 1, 1], None, ["constant", "other", "copy"]),
    ("relu", [3 * E[0], -E[1], 2 * E[0]], None, [1 / 3, 1, 0.2], None, ["copy", "other", "duplicate"]),
    ("relu", [1e-9 * E[0], 1e9 * E[1], 1e-9 * E[2]], None, [1e9, 1e-9, 1], None, ["copy", "copy", "dead"]),
    ("relu", [E[0] + E[1], E[0] - E[1]], None, [RELU_TWO * HALF, 1], None, ["average", "other"]),
    ("relu", [E[0] + E[1], E[0] - E[1]], None, [1, 1], None, ["perturbed average", "other"]),
    ("erf", [0.4 * (E[0] - E[1]), -0.4 * (E[0] + E[1])], None, [2, -2], None, ["other", "perturbed average"]),
    ("erf", [-(E[0] + E[1]) / 6**0.5], None, [-2], None, ["average"]),
    ("erf", [E[0], -E[0]], None, [0.5, -0.5], None, ["other", "duplicate"]),
    ("erf", [E[0], 0.7 * E[1]], None, [-1, 1e8], None, ["other", "other"]),
    ("square", [-E[0], E[1]], None, [1, -1], None, ["copy", "other"]),
    # What these are not: a direction alone is no average, and a silent neuron no perturbed copy.
    ("erf", [7 * (E[0] + E[1] + E[2])], None, [0.01], None, ["other"]),
    ("erf", [(E[0] + E[1] + E[2]) / 15**0.5], None, [3], None, ["average"]),
    ("erf", [50 * E[0]], None, [0.002], None, ["other"]),
    ("erf", [50 * E[0]], None, [1], None, ["other"]),
]


@pytest.mark.parametrize(("activation", "W", "b", "a", "theirs", "expected"), LABELS)
def test_labels_respect_biases_signs_and_scales(activation, W, b, a, theirs, expected):
    student = gf.MLP([W, [a]], None if b is None else [b, None], activation)
    teacher = gf.MLP([E, np.ones((1, 3))], None if theirs is None else [theirs, None], activation)
    assert landscape.kinds((student, teacher)) == expected


def erf_distance(w, a, v, c):
    """‖aσ(w·x) − cσ(v·x)‖ / ‖cσ(v·x)‖ in 60 digits."""
    with mpmath.workdps(60):
        w, v = ([mpmath.mpf(float(x)) for x in vector] for vector in (w, v))

        def kernel(p, q):
            inner = sum(x * y for x, y in zip(p, q))
            square = mpmath.sqrt((1 + sum(x * x for x in p)) * (1 + sum(x * x for x in q)))
            return 2 / mpmath.pi * mpmath.asin(inner / square)

        a, c = mpmath.mpf(float(a)), mpmath.mpf(float(c))
        square = a**2 * kernel(w, w) - 2 * a * c * kernel(w, v) + c**2 * kernel(v, v)
        return float(mpmath.sqrt(square / (c**2 * kernel(v, v))))


@pytest.mark.parametrize("norm", [1e-8, 1e-3, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("size", [1e-9, 1e-7, 3e-5, 1e-3, 0.1])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
def test_residuals_are_distances_in_function_space(norm, size, scale, rng):
    """Of what the neuron is to the copy it is said to be, relative, at any norm and size of the outputs."""
    teacher = gf.MLP([norm * np.eye(2, 3), [[scale, scale]]], None, "erf")
    w = norm * (np.eye(3)[0] + size * rng.standard_normal(3))
    a = scale * (1 + size * rng.standard_normal())
    rows = landscape.neurons((gf.MLP([[w], [[a]]], None, "erf"), teacher), loose=2.0)
    truth = erf_distance(w, a, teacher.weights[0][0], scale)
    assert rows["residual"][0] == pytest.approx(truth, rel=1e-3, abs=3e-16)
    if truth <= 2.0:
        assert rows["kind"][0] == ("copy" if truth <= 1e-6 else "perturbed copy")


def test_the_distance_to_an_average_is_that_to_the_best_neuron(rng):
    """For erf the optimum of ℓ orthonormal teachers is a = ℓ, |w|² = 1/(2ℓ−1) along their sum."""
    teacher = gf.teachers.orthonormal(5, 6)
    for l in (2, 3, 5):
        best = np.append(np.ones(l), np.zeros(6 - l)) / (l * (2 * l - 1)) ** 0.5
        for size in (1e-8, 1e-4, 0.05):
            w, a = best * (1 + size * rng.standard_normal(6)), l * (1 + size * rng.standard_normal())
            rows = landscape.neurons((gf.MLP([[w], [[a]]], None, "erf"), teacher))
            assert rows["residual"][0] == pytest.approx(erf_distance(w, a, best, l), rel=1e-3, abs=1e-12)
            assert rows["kind"][0] == ("average" if size == 1e-8 else "perturbed average")
            assert rows["teachers"][0] == tuple(range(l))


@pytest.mark.parametrize("activation", ["erf", "relu", "tanh"])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e3])
def test_labels_do_not_depend_on_scale_order_or_signs(activation, scale, norm, rng):
    """Copies, one mirrored, duplicates, one mirrored, one beside a copy, silent ones and a wrong one."""
    e, odd = np.eye(3, 4), activation != "relu"
    W = norm * np.array([e[0], -e[1] if odd else 2 * e[1], e[0], -e[0] if odd else e[0], e[2] + 0.05 * e[0],
                         0 * e[0], e[1], 3 * e[2]])  # fmt: skip
    a = scale * np.array([1.0, -1.0 if odd else 0.5, 0.3, 0.2, 1.0, 5.0, 0.0, -4.0])
    expected = ["copy", "copy", "duplicate", "duplicate", "perturbed copy", "dead", "dead", "other"]
    for _ in range(3):
        order, turn = rng.permutation(8), np.linalg.qr(rng.standard_normal((4, 4)))[0]
        teacher = gf.MLP([norm * e[rng.permutation(3)] @ turn, [[scale] * 3]], None, activation)
        labels = landscape.kinds((gf.MLP([(W @ turn)[order], [a[order]]], None, activation), teacher))
        # Of equal neurons the first one is no duplicate, whichever that is.
        alike = [i for i in range(8) if order[i] in (0, 2, 3)]
        for i in range(8):
            if i not in alike:
                assert labels[i] == expected[order[i]]
        assert labels[alike[0]] in ("copy", "other", "perturbed copy")
        assert [labels[i] for i in alike[1:]] == ["duplicate"] * 2


@pytest.mark.parametrize(("activation", "k", "most"), [("erf", 2, 0.06), ("relu", 2, 0.1), ("erf", 3, 0.03),
                                                       ("relu", 3, 0.06), ("erf", 8, 0.0)])  # fmt: skip
def test_random_neurons_are_not_perturbed_copies(activation, k, most):
    """The share of random non-negative combinations that pass, as the docstring has it, within 3 sigma."""
    rng = np.random.default_rng(k)
    W, a = np.abs(rng.standard_normal((200, k))), rng.standard_normal((1, 200))
    labels = landscape.kinds((gf.MLP([W, a], None, activation), gf.teachers.orthonormal(k, k, activation)))
    assert sum(label.startswith("perturbed") for label in labels) / 200 <= most
    assert not {"copy", "average"} & set(labels)


def test_labels_with_several_outputs_and_dependent_teachers(rng):
    A, order = rng.standard_normal((2, 3)), [2, 0, 1]
    teacher = gf.MLP([E, A], None, "erf")
    assert landscape.kinds((gf.MLP([E[order], A[:, order]], None, "erf"), teacher)) == ["copy"] * 3
    assert landscape.kinds((gf.MLP([E, -A], None, "erf"), teacher)) == ["other"] * 3
    # Six teachers in three dimensions; the best neuron for two unit vectors lies along their sum.
    V = rng.standard_normal((6, 3))
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    teacher, along = gf.MLP([V, np.ones((1, 6))], None, "erf"), V[0] + V[1]

    def kernel(x, y):
        return 2 / math.pi * math.asin(x @ y / math.sqrt((1 + x @ x) * (1 + y @ y)))

    def explained(t):
        return (2 * kernel(t * along, V[0])) ** 2 / kernel(t * along, t * along)

    t = scipy.optimize.minimize_scalar(lambda t: -explained(t), bounds=(0.1, 2), options={"xatol": 1e-12}).x
    a = 2 * kernel(t * along, V[0]) / kernel(t * along, t * along)
    student = gf.MLP([np.vstack([1.1 * V, t * along]), np.append(np.ones(6), a)[None]], None, "erf")
    assert landscape.kinds((student, teacher)) == ["perturbed copy"] * 6 + ["average"]


def test_a_relu_that_no_sample_activates_is_dead(rng):
    X = rng.standard_normal((50, 3))
    student = gf.MLP([np.eye(2, 3), [[1.0, 1.0]]], [[0.0, -20.0], None], "relu")
    teacher = gf.MLP([np.eye(2, 3), [[1.0, 1.0]]], [[0.0, 0.0], None], "relu")
    result = gf.train(teacher, student, gf.Samples(X), solver=None, progress=False)
    assert landscape.kinds(result)[1] == "dead"


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_channel_pairs_are_seen(scale, sign, rng):
    """w ± εu with output weights c/2 ± 1/2ε: how far they are from cσ(w·x) + (u·x)σ'(w·x), by quadrature."""
    w, u, c, epsilon = np.array([0.9, -0.4]), np.array([0.3, 0.5]), 0.7, 0.01
    W = np.stack([w + epsilon * u, sign * (w - epsilon * u)])
    a = scale * np.array([c / 2 + 1 / (2 * epsilon), sign * (c / 2 - 1 / (2 * epsilon))])
    student = gf.MLP([W, [a]], None, "erf")
    rows = landscape.neurons((student, None))
    assert list(rows["kind"]) == ["channel pair"] * 2 and list(rows["partner"]) == [1, 0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    x = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    measure = np.outer(weights, weights).ravel() / (2 * np.pi)
    z = x @ w
    limit = scale * (c * scipy.special.erf(z / 2**0.5) + (x @ u) * (2 / np.pi) ** 0.5 * np.exp(-(z**2) / 2))
    truth = np.sqrt(measure @ (student(x)[:, 0] - limit) ** 2 / (measure @ limit**2))
    assert list(rows["residual"]) == pytest.approx([truth] * 2, rel=5e-2)
    # Beside a teacher that is as large it is no channel, and neither are neurons that do not cancel.
    large = gf.MLP([np.eye(2), [[100 * scale] * 2]], None, "erf")
    assert "channel pair" not in landscape.kinds((student, large))
    assert "channel pair" not in landscape.kinds((gf.MLP([W, [np.abs(a) * [1, sign]]], None, "erf"), None))


def test_expectations_are_over_the_inputs_of_the_problem():
    """Two neurons that differ in an input which is always zero are one; for N(0, I) they are not."""
    W = np.array([[1.0, 0.0], [1.0, 0.5]])
    teacher = gf.MLP([W[:1], [[1.0]]], None, "erf")
    student = gf.MLP([W, [[0.5, 0.5]]], None, "erf")
    law = gf.Gaussian(cov=np.diag([1.0, 0.0]))
    assert landscape.kinds((student, teacher, law))[1] == "duplicate"
    assert landscape.kinds((student, teacher, np.array([[1.0, 0.0], [2.0, 0.0]])))[1] == "duplicate"
    assert landscape.kinds((student, teacher))[1] == "other"


def test_with_an_output_bias_constants_do_not_count():
    """1 − sigmoid(−z) = sigmoid(z): a mirrored copy where a bias takes the constant up, and only there."""
    teacher = gf.MLP([E, np.ones((1, 3))], [np.zeros(3), [0.0]], "sigmoid")
    mirrored = gf.MLP([-E, -np.ones((1, 3))], [np.zeros(3), [3.0]], "sigmoid")
    assert landscape.kinds((mirrored, teacher)) == ["copy"] * 3
    bare = gf.MLP([-E, -np.ones((1, 3))], None, "sigmoid")
    assert landscape.kinds((bare, gf.MLP([E, np.ones((1, 3))], None, "sigmoid"))) == ["other"] * 3


ROWS = [{"a": 1.5, "b": (1, 2), "c": None, "d": 1}, {"a": 2.5, "b": (), "c": 3, "d": 2}]


def test_tables_print_without_pandas(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = table(ROWS)
    assert isinstance(rows, Table) and "1+2" in str(rows) and "a" in repr(rows)
    assert rows["a"] == [1.5, 2.5] and rows[1]["c"] == 3 and len(rows[:1]) == 1
    assert str(Table()) == str(table([], ("a", "b"))) == "(no rows)"


def test_tables_are_data_frames_where_pandas_is_installed():
    """Everywhere the columns are the same; with pandas, whole numbers stay whole beside missing ones."""
    found = table(ROWS)
    assert list(found["a"]) == [1.5, 2.5] and list(found["b"]) == [(1, 2), ()] and found["c"][1] == 3
    installed = importlib.util.find_spec("pandas") is not None
    assert isinstance(found, Table) != installed
    if installed:
        assert [str(kind) for kind in found.dtypes] == ["float64", "object", "Int64", "int64"]
        assert found["c"].isna().tolist() == [True, False]
        assert list(table([], ("a", "b")).columns) == ["a", "b"]


def test_rows_are_the_same_with_and_without_pandas(monkeypatch):
    net = gf.MLP([np.random.default_rng(0).standard_normal((3, 3)), np.ones((1, 3))], None, "erf")
    with_pandas = landscape.neurons((net, net))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    plain = landscape.neurons((net, net))
    assert isinstance(plain, Table) and plain["kind"] == ["copy"] * 3
    for name in plain[0]:
        pairs = zip(plain[name], with_pandas[name])
        assert all(a == b or a is None for a, b in pairs)
