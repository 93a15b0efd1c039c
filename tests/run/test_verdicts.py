"""What a result says of its end: the same for targets of every size and offset; zero loss; cut flows."""

import numpy as np
import pytest

import gradflow as gf
from gradflow import StopReason
from gradflow.cli import main

X = np.random.default_rng(7).standard_normal((150, 2))
NOISY = np.sin(1.5 * X[:, :1]) * np.cos(X[:, 1:]) + 0.3 * np.random.default_rng(8).standard_normal((150, 1))
EVERY = [2.0**400, 2.0**-400, 256.0, 1e-9, 1e9, 1e-120, 1e120]


def rescaled(network, alpha, offset=0.0):
    """The network whose outputs are alpha times as large, and offset higher."""
    weights, biases = list(network.weights), list(network.biases)
    weights[-1] = alpha * weights[-1]
    biases[-1] = None if biases[-1] is None else alpha * biases[-1] + offset
    return gf.MLP(weights, biases, list(network.activations))


def kinds(alpha=1.0):
    """(teacher, student, inputs) of problems of several kinds, targets and output layers times alpha."""
    relu = gf.teachers.orthonormal(4, 5, "relu")
    biased = gf.teachers.random((3, 2, 1), "tanh", seed=1)
    law = gf.Mixture([gf.Gaussian(), gf.Gaussian(mean=[1.0, 0.0, 0.0])])
    made = {
        "noise": (NOISY, gf.MLP.random((2, 2, 1), "g", seed=0), X),
        "realisable": (gf.teachers.random((2, 2, 1), "g", seed=50), gf.MLP.random((2, 2, 1), "g", seed=0), X),
        "erf": (gf.teachers.orthonormal(4, 5), gf.MLP.random((5, 2, 1), "erf", False, seed=0), None),
        "relu": (relu, gf.MLP.random((5, 3, 1), "relu", False, seed=1), None),
        "biased": (biased, gf.MLP.random((3, 1, 1), "tanh", seed=1), None),
        "mixture": (biased, gf.MLP.random((3, 1, 1), "tanh", seed=2), law),
    }
    scaled = {}
    for name, (teacher, student, inputs) in made.items():
        targets = rescaled(teacher, alpha) if isinstance(teacher, gf.MLP) else alpha * teacher
        scaled[name] = targets, rescaled(student, alpha), inputs
    return scaled


