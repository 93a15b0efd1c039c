"""`python -m benchmarks fuzz`: its truths against closed forms, what it sees, its processes."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

import gradflow as gf

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def fuzz():
    """The modules of the benchmark by name."""
    sys.path.insert(0, str(ROOT))
    names = ("activations", "cases", "checks", "quadrature", "samples", "totals", "truth")
    found = {name: importlib.import_module(f"benchmarks._fuzz_{name}") for name in names}
    found["main"] = importlib.import_module("benchmarks.fuzz")
    yield found
    sys.path.remove(str(ROOT))


def true(fuzz, teacher, student, law=None, degree=None):
    parts = [
        fuzz["truth"].Stacked(student, teacher, c)
        for c in fuzz["truth"].components(law, student.sizes[0], degree)
    ]
    return fuzz["truth"].truth(parts, 1e-15, 2.5e7)


def test_the_rule_is_exact_to_its_degree(fuzz):
    q = fuzz["quadrature"]
    for degree in range(0, 32, 2):
        assert q.KRONROD @ q.NODES**degree == pytest.approx(2 / (degree + 1), rel=3e-15)
        if degree < 20:
            assert q.GAUSS @ q.NODES**degree == pytest.approx(2 / (degree + 1), rel=3e-15)
    value, error, lo, hi = q.adaptive(
        lambda x: np.sqrt(np.abs(x - 0.3))[None], np.array([0.0, 1.0]), np.array([1e-12]), 0.0, 1000
    )
    assert value[0] == pytest.approx((0.3**1.5 + 0.7**1.5) / 1.5, abs=1e-12)
    assert error[0] <= 1e-12 and lo[0] == 0.0 and hi[-1] == 1.0


@pytest.mark.parametrize("plane", [False, True])
def test_truths_of_erf_are_the_arcsine(fuzz, plane):
    """L, and derivatives by differences of the closed form at 60 digits (Williams 1996)."""
    W = np.array([[1.5, 0.7], [-4.0, 0.2]]) if plane else np.array([[1.5, 0.0], [-40.0, 0.0]])
    V = np.array([[0.3, -1.0]]) if plane else np.array([[0.3, 0.0]])
    teacher, student = gf.MLP([V, [[0.8]]], None, "erf"), gf.MLP([W, [[0.5, -1.2]]], None, "erf")
    found = true(fuzz, teacher, student)

    def loss(theta):
        rows = [theta[0:2], theta[2:4], [mpmath.mpf(x) for x in V[0]]]
        outputs = [theta[4], theta[5], -mpmath.mpf(0.8)]

        def kernel(u, v):
            size = (1 + mpmath.fdot(u, u)) * (1 + mpmath.fdot(v, v))
            return 2 / mpmath.pi * mpmath.asin(mpmath.fdot(u, v) / mpmath.sqrt(size))

        return sum(a * b * kernel(u, v) for u, a in zip(rows, outputs) for v, b in zip(rows, outputs))

    with mpmath.workdps(60):
        theta = [mpmath.mpf(x) for x in student.flat()]
        h = mpmath.mpf("1e-15")

        def moved(*steps):
            return loss([t + sum(s * h for i, s in steps if i == j) for j, t in enumerate(theta)])

        gradient = [float((moved((i, 1)) - moved((i, -1))) / (2 * h)) for i in range(6)]
        assert abs(found.loss - loss(theta)) <= found.error < 1e-14
        np.testing.assert_allclose(found.gradient, gradient, rtol=0, atol=2e-15)
        if not plane:
            for i in range(6):
                for j in range(6):
                    signs = ((s, t) for s in (1, -1) for t in (1, -1))
                    exact = sum(s * t * moved((i, s), (j, t)) for s, t in signs) / (4 * h * h)
                    assert abs(found.hessian[i, j] - exact) < 2e-15


def test_truths_of_biased_relu_know_the_kink(fuzz):
    """Against mpmath on the two pieces; the Hessian against differences of the gradient."""
    teacher = gf.MLP([[[1.3]], [[0.9]]], [[0.4], None], "relu")
    student = gf.MLP([[[2.0]], [[-0.7]]], [[-1.1], [0.2]], "relu")
    found = true(fuzz, teacher, student)

    def f(t):
        return (
            0.2
            - mpmath.mpf(0.7) * max(2 * t - mpmath.mpf(1.1), 0)
            - mpmath.mpf(0.9) * max(mpmath.mpf(1.3) * t + mpmath.mpf(0.4), 0)
        )

    edges = [-15, -mpmath.mpf(0.4) / mpmath.mpf(1.3), mpmath.mpf(1.1) / 2, 15]
    exact = mpmath.quad(lambda t: f(t) ** 2 * mpmath.npdf(t), edges)
    assert abs(found.loss - exact) <= found.error < 1e-14
    theta, h = student.flat(), 1e-5
    for i in range(theta.size):
        step = h * np.eye(theta.size)[i]
        up, down = (true(fuzz, teacher, student.with_flat(theta + s * step)).gradient for s in (1, -1))
        np.testing.assert_allclose(found.hessian[i], (up - down) / (2 * h), rtol=0, atol=1e-9)


def test_spherical_laws_by_draws(fuzz):
    student = gf.MLP([[[1.0, 0.0, 0.5], [0.0, 0.0, -2.0]], [[1.0, 0.5]]], None, "square")
    teacher = gf.MLP([[[0.0, 0.0, 1.0]], [[1.0]]], None, "square")
    for law in (gf.Sphere(), gf.Ball(2.0), gf.StudentT(30.0)):
        found = true(fuzz, teacher, student, law, 2)
        X = law.sample(400_000, 3, np.random.default_rng(0))
        squares = ((student(X) - teacher(X)) ** 2).sum(axis=1)
        assert abs(squares.mean() - found.loss) < 5 * squares.std() / len(X) ** 0.5


def test_cases_are_determined_by_their_number(fuzz):
    make, kind_of = fuzz["cases"].make, fuzz["cases"].kind_of
    for index in range(40):
        one, two = make(3, index), make(3, index)
        assert fuzz["totals"].source(one) == fuzz["totals"].source(two)
        assert one.kind == kind_of(index)
    assert fuzz["totals"].source(make(4, 0)) != fuzz["totals"].source(make(3, 0))
    count = len(fuzz["activations"].NAMES) ** 2
    samples = [i for i in range(5 * count) if kind_of(i) == "samples"]
    assert len(samples) == count == len({make(0, i).tags["names"] for i in samples})


class _Wrong(gf.Problem):
    """A problem whose loss is off by a little, consistently."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        inner, self.factor = self.objective, 1.0 + 1e-11

        class Off:
            def all_derivatives(_, theta):
                return tuple(self.factor * a for a in inner.all_derivatives(theta))

            def loss_and_gradient(_, theta):
                return tuple(self.factor * a for a in inner.loss_and_gradient(theta))

            def __getattr__(_, name):
                return getattr(inner, name)

        self.objective = Off()

    def loss(self, theta):
        return self.factor * super().loss(theta)


