"""Population losses: gradient, Hessian and product against jitted JAX, the bare matrix products, mpmath.

    python -m benchmarks population [--rounds 7] [--largest 5] [--no-accuracy]

One process, pinned to one core. "JAX" is automatic differentiation of the same closed form, jitted,
compiled before it is timed. `--largest 3` leaves out the sizes with 200 and 1000 neurons. At (50, 100, 101)
JAX's Hessian is timed by 64 of its 5100 columns and scaled. Aims: gradient 3× JAX at the smallest and the
two largest sizes, 6× at (50, 100, 101); Hessian 20×; gradient at n = k = 1000 at most 1.6× the time of the
matrix products it needs; product at most 2.5 gradients, each further one at the same θ at most 1.6; gradient
with hidden biases at most 5 times that without (erf, relu).
With all sizes the memory of one gradient at the largest is measured in processes of their own.
"""

from __future__ import annotations

import argparse
import itertools
import os

import numpy as np

from . import _population_expansions, _population_memory, _timing

SIZES = ((3, 8, 9), (10, 20, 21), (50, 100, 101), (200, 400, 401), (1000, 1000, 1001))
ACTIVATIONS = ("erf", "relu")
PRODUCTS = "matrix products"
COLUMNS = 64
BIASED, BIASES = (10, 20, 21), ("biased", "bias-free")
BIASED_ACTIVATIONS = (*ACTIVATIONS, "elu", "selu")


def closed_form(activation: str, teacher: np.ndarray, outputs: np.ndarray):
    """The textbook formula of L(θ) in jax.numpy, for orthonormal teachers."""
    import jax.numpy as jnp

    def kernel(w, v):
        s, t = jnp.sum(w * w, axis=1)[:, None], jnp.sum(v * v, axis=1)[None, :]
        q = w @ v.T
        if activation == "erf":
            return 2 / jnp.pi * jnp.arcsin(q / jnp.sqrt((1 + s) * (1 + t)))
        same = q * q >= (1 - 1e-14) * s * t
        cosine = jnp.where(same, 0.0, q / jnp.sqrt(s * t))
        bracket = jnp.sqrt(1 - cosine**2) + (jnp.pi - jnp.arccos(cosine)) * cosine
        return jnp.where(same, 0.5 * q, jnp.sqrt(s * t) * bracket / (2 * jnp.pi))

    def loss(theta):
        n = theta.size // (teacher.shape[1] + 1)
        w, a = theta[:-n].reshape(n, -1), theta[-n:]
        own, other = a @ kernel(w, w) @ a, a @ kernel(w, teacher) @ outputs
        return own - 2 * other + outputs @ kernel(teacher, teacher) @ outputs

    return loss


def measure(activation: str, n: int, k: int, d: int, rounds: int) -> dict:
    """Seconds and ratios of one activation at one size."""
    import jax
    import jax.numpy as jnp

    import gradflow as gf
    from gradflow.losses.population import PopulationLoss

    teacher = gf.teachers.orthonormal(k, d, activation=activation)
    student = gf.MLP.random((d, n, 1), activation, bias=False, seed=0)
    loss = PopulationLoss(student, teacher, gf.Gaussian())
    theta = student.flat()
    v = np.random.default_rng(1).standard_normal(theta.size)
    W, V = np.asarray(student.weights[0]), np.asarray(teacher.weights[0])
    own, other = np.ones((n, n)), np.ones((n, k))
    function = closed_form(activation, V, np.asarray(teacher.weights[1])[0])
    jax_gradient = jax.jit(jax.value_and_grad(function))
    x = jnp.asarray(theta)
    difference = np.abs(np.asarray(jax_gradient(x)[1]) - loss.gradient(theta)).max()

    points = itertools.cycle([theta, np.nextafter(theta, 9.0)])  # never twice the same: nothing is kept

    def two_products():
        point = next(points)
        return loss.hvp(point, v), loss.hvp(point, v)

    competitors = {
        "gradient": lambda: loss.loss_and_gradient(theta),
        "product": lambda: loss.hvp(next(points), v),
        "two products": two_products,
        PRODUCTS: lambda: (W @ W.T, W @ V.T, own @ W, other @ V),
        "JAX gradient": lambda: jax.block_until_ready(jax_gradient(x)),
    }
    timings = _timing.in_turn(competitors, rounds=rounds, shortest=0.01)
    result = {
        "timings": timings.as_dict(),
        "difference_from_jax": float(difference),
        "jax_over_gradient": timings.ratio("JAX gradient", "gradient"),
        "gradient_over_products": timings.ratio("gradient", PRODUCTS),
        "product_over_gradient": timings.ratio("product", "gradient"),
        "further_product_over_gradient": timings.ratio("two products", "gradient")
        - timings.ratio("product", "gradient"),
    }
    size = theta.size
    if size <= 6000:
        columns = min(COLUMNS, size) if size > 1000 else size
        push = jax.grad(function)
        directions = jnp.eye(size)[:columns]
        jax_columns = jax.jit(jax.vmap(lambda t, u: jax.jvp(push, (t,), (u,))[1], (None, 0)))
        hessians = _timing.in_turn(
            {
                "Hessian": lambda: loss.all_derivatives(theta),
                "JAX columns": lambda: jax.block_until_ready(jax_columns(x, directions)),
            },
            rounds=rounds,
        )
        scale = size / columns
        result["hessian"] = hessians.as_dict()
        result["jax_columns_of"] = [columns, size]
        result["jax_over_hessian"] = scale * hessians.ratio("JAX columns", "Hessian")
    return result


