"""Exactly singular directions, flat ones of higher order, and bad conditioning told apart."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow.losses.from_jax import JaxLoss
from gradflow.refiners.singular import lines_of_critical_points

# A function, a critical point, the dimension of the set of critical points there, other zeros, and
# eigenvalues that are small but not zero.
KINDS = {
    "circle": (lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2 + x[2] ** 2, [0.6, 0.8, 0.0], (1, 0, 0)),
    "sphere": (lambda x: (x @ x - 1) ** 2, [0.6, 0.8, 0.0], (2, 0, 0)),
    "quartic": (lambda x: x[0] ** 2 + 1e-2 * x[1] ** 4 + 2.0, [0.0, 0.0], (0, 1, 0)),
    "weak": (lambda x: x[0] ** 2 + 1e-10 * (x[1] - 1) ** 2 + 2.0, [0.0, 1.0], (0, 0, 1)),
    "unused": (lambda x: x[0] ** 2 + 3 * x[1] ** 2 + 0 * x[2], [0.0, 0.0, 1.0], (1, 0, 0)),
    "regular": (lambda x: jnp.sum(x**2), [0.0, 0.0], (0, 0, 0)),
    "line and quartic": (lambda x: x[0] ** 2 + x[1] ** 4 + 0 * x[2], [0.0, 0.0, 0.3], (1, 1, 0)),
    "line and cubic": (lambda x: x[0] ** 2 + x[1] ** 3 + 0 * x[2], [0.0, 0.0, 0.3], (1, 1, 0)),
    "circle and quartics": (
        lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2 + x[2] ** 4 + (x[2] + x[3]) ** 4,
        [0.6, 0.8, 0, 0], (1, 2, 0)
    ),
    "two circles, quartic of varying weight": (
        lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2 + (x[2] ** 2 + x[3] ** 2 - 1) ** 2
        + (2 + x[0]) * (x[4] - x[1] * x[3] + 0.6 * 0.8) ** 4, [0.8, 0.6, 0.6, 0.8, 0.0], (2, 1, 0)
    ),
    "saddle of a line": (lambda x: x[0] ** 2 - x[1] ** 2 + 0 * x[2], [0.0, 0.0, 1.0], (1, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_counted(name, turned):
    """Also in rotated coordinates, where eigenvectors of a multiple zero mix lines with flat directions."""
    function, point, expected = KINDS[name]
    point = np.array(point, dtype=float)
    turn = np.eye(point.size)
    if turned:
        turn = np.linalg.qr(np.random.default_rng(4).standard_normal(turn.shape))[0]
    problem = gf.Problem.from_jax(lambda t: function(jnp.asarray(turn) @ t), turn.T @ point)
    found = gf.train(problem, solver=None, progress=False).spectrum()
    assert (found.lines, found.zero - found.exactly_singular, found.badly_conditioned) == expected
    assert found.symmetry_zeros == 0 and found.inertia.zero == found.zero
    assert found.index == (1 if "saddle" in name else 0)


def test_a_gradient_that_explodes_off_the_line_is_not_flat():
    """Warnings are errors in tests: the way back overflows, silently."""
    loss = JaxLoss(lambda x: 1e303 * x[0] * x[1], 3)
    values, vectors = np.array([0.0, 1e-14, 1.0]), np.eye(3)
    assert lines_of_critical_points(loss, np.zeros(3), 0.0, values, vectors, vectors[:1]) == 0


# Students whose zeros are counted by hand: scalings, shifts between equal neurons, unused dimensions.
NETWORKS = {
    "relu, over-wide": (
        gf.teachers.orthonormal(6, 6, "relu"), gf.MLP.random((6, 10, 1), "relu", False, seed=1), 10
    ),
    "relu": (gf.teachers.orthonormal(3, 4, "relu"), gf.MLP.random((4, 2, 1), "relu", False, seed=1), 2),
    "leaky_relu": (
        gf.teachers.orthonormal(3, 4, "leaky_relu"), gf.MLP.random((4, 2, 1), "leaky_relu", False, seed=1), 2
    ),
    "erf": (gf.teachers.orthonormal(4, 5), gf.MLP.random((5, 3, 1), "erf", False, seed=0), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_report_and_the_spectrum_say_the_same(name, tmp_path):
    """One predicate: what symmetry makes zero is exactly singular, whatever eigenvectors mix it with."""
    teacher, student, scalings = NETWORKS[name]
    result = gf.train(teacher, student, progress=False)
    found = gf.landscape.spectrum(result)
    assert result.converged and found is result.spectrum()
    assert found.symmetry_zeros == scalings and found.index == 0
    assert found.exactly_singular >= found.symmetry_zeros
    assert found.exactly_singular + (found.zero - found.exactly_singular) == found.zero
    assert (f"{found.exactly_singular} directions exactly singular" in str(result)) == (found.zero > 0)
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5").spectrum()
    assert str(loaded) == str(found) and loaded.exactly_singular == found.exactly_singular


def test_refinement_stays_where_the_flow_ended_on_a_line_of_minima():
    """Aligned ReLU students may share the teacher's length in any way: the flow says how, Newton must not."""
    start = np.array([[0.5, 0.6], [-0.1, 0.5], [0.3, -0.7]])
    student = gf.MLP([start, np.ones((1, 3))], None, "relu")
    teacher = gf.MLP([np.array([[1.0, 0.0]]), np.ones((1, 1))], None, "relu")
    rates = np.concatenate([np.ones(6), np.zeros(3)])
    result = gf.train(teacher, student, rates=rates, progress=False)
    assert result.grad_norm < 1e-15 and result.flow.grad_norms[-1] > 1e-11
    assert np.abs(result.theta - result.flow.theta[-1]).max() < 1e-4
