"""The largest eigenvalues along a flow, against dense Hessians."""

import pickle

import numpy as np
import pytest

import gradflow as gf
from gradflow.support.errors import ArgumentError


def test_against_dense_hessians_with_frozen_parameters_and_after_pickling():
    teacher = gf.teachers.orthonormal(4, 5, "erf")
    student = gf.MLP.random((5, 3, 1), "erf", False, seed=0)
    rates = np.ones(student.size)
    rates[2] = 0.0
    problem = gf.Problem(teacher, student)
    result = gf.train(problem, rates=rates, progress=False, refiner=None)
    free = rates != 0
    exact = np.array(
        [np.linalg.eigvalsh(problem.hessian(t)[np.ix_(free, free)])[::-1] for t in result.flow.theta]
    )
    one, three, most = (result.flow.sharpness(k) for k in (1, 3, int(free.sum())))
    for found, count in ((one, 1), (three, 3), (most, int(free.sum()))):
        assert found.shape == (result.flow.times.size, count)
        np.testing.assert_allclose(found, exact[:, :count], atol=1e-8 * exact[:, :1].max())
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.flow.sharpness(), one)
    for wrong in (0, student.size):
        with pytest.raises(ArgumentError):
            result.flow.sharpness(wrong)


def test_samples_and_a_flow_without_its_problem():
    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((200, 4)), generator.standard_normal((200, 1))
    student = gf.MLP.random((4, 6, 1), "tanh", True, seed=0)
    result = gf.train(y, student, inputs=X, progress=False, refiner=None, solver=gf.solvers.BDF(t1=20.0))
    hessian = result.problem.hessian(np.ascontiguousarray(result.flow.theta[-1]))
    assert result.flow.sharpness()[-1, 0] == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-9)
    alone = pickle.loads(pickle.dumps(result.flow))
    with pytest.raises(ArgumentError, match="the flow of a Result"):
        alone.sharpness()
