"""What a proof is about, in exact numbers: dictionaries, hexadecimal floats, and the loss they stand for.

population   erf (hidden and output biases) or relu (output bias), one hidden layer, x ~ N(μ, C)
empirical    samples, smooth activations, one hidden layer
ansatz       a symmetric student on orthogonal teachers, in its few numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..support.errors import StorageError
from .ansatz import AnsatzLoss
from .balls import exact
from .empirical import EmpiricalBalls
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
        return _build(setting)
    except (KeyError, TypeError, ValueError, IndexError) as error:
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
    return f"L(θ) = mean |f_θ(x_s) − y_s|² over {len(setting['X'])} samples, σ = {_SIGMA[name]}, {student}"


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
