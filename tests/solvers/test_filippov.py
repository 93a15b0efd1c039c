"""Flows with kinks against cases worked out by hand, and against a slow solver of its own
(`filippov_truth`)."""

import mpmath
import numpy as np
import pytest

import gradflow as gf

from .filippov_truth import Net, follow

X3 = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
Y3 = np.array([[0.0], [1.0], [-0.8]])


def by_hand():
    """Two neurons (u, v) and (1, p), three samples; only u, v and p move, outputs have weights one.

    z = (u, u + v, −v) and (1, 1 + p, −p). From (u, v, p) = (0.6, −0.2, −0.9) all places are active, so r_1 =
    u + 1, r_2 = u + v + p, r_3 = 0.8 − v − p, and with dots for derivatives by 2t/3

        u. = −r_1 − r_2,    v. = r_3 − r_2,    p. = r_3 − r_2

    until v = 0: neuron 0 leaves sample 2 (v. = −r_2 > 0 on the other side, too: it crosses), r_3 = 0.8 − p.
    Then u = 0, with −r_1 − r_2 < 0 where the place is active and −r_2 > 0 where it is not: neuron 0 slides on
    sample 0 with the fraction −r_2. It leaves when r_2 = v + p = 0, to u < 0: u. = v. = −r_2, r_2 = u + v +
    p. Then p = 0, with r_3 − r_2 > 0 below and −r_2 < 0 above: neuron 1 slides on sample 2, u. = v. = −u − v,
    for ever.

    Returns the four times and a function of t ≥ the last for (u, v).
    """
    mpmath.mp.dps = 30
    s, level = mpmath.mpf(2) / 3, mpmath.mpf(4) / 5
    # rows: u., v., p., 1
    phases = [
        ([[-2, -1, -1, -1], [-1, -2, -2, level], [-1, -2, -2, level]], lambda x: x[1], 0.147),
        ([[-2, -1, -1, -1], [-1, -1, -1, 0], [-1, -1, -2, level]], lambda x: x[0], 0.656),
        ([[0, 0, 0, 0], [0, -1, -1, 0], [0, -1, -2, level]], lambda x: x[1] + x[2], 0.111),
        ([[-1, -1, -1, 0], [-1, -1, -1, 0], [-1, -1, -2, level]], lambda x: x[2], 0.108),
    ]
    x, t, times = mpmath.matrix(["0.6", "-0.2", "-0.9", "1"]), mpmath.mpf(0), []
    for rows, event, guess in phases:
        matrix = s * mpmath.matrix([*rows, [0, 0, 0, 0]])
        start = x.copy()

        def at(length, matrix=matrix, start=start):
            return mpmath.expm(matrix * length) * start

        length = mpmath.findroot(lambda h, event=event, at=at: event(at(h)), guess)
        x, t = at(length), t + length
        times.append(float(t))
    u, v = float(x[0]), float(x[1])

    def later(time):
        left = 0.5 * (u + v) * (1.0 - np.exp(-4.0 / 3.0 * (time - times[-1])))
        return u - left, v - left

    return times, later


def hand_problem():
    student = gf.MLP([[[0.6, -0.2], [1.0, -0.9]], [[1.0, 1.0]]], None, "relu")
    return gf.Problem(Y3, student, X3), np.array([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])


def test_crossing_sliding_and_leaving_times_of_a_case_worked_out_by_hand():
    times, later = by_hand()
    problem, rates = hand_problem()
    solver = gf.solvers.Filippov(rtol=1e-12, atol=1e-12, t1=3.0)
    flow = gf.train(problem, solver=solver, refiner=None, rates=rates, progress=False).flow
    events = flow.events
    assert events.kinds == ("crossing", "sliding", "leaving", "sliding")
    assert list(zip(events.neurons, events.samples)) == [(0, 2), (0, 0), (0, 0), (1, 2)]
    assert np.abs(events.times - times).max() < 1e-10
    for t in (1.1, 2.0, 3.0):
        u, v = later(t)
        assert np.abs(flow.at(t) - [u, v, 1.0, 0.0, 1.0, 1.0]).max() < 1e-10


def test_the_slow_solver_agrees_with_the_hand():
    times, later = by_hand()
    free = np.array([1.0, 1, 0, 1, 0, 0])
    net = Net(X3, Y3[:, 0], 2, free, False, False)
    theta, events = follow(net, [0.6, -0.2, 1.0, -0.9, 1.0, 1.0], 2.0)
    assert np.abs(np.array([e[0] for e in events]) - times).max() < 1e-9
    assert np.abs(theta[:2] - later(2.0)).max() < 1e-9


CASES = {
    "sine, seed 0": (np.linspace(-1, 1, 21)[:, None], lambda x: np.sin(3 * x[:, 0]), 4, 0, 10.0),
    "sine, seed 4": (np.linspace(-1, 1, 21)[:, None], lambda x: np.sin(3 * x[:, 0]), 4, 4, 10.0),
    "plane": (
        np.random.default_rng(5).normal(size=(12, 2)),
        lambda x: np.sin(2 * x[:, 0]) * x[:, 1],
        3,
        1,
        20.0,
    ),
    "xor": (np.array([[0.1, 0], [0, 1], [1, 0], [1, 1]]), lambda x: (x[:, 0] - x[:, 1]) ** 2, 4, 3, 20.0),
}


@pytest.mark.parametrize("case", CASES)
def test_flows_are_those_of_a_slow_solver(case):
    X, target, width, seed, end = CASES[case]
    y = target(X)
    student = gf.MLP.random((X.shape[1], width, 1), "relu", True, seed=seed)
    theta, events = follow(Net(X, y, width), student.flat(), end)
    solver = gf.solvers.Filippov(t1=end)
    flow = gf.train(y[:, None], student, X, solver=solver, refiner=None, progress=False).flow
    assert flow.stop_reason is gf.StopReason.END_TIME
    assert np.abs(flow.step_theta[-1] - theta).max() < 1e-6 * np.abs(theta).max()
    located = flow.events.codes != 4
    met = sorted((int(n), int(s)) for n, s in zip(flow.events.neurons[located], flow.events.samples[located]))
    assert len(events) >= len(met)
