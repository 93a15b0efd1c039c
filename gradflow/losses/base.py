"""What solvers and refiners see of a problem: a function of flat θ with its derivatives."""

from __future__ import annotations

import abc
import ctypes
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..kernels.math import abi
from ..support.errors import ArgumentError
from ..support.stopping import CRITICAL, is_critical
from .scales import GradientSizes, hessian_sizes

ZERO = 1e-10
"""Losses above this part of what was to be explained are not zero, whatever their error."""

DENSE, PROBES = 500, 16
"""Up to so many parameters `gradient_sizes` asks for a Hessian, beyond for so many products."""


class Counts(NamedTuple):
    """How often a function was evaluated."""

    gradients: int
    hessians: int
    products: int


class DoubleDoubleLoss(NamedTuple):
    """L and ∇L as unevaluated sums of two doubles, with a bound on the absolute error of L."""

    loss: float
    loss_low: float
    gradient: np.ndarray
    gradient_low: np.ndarray
    bound: float


class Kernel(NamedTuple):
    """An objective for compiled code: kernels of the C signature `kernels.math.abi.KERNEL`.

    derivatives, descriptor   addresses; the kernel writes L, ∇L and ∇²L
    product     the address of the kernel that writes ∇²L v, compiled when first asked for: methods that
                use the Hessian do without it
    counters    int64 (3,): gradients, Hessians and products, counted by whoever calls the kernels
    keep        what must stay alive while the addresses are used
    """

    derivatives: int
    product: Callable[[], int]
    descriptor: int
    counters: np.ndarray
    keep: Any


