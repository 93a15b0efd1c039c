"""Worst errors of all other closed-form pair kernels, biased erf and relu among them, against mpmath.

The truth is one integral at 50 digits: with w·x + b = rX + b and v·x + b' = qX + sY + b', the mean over Y
of τ and its derivatives is elementary, and the mean over X of the products σ^(k)(rX + b) X^l E_Y τ^(j) is
a sum over Gauss–Legendre panels of 48 nodes (mpmath's), whose edges are the kinks and multiples of the
widths of both units. Every derivative of K is such a product (Price's and Stein's lemmas; a kink of σ is
a δ in σ''). Panels of 96 nodes change no entry by more than 1e-40 of the largest.
"""

from __future__ import annotations

import functools
import itertools

import mpmath
import numpy as np

from ._population_means import POLYNOMIAL, formulas, mpf

QUANTITIES = ("value", "gradient", "own block", "cross block")
LARGEST = {"sin": 10.0, "cos": 10.0, "exp": 2.0}
"""Norms where 100 has no digits (E e^2u) or no panels (sin 100 z)."""
SMALLEST = 1e-3
EXPONENTS = (1, 2, 4, 8, 15)
TINY = 2.0**-600
DIGITS = 50
NEGLIGIBLE = 1e-100
NEAR_KINKS = "same, kinks as close (blocks × θ)"
SMOOTH = ("identity", "square", "cube", "polynomial", "sin", "cos", "exp")
ROWS = tuple((name, biased) for name, biased in (
    *((name, False) for name in ("leaky_relu", "normal_cdf", "gelu", "elu", "selu", *SMOOTH)),
    ("erf", True), ("relu", True), ("elu", True), ("selu", True),
))  # fmt: skip


def edges(name, r, q, s, b, shift):
    """Edges of the panels in X: kinks, multiples of the widths of both units, none longer than 6.5."""
    reach = mpf(20 if name == "exp" else 13)
    kept = sorted({-reach, mpf(0), reach})
    if name not in SMOOTH:
        marks = []
        for centre, slope, smoothing in ((-b / r, r, 0), (-shift / q, abs(q), s)):
            widths = {1 / slope, mpmath.sqrt(1 + s * s) / slope, smoothing / slope} - {0}
            marks.append((centre, mpf(0)))
            marks += [
                (centre + sign * k * width, k * width / 20)
                for width, k, sign in itertools.product(widths, (4, 12, 40), (-1, 1))
            ]
        for mark, nearness in sorted(marks, key=lambda pair: pair[1]):
            if abs(mark) < reach and all(mark != e and abs(mark - e) >= nearness for e in kept):
                kept.append(mark)
        kept.sort()
    longest = min(mpf("6.5"), 40 / (r + abs(q)) if name in ("sin", "cos") else reach)
    fine = [kept[0]]
    for low, high in itertools.pairwise(kept):
        parts = int(mpmath.ceil((high - low) / longest))
        fine += [low + (high - low) * (i + 1) / parts for i in range(parts)]
    return fine


@functools.cache
def nodes(degree):
    rule = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp)
    return rule.calc_nodes(degree, mpmath.mp.prec)


def cross_product(u, v):
    turned = ((1, 2), (2, 0), (0, 1))
    return mpmath.matrix([u[i] * v[j] - u[j] * v[i] for i, j in turned])


TERMS = ((0, 0, 0), (1, 0, 1), (1, 1, 0), (1, 0, 0), (2, 0, 2), (2, 1, 1), (2, 0, 0), (2, 2, 0),
         (1, 1, 2), (1, 2, 1), (1, 3, 0), (2, 0, 1), (2, 1, 0), (1, 1, 1), (1, 2, 0))  # fmt: skip
"""(k, j, l) of E σ^(k)(rX + b) X^l E_Y τ^(j)."""


