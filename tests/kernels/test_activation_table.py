"""The table of activations: what its records say is true, and nothing else in the package names one."""

import ast
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats

import gradflow as gf
from gradflow.kernels import activation_table as table
from gradflow.kernels.activation_table import RECORDS, TABLE
from gradflow.kernels.pairs import gated, general, panels, serving

ROOT = Path(gf.__file__).parent
LISTED = [record for record in RECORDS if record.listed]
SUMS = [record for record in LISTED if record.is_sum]
PARTS = {
    table.HINGE: lambda z: np.maximum(z, 0.0),
    table.DECAY: lambda z: np.expm1(np.minimum(z, 0.0)),
    table.STEP: scipy.stats.norm.cdf,
    table.CENTRED: lambda z: 0.5 * scipy.special.erf(z / np.sqrt(2.0)),
    table.RAMP: lambda z: z * scipy.stats.norm.cdf(z),
    table.SINE: np.sin,
    table.COSINE: np.cos,
    table.EXPONENTIAL: np.exp,
}
MIXED = {
    table.LINEAR: lambda z: z,
    table.CUBIC: lambda z: z**3,
    table.ERF: lambda z: scipy.special.erf(z / np.sqrt(2.0)),
    table.ONE: np.ones_like,
    table.SQUARE: np.square,
    table.ABSOLUTE: np.abs,
    table.GATED: lambda z: z * scipy.special.erf(z / np.sqrt(2.0)),
}


def name(record):
    return record.name


def sigma(record):
    return gf.ACTIVATIONS[record.name]


@pytest.mark.parametrize("record", SUMS, ids=name)
def test_a_sum_is_that_sum(record):
    """The routine against powers and parts, and against what kernels derive from them."""
    z = np.linspace(-5.0, 5.0, 41)
    value = sigma(record)(z)
    powers = sum(c * z**k for k, c in enumerate(record.powers))
    total = powers + sum(scale * PARTS[part](z) for part, scale in record.parts.items())
    np.testing.assert_allclose(value, total, rtol=1e-13, atol=1e-15)
    if record.mixture is not None:
        total = sum(scale * MIXED[part](z) for part, scale in record.mixture.items())
        np.testing.assert_allclose(value, total, rtol=1e-13, atol=1e-14)
    if record.gate is not None:
        c0, c1, c2, gate = record.gate
        total = c0 + c1 * z + (c2 * PARTS[gate](z) if gate else 0.0)
        np.testing.assert_allclose(value, total, rtol=1e-13, atol=1e-15)
    if record.kinked is not None:
        c1, c2, c3 = record.kinked
        total = c1 * z + c2 * np.maximum(z, 0.0) + c3 * np.expm1(np.minimum(z, 0.0))
        np.testing.assert_allclose(value, total, rtol=1e-13, atol=1e-15)
    if record.form:
        np.testing.assert_allclose(value, table.PARTS[record.form].scale * PARTS[record.form](z), rtol=1e-13)


@pytest.mark.parametrize("record", SUMS, ids=name)
def test_one_sided_slopes(record):
    left, right = (float(sigma(record).derivatives(z, 1)[1]) for z in (-1e-300, 1e-300))
    np.testing.assert_allclose((left, right), record.slopes, rtol=1e-14, atol=1e-299)
    assert (record.jump != 0.0) == (abs(left - right) > 1e-299)


@pytest.mark.parametrize("record", LISTED, ids=name)
def test_straight_and_sleeping_ones(record):
    value, _, second = sigma(record).derivatives(np.linspace(-7.0, 7.0, 101))
    assert record.is_straight == (not second.any())
    assert record.sleeps == (not value[:50].any())


