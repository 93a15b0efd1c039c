"""What a proof is about, in exact numbers: dictionaries, hexadecimal floats, and the loss they stand for.

population   erf (hidden and output biases) or relu (output bias), one hidden layer, x ~ N(μ, C)
empirical    samples, smooth activations, one hidden layer
ansatz       a symmetric student on orthogonal teachers, in its few numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..support.errors import StorageError
from ..support.threads import single_threaded_blas
from .ansatz import AnsatzLoss
from .balls import arb, exact, precision, upper
from .empirical import ACTIVATIONS, EmpiricalBalls
from .population import ACTIVATIONS as POPULATION
from .population import PopulationLoss

KINDS = ("population", "empirical", "ansatz")


def hexadecimal(values) -> Any:
    """Nested lists of numbers as lists of `float.hex`; None stays."""
    if values is None:
        return None
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [hexadecimal(value) for value in values]
    return float(values).hex()


def floats(texts) -> Any:
    """The inverse of `hexadecimal`."""
    if texts is None:
        return None
    if isinstance(texts, list):
        return [floats(text) for text in texts]
    return float.fromhex(texts)


def build(setting: dict):
    """The loss in balls of a setting: `size`, `value_and_gradient`, `hessian`."""
    try:
        check_setting(setting)
        return _build(setting)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise StorageError(f"a proof whose problem is not complete ({error!r})") from error


def _build(setting: dict):
    kind = setting["kind"]
    if kind == "ansatz":
        return AnsatzLoss(
            setting["activation"],
            setting["teachers"],
            setting["groups"],
            setting["unused"],
            exact(floats(setting["teacher_outputs"])),
            exact(floats(setting["teacher_norms"])),
            setting["train_outputs"],
        )
    sizes, bias, output_bias = setting["sizes"], setting["bias"], setting["output_bias"]
    if kind == "population":
        t = setting["teacher"]
        teacher = (
            floats(t["weights"]), floats(t["bias"]), floats(t["output"]), floats(t["output_bias"]),
        )  # fmt: skip
        return PopulationLoss(
            setting["activation"], sizes, bias, output_bias, teacher,
            floats(setting["mean"]), floats(setting["cov"]),
        )  # fmt: skip
    if kind == "empirical":
        return EmpiricalBalls(
            setting["activation"], sizes, bias, output_bias,
            floats(setting["X"]), floats(setting["Y"]), floats(setting["weight"]),
        )  # fmt: skip
    raise ValueError(f"kind {kind!r}")


_KEYS = {
    "population": {"kind", "activation", "sizes", "bias", "output_bias", "teacher", "mean", "cov"},
    "empirical": {"kind", "activation", "sizes", "bias", "output_bias", "X", "Y", "weight"},
    "ansatz": {
        "kind", "activation", "teachers", "groups", "unused", "teacher_outputs", "teacher_norms",
        "train_outputs",
    },
}  # fmt: skip


def check_setting(setting: dict) -> None:
    """`ValueError` for what is no problem of its kind: the sentence about it would be about something else.

    Formulas exist for some activations only, and each of them takes shapes, laws and signs for granted.
    """
    kind = setting["kind"]
    _must(kind in KINDS, f"kind {kind!r}")
    _must(set(setting) == _KEYS[kind], f"entries {sorted(setting)}")
    known = tuple(ACTIVATIONS) if kind == "empirical" else POPULATION
    _must(setting["activation"] in known, f"{setting['activation']!r} in a loss of kind {kind!r}")
    if kind == "ansatz":
        blocks, unused, groups = setting["teachers"], setting["unused"], setting["groups"]
        _must(all(_whole(m, 1) for m in blocks) and bool(blocks), f"blocks {blocks}")
        _must(_whole(unused, 0), f"{unused} unused coordinates")
        tied = [g for g in groups if g is not None]
        _must(bool(groups) and all(_whole(g, 0) and g < len(blocks) for g in tied), f"groups {groups}")
        _array(setting["teacher_outputs"], (len(blocks),))
        _array(setting["teacher_norms"], (len(blocks),))
        _must(isinstance(setting["train_outputs"], bool), "train_outputs")
        return
    sizes = setting["sizes"]
    _must(len(sizes) == 3 and all(_whole(m, 1) for m in sizes), f"sizes {sizes}")
    _must(isinstance(setting["bias"], bool) and isinstance(setting["output_bias"], bool), "biases")
    d, _, o = sizes
    if kind == "empirical":
        N = len(setting["X"])
        _array(setting["X"], (N, d))
        _array(setting["Y"], (N, o))
        if setting["weight"] is not None:
            weight = _array(setting["weight"], (N,))
            _must(bool((weight >= 0).all() and weight.any()), "weights of samples")
        return
    teacher = setting["teacher"]
    _must(set(teacher) == {"weights", "bias", "output", "output_bias"}, f"a teacher of {sorted(teacher)}")
    k = len(teacher["weights"])
    _array(teacher["weights"], (k, d))
    _array(teacher["output"], (o, k))
    for name, size in (("bias", k), ("output_bias", o)):
        if teacher[name] is not None:
            _array(teacher[name], (size,))
    if setting["mean"] is not None:
        _array(setting["mean"], (d,))
    if setting["cov"] is not None:
        C = _array(setting["cov"], (d, d))
        _must(bool((C == C.T).all()), "a covariance that is not symmetric")
        with single_threaded_blas():
            values = np.linalg.eigvalsh(C)
        _must(bool(values[0] >= -1e-10 * abs(values).max()), "a covariance with a negative eigenvalue")
    if setting["activation"] == "relu":
        shifted = setting["bias"] or teacher["bias"] is not None or setting["mean"] is not None
        _must(not shifted, "relu with hidden biases or a mean")


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _whole(value, least: int) -> bool:
    return type(value) is int and value >= least


def _array(texts, shape: tuple) -> np.ndarray:
    values = np.array(floats(texts), dtype=np.float64)
    _must(values.shape == shape, f"numbers of shape {values.shape}, not {shape}")
    _must(bool(np.isfinite(values).all()), "numbers that are not finite")
    return values


def measured(setting: dict, theta: Sequence[float], away: Sequence, each: bool = False) -> float:
    """The largest of `away` (balls), in units of the network's size where that is below one.

    Units are the largest weight, and the largest output weight, of student and teacher. For relu, whose
    scales are free, the weight of the neuron, and for its output the largest |w| |a| over that weight, with
    `each` the output of the neuron itself.
    """
    units = [1.0] * len(away)
    if setting["kind"] != "ansatz":
        d, n, o = setting["sizes"]
        inner = n * (d + setting["bias"])
        W = np.abs(np.array(theta[: n * d], dtype=np.float64)).reshape(n, d).max(axis=1)
        A = np.abs(np.array(theta[inner : inner + n * o], dtype=np.float64)).reshape(o, n).max(axis=0)
        V, C = np.zeros(1), np.zeros(1)
        if setting["kind"] == "population":
            V = np.abs(np.array(floats(setting["teacher"]["weights"]))).max(axis=1)
            C = np.abs(np.array(floats(setting["teacher"]["output"]))).max(axis=0)
        if setting["activation"] == "relu":
            largest = max(float((W * A).max()), float((V * C).max()))
            inward, outward = W, A if each else largest / np.where(W > 0, W, 1.0)
        else:
            inward = np.full(n, max(W.max(), V.max()))
            outward = np.full(n, max(A.max(), C.max()) if C.any() or setting["kind"] != "population" else 1.0)
        for i in range(inner + n * o):
            neuron = i // d if i < n * d else (i - n * d) % n
            units[i] = min(1.0, float(inward[neuron] if i < inner else outward[neuron])) or 1.0
    with precision(128):
        return max((upper(move / arb(unit)) for move, unit in zip(away, units)), default=0.0)


def describe(setting: dict) -> str:
    """The loss in words."""
    kind, name = setting["kind"], setting["activation"]
    if kind == "ansatz":
        blocks = ", ".join(map(str, setting["teachers"]))
        tied = ", ".join(
            "one neuron" if g is None else f"one per teacher of block {g}" for g in setting["groups"]
        )
        outputs = "" if setting["train_outputs"] else ", output weights one"
        return (
            f"L(θ) = E(Σ a_i σ(w_i·x) − Σ c_j σ(r_j e_j·x))², σ = {_SIGMA[name]}, x ~ N(0, I) of dimension "
            f"{sum(setting['teachers']) + setting['unused']}, orthonormal e_j in blocks of {blocks}, "
            f"students in groups ({tied}){outputs}"
        )
    d, n, o = setting["sizes"]
    student = f"a student of {n} neurons on {d} inputs with {o} output{'s' * (o > 1)}"
    with_b = [w for w, there in (("hidden", setting["bias"]), ("output", setting["output_bias"])) if there]
    student += f" and {' and '.join(with_b)} biases" if with_b else ""
    if kind == "population":
        k = len(setting["teacher"]["weights"])
        mean = "0" if setting["mean"] is None else "μ"
        cov = "I" if setting["cov"] is None else "C"
        law = f"x ~ N({mean}, {cov})"
        return f"L(θ) = E|f_θ − f*|², σ = {_SIGMA[name]}, {law}, {student}, a teacher of {k} neurons"
    mean = "mean" if setting["weight"] is None else "weighted mean of"
    return f"L(θ) = {mean} |f_θ(x_s) − y_s|² over {len(setting['X'])} samples, σ = {_SIGMA[name]}, {student}"


_SIGMA = {
    "erf": "erf(z/√2)",
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "g": "sigmoid(4z) + softplus(z)",
}


def parameter_name(setting: dict, i: int) -> str:
    """What the entry i of flat θ is: "w[2, 0]", "b[2]", "a[0, 2]" (output, neuron) or "c[0]"."""
    if setting["kind"] == "ansatz":
        return f"x[{i}]"
    d, n, o = setting["sizes"]
    if i < n * d:
        return f"w[{i // d}, {i % d}]"
    i -= n * d
    if setting["bias"]:
        if i < n:
            return f"b[{i}]"
        i -= n
    return f"a[{i // n}, {i % n}]" if i < n * o else f"c[{i - n * o}]"


def scaling_gauges(setting: dict, center: Sequence, free: Sequence[int]) -> list[tuple[int, str]]:
    """The output weights to hold for relu: (position, why), one for every neuron that may be rescaled.

    w_i ↦ λ w_i, a_i ↦ a_i/λ, λ > 0, leaves L as it is, so L has the tangent (w_i, −a_i) at every θ. Holding
    one entry of a_i that is not zero picks one point of every orbit on which it has that sign, and the
    tangent together with the other coordinates is a basis: criticality and inertia are those of the slice.
    """
    if setting["activation"] != "relu":
        return []
    moving = set(free)
    held = []
    for neuron, weights, outputs in relu_neurons(setting):
        if not moving.issuperset([*weights, *outputs]):
            continue
        at = max(outputs, key=lambda i: abs(float(center[i].mid())))
        if center[at] != 0:  # and so at θ*: it is held
            held.append((at, f"positive scaling of {neuron}"))
    return held


def relu_neurons(setting: dict):
    """(name, positions of the weights, positions of the output weights) of every neuron or group."""
    if setting["kind"] == "ansatz":
        loss = build(setting)
        for g in range(len(setting["groups"])):
            mine = [i for i, p in enumerate(loss.parameters) if p.group == g]
            outputs = [i for i in mine if loss.parameters[i].block < 0]
            if outputs:
                yield f"the neurons of group {g}", [i for i in mine if i not in outputs], outputs
        return
    d, n, o = setting["sizes"]
    start = n * d
    for i in range(n):
        yield f"neuron {i}", list(range(i * d, i * d + d)), [start + r * n + i for r in range(o)]
