"""What solvers and refiners see of a problem: a function of flat θ with its derivatives."""

from __future__ import annotations

import abc
import ctypes
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ArgumentError
from ..kernels import abi, restricted, xla


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
    """An objective for compiled code: kernels of the C signature `kernels.abi.KERNEL`.

    derivatives, product, descriptor   addresses; the first kernel writes L, ∇L and ∇²L, the second ∇²L v
    counters    int64 (3,): gradients, Hessians and products, counted by whoever calls the kernels
    keep        what must stay alive while the addresses are used
    """

    derivatives: int
    product: int
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
    """The size of the terms that cancel in ∇L (`stopping.gradient_scale`): small is small against this."""

    nonnegative: bool = True
    """Whether L ≥ 0 in exact arithmetic, so that reaching `loss_floor` is the end."""

    sum_of_squares: bool = False
    """Whether L = |ρ(θ)|² with residuals ρ that `residual_vector` and `least_squares` give."""

    sample_count: int = 0
    """Number of samples that `batch` can choose from; 0 where L is no mean over samples."""

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

        Of kernels K(w, w') relative to √(K(w, w) K(w', w')), and of their first derivatives.
        """
        return 0.0

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
    return Kernel(first, second, 0, np.zeros(3, dtype=np.int64), functions)


class KernelOracle(NamedTuple):
    """The traceable side of a `KernelLoss`: handles that name compiled kernels at run time."""

    derivatives: Any

    def loss_and_gradient(self, theta):
        return xla.loss_and_gradient(self.derivatives, theta)

    def hessian(self, theta):
        return xla.hessian(self.derivatives, theta)


class KernelLoss(Objective):
    """A loss made of compiled kernels (`kernels.abi`).

    size        number of parameters P
    derivatives address of the kernel that writes L, ∇L and ∇²L (those whose outputs are not null)
    product     address of the kernel that writes ∇²L v into `matrix` (P,), and L and ∇L if wanted
    descriptor  int64 array of sizes and addresses; `keep` holds the arrays it points to
    """

    def __init__(self, size: int, derivatives: int, product: int, descriptor: np.ndarray, keep: tuple):
        self.size = size
        self.derivatives = derivatives
        self.product = product
        self.descriptor = descriptor
        self._keep = keep
        self._call_derivatives = abi.callable_from_python(derivatives)
        self._call_product = abi.callable_from_python(product)
        self._address = descriptor.ctypes.data
        self._python_counts = [0, 0, 0]
        self._traced_counts = np.zeros(3, dtype=np.int64)

    def loss(self, theta: np.ndarray) -> float:
        value = np.empty(1)
        self._call_derivatives(self._address, theta.ctypes.data, 0, value.ctypes.data, 0, 0)
        return float(value[0])

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        result = np.empty(1 + self.size)
        address = result.ctypes.data
        self._call_derivatives(self._address, theta.ctypes.data, 0, address, address + 8, 0)
        self._python_counts[0] += 1
        return float(result[0]), result[1:]

    def all_derivatives(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        result = np.empty(1 + self.size)
        hessian = np.empty((self.size, self.size))
        address = result.ctypes.data
        self._call_derivatives(self._address, theta.ctypes.data, 0, address, address + 8, hessian.ctypes.data)
        self._python_counts[1] += 1
        return float(result[0]), result[1:], hessian

    def hvp(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        result = np.empty(self.size)
        self._call_product(self._address, theta.ctypes.data, v.ctypes.data, 0, 0, result.ctypes.data)
        self._python_counts[2] += 1
        return result

    @cached_property
    def oracle(self) -> KernelOracle:
        counter = self._traced_counts.ctypes.data
        return KernelOracle(jnp.asarray([self.derivatives, self._address, counter], dtype=jnp.int64))

    @cached_property
    def kernel(self) -> Kernel:
        return Kernel(self.derivatives, self.product, self._address, self._traced_counts, self)

    def counts(self) -> Counts:
        return Counts(*(a + int(b) for a, b in zip(self._python_counts, self._traced_counts)))


class RestrictedOracle(NamedTuple):
    """The traceable side of a `Restricted` objective."""

    inner: Any
    theta: Any
    free: Any

    def loss_and_gradient(self, theta):
        loss, gradient = self.inner.loss_and_gradient(self.theta.at[self.free].set(theta))
        return loss, gradient[self.free]

    def hessian(self, theta):
        full = self.inner.hessian(self.theta.at[self.free].set(theta))
        return full[jnp.ix_(self.free, self.free)]


class Restricted(Objective):
    """An objective of the free parameters only; the others stay at their values in `theta` (P,).

    Frozen parameters (rate zero) are left out of the gradient norm, the refinement and the spectrum,
    and this is how.
    """

    def __init__(self, inner: Objective, theta: np.ndarray, free: np.ndarray):
        self.inner = inner
        self.theta = np.array(theta, dtype=np.float64)
        self.free = np.flatnonzero(free)
        self.size = self.free.size
        self.loss_floor = inner.loss_floor
        self.gradient_scale = inner.gradient_scale
        self.nonnegative = inner.nonnegative
        self.sum_of_squares = inner.sum_of_squares

    def full(self, theta: np.ndarray) -> np.ndarray:
        """The full vector (P,) of these free parameters."""
        result = self.theta.copy()
        result[self.free] = theta
        return result

    def loss(self, theta):
        return self.inner.loss(self.full(theta))

    def loss_and_gradient(self, theta):
        loss, gradient = self.inner.loss_and_gradient(self.full(theta))
        return loss, gradient[self.free]

    def all_derivatives(self, theta):
        loss, gradient, hessian = self.inner.all_derivatives(self.full(theta))
        return loss, gradient[self.free], np.ascontiguousarray(hessian[np.ix_(self.free, self.free)])

    def hvp(self, theta, v):
        direction = np.zeros(self.inner.size)
        direction[self.free] = v
        return self.inner.hvp(self.full(theta), direction)[self.free]

    def double_double(self, theta, theta_low=None):
        low = np.zeros(self.inner.size)
        if theta_low is not None:
            low[self.free] = theta_low
        found = self.inner.double_double(self.full(theta), low)
        return found._replace(gradient=found.gradient[self.free], gradient_low=found.gradient_low[self.free])

    @property
    def sample_count(self) -> int:  # type: ignore[override]
        return self.inner.sample_count

    def batch(self, selection):
        return Restricted(
            self.inner.batch(selection), self.theta, np.isin(np.arange(self.inner.size), self.free)
        )

    def residual_vector(self, theta):
        return self.inner.residual_vector(self.full(theta))

    def least_squares(self, theta):
        residuals, jacobian = self.inner.least_squares(self.full(theta))
        return residuals, np.asfortranarray(jacobian[:, self.free])

    @cached_property
    def kernel(self) -> Kernel:
        inner = self.inner.kernel
        indices = self.free.astype(np.int64)
        descriptor = np.array(
            [inner.derivatives, inner.product, inner.descriptor, self.size, self.inner.size,
             indices.ctypes.data, self.theta.ctypes.data]
        )  # fmt: skip
        derivatives = abi.compile_function(restricted.derivatives).address
        product = abi.compile_function(restricted.product).address
        keep = inner, indices, descriptor, self.theta
        return Kernel(derivatives, product, descriptor.ctypes.data, inner.counters, keep)

    @property
    def failure(self) -> BaseException | None:
        return self.inner.failure

    @failure.setter
    def failure(self, error: BaseException | None) -> None:
        self.inner.failure = error

    @cached_property
    def oracle(self) -> RestrictedOracle:
        return RestrictedOracle(self.inner.oracle, jnp.asarray(self.theta), jnp.asarray(self.free))

    def kernel_error(self, theta):
        return self.inner.kernel_error(self.full(theta))

    def counts(self) -> Counts:
        return self.inner.counts()


@jax.tree_util.register_static
class JaxOracle:
    """The traceable side of a `JaxLoss`: the user's function itself, static."""

    def __init__(self, function):
        self.function = function

    def loss_and_gradient(self, theta):
        return jax.value_and_grad(self.function)(theta)

    def hessian(self, theta):
        return jax.hessian(self.function)(theta)

    def __eq__(self, other):
        return isinstance(other, JaxOracle) and self.function is other.function

    def __hash__(self):
        return hash(self.function)


class JaxLoss(Objective):
    """A scalar JAX function of flat θ, differentiated by JAX; compiled once per function."""

    nonnegative = False

    def __init__(self, function, size: int):
        self.size = size
        self._counts = [0, 0, 0]
        self._oracle = JaxOracle(function)
        self._loss_and_gradient = jax.jit(self._oracle.loss_and_gradient)
        self._all = jax.jit(lambda t: (*self._oracle.loss_and_gradient(t), self._oracle.hessian(t)))
        self._hvp = jax.jit(lambda t, v: jax.jvp(jax.grad(function), (t,), (v,))[1])

    def loss_and_gradient(self, theta):
        self._counts[0] += 1
        loss, gradient = self._loss_and_gradient(theta)
        return float(loss), np.array(gradient)

    def all_derivatives(self, theta):
        self._counts[1] += 1
        loss, gradient, hessian = self._all(theta)
        return float(loss), np.array(gradient), np.array(hessian)

    def hvp(self, theta, v):
        self._counts[2] += 1
        return np.array(self._hvp(theta, v))

    @property
    def oracle(self) -> JaxOracle:
        return self._oracle

    def counts(self) -> Counts:
        """Evaluations from Python; those inside jitted solvers are not seen by a pure JAX function."""
        return Counts(*self._counts)
