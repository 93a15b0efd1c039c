"""One step of a diffrax method for the compiled loop: exact Jacobians and a sound Newton test.

diffrax supplies the method (`solver.step`), jitted for every number of parameters; the loop around it, with
its error control, limits and records, is the one that all methods share.
"""

from __future__ import annotations

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx

from ..support.errors import ArgumentError


class _NewtonState(eqx.Module):
    operator: lx.AbstractLinearOperator
    factors: Any
    size: jax.Array
    previous_size: jax.Array
    step: jax.Array


class StageNewton(optx.AbstractRootFinder):
    """Simplified Newton for f = F(y + aΔt f), with the exact matrix I + aΔt r ⊙ ∇²L of the step.

    The increment is measured in θ, as aΔt·|δf| in units of the tolerance, whatever the size of f: late in a
    flow f is far below it and Δt is huge. The stage is solved when the increment, or the remaining
    error that its rate of decrease implies, is below `kappa` of the tolerance. An increment below
    `kappa` counts at once, because at round-off it decreases no further.

    This replaces diffrax 0.7.2's `VeryChord`, which with optimistix 0.1.0 gives up after two
    iterations and triples the number of steps (diffrax PR 754, optimistix PR 230).

    hessian (P, P) at the beginning of the step; scale (P,) = 1/(the error allowed)
    """

    rtol: float = 0.0
    atol: float = 0.0
    norm: Any = optx.rms_norm
    hessian: Any = None
    scale: Any = None
    kappa: float = 1e-2

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        if "init_state" in options:  # the Jacobian formed at the first implicit stage of the step
            return options["init_state"]
        _, diagonal, _, _, _, _, (_, rates), dt = args
        operator = lx.MatrixLinearOperator(jnp.eye(y.size) + (diagonal * dt) * rates[:, None] * self.hessian)
        infinity = jnp.array(jnp.inf)
        return _NewtonState(operator, lx.LU().init(operator, {}), infinity, infinity, jnp.array(0))

    def step(self, fn, y, args, options, state, tags):
        _, diagonal, _, _, _, _, _, dt = args
        residual, aux = fn(y, args)
        increment = lx.linear_solve(state.operator, residual, lx.LU(), state=state.factors, throw=False).value
        size = self.norm(diagonal * dt * increment * self.scale)
        new = _NewtonState(state.operator, state.factors, size, state.size, state.step + 1)
        return y - increment, new, aux

    def terminate(self, fn, y, args, options, state, tags):
        rate = state.size / state.previous_size
        second = state.step >= 2
        remaining = state.size * rate / (1 - rate)
        converged = (state.step >= 1) & (
            (state.size < self.kappa) | (second & (rate < 1) & (remaining < self.kappa))
        )
        bad = (state.step >= 1) & ~jnp.isfinite(state.size)
        diverged = bad | (second & (rate >= 2))
        failed = diverged & ~converged
        result = optx.RESULTS.where(failed, optx.RESULTS.nonlinear_divergence, optx.RESULTS.successful)
        return converged | failed, result

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}


def _vector_field(t, theta, args):
    oracle, rates = args
    return -rates * oracle.loss_and_gradient(theta)[1]


_TERM = diffrax.ODETerm(_vector_field)


def _step(name: str, oracle, rates, theta, velocity, hessian, scale, length):
    """θ and θ' after a step, its error in units of the tolerance, and whether it failed.

    name   of the class in diffrax
    """
    kind = getattr(diffrax, name)
    implicit = issubclass(kind, diffrax.AbstractImplicitSolver)
    method = kind(root_finder=StageNewton(hessian=hessian, scale=scale)) if implicit else kind()
    args, start = (oracle, rates), jnp.zeros(())
    state = method.init(_TERM, start, length, theta, args)
    if state is not None:
        state = (False, velocity)
    new, error, _, state, outcome = method.step(_TERM, start, length, theta, args, state, False)
    # θ' as the last stage solved for it: in stiff directions it is smooth to the tolerance, where
    # −r ⊙ ∇L amplifies the error of θ by the largest curvature.
    slope = _vector_field(length, new, args) if state is None else state[1]
    return new, slope, jnp.sqrt(jnp.mean((error * scale) ** 2)), outcome != diffrax.RESULTS.successful


step = jax.jit(_step, static_argnames="name")


def prepared(name: str, objective, rates: np.ndarray):
    """`step` for one problem, compiled: a function of θ, θ', ∇²L, the scale and the length."""
    if objective.oracle is None:
        raise ArgumentError("solver", f"diffrax.{name}", "an objective that JAX can trace, or another solver")
    size = rates.size
    program: tuple = name, objective.oracle, jnp.asarray(rates)
    zeros = jnp.zeros(size)
    implicit = issubclass(getattr(diffrax, name), diffrax.AbstractImplicitSolver)
    matrix = jnp.zeros((size, size)) if implicit else None
    step.lower(*program, zeros, zeros, matrix, zeros, jnp.zeros(())).compile()
    return functools.partial(step, *program)