class Objective(abc.ABC):
    """A loss L of flat θ (P,) with gradient, Hessian and Hessian-vector product, all Float64 NumPy.

    Capabilities that not every objective has are attributes with a neutral default here.
    """

    size: int
    """Number of parameters P."""

    loss_floor: float = 0.0
    """A loss at or below this cannot be told from zero: the rounding error of its evaluation."""

    gradient_scale: float = 1.0
    """∞-norm of ∇L that counts as one: what a solver's default `gtol` is measured by."""

    spread: float = 1.0
    """What there is to be explained of the targets, root mean square."""

    scalable: bool = False
    """Whether targets and output layer times α are the same problem, L times α²."""

    start: np.ndarray | None = None
    """Where θ comes from (P,), for losses of which only derivatives are known."""

    weight_vectors: np.ndarray | None = None
    """(2, P): the weight vectors that every parameter belongs to, by number (`networks.MLP.weight_vectors`);
    None where all parameters are one vector."""

    nonnegative: bool = True
    """Whether L ≥ 0 in exact arithmetic, so that reaching `loss_floor` is the end."""

    sum_of_squares: bool = False
    """Whether L = |ρ(θ)|² with residuals ρ that `residual_vector` and `least_squares` give."""

    sample_count: int = 0
    """Number of samples that `batch` can choose from; 0 where L is no mean over samples."""

    @property
    def output_parameters(self) -> np.ndarray:
        """Which parameters scale with the targets, (P,): the output layer of a network."""
        return np.zeros(self.size, dtype=bool)

    def gradient_sizes(self, theta: np.ndarray) -> GradientSizes:
        """The sizes of the terms that cancel in each component of ∇L at θ, and its rounding error.

        Here from second derivatives (`scales.hessian_sizes`): Σ_j |H_ij| t_j, or, for more than 500
        parameters, √Σ_j H_ij² t_j² estimated by products with vectors of random signs.
        """
        reach = np.abs(theta) if self.start is None else np.maximum(np.abs(theta), np.abs(self.start))
        if self.size <= DENSE:
            return hessian_sizes(np.abs(self.hessian(theta)) @ reach)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(PROBES, self.size))
        products = [self.hvp(theta, sign * reach) for sign in signs]
        return hessian_sizes(np.sqrt(np.mean(np.square(products), axis=0)))

    def norm(self, gradient: np.ndarray) -> float:
        """The ∞-norm of a gradient in the parameters themselves, whatever the units here."""
        return float(np.abs(gradient).max())

    def is_critical(self, theta: np.ndarray, gradient: np.ndarray | None = None, relative=CRITICAL) -> bool:
        """Whether ∇L, or what is given for it, is zero at θ to `relative` of the terms that cancel in it."""
        if gradient is None:
            gradient = self.gradient(theta)
        return is_critical(gradient, self.gradient_sizes(theta).tolerances(relative))

    def batch(self, selection) -> Objective:
        """The same loss over some of the samples, given by their numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no samples")

    def residual_vector(self, theta: np.ndarray) -> np.ndarray:
        """ρ(θ), shape (m,)."""
        return self.least_squares(theta)[0]

    def least_squares(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ρ(θ), shape (m,), and its Jacobian (m, P), a matrix of its own with contiguous columns."""
        raise NotImplementedError(f"{type(self).__name__} is no sum of squares")

    @abc.abstractmethod
    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """L(θ) and ∇L(θ), shape (P,)."""

    @abc.abstractmethod
    def all_derivatives(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """L(θ), ∇L(θ) and ∇²L(θ), shape (P, P)."""

    @abc.abstractmethod
    def hvp(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """∇²L(θ) v, shape (P,)."""

    @property
    @abc.abstractmethod
    def oracle(self) -> Any:
        """A pytree with `loss_and_gradient(theta)` and `hessian(theta)` that trace under JAX.

        Its static part depends on the kind of problem only, so that a program jitted with an oracle as
        argument serves every problem of that kind and size.
        """

    @abc.abstractmethod
    def counts(self) -> Counts:
        """Evaluations so far, those inside compiled programs included."""

    @cached_property
    def kernel(self) -> Kernel:
        """This objective for compiled code. Here by calls back into Python, of some 10 µs each."""
        return _called_back(self)

    failure: BaseException | None = None
    """What the objective's Python code raised inside a compiled program, which saw NaN instead."""

    def double_double(self, theta: np.ndarray, theta_low: np.ndarray | None = None) -> DoubleDoubleLoss:
        """L and ∇L at θ + θ_low to about 32 digits; `ArgumentError` where the loss has no such form."""
        raise ArgumentError("precision", "'double-double' for this loss", "'double'")

    def kernel_error(self, theta: np.ndarray) -> float:
        """Estimated error of the expectations that L(θ) is made of; 0 where it is not made of such.

        Of kernels K(w, w') relative to √(K(w, w) K(w', w')), and of their first derivatives, relative to that
        over |w|, or to |w'| √(E σ'² E τ'²) where that is more (steep units).
        """
        return 0.0

    def loss_error(self, theta: np.ndarray) -> float:
        """A bound on the absolute error of L(θ) in Float64: of the expectations it is made of, and rounding.

        Infinite where L(θ) < 0 by more than the bound: no true bound is known then.
        """
        return self.loss_floor

    def is_zero(self, theta: np.ndarray, loss: float) -> bool:
        """Whether L is zero within its own error, if that is below 1e-10 of what was to be explained."""
        if not (self.nonnegative and abs(loss) <= ZERO * self.spread**2):
            return False
        return bool(abs(loss) <= self.loss_error(theta) <= ZERO * self.spread**2)

    def loss(self, theta: np.ndarray) -> float:
        """L(θ)."""
        return self.loss_and_gradient(theta)[0]

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """∇L(θ), shape (P,)."""
        return self.loss_and_gradient(theta)[1]

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """∇²L(θ), shape (P, P)."""
        return self.all_derivatives(theta)[2]


def _called_back(objective: Objective) -> Kernel:
    """Kernels that call the objective's own methods."""
    size = objective.size

    def array(address: int, *shape: int) -> np.ndarray:
        pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_double))
        return np.ctypeslib.as_array(pointer, shape=shape)

    def guarded(work):
        def kernel(descriptor, theta, v, loss, gradient, matrix):
            try:
                work(array(theta, size).copy(), v, loss, gradient, matrix)
            except BaseException as error:  # it cannot pass through compiled code: raised afterwards
                objective.failure = objective.failure or error
                for address, count in ((loss, 1), (gradient, size)):
                    if address:
                        array(address, count)[:] = np.nan

        return abi.python_kernel(kernel)

    def derivatives(theta, v, loss, gradient, matrix):
        if matrix:
            value, slope, array(matrix, size, size)[:] = objective.all_derivatives(theta)
        else:
            value, slope = objective.loss_and_gradient(theta)
        if loss:
            array(loss, 1)[0] = value
        if gradient:
            array(gradient, size)[:] = slope

    def product(theta, v, loss, gradient, matrix):
        array(matrix, size)[:] = objective.hvp(theta, array(v, size).copy())

    functions = guarded(derivatives), guarded(product)
    first, second = (abi.address_of(function) for function in functions)
    return Kernel(first, lambda: second, 0, np.zeros(3, dtype=np.int64), functions)
