"""What solvers and refiners see of a problem: a function of flat θ with its derivatives.

`Objective` is the interface, `Affine` and `Restricted` are objectives of other coordinates, `Kernel` is an
objective for compiled code. Losses implement it; nothing here knows of networks, inputs or targets.
"""

from __future__ import annotations

import abc
import ctypes
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .kernels import restricted
from .kernels.math import abi
from .support.errors import ArgumentError
from .support.stopping import CRITICAL, is_critical

EPS = float(np.finfo(np.float64).eps)

ROUNDING = 4 * EPS
"""Rounding of the targets' terms. Newton's steps end where the components of ∇L are, whatever the problem,
0.01 to 0.5 of what follows from ε(M + |y|)."""

ZERO = 1e-10
"""Losses above this part of what was to be explained are not zero, whatever their error."""

DENSE, PROBES = 500, 16
"""Up to so many parameters `gradient_sizes` asks for a Hessian, beyond for so many products."""


class Counts(NamedTuple):
    """How often a function was evaluated."""

    gradients: int
    hessians: int
    products: int

    def __sub__(self, before: Counts) -> Counts:
        return Counts(*(now - then for now, then in zip(self, before)))


class DoubleDoubleLoss(NamedTuple):
    """L and ∇L as unevaluated sums of two doubles, with a bound on the absolute error of L."""

    loss: float
    loss_low: float
    gradient: np.ndarray
    gradient_low: np.ndarray
    bound: float


class Linear(NamedTuple):
    """What a Krylov method needs at one θ, in one pass, for compiled code (`kernels.population.linearised`).

    linearise(descriptor, θ, memory, loss, gradient, 0) writes L, ∇L and the memory; its first word is 1 then
    if times(descriptor, memory, v, result, 0, 0) can write ∇²L v, to some seven digits. `room` is how many
    doubles of memory that takes.
    """

    linearise: int
    times: int
    room: int


class Kernel(NamedTuple):
    """An objective for compiled code: kernels of the C signature `kernels.math.abi.KERNEL`.

    derivatives, descriptor   addresses; the kernel writes L, ∇L and ∇²L
    product     the address of the kernel that writes ∇²L v, compiled when first asked for: methods that
                use the Hessian do without it
    counters    int64 (3,): gradients, Hessians and products, counted by whoever calls the kernels
    keep        what must stay alive while the addresses are used
    linear      a linearisation of ∇L, compiled when first asked for; None where there is none
    """

    derivatives: int
    product: Callable[[], int]
    descriptor: int
    counters: np.ndarray
    keep: Any
    linear: Callable[[], Linear | None] = lambda: None


class GradientSizes(NamedTuple):
    """What cancels in each component of ∇L at one θ, (P,) each.

    size      of the terms, as long as there is anything to be explained
    rounding  the error of the component in Float64
    """

    size: np.ndarray
    rounding: np.ndarray

    def tolerances(self, relative: float) -> np.ndarray:
        """Below these, (P,), the components are zero to `relative` of what they are made of."""
        return relative * self.size + self.rounding


