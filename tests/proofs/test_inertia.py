"""Signs of eigenvalues of matrices of balls: exact matrices, thick ones, and what must stay undecided."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("flint")

from gradflow.proofs.balls import arb, bounds, exact, from_text, largest, precision, to_text, upper
from gradflow.proofs.inertia import by_discs, defect, inertia
from gradflow.proofs.krawczyk import find_zero


def matrix(eigenvalues, rng, radius=0.0):
    Q, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    H = Q @ np.diag(eigenvalues) @ Q.T
    around = arb(0, radius)
    return [[arb(float(v)) + around for v in row] for row in 0.5 * (H + H.T)]


@pytest.mark.parametrize(
    "eigenvalues, radius, expected",
    [
        ([-3.0, -1e-6, 2.0, 5.0], 0.0, (2, 0, 2)),
        ([-3.0, -1e-6, 2.0, 5.0], 1e-9, (2, 0, 2)),
        ([-3.0, -1e-6, 2.0, 5.0], 1e-3, (1, 1, 2)),
        ([-3.0, 1e-17, 2.0, 2.0], 0.0, (1, 1, 2)),
        ([-3.0, 0.01, -0.01, 2.0], 0.02, (1, 2, 1)),
        ([1.0, 1.0, 1.0], 10.0, (0, 3, 0)),
    ],
)
def test_signs(eigenvalues, radius, expected, rng):
    with precision(64):
        assert tuple(inertia(matrix(eigenvalues, rng, radius))) == expected


def test_what_touches_an_unclear_disc_is_unclear():
    with precision(64):
        rows = [[arb(0.5), arb(0.6), arb(0)], [arb(0.6), arb(1.5), arb(0)], [arb(0), arb(0), arb(9)]]
        assert tuple(by_discs(rows)) == (0, 2, 1)  # [−0.1, 1.1] and [0.9, 2.1]
        assert tuple(by_discs([[arb("nan")]])) == (0, 1, 0)
        assert tuple(inertia([])) == (0, 0, 0)


def test_defect_is_a_bound(rng):
    Q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    assert 0 < defect(Q) < 1e-11
    assert defect(1.1 * Q) > 0.2
    assert defect(2 * Q) == np.inf


def test_numbers_go_out_and_come_in():
    with precision(53):
        for value in (0.1, -3.0, 1e-300, 0.0, 2.0**70):
            assert float(from_text(to_text(arb(value)))) == value == float(from_text(value.hex()))
        fine = arb((3**60, -200))
        assert from_text(to_text(fine)) == fine
        third = arb(1) / 3
        low, high = bounds(third)
        assert low < 1 / 3 + 1e-16 and arb(low) <= third <= arb(high) and high - low <= 2e-16
        assert bounds(arb(0.5)) == (0.5, 0.5) and upper(third) >= high
        assert largest(exact([1.0, -4.0, 2.0])) == 4 and largest([]) == 0
        for balls in ([arb("nan"), arb(1)], [arb(1), arb("nan")], [arb(0, 1), arb("inf")]):
            assert not largest(balls).is_finite() and upper(balls[0] + balls[1]) == np.inf
        with pytest.raises(ValueError, match="radius zero"):
            to_text(third)


def test_a_zero_of_a_polynomial():
    """x² − 2 = 0, y³ = 8: √2 to 60 digits, 2 exactly; a double zero is not proved."""

    def gradient(z):
        return [z[0] ** 2 - 2, z[1] ** 3 - 8]

    def hessian(z):
        return [[2 * z[0], arb(0)], [arb(0), 3 * z[1] ** 2]]

    found = find_zero(gradient, hessian, exact([1.41, 2.001]), [0, 1])
    assert found.proved and found.index == 0
    with precision(128):
        root = found.center[0] + found.offset[0]
        assert root.contains(arb(2).sqrt().mid()) and (found.center[1] + found.offset[1]).contains(2)
    double = find_zero(lambda z: [z[0] ** 2], lambda z: [[2 * z[0]]], exact([1e-9]), [0])
    assert not double.proved and double.reason
    none = find_zero(lambda z: [z[0] ** 2 + 1], lambda z: [[2 * z[0]]], exact([0.5]), [0])
    assert not none.proved
