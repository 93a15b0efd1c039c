"""`docs/how-to/add-activation.md`, done to a copy of the package: |z| and z/√(1+z²), right everywhere.

The copy runs in its own process (this file is the program): every other file is as it is here.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "add-activation.md"
BLOCK = re.compile(r"^```\{code-block\} python\n:caption: (\S+)\n(.*?)^```$", re.M | re.S)


def add_to(copy: Path) -> set[str]:
    """Paste what the page shows; which files were touched."""
    touched = set()
    for place, code in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        path = copy / place
        text = path.read_text(encoding="utf-8")
        if place.endswith("activation_table.py"):
            end = text.index(")  # fmt: skip\n", text.index("RECORDS = ("))
            text = text[:end] + code + text[end:]
        else:
            text += "\n\n" + code
        path.write_text(text, encoding="utf-8")
        touched.add(place)
    return touched


@pytest.mark.slow  # compiles every pair kernel afresh where nothing is kept
def test_both_are_right_everywhere(tmp_path):
    shutil.copytree(ROOT / "gradflow", tmp_path / "gradflow", ignore=shutil.ignore_patterns("__pycache__"))
    assert add_to(tmp_path) == {f"gradflow/kernels/activation_{file}.py" for file in ("table", "blocks")}
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, __file__], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split()[-1] == "right"


def facts(gf):
    absolute, isru = (gf.ACTIVATIONS[name] for name in ("absolute", "isru"))
    assert (absolute.symmetry, absolute.degree, absolute.record.jump) == ("even", 1, 2.0)
    assert absolute.record.is_straight and not absolute.record.sleeps
    assert (isru.symmetry, isru.degree, isru.record.jump) == ("odd", None, 0.0)
    assert "|z|" in gf.Activation.__doc__ and "isru" in gf.Activation.__doc__
    z = np.array([-1e200, -3.0, -0.2, 0.4, 7.0, 1e200])
    np.testing.assert_array_equal(absolute(z), np.abs(z))
    q = 1.0 / np.hypot(1.0, z)
    for found, true in zip(isru.derivatives(z), (z * q, q**3, -3.0 * z * q**5), strict=True):
        np.testing.assert_allclose(found, true, rtol=4e-15, atol=1e-295)
    import jax
    import jax.numpy as jnp

    for sigma in (absolute, isru):
        traced = [float(f(jnp.asarray(-0.7))) for f in (sigma, jax.grad(sigma))]
        np.testing.assert_allclose(traced, [float(f) for f in sigma.derivatives(-0.7, 1)], rtol=1e-14)


def doubled(gf, problem, student, theta, width, inputs_dim, outputs, bias):
    """The same function with each |z| neuron as two of ReLU, and the matrix of its parameters by θ's."""
    halves = np.concatenate([np.eye(width), -np.eye(width)])
    parts = [np.kron(halves, np.eye(inputs_dim))]
    if bias:
        parts.append(halves)
    parts.append(np.kron(np.eye(outputs), np.concatenate([np.eye(width)] * 2)))
    if bias:
        parts.append(np.eye(outputs))
    matrix = np.zeros((sum(p.shape[0] for p in parts), sum(p.shape[1] for p in parts)))
    row = column = 0
    for part in parts:
        matrix[row : row + part.shape[0], column : column + part.shape[1]] = part
        row, column = row + part.shape[0], column + part.shape[1]
    return gf.MLP.random((inputs_dim, 2 * width, outputs), "relu", bias=bias, seed=0), matrix


def the_absolute_value(gf):
    """Loss, gradient and Hessian are those of pairs of ReLU neurons, beside every activation."""
    rng = np.random.default_rng(0)
    C = np.array([[1.2, 0.3, 0.0], [0.3, 0.8, 0.2], [0.0, 0.2, 1.5]])
    laws = [
        gf.Gaussian(),
        gf.Gaussian(mean=[0.3, -0.5, 0.1], cov=C),
        gf.Mixture([gf.Gaussian(mean=[1.0, 0.0, 0.2]), gf.Gaussian(cov=C)], [0.3, 0.7]),
        rng.standard_normal((40, 3)),
    ]
    for partner in gf.ACTIVATIONS:
        for bias in (False, True):
            for law in laws if partner in ("absolute", "relu", "erf", "gelu", "tanh", "isru") else laws[:1]:
                teacher = gf.MLP.random((3, 2, 2), partner, bias=bias, seed=1)
                if partner == "absolute":  # a student neuron close to a teacher's
                    student = gf.MLP.random((3, 3, 2), "absolute", bias=bias, seed=2)
                    theta = student.flat()
                    theta[:3] = teacher.weights[0][0] + 1e-7 * rng.standard_normal(3)
                    if bias:
                        theta[9] = teacher.biases[0][0] + 1e-8
                else:
                    student = gf.MLP.random((3, 3, 2), "absolute", bias=bias, seed=2)
                    theta = student.flat()
                other, matrix = doubled(gf, None, student, theta, 3, 3, 2, bias)
                if partner == "absolute":
                    two, across = doubled(gf, None, teacher, None, 2, 3, 2, bias)
                    reference = two.with_flat(across @ teacher.flat())
                else:
                    reference = teacher
                mine, theirs = (
                    gf.Problem(teacher, student, inputs=law),
                    gf.Problem(reference, other, inputs=law),
                )
                there = matrix @ theta
                wanted = (
                    theirs.loss(there),
                    matrix.T @ theirs.gradient(there),
                    matrix.T @ theirs.hessian(there) @ matrix,
                )
                found = mine.loss(theta), mine.gradient(theta), mine.hessian(theta)
                v = rng.standard_normal(theta.size)
                scale = 1.0 + theirs.objective.spread**2
                for a, b in zip(found, wanted, strict=True):
                    bound = 2e-13 * max(scale, np.abs(b).max())
                    np.testing.assert_allclose(a, b, rtol=0, atol=bound, err_msg=f"{partner} {bias} {law}")
                np.testing.assert_allclose(mine.hvp(theta, v), found[2] @ v, rtol=1e-10, atol=1e-11 * scale)
                assert mine.objective.kernel_error(theta) < 1e-13
                assert abs(found[0] - wanted[0]) <= 2 * (mine.loss_error(theta) + theirs.loss_error(there))


def verdicts_about_the_absolute_value(gf):
    teacher = gf.MLP([[[1.0, 0.0, 0.2], [0.3, 0.8, 0.0]], [[1.0, -0.7]]], None, "absolute")
    mirrored = gf.MLP([[[-1.0, 0.0, -0.2], [0.6, 1.6, 0.0]], [[1.0, -0.35]]], None, "absolute")
    result = gf.train(teacher, mirrored, solver=None)
    assert result.loss < 1e-14
    kinds = [row["kind"] for row in gf.landscape.neurons(result)]
    assert kinds == ["copy", "copy"], kinds
    assert result.spectrum().symmetries >= 2 if hasattr(result.spectrum(), "symmetries") else True
    zero = gf.MLP([[[0.0, 0.0, 0.0], [0.6, 1.6, 0.0]], [[0.0, -0.35]]], None, "absolute")
    with pytest.raises(gf.errors.HessianUndefinedError if hasattr(gf, "errors") else Exception, match="kink"):
        gf.train(
            teacher, zero, solver=None, refiner=None if False else gf.refiners.LBFGS(max_iterations=0)
        ).hessian()
