"""Activations without a closed form: time beside erf and Gauss–Hermite quadrature, errors of the kernels.

The truth of the errors is the trapezoid rule in the plane of two weight vectors, in NumPy's extended
precision (64 bits) with a step that makes its own error 1e-18; tests compare with mpmath.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.special

from . import _timing

ACTIVATIONS = ("softplus", "tanh", "g")
CLOSENESS = ("random", "near")
NORM, NEARNESS = 3.0, 1e-2
QUADRATURE_NODES, QUADRATURE_PAIRS = 600, 4
STRIPS = {"softplus": np.pi, "sigmoid": np.pi, "silu": np.pi, "tanh": np.pi / 2, "g": np.pi / 4}


def networks(activation: str, shape: tuple[int, int, int], closeness: str):
    """A teacher of orthogonal vectors of norm 3, a student of norms 1 … 3, random or within 1e-2 of it."""
    import gradflow as gf

    n, k, d = shape
    rng = np.random.default_rng(0)
    V = NORM * np.eye(d)[:k]
    sizes = NORM * rng.uniform(1 / 3, 1.0, n)[:, None]
    directions = rng.standard_normal((n, d))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    if closeness == "near":
        directions = np.eye(d)[:n] + 0.5 * NEARNESS * directions
    W = sizes * directions
    student, teacher = [W, np.ones((1, n))], [V, np.ones((1, k))]
    return gf.MLP(student, activation=activation), gf.MLP(teacher, activation=activation)


def quadrature(activation: str, w: np.ndarray, v: np.ndarray, points: np.ndarray, weights: np.ndarray):
    """E στ, E σ'τ' and E σ''τ by the product Gauss–Hermite rule of 600 × 600 nodes."""
    from gradflow.activations import resolve

    r, along = np.linalg.norm(w), w @ v / np.linalg.norm(w)
    across = np.sqrt(max(0.0, v @ v - along * along))
    s = resolve(activation).derivatives(r * points, 2)
    t = resolve(activation).derivatives(along * points[:, None] + across * points[None, :], 1)
    inner = [f @ weights for f in t]
    return weights @ (s[0] * inner[0]), weights @ (s[1] * inner[1]), weights @ (s[2] * inner[0])


def measure(shape: tuple[int, int, int], rounds: int) -> dict:
    """Gradients of the three activations beside erf's, and quadrature of some pairs, scaled to all."""
    import gradflow as gf
    from gradflow.losses.population import PopulationLoss

    losses = {}
    for activation, closeness in itertools.product(("erf", *ACTIVATIONS), CLOSENESS):
        student, teacher = networks(activation, shape, closeness)
        losses[f"{activation} {closeness}"] = PopulationLoss(student, teacher, gf.Gaussian()), student.flat()
    competitors = {
        name: (lambda loss=loss, theta=theta: loss.loss_and_gradient(theta))
        for name, (loss, theta) in losses.items()
    }
    timings = _timing.in_turn(competitors, rounds=rounds, shortest=0.01)
    points, weights = scipy.special.roots_hermitenorm(QUADRATURE_NODES)
    weights = weights / weights.sum()
    student, teacher = networks("tanh", shape, "random")
    W, V = np.asarray(student.weights[0]), np.asarray(teacher.weights[0])

    def pairs():
        for j in range(QUADRATURE_PAIRS):
            quadrature("tanh", W[0], V[j], points, weights)

    n, k, _ = shape
    slow = _timing.median_seconds(pairs, shortest=0.01) * n * (n + k) / QUADRATURE_PAIRS
    found: dict = {"timings": timings.as_dict(), "gauss_hermite_seconds_scaled": slow}
    for activation, closeness in itertools.product(ACTIVATIONS, CLOSENESS):
        name = f"{activation} {closeness}"
        loss, theta = losses[name]
        found[name] = {
            "over_erf": timings.ratio(name, f"erf {closeness}"),
            "gauss_hermite_over": slow / timings.as_dict()[name]["median"],
            "estimated_error": loss.kernel_error(theta),
        }
    return found


def report(shape: tuple[int, int, int], found: dict) -> str:
    """One line per activation and closeness."""
    lines = []
    for activation, closeness in itertools.product(ACTIVATIONS, CLOSENESS):
        row = found[f"{activation} {closeness}"]
        microseconds = 1e6 * found["timings"][f"{activation} {closeness}"]["median"]
        lines.append(
            f"  {activation:<8} {shape!s:<18} {closeness:<6} gradient {microseconds:>10.1f} µs, "
            f"{row['over_erf']:.1f} × erf, Gauss–Hermite (scaled) × {row['gauss_hermite_over']:.0f}, "
            f"estimated error {row['estimated_error']:.1e}"
        )
    return "\n".join(lines)


def _formulas(activation: str, z: np.ndarray):
    """σ, σ', σ'' in the precision of z."""

    def logistic(x):
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e), e / (1 + e) ** 2, np.copysign((1 - e) / (1 + e), x)

    s, slope, t = logistic(z)
    soft = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    if activation == "softplus":
        return soft, s, slope
    if activation == "sigmoid":
        return s, slope, -slope * t
    if activation == "silu":
        return z * s, s + z * slope, slope * (2 - z * t)
    if activation == "tanh":
        _, slope2, t2 = logistic(2 * z)
        return t2, 4 * slope2, -8 * slope2 * t2
    if activation == "g":
        s4, slope4, t4 = logistic(4 * z)
        return s4 + soft, 4 * slope4 + s, slope - 16 * slope4 * t4
    raise ValueError(activation)


