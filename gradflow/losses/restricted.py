"""An objective of some of its parameters, the others frozen."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..kernels import restricted
from ..kernels.math import abi
from .base import Counts, Kernel, Objective


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
        if inner.weight_vectors is not None:
            self.weight_vectors = inner.weight_vectors[:, self.free]
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
            [inner.derivatives, 0, inner.descriptor, self.size, self.inner.size,
             indices.ctypes.data, self.theta.ctypes.data]
        )  # fmt: skip
        derivatives = abi.compile_function(restricted.derivatives).address

        def product() -> int:
            descriptor[restricted.INNER_PRODUCT] = inner.product()
            return abi.compile_function(restricted.product).address

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

    def loss_error(self, theta):
        return self.inner.loss_error(self.full(theta))

    def counts(self) -> Counts:
        return self.inner.counts()
