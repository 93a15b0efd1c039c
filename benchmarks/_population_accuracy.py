"""Worst errors of the pair kernels against mpmath: closed forms at 130 digits, differences of step 1e-40."""

from __future__ import annotations

import numpy as np

QUANTITIES = ("value", "first derivative", "own block", "cross block")
ACTIVATIONS = ("erf", "relu")
STEP = "1e-40"


def exact(mpmath, activation, w, v):
    """K(w, v) of two lists of mpmath numbers."""
    s, t = mpmath.fdot(w, w), mpmath.fdot(v, v)
    q = mpmath.fdot(w, v)
    if activation == "erf":
        return 2 / mpmath.pi * mpmath.asin(q / mpmath.sqrt((1 + s) * (1 + t)))
    theta = mpmath.acos(q / mpmath.sqrt(s * t))
    return (
        mpmath.sqrt(s * t) * (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta)) / (2 * mpmath.pi)
    )


def differentiated(mpmath, activation, w, v, *moves):
    """Central differences in the coordinates (vector, index) of `moves`."""
    vectors = [[mpmath.mpf(float(a)) for a in u] for u in (w, v)]
    steps = [mpmath.mpf(STEP) * mpmath.norm(u) for u in vectors]
    total = mpmath.mpf(0)
    for signs in np.ndindex(*(2,) * len(moves)):
        moved = [list(u) for u in vectors]
        for (which, index), s in zip(moves, signs):
            moved[which][index] += (1 - 2 * s) * steps[which]
        total += (-1) ** sum(signs) * exact(mpmath, activation, *moved)
    for which, _ in moves:
        total /= 2 * steps[which]
    return total


def pairs(rng):
    """(kind, w, v) in three dimensions."""
    for _ in range(12):
        yield "random", rng.standard_normal(3), rng.standard_normal(3)
        scales = 10.0 ** rng.uniform(-3, 2, 2)
        yield "norms 1e-3 … 1e2", scales[0] * rng.standard_normal(3), scales[1] * rng.standard_normal(3)
    for exponent in range(1, 16):
        for sign in (1.0, -1.0):
            w = rng.standard_normal(3)
            across = np.cross(w, rng.standard_normal(3))
            v = w + 10.0**-exponent * across * np.linalg.norm(w) / np.linalg.norm(across)
            yield "θ or π−θ = 1e-1 … 1e-15", w, sign * rng.uniform(0.5, 2.0) * v


def errors(mpmath, activation, w, v) -> dict[str, float]:
    """Relative to √(K(w,w)K(v,v)), that over |w|, and the largest entries of the blocks."""
    import gradflow as gf
    from gradflow.losses.population import PopulationLoss

    teacher = gf.MLP([v[None], [[1.0]]], activation=activation)
    one, tiny = PopulationLoss(teacher, teacher, gf.Gaussian()), 2.0**-600
    pair = gf.MLP([np.stack([w, v]), np.ones((1, 2))], activation=activation)
    _, gradient, hessian = one.all_derivatives(np.append(w, 0.0))
    own = one.all_derivatives(np.append(w, tiny))[2][:3, :3] / tiny
    cross = PopulationLoss(pair, teacher, gf.Gaussian()).all_derivatives(pair.flat())[2][:3, 3:6]
    natural = float(
        mpmath.sqrt(exact(mpmath, activation, list(w), list(w)) * exact(mpmath, activation, list(v), list(v)))
    )
    given = (-gradient[3:] / 2, -hessian[:3, 3] / 2, -own / 2, cross / 2)
    wanted = (
        [exact(mpmath, activation, *([mpmath.mpf(float(a)) for a in u] for u in (w, v)))],
        [differentiated(mpmath, activation, w, v, (0, a)) for a in range(3)],
        [differentiated(mpmath, activation, w, v, (0, a), (0, b)) for a in range(3) for b in range(3)],
        [differentiated(mpmath, activation, w, v, (0, a), (1, b)) for a in range(3) for b in range(3)],
    )
    found = {}
    for name, mine, true in zip(QUANTITIES, given, wanted):
        error = max(abs(float(t - mpmath.mpf(float(m)))) for m, t in zip(np.ravel(mine), true))
        largest = max(abs(float(t)) for t in true)
        scale = {"value": natural, "first derivative": natural / float(np.linalg.norm(w))}.get(name, largest)
        found[name] = error / scale
    return found


def table() -> dict:
    """Worst errors by activation, kind of pair and quantity."""
    import mpmath

    worst: dict = {}
    with mpmath.workdps(130):
        for activation in ACTIVATIONS:
            for kind, w, v in pairs(np.random.default_rng(0)):
                row = worst.setdefault(f"{activation}, {kind}", dict.fromkeys(QUANTITIES, 0.0))
                for name, error in errors(mpmath, activation, w, v).items():
                    row[name] = max(row[name], error)
    return worst


def describe(worst: dict) -> str:
    """The table as text."""
    lines = [f"  {'worst error':<34}" + "".join(f"{name:>18}" for name in QUANTITIES)]
    for kind, row in worst.items():
        lines.append(f"  {kind:<34}" + "".join(f"{row[name]:>18.1e}" for name in QUANTITIES))
    return "\n".join(lines)
