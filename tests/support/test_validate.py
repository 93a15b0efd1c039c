"""What users hand in as numbers: the right ones, or an error that says what is wrong and what to do."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import gradflow as gf
from gradflow import ArgumentError
from gradflow.support.validate import real_array, resolution

X = np.arange(12.0).reshape(4, 3) / 10.0
WANTED = X.astype(np.float32).astype(np.float64)  # what a Float32 road can know of it


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (X.tolist(), X),
        (X.astype(np.float32), WANTED),
        (X.astype(np.longdouble), X),
        (np.asfortranarray(X), X),
        (jnp.asarray(X), X),
        (jnp.asarray(X, jnp.float32), WANTED),
        (jnp.arange(12).reshape(4, 3), np.arange(12.0).reshape(4, 3)),
        (jnp.asarray([[1.5, -2.0]], jnp.bfloat16), np.array([[1.5, -2.0]])),
        (np.asarray(jnp.asarray([[1.5, -2.0]], jnp.bfloat16)), np.array([[1.5, -2.0]])),
        (np.ma.array(X), X),
        (np.ma.array(X, mask=np.zeros(X.shape, bool)), X),
        (np.array([[True, False]]), np.array([[1.0, 0.0]])),
    ],
)
def test_numbers_of_any_make_become_float64(given, wanted):
    found = real_array("X", given, 2)
    assert type(found) is np.ndarray and found.dtype == np.float64 and found.flags.c_contiguous
    assert np.array_equal(found, wanted)
    assert not np.shares_memory(found, X)


MASK = np.zeros(X.shape, bool)
MASK[1, 2] = MASK[3, 0] = True


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ma.array(X, mask=MASK), "2 masked entries"),
        ([np.ma.array(X[0], mask=MASK[1]), X[0]], "1 masked entries"),
        ([[1.0, np.ma.masked]], "1 masked entries"),
        (X * 1j, "complex128.*real numbers"),
        ([[1.0, 2.0], [3.0]], "ragged"),
        (np.array([["a", "b"]]), "text.*numpy.unique"),
        (np.array([["a", 1]], object), "text, 'a'.*numpy.unique"),
        (np.array([[1.0, None]], object), r"NoneType at index \(0, 1\)"),
        ({"a": 1}, "dict"),
        (None, "NoneType"),
        (scipy.sparse.eye(3), r"a sparse dia.*toarray\(\)"),
        (scipy.sparse.csr_array(np.eye(3)), r"a sparse csr_array.*toarray\(\)"),
        (gf.MLP.random((2, 2, 1), seed=0).flat, r"the function 'flat'.*flat\(\)"),
        (X[0], r"shape \(3,\).*2 dimension"),
        (np.array([["2020-01-01"]], "datetime64[D]"), "datetime64"),
        (np.array([[np.longdouble("1e400")]]), "inf at index"),
    ],
)
def test_anything_else_is_refused_with_the_reason(given, words):
    with pytest.raises(ArgumentError, match=f"^X: got .*{words}"):
        real_array("X", given, 2)


def test_entries_that_are_not_finite_are_named_with_their_rows():
    bad = np.zeros((20, 3))
    bad[7, 1] = np.nan
    with pytest.raises(ArgumentError, match=r"got nan at index \(7, 1\); allowed"):
        real_array("X", bad, 2)
    bad[2, 0] = np.inf
    bad[7, 2] = np.nan
    with pytest.raises(ArgumentError, match=r"inf at index \(2, 0\); 3 entries .* in 2 of 20 rows: 2, 7;"):
        real_array("X", bad, 2)
    bad[:] = np.nan
    with pytest.raises(ArgumentError, match="60 entries .* in 20 of 20 rows: 0, 1, 2, 3, 4, 5, 6, 7, …;"):
        real_array("X", bad, 2)
    with pytest.raises(ArgumentError, match="2 entries that are not finite, at 0, 2;"):
        real_array("x", [np.nan, 1.0, np.nan], 1)
    assert np.isnan(real_array("X", bad, 2, finite=False)).all()


def test_tables_of_pandas_with_missing_values_are_refused():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1.0, np.nan], "b": [1, 2]})
    with pytest.raises(ArgumentError, match=r"nan at index \(1, 0\)"):
        real_array("X", table, 2)
    assert np.array_equal(real_array("X", table.fillna(5.0), 2), [[1.0, 1.0], [5.0, 2.0]])
    with pytest.raises(ArgumentError, match="^y: got (text|an object, NAType)"):
        real_array("y", pandas.Series(["a", pandas.NA]), 1)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    for given in (
        torch.tensor(X, requires_grad=True),
        torch.tensor(X).requires_grad_() * 1.0,
        torch.tensor(X).T.contiguous().T,
        [torch.tensor(row) for row in X],
    ):
        assert np.array_equal(real_array("X", given, 2), X)
    half = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16, requires_grad=True)
    assert np.array_equal(real_array("X", half, 2), [[1.5, -2.0]])
    assert np.array_equal(real_array("X", torch.nn.Parameter(torch.tensor([3, 4.0])), 1), [3, 4])
    assert resolution(half) == 2.0**-7 and resolution(torch.zeros(1)) == 2.0**-23
    with pytest.raises(ArgumentError, match=r"^X: got a sparse torch tensor; allowed: .*to_dense\(\)"):
        real_array("X", torch.eye(3).to_sparse(), 2)
    with pytest.raises(ArgumentError, match="^X: .*complex"):
        real_array("X", torch.eye(3, dtype=torch.complex64), 2)


# Every public place that takes numbers: (the argument's name, what is called with an array like this one).
NETWORK = gf.MLP.random((3, 2, 1), "erf", False, seed=0)
THETA = NETWORK.flat()


@functools.cache
def problem() -> gf.Problem:
    return gf.Problem(np.ones((4, 1)), NETWORK, X)


PLACES = [
    ("weights[0]", np.ones((2, 3)), lambda a: gf.MLP([a, [[1.0, 1.0]]])),
    ("weights[0]", np.ones((2, 2, 2)), lambda a: gf.MLP(a)),
    ("biases[0]", np.ones(2), lambda a: gf.MLP([np.ones((2, 3))], [a])),
    ("theta", THETA, NETWORK.with_flat),
    ("X", X, NETWORK),
    ("z", X, gf.ACTIVATIONS["tanh"]),
    ("z", X, lambda a: gf.ACTIVATIONS["tanh"].derivatives(a, 2)),
    ("coefficients", np.ones(3), gf.Polynomial),
    ("mean", np.ones(3), gf.Gaussian),
    ("cov", np.eye(3), lambda a: gf.Gaussian(cov=a)),
    ("weights", np.ones(2), lambda a: gf.Mixture([gf.Gaussian(), gf.Gaussian()], a)),
    ("X", X, gf.Samples),
    ("sample_weight", np.ones(4), lambda a: gf.Samples(X, a)),
    ("inputs", X, lambda a: gf.Problem(np.ones((4, 1)), NETWORK, a)),
    ("teacher", np.ones((4, 1)), lambda a: gf.Problem(a, NETWORK, X)),
    ("teacher", np.ones((4, 1)), lambda a: gf.Problem(lambda _: a, NETWORK, X)),
    ("theta", THETA, lambda a: problem().loss(a)),
    ("theta", THETA, lambda a: problem().gradient(a)),
    ("theta", THETA, lambda a: problem().hessian(a)),
    ("v", THETA, lambda a: problem().hvp(THETA, a)),
    ("theta", THETA, lambda a: problem().residuals(a)),
    ("theta0", THETA, lambda a: gf.Problem.from_jax(lambda t: (t**2).sum(), a)),
    ("rates", np.ones(THETA.size), lambda a: gf.train(problem(), rates=a, solver=None)),
    ("norms", np.ones(2), lambda a: gf.teachers.orthonormal(2, 3, norms=a)),
    ("output_weights", np.ones(2), lambda a: gf.teachers.orthonormal(2, 3, output_weights=a)),
]


@pytest.mark.parametrize(
    ("name", "array", "call"), PLACES, ids=lambda value: value if type(value) is str else ""
)
def test_no_argument_loses_a_mask(name, array, call):
    call(array)
    mask = np.zeros(array.shape, bool)
    mask.flat[-1] = True
    with pytest.raises(ArgumentError, match=r"1 masked entries") as caught:
        call(np.ma.array(array, mask=mask))
    assert caught.value.argument == name or (name, caught.value.argument) == ("weights[0]", "weights[1]")
