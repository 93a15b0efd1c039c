"""The random problems of the fuzz run: each is determined by the master seed and its number alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

import gradflow as gf

from ._fuzz_activations import NAMES, REFERENCES, activation

_TEN = "line samples line space line samples line {} line space"
SCHEDULE = tuple(word for other in ("plane", "plane", "plane", "line") for word in _TEN.format(other).split())
"""The kind of case number i is entry i mod 40: "line", "plane" and "space" say what the weights span."""

KINDS = tuple(dict.fromkeys(SCHEDULE))
PAIRS = len(NAMES) ** 2
_STRIDE = 211
"""Coprime to PAIRS: any PAIRS successive cases of a kind hold every ordered pair of activations once."""

assert math.gcd(_STRIDE, PAIRS) == 1


@dataclass
class Case:
    """One problem: `gf.Problem(teacher, student, inputs, **options)`, and what is known about it.

    tags    how it was made, for the report
    equal   the student computes the teacher's function exactly (L = 0)
    """

    index: int
    kind: str
    teacher: gf.MLP | np.ndarray
    student: gf.MLP
    inputs: object
    options: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    equal: bool = False


def kind_of(index: int) -> str:
    """The kind of case number `index`."""
    return SCHEDULE[index % len(SCHEDULE)]


def make(seed: int, index: int) -> Case:
    """Case number `index` of the run with this master seed."""
    from ._fuzz_samples import sampled

    rng = np.random.default_rng([seed, index])
    kind, place = kind_of(index), index % len(SCHEDULE)
    ordinal = (index // len(SCHEDULE)) * SCHEDULE.count(kind) + SCHEDULE[:place].count(kind)
    pair = ordinal * _STRIDE % PAIRS
    names = NAMES[pair // len(NAMES)], NAMES[pair % len(NAMES)]
    return sampled(rng, index, ordinal, names) if kind == "samples" else _population(rng, index, kind, names)


def power(rng, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of 10^low and 10^high."""
    return float(10.0 ** rng.uniform(low, high))


def short(x: float) -> float:
    """x with 40 bits, so that its product with a small integer is exact."""
    mantissa, exponent = math.frexp(x)
    return math.ldexp(round(math.ldexp(mantissa, 40)), exponent - 40)


class _Frame:
    """Where the weight vectors of a case lie: unit vectors of R^k, mapped into R^d."""

    def __init__(self, rng, kind: str, dim: int):
        self.rng, self.dim = rng, dim
        self.k = {"line": 1, "plane": min(2, dim), "space": dim}[kind]
        if kind == "line":
            self.basis = np.array([[0.0]])
            while not self.basis.any():
                self.basis = rng.integers(-3, 4, (1, dim)).astype(np.float64)
        elif rng.random() < 0.5 or kind == "space":
            self.basis = np.eye(dim)[rng.permutation(dim)[: self.k]]
        else:
            self.basis = np.linalg.qr(rng.standard_normal((dim, self.k)))[0].T
        self.length = np.linalg.norm(self.basis[0]) if kind == "line" else 1.0

    def direction(self) -> np.ndarray:
        v = self.rng.standard_normal(self.k)
        return v / np.linalg.norm(v)

    def near(self, direction: np.ndarray, angle: float) -> np.ndarray:
        """A unit vector at this angle; in one dimension the same."""
        if self.k == 1:
            return direction
        across = self.rng.standard_normal(self.k)
        across -= (across @ direction) * direction
        return math.cos(angle) * direction + math.sin(angle) * across / np.linalg.norm(across)

    def weight(self, direction: np.ndarray, norm: float) -> np.ndarray:
        return short(norm / self.length) * (direction @ self.basis)


@dataclass
class _Neuron:
    """One hidden unit before it becomes a row of a network; `owner` is the teacher neuron it copies."""

    name: str
    direction: np.ndarray
    norm: float
    bias: float
    output: np.ndarray

    def changed(self, **what) -> _Neuron:
        return _Neuron(**{**vars(self), **what})