def truth(name, w, b, v, shift, degree=5):
    """The four `QUANTITIES` of K(w, b, v, b') in the coordinates (w, b) and (v, b'), mpmath matrices."""
    function, means, jump = formulas(name)
    w, v = (mpmath.matrix([mpf(float(a)) for a in u]) for u in (w, v))
    b, shift = mpf(float(b)), mpf(float(shift))
    r = mpmath.norm(w)
    first = w / r
    normal = cross_product(w, v) / r
    q, s = (first.T * v)[0], mpmath.norm(normal)
    # Across: normal × first, of length s; any direction there, for exactly parallel vectors.
    second = cross_product(normal, first)
    if s == 0:
        i = min(range(3), key=lambda j: abs(first[j]))
        second = mpmath.matrix([(i == j) - first[i] * first[j] for j in range(3)])
        s = mpf(10) ** -40
    second /= mpmath.norm(second)
    sums = dict.fromkeys(TERMS, mpf(0))

    def add(x, weight, f):
        t = means(q * x + shift, s)
        left = [weight * g for g in f]
        powers = (1, x, x * x)
        for term in TERMS:
            k, j, l = term
            if left[k]:
                sums[term] += left[k] * t[j] * powers[l]

    for low, high in itertools.pairwise(edges(name, r, q, s, b, shift)):
        half, middle = (high - low) / 2, (high + low) / 2
        for node, weight in nodes(degree):
            x = middle + half * node
            add(x, half * weight * mpmath.npdf(x), function(r * x + b))
    if jump:
        add(-b / r, mpmath.npdf(b / r) / r, (0, 0, jump))

    def coordinates(plane, rest, row, column, corner):
        """A matrix in (w, b) from its entries in the frame, the third direction, and the bias."""
        frame = mpmath.matrix(3, 2)
        frame[:, 0], frame[:, 1] = first, second
        block = frame * (mpmath.matrix(plane) - rest * mpmath.eye(2)) * frame.T + rest * mpmath.eye(3)
        full = mpmath.zeros(4)
        full[:3, :3] = block
        full[:3, 3] = frame * mpmath.matrix(row)
        full[3, :3] = (frame * mpmath.matrix(column)).T
        full[3, 3] = corner
        return full

    e = {"".join(map(str, term)): value for term, value in sums.items()}
    slope = mpmath.matrix(4, 1)
    slope[:3] = first * e["101"] + second * s * e["110"]
    slope[3] = e["100"]
    mixed = [e["201"], s * e["210"]]
    across = [e["111"], s * e["120"]]
    own = [[e["202"], s * e["211"]], [s * e["211"], e["200"] + s * s * e["220"]]]
    cross = [[e["112"], s * e["121"]], [s * e["121"], e["110"] + s * s * e["130"]]]
    return {
        "value": mpmath.matrix([e["000"]]), "gradient": slope,
        "own block": coordinates(own, e["200"], mixed, mixed, e["200"]),
        "cross block": coordinates(cross, e["110"], across, across, e["110"]),
    }  # fmt: skip


def given(name, biased, w, b, v, shift):
    """The same from losses: a student of output weight 2^-600, and one of both neurons."""
    import gradflow as gf
    from gradflow.losses.population import PopulationLoss

    activation = gf.Polynomial(POLYNOMIAL) if name == "polynomial" else name

    def network(rows, biases):
        ones = np.ones((1, len(rows)))
        return gf.MLP([np.array(rows), ones], [np.array(biases), None] if biased else None, activation)

    teacher = network([v], [shift])
    one = PopulationLoss(network([w], [b]), teacher, gf.Gaussian())
    theta = np.concatenate([w, [b] * biased, [TINY]])
    gradient, hessian = one.loss_and_gradient(theta)[1], one.all_derivatives(theta)[2]
    both = network([w, v], [b, shift])
    second = PopulationLoss(both, teacher, gf.Gaussian()).all_derivatives(both.flat())[2]
    size = 3 + biased
    rows, columns = ([0, 1, 2, 6], [3, 4, 5, 7]) if biased else ([0, 1, 2], [3, 4, 5])
    return {
        "value": -gradient[-1:] / 2, "gradient": -gradient[:size] / (2 * TINY),
        "own block": -hessian[:size, :size] / (2 * TINY), "cross block": second[np.ix_(rows, columns)] / 2,
    }  # fmt: skip


