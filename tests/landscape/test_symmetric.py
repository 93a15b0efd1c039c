"""Symmetric points: the reduced loss is the full one, and the blocks have the full Hessian's spectrum."""

import dataclasses

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow.landscape import Ansatz, AnsatzLoss, blocks, follow, symmetric_point

CASES = {
    "tied": Ansatz((3, 4), (0,), 1),
    "many": Ansatz(
        (1, 2, 5), (1, None, 2, 2), 2, teacher_outputs=(1.0, 2.0, 0.5), teacher_norms=(1.0, 0.7, 1.3)
    ),
    "frozen": Ansatz((2, 3), (0, 1, None), train_outputs=False),
    "one block": Ansatz((6,), (0,)),
}


def variants():
    for name, ansatz in CASES.items():
        for activation in ("erf", "relu"):
            yield pytest.param(dataclasses.replace(ansatz, activation=activation), id=f"{name}, {activation}")


@pytest.mark.parametrize("ansatz", list(variants()))
def test_loss_and_spectrum_are_those_of_the_full_problem(ansatz, rng):
    x = rng.standard_normal(len(ansatz.parameters))
    student = ansatz.student(x)
    problem = gf.Problem(ansatz.teacher(), student)
    theta = student.flat()
    value, gradient, hessian = AnsatzLoss(ansatz).derivatives(x)
    assert abs(value - problem.loss(theta)) <= 1e-14 * (1 + abs(value)) * 10

    moving = np.ones(theta.size, dtype=bool)
    if not ansatz.train_outputs:
        moving[student.weights[0].size :] = False
    full = problem.hessian(theta)[np.ix_(moving, moving)]
    expected = np.linalg.eigvalsh(full)
    found = blocks(ansatz, x)
    assert found.size == expected.size
    assert np.abs(found.eigenvalues() - expected).max() <= 3e-15 * np.abs(expected).max()
    assert found.index == (expected < -found.tolerance).sum()

    step = 1e-6 * np.eye(x.size)
    loss = AnsatzLoss(ansatz)
    slopes = [(loss.derivatives(x + e)[0] - loss.derivatives(x - e)[0]) / 2e-6 for e in step]
    curves = [(loss.derivatives(x + e)[1] - loss.derivatives(x - e)[1]) / 2e-6 for e in step]
    assert np.abs(gradient - slopes).max() <= 1e-8 * (1 + np.abs(gradient).max())
    assert np.abs(hessian - curves).max() <= 1e-8 * (1 + np.abs(hessian).max())

    with mpmath.workdps(30):
        precise = loss.precise([mpmath.mpf(float(v)) for v in x], mpmath.mp)
    assert abs(float(precise[0]) - value) <= 1e-14 * (1 + abs(value)) * 10
    assert np.abs(np.array([float(g) for g in precise[1]]) - gradient).max() <= 1e-14 * (
        1 + np.abs(gradient).max()
    )


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_critical_points_have_thirty_digits_for_any_width(activation):
    for k in (20, 10**6):
        n = k - k // 10
        ansatz = Ansatz((n, k - n), (0,), 1, activation)
        start = ansatz.point([((1.0, -1 / k), 1 / k, 0.0, 1.0)])
        point = symmetric_point(ansatz, start, "minimum")
        assert point.residual <= 1e-28
        assert point.spectrum.smallest >= -point.spectrum.tolerance
        assert point.loss == pytest.approx(float(point.loss_digits), rel=1e-15)
        if k == 20:
            student = ansatz.student(point.x)
            problem = gf.Problem(ansatz.teacher(), student)
            loss, gradient = problem.loss_and_gradient(student.flat())
            assert np.abs(gradient).max() <= 2e-14 and abs(loss - point.loss) <= 2e-14


def test_an_ansatz_that_is_not_critical_says_so():
    ansatz = Ansatz((3, 2), (0,), 1)
    start = ansatz.point([((1.0, 0.2), 0.2, 0.1, 1.0)])
    assert symmetric_point(ansatz, start, max_iterations=1).residual > 1e-6


