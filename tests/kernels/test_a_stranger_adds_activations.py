"""`docs/how-to/add-activation.md`, done to a copy of the package: |z| and z/√(1+z²), right everywhere.

The copy runs in its own process (this file is the program): every other file is as it is here.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

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


def doubled(gf, network):
    """The same function with two ReLU neurons for one of |z|, and the matrix from θ to its parameters."""
    inputs, width, outputs = network.sizes
    bias = network.biases[0] is not None
    halves, twice = np.concatenate([np.eye(width), -np.eye(width)]), np.concatenate([np.eye(width)] * 2)
    parts = [np.kron(halves, np.eye(inputs)), np.kron(np.eye(outputs), twice)]
    if bias:
        parts = [parts[0], halves, parts[1], np.eye(outputs)]
    matrix = scipy.linalg.block_diag(*parts)
    relu = gf.MLP.random((inputs, 2 * width, outputs), "relu", bias=bias, seed=0)
    return relu.with_flat(matrix @ network.flat()), matrix


def the_absolute_value(gf):
    """Loss, gradient and Hessian are those of pairs of ReLU neurons, beside every activation and law."""
    rng = np.random.default_rng(0)
    C = np.array([[1.2, 0.3, 0.0], [0.3, 0.8, 0.2], [0.0, 0.2, 1.5]])
    laws = [
        gf.Gaussian(),
        gf.Gaussian(mean=[0.3, -0.5, 0.1], cov=C),
        gf.Mixture([gf.Gaussian(mean=[1.0, 0.0, 0.2]), gf.Gaussian(cov=C)], [0.3, 0.7]),
        rng.standard_normal((40, 3)),
    ]
    few = ("absolute", "relu", "erf", "gelu", "elu", "sin", "cube", "tanh", "isru")
    for partner, bias in itertools.product(gf.ACTIVATIONS, (False, True)):
        for law in laws if partner in few else laws[:1]:
            teacher = gf.MLP.random((3, 2, 2), partner, bias=bias, seed=1)
            student = gf.MLP.random((3, 3, 2), "absolute", bias=bias, seed=2)
            theta, reference = student.flat(), teacher
            if partner == "absolute":  # a neuron close to a teacher's
                theta[:3] = teacher.weights[0][0] + 1e-7 * rng.standard_normal(3)
                if bias:
                    theta[9] = teacher.biases[0][0] + 1e-8
                reference, _ = doubled(gf, teacher)
            other, matrix = doubled(gf, student.with_flat(theta))
            mine, theirs = (gf.Problem(t, s, inputs=law) for t, s in ((teacher, student), (reference, other)))
            there, objective = other.flat(), theirs.objective
            found = mine.loss(theta), mine.gradient(theta), mine.hessian(theta)
            slope, curvature = theirs.gradient(there), theirs.hessian(there)
            wanted = theirs.loss(there), matrix.T @ slope, matrix.T @ curvature @ matrix
            case, v = f"{partner}, {bias}, {law}", rng.standard_normal(theta.size)
            scale = max(1.0, objective.spread**2)
            for one, two in zip(found, wanted, strict=True):
                bound = 3e-13 * max(scale, np.abs(two).max())
                np.testing.assert_allclose(one, two, rtol=0, atol=bound, err_msg=case)
            bound = 1e-12 * np.abs(found[2]).max() * np.linalg.norm(v)
            np.testing.assert_allclose(mine.hvp(theta, v), found[2] @ v, rtol=0, atol=bound, err_msg=case)
            errors = mine.loss_error(theta), theirs.loss_error(there)
            assert mine.objective.kernel_error(theta) < 1e-13 and max(errors) < 1e-11 * scale, case
            assert abs(found[0] - wanted[0]) <= 2.0 * sum(errors) + 1e-15 * scale, case


def verdicts(gf):
    """Copies turned round, null vectors of scaling, no Hessian at w = 0, refusals in words."""
    teacher = gf.MLP([[[1.0, 0.0, 0.2], [0.3, 0.8, 0.0]], [[1.0, -0.7]]], None, "absolute")
    turned = gf.MLP([[[-1.0, 0.0, -0.2], [0.6, 1.6, 0.0]], [[1.0, -0.35]]], None, "absolute")
    result = gf.train(teacher, turned, solver=None)
    assert result.loss < 1e-14
    assert list(gf.landscape.neurons(result)["kind"]) == ["copy", "copy"]
    assert result.spectrum().symmetry_zeros == 2
    dead = gf.MLP([[[0.0, 0.0, 0.0], [0.6, 1.6, 0.0]], [[1.0, -0.35]]], None, "absolute")
    frozen = gf.train(teacher, dead, solver=None, rates=[0.0] * 3 + [1.0] * 5)
    with pytest.raises(gf.HessianUndefinedError, match="kinked"):
        frozen.hessian()
    with pytest.raises(gf.ArgumentError, match="erf neurons only, or relu neurons only"):
        gf.Problem(teacher, turned).objective.double_double(turned.flat())
    gf.Problem(teacher, turned, inputs=gf.Sphere()).loss(turned.flat())  # of degree 1
    with pytest.raises(gf.ArgumentError, match="homogeneous"):
        isru = gf.MLP(turned.weights, None, "isru")
        gf.Problem(isru, isru, inputs=gf.Sphere())
    result.save("absolute.h5")
    assert gf.load("absolute.h5").student.activations == (gf.ACTIVATIONS["absolute"],)
    teacher = gf.MLP(teacher.weights, None, "isru")
    turned = gf.MLP([-teacher.weights[0], -teacher.weights[1]], None, "isru")
    result = gf.train(teacher, turned, solver=None)
    assert list(gf.landscape.neurons(result)["kind"]) == ["copy", "copy"]


def expectations(gf, partner, theta, v, c, panels):
    """Loss, gradient and Hessian of one isru neuron beside one teacher neuron, by nodes in the plane.

    Panels along v end at its kink, the trapezoid rule across.
    """
    x, weight = np.polynomial.legendre.leggauss(20)
    size = np.linalg.norm(v)
    kink = min(max(-c / size, -8.9), 8.9)
    edges = np.concatenate([np.linspace(-9.0, kink, panels + 1), np.linspace(kink, 9.0, panels + 1)[1:]])
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    along, across = (middle[:, None] + half[:, None] * x).ravel(), np.arange(-9.0, 9.0, 0.05)
    weights = np.outer(
        (half[:, None] * weight).ravel() * np.exp(-0.5 * along**2), 0.05 * np.exp(-0.5 * across**2)
    )
    weights /= 2.0 * np.pi
    X, Y = np.meshgrid(along, across, indexing="ij")
    e = v / size
    points = np.stack([X * e[0] - Y * e[1], X * e[1] + Y * e[0], np.ones_like(X)], axis=-1)
    w, (a, d) = theta[:3], theta[3:]
    value, first, second = gf.ACTIVATIONS["isru"].derivatives(points @ w)
    residual = a * value + d - gf.ACTIVATIONS[partner](size * X + c)
    slopes = np.concatenate([a * first[..., None] * points, value[..., None], np.ones_like(X)[..., None]], -1)
    gradient = 2.0 * np.einsum("ij,ij,ijp", weights, residual, slopes)
    hessian = 2.0 * np.einsum("ij,ijp,ijq->pq", weights, slopes, slopes, optimize=True)
    bend = a * np.einsum("ij,ijp,ijq->pq", weights * residual * second, points, points, optimize=True)
    hessian[:3, :3] += 2.0 * bend
    hessian[:3, 3] += (turn := 2.0 * np.einsum("ij,ijp", weights * residual * first, points))
    hessian[3, :3] += turn
    return float((weights * residual**2).sum()), gradient, hessian


def the_square_root(gf):
    v, c = np.array([0.7, -0.4]), 0.3
    plain = np.array([0.9, 0.5, -0.2, 1.3, 0.1])
    cases = [(name, plain, v, c, 12) for name in gf.ACTIVATIONS if name not in ("absolute", "exp")]
    steep = np.array([30.0 * 0.7, -30.0 * 0.401, 3.0, 1.1, 0.0])
    cases += [("isru", steep, 25.0 * v, 6.0, 300), ("isru", np.append(v + 1e-6, [c, 1.0, 0.0]), v, c, 12)]
    for partner, theta, v, c, panels in cases:
        teacher = gf.MLP([v[None], [[1.0]]], [[c], None], partner)
        student = gf.MLP.random((2, 1, 1), "isru", seed=0)
        problem = gf.Problem(teacher, student)
        found = problem.loss(theta), problem.gradient(theta), problem.hessian(theta)
        for one, two in zip(found, expectations(gf, partner, theta, v, c, panels), strict=True):
            np.testing.assert_allclose(
                one, two, rtol=0, atol=2e-12 * max(1.0, np.abs(two).max()), err_msg=partner
            )
        assert problem.objective.kernel_error(theta) < 1e-13, partner


if __name__ == "__main__":
    import gradflow

    assert Path(gradflow.__file__).parents[1] == Path.cwd()
    for part in (facts, the_absolute_value, the_square_root, verdicts):
        part(gradflow)
        print(part.__name__)
    print("right")
