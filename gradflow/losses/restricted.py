"""An objective of some of its parameters, the others frozen, in units of their own."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..kernels import restricted
from ..kernels.math import abi
from .base import Counts, DoubleDoubleLoss, Kernel, Objective
from .scales import GradientSizes


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
        loss, gradient = self.inner.loss_and_gradient(self._full(theta))
        return loss * self.share, gradient[self.free] * (self.units * self.share)

    def hessian(self, theta):
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
             indices.ctypes.data, self.theta.ctypes.data, self.scales.ctypes.data, slopes.ctypes.data]
        )  # fmt: skip
        derivatives = abi.compile_function(restricted.derivatives).address

        def product() -> int:
            descriptor[restricted.INNER_PRODUCT] = inner.product()
            return abi.compile_function(restricted.product).address

        keep = inner, indices, descriptor, self.theta, self.scales, slopes
        return Kernel(derivatives, product, descriptor.ctypes.data, inner.counters, keep)

    @property
    def failure(self) -> BaseException | None:
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
