"""optimistix's quasi-Newton methods one step at a time, so that our own rules stop them."""

from __future__ import annotations

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.progress import Monitor
from ..support.x64 import require_x64

STALLED = 60
"""Rejected trial steps in a row: the line search has halved its step below rounding."""


@jax.custom_jvp
def _loss(oracle, theta):
    return oracle.loss_and_gradient(theta)[0]


@_loss.defjvp
def _loss_jvp(primals, tangents):
    oracle, theta = primals
    loss, gradient = oracle.loss_and_gradient(theta)
    return loss, gradient @ tangents[1]


def _function(theta, oracle):
    return _loss(oracle, theta), None


_NO_TAGS: frozenset = frozenset()


@eqx.filter_jit
def _start(method, oracle, theta):
    struct = jax.ShapeDtypeStruct((), jnp.float64)
    return method.init(_function, theta, oracle, {}, struct, None, _NO_TAGS)


@eqx.filter_jit
def _step(method, oracle, theta, state):
    theta, state, _ = method.step(_function, theta, oracle, {}, state, _NO_TAGS)
    stop, _ = method.terminate(_function, theta, oracle, {}, state, _NO_TAGS)
    return theta, state, stop, state.num_accepted_steps


def stalls(
    objective: Objective, theta: np.ndarray, history: int | None, monitor: Monitor
) -> Iterator[np.ndarray]:
    """The accepted points of one run from `theta`, until it stalls."""
    require_x64()
    if objective.oracle is None:
        raise ArgumentError(
            "refiner", "BFGS of optimistix", "an objective that JAX can trace, or another refiner"
        )
    method: optx.BFGS | optx.LBFGS
    if history is None:
        method = optx.BFGS(rtol=1e-300, atol=1e-300)
    else:
        method = optx.LBFGS(rtol=1e-300, atol=1e-300, history_length=history)
    oracle, point = objective.oracle, jnp.asarray(theta)
    with monitor.compiling():
        state = _start(method, oracle, point)
    accepted, rejected = 0, 0
    while rejected < STALLED:
        with monitor.compiling():
            point, state, stop, count = _step(method, oracle, point, state)
        if int(count) > accepted:
            accepted, rejected = int(count), 0
            yield np.array(point)
        else:
            rejected += 1
        if bool(stop):
            return
