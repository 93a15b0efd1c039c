"""precision="double-double" through the whole of `train`, against closed forms in mpmath at 60 digits."""

import mpmath
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError, StopReason

DIGITS = 60


def pairs(high, low):
    return [mpmath.mpf(float(a)) + mpmath.mpf(float(b)) for a, b in zip(high, low)]


def train(teacher, student, **options):
    return gf.train(teacher, student, precision="double-double", progress=False, **options)


@pytest.mark.parametrize("k", [1, 3])
def test_one_erf_neuron(k):
    """a = k, |w|² = 1/(2k−1), L = k/3 − (2k²/π) asin(1/2k), up to the joint sign."""
    teacher = gf.teachers.orthonormal(k, 4, "erf")
    result = train(teacher, gf.MLP.random((4, 1, 1), "erf", bias=False, seed=3))
    assert result.stop_reason is StopReason.DOUBLE_DOUBLE_FLOOR and result.converged
    assert result.grad_norm <= 1e-28
    with mpmath.workdps(DIGITS):
        theta = pairs(result.theta, result.theta_low)
        entry = 1 / mpmath.sqrt(k * (2 * k - 1))
        sign = mpmath.sign(theta[-1])
        wanted = [sign * (entry if i < k else 0) for i in range(4)] + [sign * k]
        # The error of θ is that of the gradient (1e-30) over the smallest eigenvalue, and 2^-106 |θ|.
        limit = 1e-30 / result.spectrum().smallest
        assert max(abs(a - b) for a, b in zip(theta, wanted)) <= limit
        truth = mpmath.mpf(k) / 3 - 2 * mpmath.mpf(k) ** 2 / mpmath.pi * mpmath.asin(mpmath.mpf(1) / (2 * k))
        assert abs(mpmath.mpf(result.loss) + mpmath.mpf(result.loss_low) - truth) <= result.loss_bound


def test_one_relu_neuron():
    """c = a|w| = 2k h(1/√k), L = k/2 + k(k−1)/2π − c²/2; the scale |w| is free: a null direction."""
    k = 3
    result = train(
        gf.teachers.orthonormal(k, 4, "relu"), gf.MLP.random((4, 1, 1), "relu", bias=False, seed=1)
    )
    assert result.stop_reason is StopReason.DOUBLE_DOUBLE_FLOOR and result.grad_norm <= 1e-28
    with mpmath.workdps(DIGITS):
        angle = mpmath.acos(1 / mpmath.sqrt(k))
        kernel = (mpmath.sin(angle) + (mpmath.pi - angle) * mpmath.cos(angle)) / (2 * mpmath.pi)
        theta = pairs(result.theta, result.theta_low)
        scale = theta[-1] * mpmath.sqrt(sum(x * x for x in theta[:-1]))
        assert abs(scale - 2 * k * kernel) <= 1e-28
        truth = mpmath.mpf(k) / 2 + mpmath.mpf(k * (k - 1)) / (2 * mpmath.pi) - 2 * (k * kernel) ** 2
        assert abs(mpmath.mpf(result.loss) + mpmath.mpf(result.loss_low) - truth) <= result.loss_bound
    assert result.spectrum().zero == 1


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_down_to_zero(activation):
    """The teacher is found to 28 digits; a loss below its bound is never printed as a bare number."""
    teacher = gf.teachers.random((3, 2, 1), activation, bias=False, seed=2)
    start = teacher.with_flat(teacher.flat() + 1e-3)
    result = train(teacher, start, solver=None)
    assert result.grad_norm <= 1e-26 and abs(result.loss) <= result.loss_bound < 1e-26
    assert "0 within" in str(result) and "double-double" in str(result)
    if activation == "erf":
        with mpmath.workdps(DIGITS):
            theta = pairs(result.theta, result.theta_low)
            assert max(abs(a - mpmath.mpf(float(b))) for a, b in zip(theta, teacher.flat())) <= 1e-27
    plain = gf.train(teacher, start, solver=None, progress=False)
    assert plain.theta_low is None and plain.loss_low == 0.0
    assert plain.loss_bound == plain.problem.loss_error(plain.theta)
    assert "0 within" in str(plain)


def test_frozen_parameters_and_files(tmp_path):
    teacher = gf.teachers.orthonormal(3, 4, "erf")
    student = gf.MLP.random((4, 2, 1), "erf", bias=False, seed=1)
    rates = np.ones(student.size)
    rates[-2:] = 0.0
    result = train(teacher, student, rates=rates)
    assert result.grad_norm <= 1e-28 and (result.theta_low[-2:] == 0).all()
    assert (result.theta[-2:] == student.flat()[-2:]).all() and result.theta_low.any()
    result.save(tmp_path / "run.h5")
    loaded = gf.load(tmp_path / "run.h5")
    assert (loaded.theta_low == result.theta_low).all() and loaded.loss_low == result.loss_low
    assert loaded.loss_bound == result.loss_bound and str(loaded) == str(result)
    assert loaded.refinement.settings["precision"] == "double-double"


def test_refused_before_anything_is_compiled(monkeypatch):
    from gradflow.kernels.math import abi

    def compiled(*_, **__):
        raise AssertionError("nothing may be compiled")

    monkeypatch.setattr(abi, "compile_function", compiled)
    teacher = gf.teachers.orthonormal(2, 3, "erf")
    student = gf.MLP.random((3, 2, 1), "erf", bias=False, seed=1)

    def network(activation="erf", bias=False, outputs=1):
        return gf.MLP.random((3, 2, outputs), activation, bias, seed=0)

    cases = [
        ((teacher, student, np.ones((5, 3))), "Samples"),
        ((teacher, network(bias=True)), "biases"),
        ((network(bias=[True, False]), student), "biases"),
        ((network("tanh"), student), "erf and tanh"),
        ((network("square"), network("square")), "square"),
        ((network(outputs=2), network(outputs=2)), "several outputs"),
        ((teacher, student, gf.Gaussian(mean=[1.0, 0.0, 0.0])), "mean"),
        ((lambda x: x, student), "one hidden layer"),
    ]
    for arguments, given in cases:
        with pytest.raises(ArgumentError, match=given) as caught:
            gf.train(*arguments, precision="double-double")
        assert caught.value.argument == "precision"
    with pytest.raises(ArgumentError, match="'quad'"):
        gf.train(teacher, student, precision="quad")
    with pytest.raises(ArgumentError, match="its last step"):
        gf.train(teacher, student, precision="double-double", refiner=None)
