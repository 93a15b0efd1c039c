"""Discrete dynamics: their update rules step by step, minibatches, stopping, time = steps · rate."""

import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, StopReason
from gradflow.solvers import SGD, Adam, GradientDescent, Momentum


@pytest.fixture(scope="module")
def problem():
    X = np.random.default_rng(0).standard_normal((64, 2))
    return gf.Problem(
        gf.teachers.random((2, 2, 1), "tanh", seed=1), gf.MLP.random((2, 3, 1), "tanh", seed=2), X
    )


def run(problem, solver, **options):
    return gf.train(problem, solver=solver, refiner=None, progress=False, **options).flow


def test_the_rules_step_by_step(problem):
    theta = heavy = adam = problem.theta0
    m, first, second = np.zeros(problem.size), np.zeros(problem.size), np.zeros(problem.size)
    for k in range(1, 6):
        theta = theta - 0.1 * problem.gradient(theta)
        m = 0.8 * m + problem.gradient(heavy)
        heavy = heavy - 0.1 * m
        g = problem.gradient(adam)
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
        adam = adam - 0.01 * (first / (1 - 0.9**k)) / (np.sqrt(second / (1 - 0.999**k)) + 1e-8)
    for solver, expected in (
        (GradientDescent(rate=0.1, max_steps=5), theta),
        (Momentum(rate=0.1, momentum=0.8, max_steps=5), heavy),
        (Adam(rate=0.01, max_steps=5), adam),
    ):
        flow = run(problem, solver)
        assert np.abs(flow.step_theta[-1] - expected).max() <= 1e-15
        assert flow.stop_reason is StopReason.MAX_STEPS
        assert flow.end_time == pytest.approx(5 * solver.rate) and flow.accepted == 5
        middle = flow.at(2.5 * solver.rate)
        assert np.abs(middle - 0.5 * (flow.step_theta[2] + flow.step_theta[3])).max() <= 1e-15


def test_small_steps_follow_the_flow(problem):
    exact = run(problem, gf.solvers.Tsit5(rtol=1e-10, atol=1e-12, t1=1.0)).step_theta[-1]
    errors = [
        np.abs(run(problem, GradientDescent(rate=rate, t1=1.0)).at(1.0) - exact).max()
        for rate in (1 / 128, 1 / 256)
    ]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.05)


def test_minibatches_are_epochs_of_the_samples(problem):
    flow = run(problem, SGD(rate=0.05, batch_size=24, seed=3, max_steps=6))
    theta, rng = problem.theta0, np.random.default_rng(3)
    for _ in range(2):
        order = rng.permutation(64)
        for first in (0, 24, 48):
            batch = order[first : first + 24]
            part = gf.Problem(problem.targets[batch], problem.student, problem.inputs.X[batch])
            theta = theta - 0.05 * part.gradient(theta)
    assert np.abs(flow.step_theta[-1] - theta).max() <= 1e-14
    whole = run(problem, SGD(rate=0.05, batch_size=64, max_steps=6)).step_theta[-1]
    plain = run(problem, GradientDescent(rate=0.05, max_steps=6)).step_theta[-1]
    assert np.abs(whole - plain).max() <= 1e-14
    ball = run(problem, SGD(rate=0.05, batch_size=64, momentum=0.9, max_steps=6)).step_theta[-1]
    assert np.abs(ball - run(problem, Momentum(rate=0.05, max_steps=6)).step_theta[-1]).max() <= 1e-14
    again = run(problem, SGD(rate=0.05, batch_size=24, seed=3, max_steps=6))
    assert np.array_equal(again.step_theta, flow.step_theta)


def test_frozen_parameters_stay(problem):
    rates = np.ones(problem.size)
    rates[::2] = 0.0
    for solver in (Adam(max_steps=20), SGD(max_steps=20)):
        end = run(problem, solver, rates=rates).step_theta[-1]
        assert np.array_equal(end[::2], problem.theta0[::2]) and (end[1::2] != problem.theta0[1::2]).all()


def test_they_stop_and_say_why(problem, tmp_path):
    assert run(problem, Momentum(rate=0.05, gtol=1e-2)).grad_norm <= 1e-2
    assert run(problem, GradientDescent(rate=1e3, max_steps=10_000)).stop_reason in (
        StopReason.NON_FINITE, StopReason.MAX_STEPS
    )  # fmt: skip
    assert run(problem, Adam(t1=0.05)).stop_reason is StopReason.END_TIME
    assert run(problem, Adam(max_seconds=0.05, gtol=0.0)).stop_reason is StopReason.MAX_SECONDS
    flow = run(problem, Adam(max_steps=20_000, gtol=0.0))
    assert flow.step_times.size < 1000 and flow.times.size == 101
    assert flow.losses[-1] < flow.losses[0]
    result = gf.train(problem, solver=SGD(max_steps=3), refiner=None, progress=False)
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5")
    assert np.array_equal(loaded.flow.at(0.005), result.flow.at(0.005))


def test_bad_input(problem):
    for make, named in (
        (lambda: GradientDescent(rate=0.0), "rate"),
        (lambda: Adam(beta1=1.0), "beta1"),
        (lambda: Adam(epsilon=0.0), "epsilon"),
        (lambda: Momentum(momentum=-0.1), "momentum"),
        (lambda: SGD(batch_size=0), "batch_size"),
        (lambda: SGD(seed=-1), "seed"),
    ):
        with pytest.raises(ArgumentError, match=f"^{named}:"):
            make()
    teacher = gf.teachers.orthonormal(2, 3)
    with pytest.raises(ArgumentError, match="minibatches"):
        gf.train(teacher, teacher, solver="SGD")