def biased(shape: tuple[int, int, int], rounds: int) -> dict:
    """Gradients of losses with hidden biases beside those without, at the same weights."""
    import gradflow as gf
    from gradflow.losses.population import PopulationLoss

    n, k, d = shape
    rng = np.random.default_rng(1)
    student, teacher = rng.standard_normal(n), rng.standard_normal(k)
    competitors = {}
    for activation, kind in itertools.product(BIASED_ACTIVATIONS, BIASES):
        other = gf.teachers.orthonormal(k, d, activation=activation)
        own = gf.MLP.random((d, n, 1), activation, bias=False, seed=0)
        if kind == "biased":
            own = gf.MLP(own.weights, [student, None], activation)
            other = gf.MLP(other.weights, [teacher, None], activation)
        loss, theta = PopulationLoss(own, other, gf.Gaussian()), own.flat()
        competitors[f"{activation} {kind}"] = lambda loss=loss, theta=theta: loss.loss_and_gradient(theta)
    timings = _timing.in_turn(competitors, rounds=rounds, shortest=0.01)
    found: dict = {"timings": timings.as_dict(), "shape": shape}
    for activation in BIASED_ACTIVATIONS:
        found[activation] = timings.ratio(*(f"{activation} {kind}" for kind in BIASES))
    return found


def report_biased(found: dict) -> str:
    """One line per activation."""
    lines = []
    for activation in BIASED_ACTIVATIONS:
        times = (1e6 * found["timings"][f"{activation} {kind}"]["median"] for kind in BIASES)
        line = "  {:<5} {!s:<18} gradient with hidden biases {:.1f} µs, without {:.1f} µs (×{:.1f})"
        lines.append(line.format(activation, found["shape"], *times, found[activation]))
    return "\n".join(lines)


def report(activation: str, shape: tuple[int, int, int], found: dict) -> str:
    """One line per activation and size."""

    def microseconds(table: str, name: str) -> float:
        return 1e6 * found[table][name]["median"]

    line = f"  {activation:<5} {shape!s:<18} gradient {microseconds('timings', 'gradient'):>10.1f} µs"
    line += f" (JAX ×{found['jax_over_gradient']:.1f}, {found['gradient_over_products']:.2f} of the products)"
    line += f"  product {found['product_over_gradient']:.2f} gradients"
    line += f", further ones {found['further_product_over_gradient']:.2f}"
    if "hessian" in found:
        line += (
            f"  Hessian {microseconds('hessian', 'Hessian'):.0f} µs (JAX ×{found['jax_over_hessian']:.0f})"
        )
    return line


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks population")
    parser.add_argument("--rounds", type=int, default=7, help="at least 7")
    parser.add_argument("--largest", type=int, default=len(SIZES), help="how many sizes, smallest first")
    parser.add_argument("--no-accuracy", action="store_true", help="leave out the comparison with mpmath")
    options = parser.parse_args(argv)
    if options.rounds < 7:
        parser.error("--rounds: at least 7")

    if hasattr(os, "sched_setaffinity"):  # before any library has counted cores
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    facts = _timing.machine()
    print(_timing.describe(facts))
    results: dict = {}
    if not options.no_accuracy:
        from . import _population_accuracy, _population_closed_forms

        results["accuracy"] = _population_accuracy.table()
        print(_population_accuracy.describe(results["accuracy"]))
        results["accuracy of other closed forms"] = _population_closed_forms.table()
        print(_population_closed_forms.describe(results["accuracy of other closed forms"]), flush=True)
        results["accuracy without closed forms"] = _population_expansions.accuracy()
        print(_population_expansions.describe(results["accuracy without closed forms"]))
    from threadpoolctl import threadpool_limits

    for activation in ACTIVATIONS:
        for shape in SIZES[: options.largest]:
            with threadpool_limits(1):
                found = measure(activation, *shape, options.rounds)
            results[f"{activation} {shape}"] = found
            print(report(activation, shape, found), flush=True)
    for shape in SIZES[: options.largest]:
        with threadpool_limits(1):
            found = _population_expansions.measure(shape, options.rounds)
        results[f"no closed form {shape}"] = found
        print(_population_expansions.report(shape, found), flush=True)
    with threadpool_limits(1):
        results["biases"] = biased(BIASED, options.rounds)
    print(report_biased(results["biases"]), flush=True)
    if options.largest == len(SIZES):
        results["memory"] = _population_memory.measure()
        print(_population_memory.report(results["memory"]), flush=True)
    print(f"written: {_timing.write('population', results, facts)}")