def _population(rng, index: int, kind: str, names: tuple[str, str]) -> Case:
    dim = int(rng.integers(1, 7))
    mode = str(rng.choice(["random", "copies", "cluster", "equal"], p=[0.35, 0.3, 0.2, 0.15]))
    if mode == "equal":
        names = names[0], names[0]
    degrees = {REFERENCES[name].degree for name in names}
    spherical = len(degrees) == 1 and None not in degrees and rng.random() < 0.5
    mixed = not spherical and rng.random() < 0.15
    hidden = [not spherical and rng.random() < 0.5 for _ in range(2)]
    last = [not spherical and rng.random() < 0.3 for _ in range(2)]
    if mode == "equal":
        hidden[1], last[1] = hidden[0], last[0]
    frame = _Frame(rng, kind, dim)
    most = 3 if kind == "plane" else 8
    counts = [int(rng.integers(1, most + 1)) for _ in range(2)]
    width = int(rng.choice([1, 2, 3], p=[0.6, 0.2, 0.2]))
    maker = _Maker(rng, frame, width, common=rng.random() < 0.4)

    layers = [[name] * count for name, count in zip(names, counts)]
    if mixed:
        layers = [[NAMES[j] for j in rng.integers(0, len(NAMES), count)] for count in counts]
    if mode == "cluster":
        first = maker.neuron(layers[0][0], hidden[0])
        teacher = [maker.neighbour(first, name, hidden[0]) for name in layers[0]]
        student = [maker.neighbour(first, name, hidden[1]) for name in layers[1]]
    else:
        teacher = [maker.neuron(name, hidden[0]) for name in layers[0]]
        if mode == "random":
            student = [maker.neuron(name, hidden[1]) for name in layers[1]]
        elif mode == "copies":
            student = maker.copies(teacher, layers[1], hidden[1])
        else:
            student = maker.equal(teacher)
    offsets = [maker.offset() if flag else None for flag in last]
    if mode == "equal":
        offsets[1] = offsets[0]
    networks = [
        maker.network(neurons, bias, offset)
        for neurons, bias, offset in zip((teacher, student), hidden, offsets)
    ]
    law, what = _law(rng, dim, spherical, min(d for d in degrees if d is not None) if spherical else 0)
    tags = {"mode": mode, "law": what, "names": names, "mixed": mixed, "dim": dim}
    return Case(index, kind, networks[0], networks[1], law, {}, tags, mode == "equal")