def hessian_sizes(size: np.ndarray) -> GradientSizes:
    """The sizes for a loss of which only derivatives are known: Σ_j |H_ij| t_j.

    t_j is the larger of |θ_j| and its start's. For a quadratic, whose gradient is Σ_j H_ij θ_j − b_i, these
    are the terms that cancel.
    """
    return GradientSizes(size, ROUNDING * size)


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

    def jacobian_squares(self, theta: np.ndarray) -> np.ndarray:
        """E (∂f_o/∂θ_i)², shape (outputs, P), of a network f: without an array of samples times P."""
        raise NotImplementedError(f"{type(self).__name__} has no Jacobian's squares")

    def norm(self, gradient: np.ndarray) -> float:
        """The ∞-norm of a gradient in the parameters themselves, whatever the units here."""
        return float(np.abs(gradient).max())

    def is_critical(self, theta: np.ndarray, gradient: np.ndarray | None = None, relative=CRITICAL) -> bool:
        """Whether ∇L, or what is given for it, is zero at θ to `relative` of the terms that cancel in it."""
        if gradient is None:
            gradient = self.gradient(theta)
        return is_critical(gradient, self.gradient_sizes(theta).tolerances(relative))

    def losses_and_norms(self, points: np.ndarray) -> np.ndarray:
        """L and the `norm` of ∇L at the rows of `points` (m, P): (m, 2)."""
        rows = [self.loss_and_gradient(theta) for theta in points]
        return np.array([(loss, self.norm(gradient)) for loss, gradient in rows])

    def batch(self, selection) -> Objective:
        """The same loss over some of the samples, given by their numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no samples")

    def separable(self) -> Any | None:
        """The same loss with its linear parameters apart (`losses.separable`); None where there are none."""
        return None

    def pieces(self) -> Any | None:
        """The smooth pieces of a loss with kinks (`losses.kinked`); None where L is smooth."""
        return None

    has_gauss_newton: bool = False
    """Whether L is a mean of squares whose Gauss–Newton matrix can be had."""

    def gauss_newton(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """L(θ), ∇L(θ) and G(θ), shape (P, P): the Hessian without second derivatives of the network.

        Where L = 0 it is the Hessian, and it is positive semidefinite everywhere.
        """
        raise NotImplementedError(f"{type(self).__name__} has no Gauss–Newton matrix")

    def gauss_newton_product(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        """G(θ) v, shape (P,)."""
        raise NotImplementedError(f"{type(self).__name__} has no Gauss–Newton matrix")

    def gauss_newton_diagonal(self, theta: np.ndarray) -> np.ndarray:
        """The diagonal of G(θ), shape (P,)."""
        return np.ascontiguousarray(self.gauss_newton(theta)[2].diagonal())

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
    def oracle(self) -> Any | None:
        """A pytree with `loss_and_gradient(theta)` and `hessian(theta)` that trace under JAX; None without.

        Its static part depends on the kind of problem only, so that a program jitted with an oracle as
        argument serves every problem of that kind and size.
        """
        return None

    @abc.abstractmethod
    def counts(self) -> Counts:
        """Evaluations so far, those inside compiled programs included."""

    @cached_property
    def kernel(self) -> Kernel:
        """The objective for compiled code. Here by calls back into Python, of some 10 µs each."""
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


class Affine(Objective):
    """The objective L(Mφ + o) of φ (p,): M (P, p), o (P,)."""

    def __init__(self, inner: Objective, matrix: np.ndarray, offset: np.ndarray):
        self.inner, self.matrix, self.offset = inner, matrix, offset
        self.size = matrix.shape[1]
        self.loss_floor, self.gradient_scale = inner.loss_floor, inner.gradient_scale
        self.nonnegative, self.spread = inner.nonnegative, inner.spread

    def full(self, theta: np.ndarray) -> np.ndarray:
        """θ (P,) of φ."""
        return self.matrix @ theta + self.offset

    def loss_and_gradient(self, theta):
        loss, gradient = self.inner.loss_and_gradient(self.full(theta))
        with np.errstate(invalid="ignore", over="ignore"):  # non-finite trial points are refused later
            return loss, self.matrix.T @ gradient

    def all_derivatives(self, theta):
        loss, gradient, hessian = self.inner.all_derivatives(self.full(theta))
        with np.errstate(invalid="ignore", over="ignore"):
            return loss, self.matrix.T @ gradient, self.matrix.T @ hessian @ self.matrix

    def hvp(self, theta, v):
        return self.matrix.T @ self.inner.hvp(self.full(theta), self.matrix @ v)

    @property
    def has_gauss_newton(self) -> bool:  # type: ignore[override]
        return self.inner.has_gauss_newton

    def gauss_newton(self, theta):
        loss, gradient, matrix = self.inner.gauss_newton(self.full(theta))
        return loss, self.matrix.T @ gradient, self.matrix.T @ matrix @ self.matrix

    def gauss_newton_product(self, theta, v):
        return self.matrix.T @ self.inner.gauss_newton_product(self.full(theta), self.matrix @ v)

    def loss_error(self, theta):
        return self.inner.loss_error(self.full(theta))

    def counts(self) -> Counts:
        return self.inner.counts()


class RestrictedOracle(NamedTuple):
    """The traceable side of a `Restricted` objective."""

    inner: Any
    theta: Any
    free: Any
    units: Any
    share: Any

    def _full(self, theta):
        return self.theta.at[self.free].set(theta * self.units)

    def loss_and_gradient(self, theta):
        """L̂ and ∇L̂ at traced free parameters."""
        loss, gradient = self.inner.loss_and_gradient(self._full(theta))
        return loss * self.share, gradient[self.free] * (self.units * self.share)

    def hessian(self, theta):
        """∇²L̂ at traced free parameters."""
        full = self.inner.hessian(self._full(theta))
        return full[jnp.ix_(self.free, self.free)] * (self.units * self.share)[:, None] * self.units


class Restricted(Objective):
    """An objective L̂(φ) = L(θ)/U of the free parameters θ_i = u_i φ_i; the others stay as in `theta` (P,).

    free   (P,), true for those that move: frozen parameters (rate zero) are left out of the gradient norm,
           the refinement and the spectrum, and this is how
    unit   of the targets and the output layer: u_i = unit for these, else 1, and U = unit². With powers of
           two nothing is rounded
    """

    def __init__(self, inner: Objective, theta: np.ndarray, free: np.ndarray, unit: float = 1.0):
        self.inner = inner
        self.theta = np.array(theta, dtype=np.float64)
        self.free = np.flatnonzero(free)
        self.size = self.free.size
        if inner.weight_vectors is not None:
            self.weight_vectors = inner.weight_vectors[:, self.free]
        self.scales = np.where(inner.output_parameters[self.free], unit, 1.0)
        self.loss_unit = unit**2
        self._slopes = self.scales / self.loss_unit
        self.loss_floor = inner.loss_floor / self.loss_unit
        self.spread, self.scalable = inner.spread / unit, inner.scalable
        self.gradient_scale = max(self.spread**2, self.spread) if inner.scalable else inner.gradient_scale
        self.nonnegative = inner.nonnegative
        self.sum_of_squares = inner.sum_of_squares

    @property
    def output_parameters(self) -> np.ndarray:
        return self.inner.output_parameters[self.free]

    def full(self, theta: np.ndarray) -> np.ndarray:
        """The full vector (P,) of these free parameters."""
        result = self.theta.copy()
        result[self.free] = theta * self.scales
        return result

    def part(self, theta: np.ndarray) -> np.ndarray:
        """The free parameters (p,) of a full vector, in their units."""
        return np.ascontiguousarray(theta[self.free] / self.scales)

    def loss(self, theta):
        return self.inner.loss(self.full(theta)) / self.loss_unit

    def loss_and_gradient(self, theta):
        loss, gradient = self.inner.loss_and_gradient(self.full(theta))
        return loss / self.loss_unit, gradient[self.free] * self._slopes

    def all_derivatives(self, theta):
        loss, gradient, hessian = self.inner.all_derivatives(self.full(theta))
        matrix = hessian[np.ix_(self.free, self.free)] * self._slopes[:, None] * self.scales
        return loss / self.loss_unit, gradient[self.free] * self._slopes, matrix

    def hvp(self, theta, v):
        direction = np.zeros(self.inner.size)
        direction[self.free] = v * self.scales
        return self.inner.hvp(self.full(theta), direction)[self.free] * self._slopes

    @property
    def has_gauss_newton(self) -> bool:  # type: ignore[override]
        return self.inner.has_gauss_newton

    def gauss_newton(self, theta):
        loss, gradient, full = self.inner.gauss_newton(self.full(theta))
        matrix = full[np.ix_(self.free, self.free)] * self._slopes[:, None] * self.scales
        return loss / self.loss_unit, gradient[self.free] * self._slopes, matrix

    def gauss_newton_product(self, theta, v):
        direction = np.zeros(self.inner.size)
        direction[self.free] = v * self.scales
        return self.inner.gauss_newton_product(self.full(theta), direction)[self.free] * self._slopes

    def gauss_newton_diagonal(self, theta):
        return self.inner.gauss_newton_diagonal(self.full(theta))[self.free] * self._slopes * self.scales

    def norm(self, gradient):
        return float(np.abs(gradient / self._slopes).max())

    def gradient_sizes(self, theta):
        sizes = self.inner.gradient_sizes(self.full(theta))
        return GradientSizes(*(row[self.free] * self._slopes for row in sizes))

    def double_double(self, theta, theta_low=None):
        low = np.zeros(self.inner.size)
        if theta_low is not None:
            low[self.free] = theta_low * self.scales
        found = self.inner.double_double(self.full(theta), low)
        return DoubleDoubleLoss(
            found.loss / self.loss_unit,
            found.loss_low / self.loss_unit,
            found.gradient[self.free] * self._slopes,
            found.gradient_low[self.free] * self._slopes,
            found.bound / self.loss_unit,
        )

    @property
    def sample_count(self) -> int:  # type: ignore[override]
        return self.inner.sample_count

    def batch(self, selection):
        part = object.__new__(Restricted)
        kept = {name: value for name, value in self.__dict__.items() if name not in ("kernel", "oracle")}
        part.__dict__.update(kept, inner=self.inner.batch(selection))
        return part

    def separable(self):
        """The inner loss with its linear parameters apart, in these units; None if some are frozen."""
        model = self.inner.separable() if self.size == self.inner.size else None
        return None if model is None else model.in_units(np.sqrt(self.loss_unit))

    def pieces(self):
        """The inner loss's pieces in these coordinates."""
        inner = self.inner.pieces()
        return None if inner is None else inner.in_units(self.theta, self.free, self.scales, self.loss_unit)

    def residual_vector(self, theta):
        return self.inner.residual_vector(self.full(theta)) / np.sqrt(self.loss_unit)

    def least_squares(self, theta):
        residuals, jacobian = self.inner.least_squares(self.full(theta))
        root = np.sqrt(self.loss_unit)
        return residuals / root, np.asfortranarray(jacobian[:, self.free] * (self.scales / root))

    @cached_property
    def kernel(self) -> Kernel:
        inner = self.inner.kernel
        indices = self.free.astype(np.int64)
        slopes = np.append(self._slopes, 1.0 / self.loss_unit)
        descriptor = np.array(
            [inner.derivatives, 0, inner.descriptor, self.size, self.inner.size,
             indices.ctypes.data, self.theta.ctypes.data, self.scales.ctypes.data, slopes.ctypes.data, 0, 0]
        )  # fmt: skip
        derivatives = abi.compile_function(restricted.derivatives).address

        def product() -> int:
            descriptor[restricted.INNER_PRODUCT] = inner.product()
            return abi.compile_function(restricted.product).address

        def linear() -> Linear | None:
            found = inner.linear()
            if found is None:
                return None
            descriptor[restricted.INNER_LINEARISE] = found.linearise
            descriptor[restricted.INNER_TIMES] = found.times
            linearise = abi.compile_function(restricted.linearise).address
            return Linear(linearise, abi.compile_function(restricted.times).address, found.room)

        keep = inner, indices, descriptor, self.theta, self.scales, slopes
        return Kernel(derivatives, product, descriptor.ctypes.data, inner.counters, keep, linear)

    @property
    def failure(self) -> BaseException | None:
        """As that of the inner objective."""
        return self.inner.failure

    @failure.setter
    def failure(self, error: BaseException | None) -> None:
        self.inner.failure = error

    @cached_property
    def oracle(self) -> RestrictedOracle:
        arrays = (jnp.asarray(a) for a in (self.theta, self.free, self.scales, 1.0 / self.loss_unit))
        return RestrictedOracle(self.inner.oracle, *arrays)

    def kernel_error(self, theta):
        return self.inner.kernel_error(self.full(theta))

    def loss_error(self, theta):
        return self.inner.loss_error(self.full(theta)) / self.loss_unit

    def counts(self) -> Counts:
        return self.inner.counts()
