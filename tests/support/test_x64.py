"""JAX switched to 32 bits after `import gradflow`: every road through JAX says so at its door."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradflow as gf
from gradflow import ArgumentError
from gradflow.theory import run

TEACHER = gf.teachers.orthonormal(2, 2)
STUDENT = gf.MLP.random((2, 2, 1), "erf", False, seed=0)


def bowl(theta):
    return ((theta - 1.0 / 3.0) ** 2).sum()


def made_before():
    """Objects made while all was well."""
    return gf.Problem.from_jax(bowl, np.zeros(3)), gf.Problem(TEACHER, STUDENT)


DOORS = {
    "from_jax": lambda jaxed, own: gf.Problem.from_jax(bowl, np.zeros(3)),
    "loss": lambda jaxed, own: jaxed.loss(np.zeros(3)),
    "gradient": lambda jaxed, own: jaxed.gradient(np.zeros(3)),
    "hessian": lambda jaxed, own: jaxed.hessian(np.zeros(3)),
    "hvp": lambda jaxed, own: jaxed.hvp(np.zeros(3), np.ones(3)),
    "flow": lambda jaxed, own: gf.train(jaxed, refiner=None),
    "refinement": lambda jaxed, own: gf.train(jaxed, solver=None),
    "oracle": lambda jaxed, own: own.objective.oracle.loss_and_gradient(jnp.zeros(6)),
    "diffrax": lambda jaxed, own: gf.train(own, solver=gf.solvers.diffrax.Kvaerno3(), refiner=None),
    "diffrax, explicit": lambda jaxed, own: gf.train(own, solver="diffrax.Tsit5", refiner=None),
    "BFGS": lambda jaxed, own: gf.train(own, solver=None, refiner=gf.refiners.BFGS()),
    "optimistix L-BFGS": lambda jaxed, own: gf.train(own, solver=None, refiner=gf.refiners.BFGS(history=5)),
    "network": lambda jaxed, own: STUDENT(jnp.ones((3, 2))),
    "traced network": lambda jaxed, own: jax.jit(lambda t: STUDENT.with_flat(t).flat())(np.zeros(6)),
    "traced leaves": lambda jaxed, own: jax.tree.map(jnp.asarray, STUDENT).flat(),
    "activation": lambda jaxed, own: gf.ACTIVATIONS["tanh"](jnp.ones(3)),
    "polynomial": lambda jaxed, own: gf.Polynomial([0.0, 1.0, 2.0])(jnp.ones(3)),
    "check": lambda jaxed, own: list(run("duplicates")),
}


@pytest.fixture(scope="module")
def objects():
    return made_before()


@pytest.mark.parametrize("door", DOORS)
def test_every_road_through_jax_asks_for_64_bits(door, objects):
    with jax.enable_x64(False), pytest.raises(ArgumentError, match="^jax_enable_x64: got False.*update"):
        DOORS[door](*objects)


def test_roads_without_jax_go_on(objects):
    theta = STUDENT.flat()
    with jax.enable_x64(False):
        again = gf.Problem(TEACHER, STUDENT).loss_and_gradient(theta)
        outputs = STUDENT(np.ones((3, 2)))
    expected = objects[1].loss_and_gradient(theta)
    assert again[0] == expected[0] and (again[1] == expected[1]).all()
    assert (outputs == STUDENT(np.ones((3, 2)))).all()


def test_the_setting_of_the_process_counts_as_well(objects):
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ArgumentError, match="^jax_enable_x64"):
            objects[0].loss(np.zeros(3))
    finally:
        jax.config.update("jax_enable_x64", True)
    assert objects[0].loss(np.zeros(3)) == pytest.approx(1.0 / 3.0, rel=1e-15)
