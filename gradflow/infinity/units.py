"""The units in which limits at infinity are looked for: targets and inputs of every size are one problem.

With a unit Y of the targets and X_j of the features, θ_i = u_i φ_i, u_i = Y for the output layer, 1/X_j for
what multiplies feature j, and 1 elsewhere. Units are powers of two: nothing is rounded.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np

from ..inputs import Samples
from ..losses.problem import Problem
from ..networks import MLP, in_units
from ..support.powers import nearest_power_of_two
from .channels import Channel
from .coordinates import Coordinates
from .limit import Limit
from .limit_network import LimitNetwork
from .saturation import Saturation

Found = TypeVar("Found", bound=Channel | Limit | Saturation)


class Units:
    """A problem in units in which its targets have a spread, and its samples' features sizes, of about one.

    problem   in these units; the given one itself where they are all one
    scales    u (P,)
    outputs   Y
    features  X (d,)
    """

    def __init__(self, problem: Problem):
        self.given = self.problem = problem
        self.outputs, self.scales = 1.0, np.ones(problem.size)
        student, inputs = problem.student, problem.inputs
        if student is None or inputs is None:
            return
        samples, objective = inputs.samples, problem.objective
        self.features = np.ones(student.sizes[0])
        if objective.scalable:
            self.outputs = float(nearest_power_of_two(objective.spread))
            if samples is not None:
                self.features = nearest_power_of_two(np.sqrt(np.mean(samples.X**2, axis=0)))
        if self.outputs == 1.0 and (self.features == 1.0).all():
            return
        self.scales = in_units(student.with_flat(self.scales), self.outputs, 1.0 / self.features).flat()
        here = in_units(student, 1.0 / self.outputs, self.features)
        if samples is not None:
            scaled, targets = Samples(samples.X / self.features, samples.sample_weight), problem.targets
            assert targets is not None
            self.problem = Problem(targets / self.outputs, here, scaled, threads=problem._threads)
        elif isinstance(problem.teacher, MLP):
            teacher = in_units(problem.teacher, 1.0 / self.outputs, self.features)
            self.problem = Problem(teacher, here, inputs, reduce=problem.reduce)

    def of(self, theta: np.ndarray) -> np.ndarray:
        """A θ (P,) in these units."""
        return theta / self.scales

    def back(self, phi: np.ndarray) -> np.ndarray:
        """The θ (P,) of a point in these units."""
        return np.ascontiguousarray(phi * self.scales)

    def found(self, limit: Found) -> Found:
        """What was found in these units, as one of the given problem."""
        if self.problem is self.given:
            return limit
        loss = self.outputs**2
        # Components of a gradient have the units Y²/u_i: this bounds them all.
        changes: dict = {
            "loss": limit.loss * loss,
            "grad_norm": limit.grad_norm * loss * float(np.max(1.0 / np.append(self.scales, 1.0))),
        }
        if isinstance(limit, Saturation):
            changes["excess"] = limit.excess * loss
        elif isinstance(limit, Limit):
            changes["loss_error"] = limit.loss_error * loss
            changes["distance"] = limit.distance * self.outputs
            changes["network"] = self._network(limit.network)
            changes["approaches"] = tuple(
                dataclasses.replace(approach, slope=approach.slope * loss) for approach in limit.approaches
            )
        else:
            changes |= self._channel(limit)
        return dataclasses.replace(limit, **changes)

    def _network(self, network: LimitNetwork) -> LimitNetwork:
        weights = [np.array(W) for W in network.weights]
        weights[0][:, : self.features.size] /= self.features
        weights[-1] *= self.outputs
        return dataclasses.replace(network, weights=tuple(weights))

    def _channel(self, limit: Channel) -> dict:
        assert self.given.student is not None
        rows = np.append(1.0 / self.features, np.ones(limit.v.size - self.features.size))
        stretch = float(np.linalg.norm(limit.v * rows) / np.linalg.norm(limit.v))
        rest = Coordinates(self.given.student, limit.pair, limit.signs).rest
        return {
            "w": limit.w * rows,
            "v": limit.v * rows * self.outputs,
            "c": limit.c * self.outputs,
            "rest": limit.rest * self.scales[rest],
            "epsilon": limit.epsilon * stretch,
            "slope": limit.slope * self.outputs**2 / stretch**2,
            "loss_error": limit.loss_error * self.outputs**2,
        }
