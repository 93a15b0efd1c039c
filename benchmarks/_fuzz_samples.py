"""Problems on samples for the fuzz run, and their truth: loss, gradient and H v in plain NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.special

import gradflow as gf

from ._fuzz_activations import NAMES, POLYNOMIAL_NAMES, REFERENCES, activation, evaluate
from ._fuzz_cases import Case, power

PHASE = 1e14
"""Sines of larger numbers are not compared: the package has them up to 1e15, where a last bit is a tenth."""


def sampled(rng, index: int, ordinal: int, names: tuple[str, str]) -> Case:
    """Deep or shallow networks on 1 to 300 samples (every remainder by 16), weighted or not."""
    count = 1 + ordinal % 16 + 16 * int(rng.integers(0, 18))
    dim, width = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    scale = power(rng, -3, 3) if rng.random() < 0.5 else 1.0
    layers = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))

    def network(name: str) -> gf.MLP:
        sizes = [dim, *(int(rng.integers(1, 9)) for _ in range(layers)), width]
        weights, biases, chosen = [], [], []
        for l, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            gain = (scale if l == 0 else 1.0) * (0.3 if name == "exp" else 1.0) / np.sqrt(fan_in)
            W = gain * rng.standard_normal((fan_out, fan_in))
            if rng.random() < 0.1:
                W[rng.integers(fan_out)] = 0.0
            if fan_out > 1 and rng.random() < 0.2:
                W[0] = W[1] * rng.choice([1.0, -1.0])
            weights.append(W)
            biases.append(rng.standard_normal(fan_out) if rng.random() < 0.5 else None)
        for size in sizes[1:-1]:
            some = [name] * size
            if rng.random() < 0.15:
                some = [NAMES[j] for j in rng.integers(0, len(NAMES), size)]
            chosen.append(tuple(activation(n) for n in some) if len(set(some)) > 1 else activation(some[0]))
        return gf.MLP(weights, biases, chosen)

    student = network(names[1])
    X = rng.standard_normal((count, dim)) * (power(rng, -1, 1) if rng.random() < 0.3 else 1.0)
    if rng.random() < 0.2:
        X[rng.integers(count)] = 0.0
    weight = None
    if rng.random() < 0.5:
        weight = rng.uniform(size=count) * power(rng, -3, 3)
        if count > 1 and rng.random() < 0.5:
            weight[rng.permutation(count)[: count // 2]] = 0.0
    options: dict = {}
    targets = "network" if rng.random() < 0.6 else "targets"
    teacher = network(names[0])
    if width > 1 and rng.random() < 0.25:
        options["loss"], targets = "cross_entropy", "labels"
        teacher = rng.integers(0, width, count)
    elif targets == "targets":
        teacher = rng.standard_normal((count, width))
    if rng.random() < 0.2:
        options["weight_decay"] = power(rng, -4, 0)
    tags = {
        "mode": targets,
        "law": "samples",
        "names": names,
        "mixed": False,
        "dim": dim,
        "layers": layers,
        "remainder": count % 16,
    }
    return Case(index, "samples", teacher, student, gf.Samples(X, weight), options, tags)


def network_names(network: gf.MLP) -> list[list[str]]:
    """The names of the units of every hidden layer."""
    found = []
    for layer, size in zip(network.activations, network.sizes[1:-1]):
        units = layer if isinstance(layer, tuple) else (layer,) * size
        found.append([POLYNOMIAL_NAMES.get(a.name, a.name) for a in units])
    return found


def outputs(network: gf.MLP, X: np.ndarray) -> np.ndarray:
    """f(X), (samples, outputs)."""
    names = network_names(network)
    h = X
    for l, (W, b) in enumerate(zip(network.weights, network.biases)):
        z = h @ W.T + (0.0 if b is None else b)
        h = evaluate(names[l], z.T, 0)[0].T if l < len(names) else z
    return h


class Reference:
    """Loss, gradient and H v of a case in NumPy: reverse mode, and its derivative along v.

    Every quantity comes sample by sample, (samples, …), so that its sum of absolute values is known too.
    """

    def __init__(self, case: Case):
        assert isinstance(case.inputs, gf.Samples)
        self.case, self.X = case, case.inputs.X
        self.names = network_names(case.student)
        weight = case.inputs.sample_weight
        count = self.X.shape[0]
        weight = np.ones(count) if weight is None else weight / weight.max()
        self.weight = weight / weight.sum()
        self.entropy = case.options.get("loss") == "cross_entropy"
        if self.entropy:
            self.targets = np.eye(case.student.sizes[-1])[case.teacher]
        elif isinstance(case.teacher, gf.MLP):
            self.targets = outputs(case.teacher, self.X)
        else:
            self.targets = case.teacher

    def __call__(self, theta: np.ndarray, v: np.ndarray, X=None, targets=None):
        """(L, ∇L, H v), and the sums of the absolute values of their terms."""
        X = self.X if X is None else X
        self.head_targets = self.targets if targets is None else targets
        self.phase = 0.0  # the largest of a wave
        net, turn = self.case.student.with_flat(theta), self.case.student.with_flat(v)
        h, dh = X, np.zeros_like(X)
        layers = []
        last = len(net.weights) - 1
        for l, (W, b) in enumerate(zip(net.weights, net.biases)):
            z = h @ W.T + (0.0 if b is None else b)
            dz = dh @ W.T + h @ turn.weights[l].T + (0.0 if b is None else turn.biases[l])
            if l == last:
                layers.append((h, dh, None, None, dz))
                break
            waves = [i for i, name in enumerate(self.names[l]) if REFERENCES[name].waves]
            self.phase = max(self.phase, float(np.abs(z[:, waves]).max(initial=0.0)))
            values = [a.T for a in evaluate(self.names[l], z.T, 2)]
            layers.append((h, dh, values[1], values[2], dz))
            h, dh = values[0], values[1] * dz
        loss, g, dg = self._head(z, dz)
        gradients, products = [], []
        for l in range(last, -1, -1):
            h, dh, first, second, dz = layers[l]
            if l < last:
                g, dg = g * first, dg * first + g * second * dz
            parts = [np.einsum("so,si->soi", g, h).reshape(len(X), -1)]
            turned = [(np.einsum("so,si->soi", dg, h) + np.einsum("so,si->soi", g, dh)).reshape(len(X), -1)]
            if net.biases[l] is not None:
                parts.append(g)
                turned.append(dg)
            gradients.insert(0, np.hstack(parts))
            products.insert(0, np.hstack(turned))
            W, V = net.weights[l], turn.weights[l]
            g, dg = g @ W, dg @ W + g @ V
        w = self.weight[:, None]
        decay = self.case.options.get("weight_decay", 0.0)
        sums = [loss[:, None] * w, np.hstack(gradients) * w, np.hstack(products) * w]
        extra = decay * float(theta @ theta), 2 * decay * theta, 2 * decay * v
        values = [s.sum(axis=0) + e for s, e in zip(sums, extra)]
        sizes = [np.abs(s).sum(axis=0) + np.abs(e) for s, e in zip(sums, extra)]
        return (float(values[0][0]), *values[1:]), (float(sizes[0][0]), *sizes[1:])

    def _head(self, f: np.ndarray, df: np.ndarray):
        """Every sample's loss, its derivative in f, and that derivative's along df."""
        if not self.entropy:
            residual = f - self.head_targets
            return (residual**2).sum(axis=1), 2.0 * residual, 2.0 * df
        logs = scipy.special.log_softmax(f, axis=1)
        p = np.exp(logs)
        loss = -(self.head_targets * logs).sum(axis=1)
        return loss, p - self.head_targets, p * (df - (p * df).sum(axis=1, keepdims=True))


def compared(case: Case, problem: gf.Problem, rng) -> dict[str, tuple[float, float]]:
    """Errors and their bounds: what rounding of θ and X by a few ulp moves, and 1e-14 of the terms."""
    reference, theta = Reference(case), case.student.flat()
    v = rng.standard_normal(theta.size) * (np.abs(theta) + 1e-3 * np.abs(theta).max(initial=0.0))
    exact, sizes = reference(theta, v)
    if not all(np.isfinite(e).all() for e in exact) or reference.phase > PHASE:
        return {}
    spread = [0.0, np.zeros(theta.size), np.zeros(theta.size)]
    for _ in range(3):
        moved, X = (a * (1.0 + 2.0**-50 * rng.choice([-1.0, 1.0], a.shape)) for a in (theta, reference.X))
        targets = None
        if isinstance(case.teacher, gf.MLP) and not reference.entropy:
            flat = case.teacher.flat()
            flat = flat * (1.0 + 2.0**-50 * rng.choice([-1.0, 1.0], flat.shape))
            targets = outputs(case.teacher.with_flat(flat), X)
        other, _ = reference(moved, v, X, targets)
        spread = [np.maximum(s, np.abs(e - o)) for s, e, o in zip(spread, exact, other)]
    bounds = [30.0 * s + 1e-14 * n for s, n in zip(spread, sizes)]
    # a quantity as a whole: entries of a vector share the rounding of what they are made of
    loss, gradient, hessian = problem.objective.all_derivatives(theta)
    found = {
        "loss": (abs(problem.loss(theta) - exact[0]), bounds[0]),
        "loss beside Hessian": (abs(loss - exact[0]), bounds[0]),
    }
    for name, given, true, bound in (
        ("gradient", problem.gradient(theta), exact[1], bounds[1]),
        ("gradient beside Hessian", gradient, exact[1], bounds[1]),
        ("Hessian", hessian @ v, exact[2], bounds[2]),
        ("product", problem.hvp(theta, v), exact[2], bounds[2]),
    ):
        found[name] = float(np.abs(given - true).max()), float(bound.max())
    found["symmetric"] = float(np.abs(hessian - hessian.T).max()), 0.0
    return found
