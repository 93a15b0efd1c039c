"""Pictures by their structure: what is drawn where, labelled axes, no empty decades, the user's own axes."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError

matplotlib.use("Agg")

TEACHER = gf.teachers.orthonormal(3, 4)


@pytest.fixture(scope="module")
def results():
    students = [gf.MLP.random((4, 2, 1), "erf", False, seed=seed) for seed in range(3)]
    return [gf.train(TEACHER, student, progress=False) for student in students]


@pytest.fixture(scope="module")
def exact():
    """A run that ends at zero loss, which comes out negative or below its own error."""
    return gf.train(TEACHER, gf.MLP.random((4, 3, 1), "erf", False, seed=0), progress=False)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def labelled(ax):
    return bool(ax.get_xlabel()) and bool(ax.get_ylabel())


@pytest.mark.parametrize(
    "draw", [gf.plot.losses, gf.plot.gradients, gf.plot.trajectories, gf.plot.weights, gf.plot.spectrum]
)
def test_every_picture_takes_axes_and_returns_them(draw, results, tmp_path):
    _, own = plt.subplots()
    assert draw(results[0], ax=own) is own and labelled(own)
    new = draw(results[0])
    assert new is not own and labelled(new)
    new.figure.savefig(tmp_path / "a.pdf")
    new.figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"
    with pytest.raises(ArgumentError, match="^ax:"):
        draw(results[0], ax=3)


def test_losses_of_several_runs(results):
    ax = gf.plot.losses(results, labels=["a", "b", "c"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    low, high = ax.get_ylim()
    everything = np.concatenate([r.flow.losses for r in results])
    assert low > 0.3 * everything.min() and high < 3.0 * everything.max()
    gf.plot.losses(gf.Batch([*results, gf.Failure(3, ValueError("x"))]))
    for wrong in ([], "abc", 3, [1]):
        with pytest.raises(ArgumentError, match="^results:"):
            gf.plot.losses(wrong)
    with pytest.raises(ArgumentError, match="^labels:"):
        gf.plot.losses(results, labels=["a"])


DEMO = gf.teachers.orthonormal(8, 9), gf.MLP.random((9, 3, 1), "erf", False, seed=0)
OVER = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 4, 1), "erf", False, seed=1)


@pytest.mark.parametrize(("teacher", "student"), [DEMO, OVER], ids=["demo", "zero loss"])
@pytest.mark.parametrize("solver", ["BDF", "KenCarp58"])
def test_the_gradient_norm_does_not_rise_at_the_end(teacher, student, solver):
    """Beyond gtol, and at the end of BDF's last step, it is the error of θ times λ_max."""
    ax = gf.plot.gradients(gf.train(teacher, student, solver=solver, progress=False))
    norms = ax.lines[0].get_ydata()
    assert norms.size > 50 and norms[-1] == norms.min()


def test_a_loss_within_rounding_is_an_open_marker_at_its_bound(exact):
    assert abs(exact.loss) <= exact.loss_bound
    ax = gf.plot.losses(exact)
    marker = next(line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1)
    assert marker.get_markerfacecolor() == "none" and np.allclose(marker.get_ydata(), exact.loss_bound)
    assert ax.get_ylim()[0] > 0.01 * exact.loss_bound


def test_copies_look_alike_whatever_their_sign(results):
    W, A = results[0].student.weights
    turned = gf.MLP([-W, -A], None, "erf")
    pictures = [gf.plot.weights(network).images[0].get_array() for network in (results[0].student, turned)]
    assert np.array_equal(*pictures)
    ax = gf.plot.weights(results[0])
    assert ax.images[0].get_array().shape == (2, 3)
    bars = ax.child_axes[0].patches
    assert sorted(b.get_width() for b in bars) == pytest.approx(sorted(np.abs(A[0])))


def test_spectrum_has_zeros_on_a_line_of_their_own():
    relu = gf.teachers.orthonormal(2, 3, "relu")
    result = gf.train(relu, gf.MLP.random((3, 2, 1), "relu", False, seed=1), progress=False)
    found = result.spectrum()
    assert found.zero == 2
    ax = gf.plot.spectrum(result)
    crosses = next(line for line in ax.lines if line.get_marker() == "x")
    assert len(crosses.get_xdata()) == found.zero
    smallest = np.abs(found.eigenvalues[np.abs(found.eigenvalues) > found.tolerance]).min()
    assert crosses.get_ydata()[0] < smallest and ax.get_ylim()[0] > 0.05 * smallest
    assert ax.get_yticklabels()[0].get_text() == "0"
    with pytest.raises(ArgumentError, match="^result:"):
        gf.plot.spectrum(3)


def test_phase_and_slice(results):
    pairs = [(n, k) for k in (4, 5) for n in range(1, k + 1)]
    rows = [{"n": n, "k": k, "share": n / k, "seed": seed} for n, k in pairs for seed in (0, 1)]
    ax = gf.plot.phase(rows, "n", "k", "share")
    shown = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert shown.shape == (2, 5) and np.isnan(shown[0, 4])
    assert shown[1, 2] == pytest.approx(3 / 5) and (ax.get_xlabel(), ax.get_ylabel()) == ("n", "k")
    with pytest.raises(ArgumentError, match="^table:"):
        gf.plot.phase(rows, "n", "k", "rate")
    origin, directions = gf.landscape.plane([result.theta for result in results])
    grid = np.linspace(-1.0, 1.0, 5)
    found = gf.landscape.slice_plane(results[0].problem, origin, directions, grid, grid)
    assert labelled(gf.plot.slice(found, points=[[0.0, 0.0]]))
    with pytest.raises(ArgumentError, match="^found:"):
        gf.plot.slice(rows)


def test_overview_of_every_kind(results, exact, tmp_path):
    function = gf.Problem.from_jax(lambda x: (x**2).sum(), np.ones(2))
    for result in (results[0], exact, gf.train(function, progress=False)):
        figure = gf.plot.overview(result)
        assert len(figure.axes) >= 4
    gf.plot.save_overview(results[0], tmp_path / "a.png")
    with pytest.raises(ArgumentError, match="^result:"):
        gf.plot.overview(results)
    with pytest.raises(ArgumentError, match="^plot:"):
        gf.plot.save_overview(results[0], tmp_path / "a.doc")


def test_the_limit_of_a_run_to_infinity(results):
    X = np.random.default_rng(0).standard_normal((60, 1))
    result = gf.train(
        X + 0.02 * X**3, gf.MLP([[[0.3]], [[2.0]]], None, "tanh"), X, solver=None, progress=False
    )
    ax = gf.plot.limit(result)
    dots, end, limit = ax.lines
    assert labelled(ax) and ax.get_title() == "neuron 0 becomes linear" and len(dots.get_xdata()) == 60
    x = np.asarray(limit.get_xdata())
    assert x.min() >= X.min() and x.max() <= X.max()
    np.testing.assert_allclose(limit.get_ydata(), result.limit(x[:, None])[:, 0], rtol=1e-12)
    np.testing.assert_allclose(end.get_ydata(), result.student(x[:, None])[:, 0], rtol=1e-12)
    assert gf.plot.limit(results[0]).texts[0].get_text() == "no network at infinity to draw"
    with pytest.raises(ArgumentError, match="^output:"):
        gf.plot.limit(result, output=1)
    with pytest.raises(ArgumentError, match="^result:"):
        gf.plot.limit(3)
