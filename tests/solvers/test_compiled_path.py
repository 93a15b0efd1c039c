"""Points between steps in compiled code: interpolant and Newton step as in NumPy."""

import numpy as np
import scipy.linalg

import gradflow as gf
from gradflow.solvers.compiled.between import QUINTIC_LIMIT
from gradflow.solvers.dense_output import Interval, quintic
from gradflow.support.progress import Monitor


def reference(objective, rates, flow, t):
    """θ(t) by NumPy and SciPy: the quintic, and where the interval is stiff a Newton step from it."""
    i = int(np.searchsorted(flow.step_times, t, side="right")) - 1
    ends = slice(i, i + 2)
    interval = Interval(
        flow.step_times[ends], flow.step_theta[ends], flow.step_velocity[ends],
        flow.step_acceleration[ends], float(flow.stiffness[i]),
    )  # fmt: skip
    points, slopes = quintic(interval, np.array([t]))
    if interval.stiffness <= QUINTIC_LIMIT:
        return points[0], False
    length = float(np.diff(interval.times)[0])
    _, gradient, hessian = objective.all_derivatives(points[0])
    jacobian = np.eye(rates.size) + length * rates[:, None] * hessian
    return points[0] - scipy.linalg.solve(jacobian, length * (slopes[0] + rates * gradient)), True


def test_points_are_those_of_numpy_in_smooth_and_stiff_intervals():
    student = gf.MLP.random((9, 5, 1), "erf", False, seed=1)
    problem = gf.Problem(gf.teachers.orthonormal(8, 9), student)
    rates = np.linspace(0.5, 2.0, problem.size)
    flow = gf.solvers.BDF().integrate(problem.objective, problem.theta0, rates, Monitor(False))
    times = np.geomspace(1e-3, 0.99 * flow.end_time, 40)
    together, kinds = flow.at(times), set()
    for t, point in zip(times, together):
        expected, stiff = reference(problem.objective, rates, flow, t)
        kinds.add(stiff)
        assert np.abs(point - expected).max() < 1e-13
        assert (flow.at(t) == point).all()
    assert kinds == {False, True}


def test_samples_of_a_flow_are_what_at_gives_also_from_a_file(tmp_path):
    student = gf.MLP.random((9, 5, 1), "erf", False, seed=1)
    result = gf.train(gf.teachers.orthonormal(8, 9), student, progress=False)
    result.save(tmp_path / "run.h5")
    again = gf.load(tmp_path / "run.h5")
    times = result.flow.times
    assert np.abs(result.flow.at(times) - result.flow.theta).max() <= 1e-15
    assert (again.flow.at(times) == result.flow.at(times)).all()