class _Maker:
    """Neurons of a case: the scale of its norms, biases and output weights is drawn once."""

    def __init__(self, rng, frame: _Frame, width: int, common: bool):
        self.rng, self.frame, self.width = rng, frame, width
        centre = rng.uniform(-3, 3)
        self.low, self.high = (max(-3, centre - 0.3), min(3, centre + 0.3)) if common else (-3, 3)
        self.bias_kind = int(rng.integers(4))
        self.balanced = rng.random() < 0.7
        self.volume = power(rng, -2, 2) if rng.random() < 0.3 else 1.0
        self.wild = rng.random() < 0.05

    def norm(self, name: str) -> float:
        high = self.high
        if name == "exp" and not self.wild:
            high = min(high, 0.7)
        return power(self.rng, min(self.low, high), high)

    def bias(self, norm: float, wanted: bool) -> float:
        scale = (norm, 1.0, min(10 * norm, 30.0), 0.01)[self.bias_kind]
        return float(self.rng.standard_normal() * scale) if wanted else 0.0

    def output(self, name: str, norm: float) -> np.ndarray:
        growth = REFERENCES[name].growth
        natural = math.exp(min(norm**2, 600.0)) if math.isinf(growth) else max(norm, 1.0) ** growth
        scale = self.volume / natural if self.balanced else self.volume
        # 40 bits, so that a quarter and three quarters add up to the whole
        return np.array([short(a) for a in self.rng.standard_normal(self.width) * scale])

    def offset(self) -> np.ndarray:
        return self.rng.standard_normal(self.width) * self.volume

    def neuron(self, name: str, bias: bool) -> _Neuron:
        norm = self.norm(name)
        return _Neuron(name, self.frame.direction(), norm, self.bias(norm, bias), self.output(name, norm))

    def neighbour(self, of: _Neuron, name: str, bias: bool) -> _Neuron:
        """Nearly parallel or antiparallel to a neuron, or its like in norm and bias too."""
        rng = self.rng
        closeness = power(rng, -15, -1)
        norm = self.norm(name) if rng.random() < 0.3 else of.norm * (1 + closeness * rng.standard_normal())
        if name == "exp" and not self.wild:
            norm = min(norm, 5.0)
        b = of.bias * (1 + closeness * rng.standard_normal()) if bias and of.bias else self.bias(norm, bias)
        direction = self.frame.near(of.direction, power(rng, -15, -1) if rng.random() < 0.8 else 0.0)
        sign = -1.0 if rng.random() < 0.25 else 1.0
        return _Neuron(name, sign * direction, norm, sign * b, self.output(name, norm))

    def copies(self, teacher: list[_Neuron], names: list[str], bias: bool) -> list[_Neuron]:
        """Copies of teacher neurons, exact, nearly so or mirrored; duplicates, dead neurons, others."""
        rng, found = self.rng, []
        for name in names:
            choice = rng.random()
            source = teacher[int(rng.integers(len(teacher)))]
            if choice < 0.25:
                found.append(source.changed(name=name, bias=source.bias * bias))
            elif choice < 0.55:
                near = self.neighbour(source, name, bias)
                change = power(rng, -16, -1) * rng.standard_normal(self.width)
                found.append(near.changed(output=source.output * (1.0 + change)))
            elif choice < 0.7 and found:
                twin = found[int(rng.integers(len(found)))]
                sign = -1.0 if rng.random() < 0.3 else 1.0
                found.append(twin.changed(direction=sign * twin.direction, bias=sign * twin.bias))
            elif choice < 0.8:
                dead = self.neuron(name, bias)
                what = rng.integers(3)
                if what == 0:
                    found.append(dead.changed(norm=0.0, bias=0.0))
                elif what == 1:
                    found.append(dead.changed(norm=0.0))
                else:
                    found.append(dead.changed(output=np.zeros(self.width)))
            else:
                found.append(self.neuron(name, bias))
        return [n.changed(norm=min(n.norm, 5.0)) if n.name == "exp" and not self.wild else n for n in found]

    def equal(self, teacher: list[_Neuron]) -> list[_Neuron]:
        """The teacher's neurons in another order; split in two, with neurons that do nothing, mirrored."""
        rng, found = self.rng, []
        for neuron in teacher:
            choice = rng.random()
            parity = REFERENCES[neuron.name].parity
            if choice < 0.3:
                found += [neuron.changed(output=0.25 * neuron.output),
                          neuron.changed(output=0.75 * neuron.output)]  # fmt: skip
            elif choice < 0.6 and parity:
                found.append(
                    neuron.changed(
                        direction=-neuron.direction, bias=-neuron.bias, output=parity * neuron.output
                    )
                )
            else:
                found.append(neuron)
        if rng.random() < 0.3:
            extra = found[int(rng.integers(len(found)))]
            found.append(self.neuron(extra.name, bool(extra.bias)).changed(output=np.zeros(self.width)))
        return [found[j] for j in rng.permutation(len(found))]

    def network(self, neurons: list[_Neuron], bias: bool, offset) -> gf.MLP:
        weights = np.array([self.frame.weight(n.direction, n.norm) for n in neurons])
        outputs = np.array([n.output for n in neurons]).T
        biases = np.array([n.bias for n in neurons]) if bias else None
        names = tuple(activation(n.name) for n in neurons)
        return gf.MLP([weights, outputs], [biases, offset], names if len(set(names)) > 1 else names[0])


def _law(rng, dim: int, spherical: bool, degree: int):
    """A law and what it is called."""
    if spherical:
        radius = None if rng.random() < 0.5 else power(rng, -1, 1)
        laws = [gf.Sphere(radius), gf.Ball(radius), gf.StudentT(2 * degree + power(rng, -1, 1.5))]
        which = int(rng.integers(4))
        if which == 3:
            two = [laws[int(rng.integers(3))], _gaussian(rng, dim)[0]]
            return gf.Mixture(two, rng.uniform(0.1, 1.0, 2)), "spherical mixture"
        return laws[which], type(laws[which]).__name__
    choice = rng.random()
    if choice < 0.35:
        return None, "standard"
    if choice < 0.8:
        return _gaussian(rng, dim)
    count = int(rng.integers(2, 4))
    return gf.Mixture([_gaussian(rng, dim)[0] for _ in range(count)], rng.uniform(0.1, 1.0, count)), "mixture"


def _gaussian(rng, dim: int):
    mean = rng.standard_normal(dim) * power(rng, -2, 1) if rng.random() < 0.5 else None
    choice = rng.random()
    if choice < 0.3 or (dim == 1 and choice >= 0.5):
        return gf.Gaussian(mean), "Gaussian"
    values = 10.0 ** rng.uniform(-1, 1, dim)
    what = "covariance"
    if 0.5 <= choice < 0.75:
        values, what = 10.0 ** rng.uniform(-12, 1, dim), "ill-conditioned"
    elif choice >= 0.75:
        values[rng.permutation(dim)[: int(rng.integers(1, dim))]] = 0.0
        what = "singular"
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0] if rng.random() < 0.6 else np.eye(dim)
    cov = (basis * values) @ basis.T
    return gf.Gaussian(mean, 0.5 * (cov + cov.T)), what
