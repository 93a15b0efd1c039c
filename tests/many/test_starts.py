"""A batch of runs: the same bits as one by one, in order, on threads or processes; failures and Ctrl-C."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import gradflow as gf
from gradflow import ArgumentError, StopReason

TEACHER = gf.teachers.orthonormal(3, 4)


def students(count):
    return [gf.MLP.random((4, 2, 1), "erf", False, seed=seed) for seed in range(count)]


def test_results_are_those_of_train_in_order():
    batch = gf.train_many(TEACHER, students(4), workers=2, progress=False)
    for student, result in zip(students(4), batch, strict=True):
        alone = gf.train(TEACHER, student, progress=False)
        assert np.array_equal(result.theta, alone.theta) and result.loss == alone.loss
        assert np.array_equal(result.flow.step_theta, alone.flow.step_theta)


def test_samples_give_the_same_bits_on_any_number_of_workers(rng):
    X = rng.standard_normal((2000, 4))
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=20), "progress": False}
    one = gf.train_many(TEACHER, students(3), X, workers=1, **options)
    two = gf.train_many(TEACHER, students(3), X, workers=3, **options)
    assert all(np.array_equal(a.theta, b.theta) for a, b in zip(one, two, strict=True))


def test_students_are_drawn_from_the_seed():
    shape = gf.MLP.random((4, 2, 1), "erf", False, seed=0)
    options = {"starts": 3, "solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=1)}
    first = gf.train_many(TEACHER, shape, seed=5, progress=False, **options)
    again = gf.train_many(TEACHER, shape, seed=5, progress=False, **options)
    other = gf.train_many(TEACHER, shape, seed=6, progress=False, **options)
    starts = [result.problem.theta0 for result in first]
    assert all(np.array_equal(a, b.problem.theta0) for a, b in zip(starts, again, strict=True))
    assert not np.array_equal(starts[0], other[0].problem.theta0)
    assert not np.array_equal(starts[0], starts[1])
    for result in first:  # the seed on a result draws its start
        drawn = gf.MLP.random((4, 2, 1), "erf", False, seed=result.seed)
        assert np.array_equal(drawn.flat(), result.problem.theta0)


def test_one_failed_start_loses_no_other():
    good = students(1)[0]
    wrong = gf.MLP.random((5, 2, 1), "erf", False, seed=0)
    batch = gf.train_many(TEACHER, [good, wrong, good], progress=False)
    assert isinstance(batch[1], gf.Failure) and batch[1].index == 1
    assert isinstance(batch[1].error, ArgumentError) and "start 1 failed" in str(batch[1])
    assert batch[0].converged and np.array_equal(batch[0].theta, batch[2].theta)


def test_processes_give_the_same_bits():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        batch = gf.train_many(TEACHER, students(1), executor=executor, progress=False)
    assert np.array_equal(batch[0].theta, gf.train(TEACHER, students(1)[0], progress=False).theta)


def test_ctrl_c_returns_what_there_is():
    slow = gf.solvers.Kvaerno5(rtol=1e-13, atol=1e-13, gtol=0.0)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    batch = gf.train_many(TEACHER, students(300), workers=1, solver=slow, refiner=None, progress=False)
    timer.join()
    assert len(batch) == 300
    assert isinstance(batch[-1], gf.Failure) and "interrupted" in str(batch[-1].error)
    reasons = [entry.stop_reason for entry in batch if isinstance(entry, gf.Result)]
    assert reasons.count(StopReason.INTERRUPTED) <= 1  # none where Ctrl-C comes between two runs
    assert 0 < len(reasons) < 300


def test_progress_counts_the_starts(capsys):
    options = {"solver": None, "refiner": gf.refiners.TrustRegionNewton(max_iterations=1)}
    gf.train_many(TEACHER, students(2), progress=True, **options)
    shown = capsys.readouterr().err
    assert "2/2" in shown and "lowest loss" in shown


def test_bad_input():
    assert len(gf.train_many(TEACHER, [], progress=False)) == 0
    for arguments, named in (
        ({"students": None}, "students"),
        ({"students": "erf"}, "students"),
        ({"students": students(1)[0]}, "starts"),
        ({"students": students(1), "starts": 2}, "starts"),
        ({"students": students(1), "workers": 0}, "workers"),
        ({"students": students(1), "executor": 3}, "executor"),
        ({"students": students(2), "solver": "Euler"}, "solver"),
        ({"students": students(1), "progress": "yes"}, "progress"),
        ({"students": students(1), "refinr": None}, "refinr"),
    ):
        with pytest.raises(ArgumentError, match=f"^{named}:"):
            gf.train_many(TEACHER, **arguments)
    problem = gf.Problem(TEACHER, students(1)[0])
    with pytest.raises(ArgumentError, match="^students:"):
        gf.train_many([problem], students(1))


def test_same_bits_where_blas_has_two_threads():
    # 224 parameters: OpenBLAS would share the factorisations out.
    teacher = gf.teachers.orthonormal(14, 15)
    students = [gf.MLP.random((15, 14, 1), "erf", False, seed=seed) for seed in range(2)]
    solver = gf.solvers.KenCarp58(rtol=1e-5, atol=1e-5, max_steps=12)
    with threadpool_limits(2, user_api="blas"):
        alone = [gf.train(teacher, s, solver=solver, refiner=None, progress=False) for s in students]
        batch = gf.train_many(teacher, students, solver=solver, refiner=None, progress=False, workers=2)
    for one, other in zip(alone, batch, strict=True):
        assert np.array_equal(one.flow.step_theta, other.flow.step_theta)
