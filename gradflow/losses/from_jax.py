"""Losses that are any JAX function of flat θ."""

from __future__ import annotations

from functools import cached_property

import jax
import numpy as np

from ..objective import Counts, Objective
from ..support.errors import GradflowError
from ..support.x64 import require_x64


@jax.tree_util.register_static
class JaxOracle:
    """The traceable side of a `JaxLoss`: the user's function itself, static."""

    def __init__(self, function):
        self.function = function

    def loss_and_gradient(self, theta):
        """L and ∇L at a traced θ."""
        return jax.value_and_grad(self.function)(theta)

    def hessian(self, theta):
        """∇²L at a traced θ."""
        return jax.hessian(self.function)(theta)

    def __eq__(self, other):
        return isinstance(other, JaxOracle) and self.function is other.function

    def __hash__(self):
        return hash(self.function)


class StoredLoss(Objective):
    """A loss of which only the code is missing: that of a result read from a file. Evaluating it says so."""

    nonnegative = False

    def __init__(self, size: int, loss_floor: float = 0.0):
        self.size, self.loss_floor = size, loss_floor

    def _missing(self, *given):
        raise GradflowError(
            "the loss of a problem made by Problem.from_jax is code and is not in the file; "
            "to go on with it: gradflow.load(path, loss=…)"
        )

    loss_and_gradient = all_derivatives = hvp = _missing

    def counts(self) -> Counts:
        return Counts(0, 0, 0)


class JaxLoss(Objective):
    """A scalar JAX function of flat θ (size,), differentiated by JAX; compiled once per function.

    start   where θ comes from, which tells what is a small gradient
    """

    nonnegative = False

    def __init__(self, function, size: int, start: np.ndarray | None = None):
        self.size, self.start = size, start
        self._counts = [0, 0, 0]
        self._oracle = JaxOracle(function)
        self._loss_and_gradient = jax.jit(self._oracle.loss_and_gradient)
        self._all = jax.jit(lambda t: (*self._oracle.loss_and_gradient(t), self._oracle.hessian(t)))
        self._hvp = jax.jit(lambda t, v: jax.jvp(jax.grad(function), (t,), (v,))[1])

    @cached_property
    def gradient_scale(self) -> float:  # type: ignore[override]
        """That of the gradient at the start, with its rounding at a `gtol` of 1e-9."""
        if self.start is None:
            return 1.0
        rounding = self.gradient_sizes(self.start).rounding.max()
        return float(np.abs(self.gradient(self.start)).max() + 1e9 * rounding)

    def loss_and_gradient(self, theta):
        require_x64()
        self._counts[0] += 1
        loss, gradient = self._loss_and_gradient(theta)
        return float(loss), np.array(gradient)

    def all_derivatives(self, theta):
        require_x64()
        self._counts[1] += 1
        loss, gradient, hessian = self._all(theta)
        return float(loss), np.array(gradient), np.array(hessian)

    def hvp(self, theta, v):
        require_x64()
        self._counts[2] += 1
        return np.array(self._hvp(theta, v))

    @property
    def oracle(self) -> JaxOracle:
        return self._oracle

    def counts(self) -> Counts:
        """Evaluations from Python; those inside jitted solvers are not seen by a pure JAX function."""
        return Counts(*self._counts)