@pytest.mark.parametrize("kind", ["noise", "realisable", "erf", "relu", "biased", "mixture"])
def test_the_refinement_is_the_same_for_targets_of_every_size(kind):
    plain = gf.train(*kinds()[kind], solver=None, progress=False)
    assert plain.converged
    for alpha in EVERY:
        found = gf.train(*kinds(alpha)[kind], solver=None, progress=False)
        assert found.converged and found.stop_reason is plain.stop_reason
        if plain.loss > 1e-20:
            assert found.loss / alpha / alpha == pytest.approx(plain.loss, rel=1e-11)
        else:
            assert abs(found.loss / alpha / alpha) < 1e-20
        assert found.student.weights[0] == pytest.approx(plain.student.weights[0], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", ["noise", "erf", "biased", "mixture"])
@pytest.mark.parametrize("alpha", [1e-120, 1e120])
def test_whole_runs_end_well_for_targets_of_every_size(kind, alpha):
    """The flow is another one: rates of output weights are alpha² times those of the others'."""
    result = gf.train(*kinds(alpha)[kind], progress=False)
    assert result.converged and np.isfinite(result.flow.theta).all()
    assert 0 < result.loss / alpha / alpha < 1.0
    assert result.flow.accepted > 20 and result.flow.losses[0] > result.flow.loss
    middle = result.flow.at(result.flow.times[50])
    loss = result.problem.loss(middle)
    assert result.flow.losses[51] <= loss * (1 + 1e-9) and loss <= result.flow.losses[49] * (1 + 1e-9)


def test_flows_in_other_units_are_the_flows():
    """Targets of size 300 are computed in units of 256; the path is that of an independent integrator."""
    from scipy.integrate import solve_ivp

    problem = gf.Problem(300.0 * NOISY, gf.MLP.random((2, 2, 1), "erf", seed=3), X)
    solver = gf.solvers.Kvaerno5(rtol=1e-10, atol=1e-10, t1=1e-2)
    flow = gf.train(problem, solver=solver, refiner=None, progress=False).flow
    assert flow.settings["t1"] == 1e-2 and flow.stop_reason is StopReason.END_TIME
    times = np.array([1e-5, 1e-4, 1e-3, 1e-2])
    path = solve_ivp(lambda t, x: -problem.gradient(x), (0, 1e-2), problem.theta0, "Radau", times,
                     rtol=1e-10, atol=1e-10, jac=lambda t, x: -problem.hessian(x)).y.T  # fmt: skip
    assert flow.end_time == 1e-2
    assert np.abs(flow.at(times) - path).max() < 1e-5 * np.abs(path).max()
    for theta, loss, norm in zip(flow.theta[::20], flow.losses[::20], flow.grad_norms[::20]):
        assert loss == pytest.approx(problem.loss(theta), rel=1e-13)
        assert norm == pytest.approx(np.abs(problem.gradient(theta)).max(), rel=1e-6)
    # gtol is the ∞-norm of ∇L itself, whatever the units.
    stopped = gf.train(problem, solver=gf.solvers.KenCarp58(gtol=1.0), refiner=None, progress=False).flow
    assert 1e-3 < stopped.grad_norm <= 1.0 < stopped.grad_norms.max()


@pytest.mark.parametrize("factor", [1e9, 1e13])
def test_large_targets_do_not_end_the_flow_at_once(factor):
    x = np.linspace(-1.0, 1.0, 100)[:, None]
    result = gf.train(factor * np.sin(3 * x), gf.MLP.random((1, 3, 1), "tanh", seed=0), x, progress=False)
    assert result.flow.accepted > 100 and result.loss < 0.5 * result.flow.losses[0]
    spread = factor * np.sin(3 * x).std()
    # Said to have converged only where no component is more than 1e-12 of what cancels in it.
    sizes = result.problem.objective.gradient_sizes(result.theta)
    gradient = np.abs(result.problem.gradient(result.theta))
    assert result.converged == bool((gradient <= 1e-12 * sizes.size + sizes.rounding).all())
    assert sizes.size[-1] == pytest.approx(2 * spread, rel=1e-12)


@pytest.mark.parametrize("offset", [1.0, -30.0, 1e3])
def test_an_offset_that_the_output_bias_takes_up(offset):
    centred = NOISY - NOISY.mean()
    student = gf.MLP.random((2, 1, 1), "erf", seed=0)
    plain = gf.train(centred, student, X, progress=False)
    shifted = gf.train(centred + offset, rescaled(student, 1.0, offset), X, progress=False)
    assert plain.converged and shifted.converged
    assert shifted.loss == pytest.approx(plain.loss, rel=1e-10)
    assert shifted.flow.stop_reason is plain.flow.stop_reason is StopReason.GRADIENT
    # One flow, stopped by a norm that the rounding of y + offset is a part of.
    moved = np.zeros(student.size)
    moved[-1] = offset
    for time in (1.0, 30.0, 1000.0):
        np.testing.assert_allclose(shifted.flow.at(time), plain.flow.at(time) + moved, rtol=0, atol=1e-5)
    assert shifted.flow.end_time == pytest.approx(plain.flow.end_time, rel=0.5)


def test_zero_loss_at_a_degenerate_minimum_is_an_end():
    student = gf.MLP.random((6, 10, 1), "erf", False, seed=0)
    batch = gf.train_many(gf.teachers.orthonormal(6, 6, "erf"), student, starts=10, progress=False)
    for result in batch:
        assert result.converged and result.zero_loss and abs(result.loss) < 1e-13
        assert result.stop_reason in (StopReason.LOSS_FLOOR, StopReason.FLOOR)
        # Rank of 2E JJᵀ at a student that is the teacher, from its own Hessian there: no residual, no error.
        values = np.linalg.eigvalsh(gf.Problem(result.student, result.student).hessian(result.theta))
        assert result.flat_directions == (values < 1e-6).sum()
        words = (
            f"zero loss within rounding; the minimum is degenerate, {result.flat_directions} flat directions"
        )
        assert words in str(result).splitlines()[0]
    # A student too narrow for its teacher: no zero, and no such words.
    narrow = gf.MLP.random((6, 5, 1), "erf", False, seed=0)
    other = gf.train(gf.teachers.orthonormal(6, 6), narrow, progress=False)
    assert other.converged and not other.zero_loss and other.flat_directions is None
    assert str(other).startswith("gradflow: converged to a critical point")


def test_a_loss_is_not_zero_because_nothing_is_known_of_it():
    """Terms of size 1e4 that cancel leave an error larger than what was to be explained."""
    W = np.array([[1.0, 0.2], [1.0, 0.2 + 1e-9]])
    teacher = gf.MLP([W, [[1e7, -1e7]]], None, "erf")
    objective = gf.Problem(teacher, gf.MLP.random((2, 1, 1), "erf", False, seed=0)).objective
    theta = np.zeros(3)
    assert objective.loss_error(theta) > 1e-10 * objective.spread**2
    assert not objective.is_zero(theta, objective.loss(theta))


def test_flows_that_are_stopped_before_their_end(tmp_path, capsys):
    teacher, student = gf.teachers.orthonormal(4, 5), gf.MLP.random((5, 2, 1), "erf", False, seed=0)
    whole = gf.train(teacher, student, progress=False)
    assert whole.flow_ended is True and "perhaps not the flow's" not in str(whole)
    assert gf.train(teacher, student, solver=None, progress=False).flow_ended is None
    for solver in (gf.solvers.BDF(max_steps=40), gf.solvers.BDF(t1=1.0), gf.solvers.BDF(max_seconds=1e-9)):
        cut = gf.train(teacher, student, solver=solver, progress=False)
        assert cut.converged and cut.flow_ended is False
        assert (
            f"perhaps not the flow's, which was stopped at t = {cut.flow.end_time:.4g}"
            in (str(cut).splitlines()[0])
        )
    cut.save(tmp_path / "cut.h5")
    assert gf.load(tmp_path / "cut.h5").flow_ended is False
    batch = gf.train_many(teacher, [student], solver=gf.solvers.BDF(t1=1.0), progress=False)
    rows = batch.table()
    assert (rows["flow_ended"].tolist() if hasattr(rows, "columns") else [rows[0]["flow_ended"]]) == [False]
    assert "1 converged from where the flow was stopped" in str(batch)


def test_exit_codes_of_the_command_line(monkeypatch, capsys):
    arguments = ["train", "--orthonormal", "4", "--student", "5-2-1"]
    assert main(arguments) == 0
    import gradflow.cli as cli

    real = cli.train
    monkeypatch.setattr(cli, "train", lambda *a, **k: real(*a, **k | {"solver": gf.solvers.BDF(t1=1.0)}))
    assert main(arguments) == 3
    monkeypatch.setattr(cli, "train", lambda *a, **k: real(*a, **k | {"refiner": None}))
    assert main(arguments) == 1
    monkeypatch.setattr(cli, "train", real)
    assert main(["train", "--orthonormal", "6", "--student", "6-10-1"]) == 0
    assert "zero loss within rounding" in capsys.readouterr().out


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_what_is_critical_does_not_depend_on_how_a_neuron_shares_its_size(factor):
    """relu: c w, a/c is the same function: the tolerances of ∇L by w and a are in those units."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    teacher = gf.MLP.random((2, 3, 1), "relu", bias=False, seed=4, init="normal")
    share = np.array([factor, 1.0, 1.0])
    scaled = gf.MLP([share[:, None] * teacher.weights[0], teacher.weights[1] / share], None, "relu")
    mine = [0, 1, 6]  # w and a of the first neuron
    units = np.concatenate([np.repeat(share, 2), 1 / share])[mine]
    sizes, again = (gf.Problem(teacher, network, X).objective.gradient_sizes(network.flat())
                    for network in (teacher, scaled))  # fmt: skip
    assert again.size[mine] * units == pytest.approx(sizes.size[mine], rel=1e-9)
    assert again.rounding[mine] * units == pytest.approx(sizes.rounding[mine], rel=1e-9)


def test_a_selu_on_its_way_to_a_hinge_is_not_critical():
    """w → ∞ and a → 0 with a w finite: L goes on falling, and ∇L by w is 1e-13 of nothing but a."""
    X = np.linspace(-1.0, 1.0, 9)[:, None]
    y = np.maximum(X - 0.1, 0.0) + 0.05 * np.cos(7.0 * X)
    student = gf.MLP(
        [np.array([[1e6], [1.0]]), np.array([[1e-6, 0.5]])], [np.array([-1e5, 0.3]), None], "selu"
    )
    problem = gf.Problem(y, student, X)
    fitted = gf.train(problem, solver=None, progress=False)
    doubled = fitted.student.flat()
    doubled[[0, 2]] *= 2.0
    doubled[4] /= 2.0
    assert abs(fitted.theta[0]) > 1e5 and not fitted.converged
    again = gf.train(problem.with_student(student.with_flat(doubled)), solver=None, progress=False)
    assert again.loss < fitted.loss
