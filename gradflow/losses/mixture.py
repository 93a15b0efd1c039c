"""Population losses beyond one Gaussian: mixtures, and spherically symmetric laws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..kernels import weighted_sum
from ..networks import MLP
from ..support.errors import ArgumentError
from .compiled import KernelLoss
from .population import PopulationLoss
from .scales import Moments, mixed, moment_targets


class WeightedLoss(KernelLoss):
    """L(θ) = Σ_c p_c L_c(θ) of losses made of kernels, p_c > 0, itself one kernel.

    `loss_floor` is the weighted sum of the parts' floors, scales are those of all parts together. The
    Hessian needs room for two.
    """

    def __init__(
        self,
        student: MLP,
        parts: Sequence[PopulationLoss],
        weights: Sequence[float] | np.ndarray,
    ):
        shares = np.array(weights, dtype=np.float64)
        table = np.array(
            [(part.derivatives, 0, part.descriptor.ctypes.data) for part in parts], dtype=np.int64
        )
        size = parts[0].size
        descriptor = np.zeros(weighted_sum.DESCRIPTOR_SIZE, dtype=np.int64)
        descriptor[:] = len(parts), size, table.ctypes.data, shares.ctypes.data
        keep = (tuple(parts), table, shares)
        super().__init__(size, weighted_sum.derivatives, weighted_sum.product, descriptor, keep)
        self._table = table
        self.loss_floor = float(sum(p * part.loss_floor for p, part in zip(shares, parts)))
        self._parts, self._shares = tuple(parts), shares
        self.moments: Moments = mixed([part.moments for part in parts], shares)
        self.measure(student, moment_targets(self.moments, self, student))

    @cached_property
    def product(self) -> int:
        self._table[:, 1] = [part.product for part in self._parts]
        return super().product

    def jacobian_squares(self, theta: np.ndarray) -> np.ndarray:
        return self._shares @ np.array([part.jacobian_squares(theta) for part in self._parts]).swapaxes(0, 1)

    def kernel_error(self, theta: np.ndarray) -> float:
        """The largest of the parts'."""
        return max(part.kernel_error(theta) for part in self._parts)

    def loss_error(self, theta: np.ndarray) -> float:
        """Σ_c p_c times those of the parts."""
        return float(sum(p * part.loss_error(theta) for p, part in zip(self._shares, self._parts)))


def population_loss(
    student: MLP, teacher: MLP, inputs, dim: int | None = None
) -> PopulationLoss | WeightedLoss:
    """E |f_θ − f*|² for any law of infinitely many inputs.

    dim   the dimension of the law where the networks see a projection of it (`reduced`)

    A `Gaussian` gives a `PopulationLoss`; other laws a weighted sum of such (`Law.gaussians`): a `Mixture`
    those of its components; a `Spherical` law a multiple of the standard one, for networks without biases
    whose activations all have the same degree of homogeneity (the law enters by its moment of twice that
    order).
    """
    terms = inputs.gaussians(dim or student.sizes[0], lambda: common_degree(student, teacher))
    if len(terms) == 1 and terms[0][1] is inputs:
        return PopulationLoss(student, teacher, inputs)
    parts = [PopulationLoss(student, teacher, law) for _, law in terms]
    return WeightedLoss(student, parts, [share for share, _ in terms])


def common_degree(student: MLP, teacher: MLP) -> int:
    """p with σ(cz) = c^p σ(z) for every hidden neuron of both; `ArgumentError` if there is none."""
    degrees = {}
    for argument, network in (("student", student), ("teacher", teacher)):
        if len(network.sizes) != 3:
            given = f"{len(network.sizes) - 2} hidden layers"
            raise ArgumentError(argument, given, "one hidden layer, for a spherically symmetric law")
        if any(b is not None for b in network.biases):
            raise ArgumentError(argument, "biases", "no biases, for a spherically symmetric law")
        for sigma in network.neuron_activations(0):
            if sigma.degree is None:
                allowed = "homogeneous ones for a spherically symmetric law: relu, square, …"
                raise ArgumentError(argument, f"activation {sigma.name!r}", allowed)
            degrees[sigma.degree] = sigma.name
    if len(degrees) > 1:
        names = " and ".join(map(repr, degrees.values()))
        given = f"{names}, of different degrees of homogeneity"
        raise ArgumentError("student", given, "one degree in both networks, for a spherically symmetric law")
    return next(iter(degrees))