@pytest.mark.parametrize("record", [record for record in LISTED if not record.is_sum], ids=name)
def test_the_strip_ends_at_the_nearest_singularity(record):
    """Taylor coefficients of σ at 0, from a circle, grow like strip^(−n) times a power of n."""
    known = {
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "softplus": lambda z: np.log(1 + np.exp(z)),
        "silu": lambda z: z / (1 + np.exp(-z)),
        "g": lambda z: 1 / (1 + np.exp(-4 * z)) + np.log(1 + np.exp(z)),
    }
    circle = 0.8 * record.strip * np.exp(2j * np.pi * np.arange(512) / 512)
    terms = np.abs(np.fft.fft(known[record.name](circle))) / 512
    size = [terms[n : n + 2].max() for n in (30, 60)]
    assert abs((size[1] / size[0]) ** (1.0 / 30.0) / 0.8 - 1.0) < 0.04


def test_every_ordered_pair_has_a_road():
    for first, second in itertools.product(RECORDS, repeat=2):
        for biased in (False, True):
            road = serving.road((first, second), biased)
            elementary = first.is_sum and second.is_sum
            assert (serving.closed((first, second), biased) is not None) == elementary
            assert (road.error is None) or elementary
            assert {r for r in (first, second) if r.is_sum} == set(road.members) or road.error is not None


def test_a_kernel_without_the_numbers_of_an_activation_is_not_taken(monkeypatch):
    relu, closed = TABLE["relu"], serving.closed
    numbers = serving.GATES.copy()
    numbers[table.KINDS["relu"]] = 0.0
    assert closed([relu], True) is gated.gated
    monkeypatch.setattr(serving, "GATES", numbers)
    assert closed([relu], True) is panels.panels
    serving._check()
    monkeypatch.setattr(serving, "closed", lambda records, biased: gated.gated)
    with pytest.raises(AssertionError, match="a kernel that does not know"):
        serving._check()


def test_names_of_ones_own_are_not_those_of_the_table():
    """An activation of one's own may be called "one", and a polynomial has coefficients of its own."""
    half = gf.Activation(
        lambda z: math.sin(z) / 2, lambda z: math.cos(z) / 2, lambda z: -math.sin(z) / 2, name="one"
    )
    assert table.kind_of(half.record) == table.OWN
    assert serving.closed([gf.Polynomial([0.5, 1.0]).record], False) is general.general
    assert table.kind_of(gf.Polynomial([0.0, 1.0]).record) == table.POLYNOMIAL


def test_what_is_neither_a_sum_nor_analytic_is_refused(monkeypatch):
    clipped = table.Record("tanh", TABLE["tanh"].block, parity="odd")
    student = gf.MLP.random((2, 2, 1), "tanh", seed=0)
    monkeypatch.setattr(student.neuron_activations(0)[0], "record", clipped)
    with pytest.raises(gf.ArgumentError, match="neither a sum of known parts nor known to be analytic"):
        gf.Problem(student, student)
    gf.Problem(student, student, inputs=np.eye(2)).loss(student.flat())  # samples work


def literals(path: Path) -> list[tuple[int, str]]:
    """Names of activations in a file: strings (but for defaults of `activation`) and imports."""
    tree = ast.parse(path.read_text())
    allowed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):  # formats such as {x:g}
            allowed |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.keyword) and node.arg in ("activation", "default"):
            allowed.add(id(node.value))
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "activation":
            allowed.add(id(node.value))
        elif isinstance(node, ast.arguments):
            arguments = [*node.posonlyargs, *node.args]
            defaults = zip(arguments[len(arguments) - len(node.defaults) :], node.defaults, strict=True)
            allowed |= {id(value) for argument, value in defaults if argument.arg == "activation"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in gf.ACTIVATIONS and id(node) not in allowed:
            found.append((node.lineno, node.value))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("pairs"):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name in gf.ACTIVATIONS]
    return found


def test_no_other_file_names_an_activation():
    """`theory/` and `proofs/` aside: a paper speaks of its activations, and a proof believes no table.

    `interchange/` has the names that other libraries give them, `differentiate.py` those of JAX's operations,
    and `warming.py` an example of each kind.
    """
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT)
        if place.parts[0] not in ("theory", "proofs", "interchange") and place.name not in (
            "activation_table.py", "differentiate.py", "warming.py",
        ):  # fmt: skip
            assert not literals(path), place