def test_a_copy_in_relu_is_no_singular_point():
    ansatz = Ansatz((4,), (0,), 0, "relu")
    point = ansatz.point([((1.0, 0.0), 1.0)])
    value, gradient, _ = AnsatzLoss(ansatz).derivatives(point)
    student = ansatz.student(point)
    expected = np.linalg.eigvalsh(gf.Problem(ansatz.teacher(), student).hessian(student.flat()))
    assert abs(value) <= 1e-15 and np.abs(gradient).max() <= 1e-15
    assert np.abs(blocks(ansatz, point).eigenvalues() - expected).max() <= 1e-14


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teachers": ()}, "teachers"),
        ({"teachers": (3, -1)}, "teachers"),
        ({"groups": (2,)}, "groups"),
        ({"groups": ()}, "groups"),
        ({"unused": -1}, "unused"),
        ({"unused": np.inf}, "unused"),
        ({"groups": (0.5,)}, "groups"),
        ({"teacher_outputs": (1.0, None)}, "teacher_outputs"),
        ({"activation": "tanh"}, "activation"),
        ({"teacher_norms": (1.0,)}, "teacher_norms"),
    ],
)
def test_what_is_refused(settings, words):
    with pytest.raises(gf.ArgumentError, match=words):
        Ansatz(**{"teachers": (3, 2), "groups": (0,), **settings})


def test_points_that_do_not_fit_are_refused():
    ansatz = Ansatz((3.5, 2), (0,))
    with pytest.raises(gf.ArgumentError, match="integer"):
        ansatz.student(np.ones(4))
    with pytest.raises(gf.ArgumentError, match="start"):
        symmetric_point(ansatz, np.ones(3))
    with pytest.raises(gf.ArgumentError, match="values"):
        ansatz.point([(1.0, 1.0)])


def pairs(size):
    """P-n-C at n of ten teachers, n a fraction as well."""
    return Ansatz((size, 10 - size), (0,), 1)


def test_families_are_followed_both_ways_and_through_fractions():
    start = pairs(9).point([((1.0, -0.05), 0.05, 0.0, 1.0)])
    down = follow(pairs, [9, 8, 6.5, 6], start, ratio=1.05)
    assert [point.ansatz.teachers[0] for point in down] == [9, 8, 6.5, 6]
    assert max(point.residual for point in down) <= 1e-30
    back = follow(pairs, [6, 6, 9], down[-1].x, ratio=1.1)
    np.testing.assert_allclose(back[-1].x, down[0].x, rtol=1e-15, atol=1e-30)


def test_families_are_not_lost_on_long_steps():
    """P-n-C of 1,000 teachers: steps of 20 % once ended beside the branch, residual 1e-4."""

    def wide(size):
        return Ansatz((size, 1000 - size), (0,), 1)

    points = follow(wide, [999, 200, 100], wide(999).point([((1.0, 0.0), 1e-3, 0.0, 1.0)]), ratio=1.2)
    assert max(point.residual for point in points) <= 1e-20
    fine = follow(wide, [200, 190, 100], points[1].x, ratio=1.02)
    np.testing.assert_allclose(points[-1].x, fine[-1].x, rtol=1e-12, atol=1e-20)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("sizes", lambda: follow(pairs, [], np.zeros(5))),
        ("sizes", lambda: follow(pairs, [3, -1], np.zeros(5))),
        ("ratio", lambda: follow(pairs, [3, 4], np.zeros(5), ratio=1.0)),
        ("start", lambda: follow(pairs, [3, 4], np.zeros(2))),
        ("x", lambda: blocks(CASES["one block"], np.zeros(7))),
        ("x", lambda: CASES["one block"].student(np.array([np.nan, 0.0, 1.0]))),
        ("values", lambda: CASES["one block"].point([])),
        ("values", lambda: CASES["one block"].point([(1.0, 1.0)])),
        ("values", lambda: CASES["one block"].point([((1.0, 0.0, 0.0), 1.0)])),
    ],
)
def test_bad_arguments(argument, call):
    with pytest.raises(gf.ArgumentError, match=f"^{argument}: "):
        call()
