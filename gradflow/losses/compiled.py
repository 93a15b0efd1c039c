"""Losses made of compiled kernels."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..kernels import along, xla
from ..kernels.math import abi
from ..networks import MLP
from ..objective import ROUNDING, Counts, GradientSizes, Kernel, Linear, Objective
from ..support import memory
from ..support.errors import ArgumentError
from ..support.validate import integer
from ..support.x64 import require_x64
from .scales import Targets, network_sizes, output_start, weight_blocks

NUMBERS_AT_ONCE = 10_000
"""Points times parameters that one call of compiled code evaluates: Ctrl-C waits for it."""

KERNEL_GOAL = 1e-13
"""Expectations that are less accurate than this are reported with a warning."""


def thread_limit(given: int | None = None) -> int:
    """How many threads a kernel may use: as given, or GRADFLOW_NUM_THREADS, or the cores of the process."""
    if given is None:
        setting = os.environ.get("GRADFLOW_NUM_THREADS")
        if setting is None:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not setting.isdecimal() or int(setting) == 0:
            raise ArgumentError("GRADFLOW_NUM_THREADS", repr(setting), "an integer ≥ 1")
        return int(setting)
    return integer("threads", given, 1)


class KernelOracle(NamedTuple):
    """The traceable side of a `KernelLoss`: handles that name compiled kernels at run time."""

    derivatives: Any

    def loss_and_gradient(self, theta):
        """L and ∇L at a traced θ."""
        return xla.loss_and_gradient(self.derivatives, theta)

    def hessian(self, theta):
        """∇²L at a traced θ."""
        return xla.hessian(self.derivatives, theta)


class KernelLoss(Objective):
    """A loss made of compiled kernels (`kernels.math.abi`).

    size        number of parameters P
    derivatives the kernel that writes L, ∇L and ∇²L (those whose outputs are not null), to be compiled
    product     the kernel that writes ∇²L v into `matrix` (P,), and L and ∇L if wanted; compiled at its
                first use
    descriptor  int64 array of sizes and addresses; `keep` holds the arrays it points to
    """

    def __init__(
        self, size: int, derivatives: Callable, product: Callable, descriptor: np.ndarray, keep: tuple
    ):
        self.size = size
        self.derivatives: int = abi.compile_function(derivatives).address
        self._product = product
        self.descriptor = descriptor
        self._keep = keep
        self._call_derivatives = abi.callable_from_python(self.derivatives)
        self._address = descriptor.ctypes.data
        self._python_counts = [0, 0, 0]
        self._last: dict[str, tuple[bytes, Any]] = {}
        self._traced_counts = np.zeros(3, dtype=np.int64)

    @cached_property
    def product(self) -> int:
        """The address of the product kernel."""
        return abi.compile_function(self._product).address

    @cached_property
    def _call_product(self):
        return abi.callable_from_python(self.product)

    def measure(self, student: MLP, targets: Targets) -> None:
        """Take the scales of gradients from the targets and the student (`losses.scales`)."""
        self.targets = targets
        self.weight_vectors = student.weight_vectors()
        self._output_start, self._blocks = output_start(student), weight_blocks(student)
        self.spread = targets.total
        square = self.spread * self.spread  # `**` would raise where it overflows
        self.gradient_scale = min(max(square, self.spread), sys.float_info.max)

    scalable = True

    @property
    def output_parameters(self) -> np.ndarray:
        return np.arange(self.size) >= self._output_start

    def gradient_sizes(self, theta: np.ndarray) -> GradientSizes:
        return self.kept("sizes", theta, self._gradient_sizes)

    def _gradient_sizes(self, theta: np.ndarray) -> GradientSizes:
        rounding = max(ROUNDING, min(self.kernel_error(theta), KERNEL_GOAL))
        return network_sizes(self.jacobian_squares(theta), theta, self.targets, rounding, self._blocks)

    def kept(self, name: str, theta: np.ndarray, compute: Callable[[np.ndarray], Any]) -> Any:
        """`compute(theta)`, or what it was at the last θ if that had the same bits."""
        bits = theta.tobytes()
        found = self._last.get(name)
        if found is None or found[0] != bits:
            found = self._last[name] = bits, compute(theta)
        return found[1]

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

    def losses_and_norms(self, points: np.ndarray) -> np.ndarray:
        points, results = np.ascontiguousarray(points), np.empty((len(points), 2))
        gradient, task = np.empty(self.size), np.zeros(4, dtype=np.int64)
        call = abi.callable_from_python(abi.compile_function(along.losses_and_norms).address)
        task[along.SIZE], task[along.GRADIENT] = self.size, gradient.ctypes.data
        task[along.COUNTERS] = self._traced_counts.ctypes.data
        rows = max(1, NUMBERS_AT_ONCE // self.size)
        for i in range(0, len(points), rows):
            task[along.COUNT] = min(rows, len(points) - i)
            where = points[i:].ctypes.data, results[i:].ctypes.data
            call(task.ctypes.data, self.derivatives, self._address, *where, 0)
        return results

    def all_derivatives(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        result = np.empty(1 + self.size)
        hessian = memory.empty("student", self.size, self.size)
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
    def _plain_descriptor(self) -> np.ndarray:
        """The descriptor of the kernels without the second derivatives of the network."""
        raise NotImplementedError

    def gauss_newton(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        result = np.empty(1 + self.size)
        matrix = memory.empty("student", self.size, self.size)
        addresses = (result.ctypes.data, result.ctypes.data + 8, matrix.ctypes.data)
        self._call_derivatives(self._plain_descriptor.ctypes.data, theta.ctypes.data, 0, *addresses)
        self._python_counts[1] += 1
        return float(result[0]), result[1:], matrix

    def gauss_newton_diagonal(self, theta: np.ndarray) -> np.ndarray:
        return 2.0 * self.jacobian_squares(theta).sum(axis=0)

    def gauss_newton_product(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        result = np.empty(self.size)
        self._call_product(
            self._plain_descriptor.ctypes.data, theta.ctypes.data, v.ctypes.data, 0, 0, result.ctypes.data
        )
        self._python_counts[2] += 1
        return result

    @cached_property
    def oracle(self) -> KernelOracle:
        require_x64()  # addresses, too, would lose their upper half
        counter = self._traced_counts.ctypes.data
        return KernelOracle(jnp.asarray([self.derivatives, self._address, counter], dtype=jnp.int64))

    @cached_property
    def kernel(self) -> Kernel:
        return Kernel(
            self.derivatives, lambda: self.product, self._address, self._traced_counts, self, self._linear
        )

    def _linear(self) -> Linear | None:
        """The linearisation of ∇L for Krylov methods, if there is one."""
        return None

    def counts(self) -> Counts:
        return Counts(*(a + int(b) for a, b in zip(self._python_counts, self._traced_counts)))
