"""The pair formulas against one-dimensional integrals and numerical derivatives, 30 digits."""

from __future__ import annotations

import itertools

import pytest
from mpmath import mp

flint = pytest.importorskip("flint")

from gradflow.proofs import pairs  # noqa: E402
from gradflow.proofs.balls import Balls, arb, precision  # noqa: E402

POINTS = [(0.9, 1.7, 0.4, 0.3, -0.8), (2.1, 0.3, -0.5, -1.1, 0.2), (0.05, 4.0, 0.3, 0.0, 0.6)]


def _conditional(s, t, q):
    """v | u = r x: mean (q/r) x, variance t − q²/s."""
    r = mp.sqrt(s)
    return r, q / r, t - q * q / s


def _phi(z):
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def erf_truth(s, t, q, b, c):
    """E erf((u+b)/√2) erf((v+c)/√2) as an integral over u: the trapezoidal rule, to 30 digits here."""
    r, slope, rest = _conditional(s, t, q)
    width, step = mp.sqrt(2 * (1 + rest)), mp.mpf(1) / 8
    total = mp.mpf(0)
    for i in range(-96, 97):
        x = i * step
        total += _phi(x) * mp.erf((r * x + b) / mp.sqrt(2)) * mp.erf((slope * x + c) / width)
    return step * total


def relu_truth(s, t, q):
    """E relu(u) relu(v) as an integral over u > 0."""
    r, slope, rest = _conditional(s, t, q)
    d = mp.sqrt(rest)
    inner = lambda m: m * mp.ncdf(m / d) + d * _phi(m / d)  # noqa: E731
    return mp.quad(lambda x: _phi(x) * r * x * inner(slope * x), [0, 2, 6, 14])


def _derivatives(function, point, names):
    """All first and second derivatives of K by mpmath's differences, by the letters of `Pair`."""
    found = {}
    for name in names:
        orders = [name.count(letter) for letter in "stqbc"[: len(point)]]
        found[name] = mp.diff(function, point, tuple(orders))
    return found


@pytest.mark.parametrize("s, t, q, b, c", POINTS)
def test_values_against_integrals(s, t, q, b, c):
    from gradflow.proofs.population import _biased_value

    with mp.workdps(30), precision(100):
        s, t, q, b, c = (mp.mpf(v) for v in (s, t, q, b, c))
        assert abs(pairs.erf_pair(mp, s, t, q).K - erf_truth(s, t, q, 0, 0)) < 1e-25
        assert abs(pairs.relu_pair(mp, s, t, q).K - relu_truth(s, t, q)) < 1e-25
        ball = _biased_value(Balls(), *(arb(float(v)) for v in (s, t, q, b, c)))
        assert ball.rad() < 1e-24
        assert abs(mp.mpf(ball.mid().str(40, radius=False)) - erf_truth(s, t, q, b, c)) < 1e-24


@pytest.mark.parametrize("name", ["erf_pair", "relu_pair"])
@pytest.mark.parametrize("s, t, q", [point[:3] for point in POINTS])
def test_derivatives_without_biases(name, s, t, q):
    function = getattr(pairs, name)
    with mp.workdps(40):
        point = tuple(mp.mpf(v) for v in (s, t, q))
        names = [*"stq", "ss", "tt", "st", "sq", "tq", "qq"]
        expected = _derivatives(lambda *z: function(mp, *z).K, point, names)
        found = function(mp, *point)
        for letters in names:
            assert abs(getattr(found, letters) - expected[letters]) < 1e-15, letters
        first = function(mp, *point, False)
        assert first[:4] == found[:4]


@pytest.mark.parametrize("s, t, q, b, c", POINTS[:2])
def test_derivatives_with_biases(s, t, q, b, c):
    with mp.workdps(30):
        point = tuple(mp.mpf(v) for v in (s, t, q, b, c))
        names = list("stqbc") + ["".join(p) for p in itertools.combinations_with_replacement("stqbc", 2)]
        names = [n for n in names if n not in ("ct", "cs")]
        found = pairs.biased_erf_pair(mp, *point, mp.mpf(0))
        for letters in names:
            at = letters if hasattr(found, letters) else letters[::-1]
            orders = tuple(letters.count(letter) for letter in "stqbc")
            value = mp.diff(erf_truth, point, orders)
            assert abs(getattr(found, at) - value) < 1e-8, letters


def test_own_and_means():
    with mp.workdps(40):
        s, b = mp.mpf("0.7"), mp.mpf("-0.4")
        own = pairs.erf_own(mp, s)
        assert abs(own.K - pairs.erf_pair(mp, s, s, s).K) < 1e-35
        assert abs(own.s - mp.diff(lambda z: pairs.erf_own(mp, z).K, s)) < 1e-15
        assert abs(own.ss - mp.diff(lambda z: pairs.erf_own(mp, z).K, s, 2)) < 1e-15
        again = pairs.own_of(pairs.erf_pair(mp, s, s, s))
        assert abs(own.s - again.s) < 1e-35 and abs(own.ss - again.ss) < 1e-35
        means = (lambda z, y: pairs.erf_mean(mp, z, y), lambda z, y: pairs.relu_mean(mp, z))
        for mean in means:
            found = mean(s, b)
            for letters in ("s", "ss", "b", "sb", "bb"):
                orders = (letters.count("s"), letters.count("b"))
                expected = mp.diff(lambda z, y, mean=mean: mean(z, y).K, (s, b), orders)
                assert abs(getattr(found, letters) - expected) < 1e-15, letters
        r = mp.sqrt(s)
        truth = mp.quad(lambda x: _phi(x) * mp.erf((r * x + b) / mp.sqrt(2)), [-14, 0, 14])
        assert abs(pairs.erf_mean(mp, s, b).K - truth) < 1e-25
        truth = mp.quad(lambda x: _phi(x) * r * x, [0, 14])
        assert abs(pairs.relu_mean(mp, s).K - truth) < 1e-25


def test_swapped_is_the_other_side():
    s, t, q, b, c = (mp.mpf(v) for v in POINTS[0])
    one = pairs.biased_erf_pair(mp, s, t, q, b, c, mp.mpf(0)).swapped()
    other = pairs.biased_erf_pair(mp, t, s, q, c, b, mp.mpf(0))
    assert all(abs(u - v) < 1e-13 for u, v in zip(one, other))