def test_what_is_wrong_is_seen(fuzz, monkeypatch):
    """Of the cases with a truth all but a few see a relative error of 1e-11 in the loss."""
    checks, make = fuzz["checks"], fuzz["cases"].make
    smooth = {"erf", "relu", "square", "identity", "normal_cdf", "leaky_relu", "cube"}
    cases = [make(0, i) for i in range(1500)]
    cases = [c for c in cases if set(c.tags["names"]) <= smooth and not c.tags["mixed"]]
    chosen = [c for c in cases if c.kind in ("line", "samples") and not c.equal][:16]
    assert {c.kind for c in chosen} == {"line", "samples"}
    right = [checks.check(c) for c in chosen]
    assert not [o.outside for o in right if set(o.outside) & set(fuzz["totals"].ON_LOSS)]
    monkeypatch.setattr(checks.gf, "Problem", _Wrong)
    wrong = [checks.check(c) for c in chosen]
    seen = ["loss" in o.outside for o in wrong]
    assert sum(seen) >= 0.8 * len(seen)


def test_a_case_that_takes_the_process_along_costs_one_case(fuzz, monkeypatch):
    """Case 3 crashes wherever it runs, case 5 in company only, case 7 hangs."""
    started = []

    class Process:
        def __init__(self, seed, first, last, kind):
            started.append((first, last))
            self.first, self.last, self.process = first, last, self
            self.returncode = 0

        def __iter__(self):
            alone = self.last - self.first == 1
            for index in range(self.first, self.last):
                yield f"@{index}\n"
                if index == 3 or (index == 5 and not alone):
                    self.returncode = -11
                    return
                if index == 7:
                    raise TimeoutError
                yield json.dumps({"case": index})

        def close(self):
            return "where it was"

    monkeypatch.setattr(fuzz["main"], "_Process", Process)
    records, lost = [], []
    fuzz["main"].run_chunk(0, 0, 10, None, records, lost)
    assert [r["case"] for r in records] == [0, 1, 2, 4, 6, 8, 9]
    assert lost == [
        (3, "crashed", "where it was"),
        (5, "crashed in company only", "where it was"),
        (7, "hung", "where it was"),
    ]
    assert started == [(0, 10), (3, 4), (4, 10), (5, 6), (6, 10), (7, 8), (8, 10)]


@pytest.mark.slow
def test_a_quick_run_is_written_and_resumed(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "fuzz", "--folder", str(tmp_path), "--chunk", "40"]

    def run(*arguments):
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)

    done = run("--cases", "40", "--kind", "samples")
    assert done.returncode == 0, done.stdout + done.stderr
    first = json.loads((tmp_path / "fuzz.json").read_text())["results"]
    assert first["chunks"] == [[0, 40]] and first["kinds"] == {"samples": 8}
    assert first["worst"]["loss"][0] < 1 and first["checks"]["product"] == 8
    done = run("--cases", "80", "--kind", "samples", "--resume")
    assert done.returncode == 0 and "cases 40 … 79" in done.stdout and "cases 0 …" not in done.stdout
    second = json.loads((tmp_path / "fuzz.json").read_text())["results"]
    assert second["chunks"] == [[0, 40], [40, 80]] and second["kinds"] == {"samples": 16}
    other = run("--cases", "80", "--resume")
    assert other.returncode != 0 and "not this run" in other.stderr
    shown = run("--case", "1")
    assert shown.returncode == 0 and "student = gf.MLP([array(" in shown.stdout and "bound" in shown.stdout