def truth(activation: str, w: np.ndarray, v: np.ndarray) -> dict:
    """K, ∂_w K, ∂_w∂_w K, ∂_w∂_v K in three dimensions."""
    real = np.longdouble
    w, v = w.astype(real), v.astype(real)
    r = np.sqrt(w @ w)
    first = w / r
    across = v - (v @ first) * first
    across = v - (v @ first) * first - (across @ first) * first
    q, s = v @ first, np.sqrt(across @ across)
    second = across / s
    step = min(1 / 8, 2 * np.pi * STRIPS[activation] / float(max(r, np.sqrt(v @ v))) / 48)
    count = int(np.ceil(9.6 / step))
    x = np.arange(-count, count + 1).astype(real) * real(step)
    weight = np.exp(-x * x / 2)
    weight /= weight.sum()
    f = _formulas(activation, r * x)
    moments = np.zeros((3, 2, 3, 3), dtype=real)
    for start in range(0, x.size, 256):
        part = slice(start, start + 256)
        t = _formulas(activation, q * x[part, None] + s * x[None, :])[:2]
        for i, m in np.ndindex(2, 3):
            inner = t[i] @ (weight * x**m)
            for k, l in np.ndindex(3, 3):
                moments[k, i, l, m] += np.sum(weight[part] * x[part] ** l * f[k][part] * inner)
    frame = np.stack([first, second])

    def matrix(k, i):
        e = moments[k, i]
        plane = np.array([[e[2, 0], e[1, 1]], [e[1, 1], e[0, 2]]])
        return frame.T @ plane @ frame + e[0, 0] * (np.eye(3) - frame.T @ frame)

    own = np.array([moments[1, 0, 1, 0], moments[1, 0, 0, 1]]) @ frame
    return {
        "value": moments[0, 0, 0, 0], "first derivative": own, "own block": matrix(2, 0),
        "cross block": matrix(1, 1), "square": (weight * f[0] ** 2).sum(),
    }  # fmt: skip


def pairs(rng):
    """(kind, w, v) in three dimensions."""
    for size in (1e-3, 0.3, 1.0, 3.0):
        w, v = rng.standard_normal((2, 3))
        yield f"random, norm {size:g}", size * w / np.linalg.norm(w), size * v / np.linalg.norm(v)
    w, v = rng.standard_normal((2, 3))
    yield "random, norm 10", 10 * w / np.linalg.norm(w), 10 * v / np.linalg.norm(v)
    for size, exponent, sign in itertools.product((1.0, 3.0), (1, 2, 4, 8, 15), (1, -1)):
        w = rng.standard_normal(3)
        w *= size / np.linalg.norm(w)
        across = np.cross(w, rng.standard_normal(3))
        v = 0.8 * (w + 10.0**-exponent * across * size / np.linalg.norm(across))
        yield f"θ or π−θ = 1e-1 … 1e-15, norm {size:g}", w, sign * v


def accuracy() -> dict:
    """Worst errors by activation and kind of pair, and the worst estimate of `kernel_error`."""
    import gradflow as gf
    from gradflow.losses.population import PopulationLoss

    worst: dict = {}
    for activation in ("softplus", "sigmoid", "silu", "tanh", "g"):
        for kind, w, v in pairs(np.random.default_rng(0)):
            teacher, tiny = gf.MLP([v[None], [[1.0]]], activation=activation), 2.0**-600
            both = gf.MLP([np.stack([w, v]), np.ones((1, 2))], activation=activation)
            one = PopulationLoss(teacher, teacher, gf.Gaussian())
            theta = np.append(w, 0.0)
            _, gradient, hessian = one.all_derivatives(theta)
            own = one.all_derivatives(np.append(w, tiny))[2][:3, :3] / tiny
            cross = PopulationLoss(both, teacher, gf.Gaussian()).all_derivatives(both.flat())[2][:3, 3:6]
            true = truth(activation, w, v)
            natural = np.sqrt(true["square"] * truth(activation, v, w)["square"])
            given = {
                "value": -gradient[3] / 2, "first derivative": -hessian[:3, 3] / 2, "own block": -own / 2,
                "cross block": cross / 2,
            }  # fmt: skip
            row = worst.setdefault(f"{activation}, {kind}", {**dict.fromkeys(given, 0.0), "estimated": 0.0})
            row["estimated"] = max(row["estimated"], one.kernel_error(theta))
            for name, mine in given.items():
                scale = {"value": natural, "first derivative": natural / np.linalg.norm(w)}.get(
                    name, np.abs(true[name]).max()
                )
                row[name] = max(row[name], float(np.abs(mine - true[name]).max() / scale))
    return worst


def describe(worst: dict) -> str:
    """The table as text."""
    names = next(iter(worst.values()))
    lines = [f"  {'worst error, no closed form':<46}" + "".join(f"{name:>18}" for name in names)]
    for kind, row in worst.items():
        lines.append(f"  {kind:<46}" + "".join(f"{row[name]:>18.1e}" for name in names))
    return "\n".join(lines)