def size(name, w, b):
    """√E σ(w·x + b)² in Float64, for the scale of errors."""
    from gradflow.activations import Polynomial, resolve

    x = np.linspace(-20.0, 20.0, 20001)
    sigma = Polynomial(POLYNOMIAL) if name == "polynomial" else resolve(name)
    weight = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    return float(np.sqrt(weight @ sigma(np.linalg.norm(w) * x + b) ** 2))


def pairs(name, biased, rng):
    """(kind, condition of the Hessian, w, b, v, b') in three dimensions; biases as large as weights, or 0."""
    largest = LARGEST.get(name, 100.0)

    def directions():
        w, v = rng.standard_normal((2, 3))
        return w / np.linalg.norm(w), v / np.linalg.norm(v), *rng.standard_normal(2) * biased

    spread = ((1.0, SMALLEST), *itertools.product((SMALLEST, largest), repeat=2))
    sizes = {"random": ((1.0, 1.0), (1.0, 1.5)), f"norms {SMALLEST:g} … {largest:g}": spread}
    for kind, some in sizes.items():
        for r, t in some:
            w, v, b, shift = directions()
            yield kind, 1.0, r * w, r * b, t * v, t * shift
    for exponent, sign in itertools.product(EXPONENTS, (1.0, -1.0)):
        w, v, b, shift = directions()
        across = np.cross(w, v) / np.linalg.norm(np.cross(w, v))
        factor, angle = sign * rng.uniform(0.5, 2.0), 10.0**-exponent
        v = factor * (w + angle * across)
        yield "θ or π−θ = 1e-1 … 1e-15", 1.0, w, b, v, shift
        if biased:  # kinks as close as the angle is small: w and b move second derivatives by 1/θ
            yield NEAR_KINKS, 1 / angle, w, b, v, factor * b * (1.0 + angle)


def errors(name, biased, w, b, v, shift):
    """Of the value over √(K(w,w)K(v,v)), of the gradient over that per |w|, of blocks over their largest.

    Blocks below 1e-100 of their natural size (two kinks far apart in units of the angle) count as zero.
    """
    entries = 3 + biased
    natural = size(name, w, b) * size(name, v, shift)
    wanted, found = truth(name, w, b, v, shift), given(name, biased, w, b, v, shift)
    scales = {"value": natural, "gradient": natural / np.linalg.norm(w)}
    result = {}
    for quantity, mine in found.items():
        true = wanted[quantity]
        if quantity != "value":
            true = true[:entries, : 1 if quantity == "gradient" else entries]
        error = max(abs(mpf(float(a)) - t) for a, t in zip(np.ravel(mine), true, strict=True))
        block = max(NEGLIGIBLE * natural / np.linalg.norm(w) / np.linalg.norm(v), *(abs(t) for t in true))
        result[quantity] = float(error / scales.get(quantity, block))
    return result


def table() -> dict:
    """Worst errors by activation, kind of pair and quantity."""
    worst: dict = {}
    with mpmath.workdps(DIGITS):
        for name, biased in ROWS:
            for kind, condition, *pair in pairs(name, biased, np.random.default_rng(0)):
                label = f"{name}{' with biases' if biased else ''}, {kind}"
                row = worst.setdefault(label, dict.fromkeys(QUANTITIES, 0.0))
                for quantity, error in errors(name, biased, *pair).items():
                    relative = error / condition if quantity.endswith("block") else error
                    row[quantity] = max(row[quantity], relative)
    return worst


def describe(worst: dict) -> str:
    """The table as text."""
    lines = [f"  {'worst error, other closed forms':<52}" + "".join(f"{name:>14}" for name in QUANTITIES)]
    for kind, row in worst.items():
        lines.append(f"  {kind:<52}" + "".join(f"{row[name]:>14.1e}" for name in QUANTITIES))
    return "\n".join(lines)
