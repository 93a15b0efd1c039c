"""The table of activations: one record each, and what follows from it.

A record says what cannot be derived: the routine of σ and its two derivatives, and what σ is a sum of, or
else its symmetry and how far it is analytic. Symmetry, degree of homogeneity, kinks and the numbers that
kernels read (`POWER`, `FORM`, `KINKED`, `GATES`, `MIXTURES`) follow here, and which kernel serves which pair
in `pairs.serving`. No other file names an activation, except those of its routine and its own pair kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from . import activation_blocks as blocks
from .pairs import erf, relu
from .population import online_erf


class Part(NamedTuple):
    """Something that activations are sums of.

    parity          1: even, −1: odd, 0: neither, after `constant` and `linear`·z are taken off
    left, right     slopes at 0− and 0+
    scale           the coefficient with which kernels of elementary means know it alone; 0: not alone
    """

    parity: int
    constant: float
    linear: float
    left: float
    right: float
    scale: float


HINGE, DECAY, STEP, CENTRED, RAMP, SINE, COSINE, EXPONENTIAL = range(1, 9)
"""max(z, 0), (e^z − 1) 1(z < 0), Φ(z), Φ(z) − ½, zΦ(z), sin z, cos z, e^z."""

_PEAK = math.sqrt(0.5 / math.pi)
PARTS = {
    HINGE: Part(1, 0.0, 0.5, 0.0, 1.0, 0.0),
    DECAY: Part(0, 0.0, 0.0, 1.0, 0.0, 0.0),
    STEP: Part(-1, 0.5, 0.0, _PEAK, _PEAK, 1.0),
    CENTRED: Part(-1, 0.0, 0.0, _PEAK, _PEAK, 2.0),
    RAMP: Part(1, 0.0, 0.5, 0.5, 0.5, 1.0),
    SINE: Part(-1, 0.0, 0.0, 1.0, 1.0, 1.0),
    COSINE: Part(1, 0.0, 0.0, 0.0, 0.0, 1.0),
    EXPONENTIAL: Part(0, 0.0, 0.0, 1.0, 1.0, 1.0),
}

MIXED = LINEAR, CUBIC, ERF, ONE, SQUARE, ABSOLUTE, GATED = tuple(range(7))
"""The parts of `pairs.mixture`: odd ones z, z³, erf(z/√2); even ones 1, z², |z|, z erf(z/√2)."""

TEMPLATE = 99
"""The `POWER` of a polynomial whose degree and coefficients are at `units.TABLE`."""


@dataclass(frozen=True, eq=False)
class Record:
    """What is known of one activation σ.

    name, formula   as users write and read it
    block           the routine of σ, σ', σ'' (`activation_blocks`)
    traced          the same σ in JAX, a function of (z, jax, jax.numpy)
    powers, parts   σ = Σ c_k z^k + Σ coefficient × part; both empty where it is not such a sum
    parity          the symmetry of a σ that is not
    strip           distance from the real axis within which σ is analytic, infinite for entire functions;
                    None: found from its pieces (`losses.expansion`); 0: not told. Sums do not need it, others
                    have no Gaussian means without it
    alone           the pair kernel between units of this activation without biases, if it has its own
    scalars         their K(|w|², |w'|², w·w') with derivatives, in Float64 and in mpmath
    precise         its number in `population.double_double`; None: not there
    online          the kernel of order parameters in online learning, if there is one
    tails           σ(z) → constant + coefficient e^{−rate |z|} as z → ±∞, by the sign; where it does
    source          the key in `citing` of the paper that its pair formula is from
    twin            another activation σ̃ with σ(z) = α + β σ̃(γz): the same functions are networks of both
    listed          whether users may name it
    """

    name: str
    block: Callable
    formula: str = ""
    traced: Callable | None = None
    powers: tuple[float, ...] = ()
    parts: Mapping[int, float] = field(default_factory=dict)
    parity: str = "none"
    strip: float | None = 0.0
    alone: Callable | None = None
    scalars: tuple[Callable, Callable] | None = None
    precise: int | None = None
    online: Callable | None = None
    tails: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    source: str = ""
    twin: str = ""
    listed: bool = True

    @cached_property
    def is_sum(self) -> bool:
        """Whether powers and parts say what σ is."""
        return bool(self.powers or self.parts)

    @cached_property
    def is_polynomial(self) -> bool:
        """Whether σ is a polynomial."""
        return bool(self.powers) and not self.parts

    @cached_property
    def is_straight(self) -> bool:
        """Whether σ is linear on either side of 0."""
        return self.is_sum and len(self.powers) <= 2 and self.parts.keys() <= {HINGE}

    @cached_property
    def turns(self) -> bool:
        """Whether σ is smooth and comes to one line for z → −∞ and to another for z → ∞."""
        return self.parity == "even+linear" or bool(self.parts.keys() & {RAMP, DECAY})

    @cached_property
    def power(self) -> int | None:
        """p where σ = z^p."""
        pure = self.is_polynomial and not any(self.powers[:-1]) and self.powers[-1] == 1.0
        return len(self.powers) - 1 if pure else None

    @cached_property
    def line(self) -> tuple[float, float]:
        """c0 + c1 z in σ when all parts are taken as even or odd (or neither) functions and a line."""
        c0, c1, *_ = (*self.powers, 0.0, 0.0)
        for part, scale in self.parts.items():
            c0 += PARTS[part].constant * scale
            c1 += PARTS[part].linear * scale
        return c0, c1

    @cached_property
    def symmetry(self) -> str:
        """σ(−z) is −σ(z): "odd"; σ(z): "even"; c − σ(z): "odd+constant"; σ(z) − cz: "even+linear"; "none"."""
        if not self.is_sum:
            return self.parity
        signs = {1 if k % 2 == 0 else -1 for k, c in enumerate(self.powers) if c != 0.0 and k > 1}
        signs |= {PARTS[part].parity for part in self.parts}
        constant, linear = (c != 0.0 for c in self.line)
        odd, even = -1 in signs or linear, 1 in signs or constant
        if 0 in signs:
            return "none"
        if odd and even:
            return "odd+constant" if 1 not in signs else "even+linear" if -1 not in signs else "none"
        return "odd" if odd else "even"

    @cached_property
    def degree(self) -> int | None:
        """p with σ(cz) = c^p σ(z) for all c > 0."""
        used = {k for k, c in enumerate(self.powers) if c != 0.0}
        used |= {1 if part == HINGE else -1 for part in self.parts}
        degree = used.pop() if len(used) == 1 else -1
        return degree if degree >= 0 else None

    @cached_property
    def slopes(self) -> tuple[float, float]:
        """σ'(0−) and σ'(0+); equal, and nothing else is told, where σ is not a sum."""
        left = right = float(self.powers[1]) if len(self.powers) > 1 else 0.0
        for part, scale in self.parts.items():
            left += scale * PARTS[part].left
            right += scale * PARTS[part].right
        return left, right

    @property
    def jump(self) -> float:
        """σ'(0+) − σ'(0−)."""
        return self.slopes[1] - self.slopes[0]

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where σ' or σ'' jumps."""
        return (0.0,) if self.parts.keys() & {HINGE, DECAY} else ()

    @property
    def sleeps(self) -> bool:
        """Whether σ vanishes for z ≤ 0, as a hinge does."""
        return not self.powers and self.parts.keys() == {HINGE}

    @cached_property
    def form(self) -> int:
        """The smooth part that σ is, with the coefficient that kernels of elementary means know; else 0."""
        if self.powers or len(self.parts) != 1:
            return 0
        ((part, scale),) = self.parts.items()
        return part if scale == PARTS[part].scale else 0

    @cached_property
    def kinked(self) -> tuple[float, float, float] | None:
        """c1, c2, c3 where σ = c1 z + c2 max(z, 0) + c3 (e^z − 1) 1(z < 0), c2 ≠ 0."""
        hinge, decay = self.parts.get(HINGE, 0.0), self.parts.get(DECAY, 0.0)
        c0, c1, *rest = (*self.powers, 0.0, 0.0)
        if hinge == 0.0 or not self.parts.keys() <= {HINGE, DECAY} or c0 != 0.0 or any(rest):
            return None
        return c1, hinge, decay

    @cached_property
    def gate(self) -> tuple[float, float, float, int] | None:
        """c0, c1, c2 and the gate where σ = c0 + c1 z + c2 G(z): HINGE, STEP, CENTRED, or 0 without one."""
        if not self.is_sum or len(self.powers) > 2 or len(self.parts) > 1:
            return None
        if not self.parts.keys() <= {HINGE, STEP, CENTRED}:
            return None
        c0, c1, *_ = (*self.powers, 0.0, 0.0)
        part, scale = next(iter(self.parts.items()), (0, 0.0))
        return c0, c1, scale, part

    @cached_property
    def mixture(self) -> dict[int, float] | None:
        """Coefficients of the parts of `pairs.mixture`: max(z, 0) = z/2 + |z|/2, Φ = ½ + erf/2, and so on."""
        if not self.is_sum or len(self.powers) > 4 or not self.parts.keys() <= {HINGE, STEP, CENTRED, RAMP}:
            return None
        _, _, square, cube, *_ = (*self.powers, 0.0, 0.0, 0.0, 0.0)
        hinge, step, centred, ramp = (self.parts.get(part, 0.0) for part in (HINGE, STEP, CENTRED, RAMP))
        constant, linear = self.line
        found = linear, cube, 0.5 * step + 0.5 * centred, constant, square, 0.5 * hinge, 0.5 * ramp
        return {part: scale for part, scale in zip(MIXED, found, strict=True) if scale != 0.0}


def _normal_cdf(z, jax):
    return 0.5 * jax.scipy.special.erfc(-z * math.sqrt(0.5))


def _elu(z, alpha, jnp):
    # The inner `where` keeps e^z finite where it is not chosen: its derivative would be NaN.
    return jnp.where(z > 0, z, alpha * jnp.expm1(jnp.where(z > 0, 0.0, z)))


_LEAK, _SCALE, _ALPHA = blocks.LEAKY_SLOPE, blocks.SELU_SCALE, blocks.SELU_ALPHA

RECORDS = (
    Record("one", blocks.one, powers=(1.0,), listed=False),
    Record(
        "erf", blocks.erf, "erf(z/√2)", lambda z, jax, jnp: jax.scipy.special.erf(z * math.sqrt(0.5)),
        parts={CENTRED: 2.0}, alone=erf.erf_erf, scalars=(erf.scalars, erf.precise), precise=0,
        online=online_erf.derivatives, twin="normal_cdf", source="williams1997",
    ),
    Record(
        "normal_cdf", blocks.normal_cdf, "Φ(z)", lambda z, jax, jnp: _normal_cdf(z, jax), parts={STEP: 1.0},
        twin="erf",
    ),
    Record(
        "relu", blocks.relu, "max(z, 0)", lambda z, jax, jnp: jax.nn.relu(z),
        parts={HINGE: 1.0}, alone=relu.relu_relu, scalars=(relu.scalars, relu.precise), precise=1,
        source="cho2009",
    ),
    Record(
        "leaky_relu", blocks.leaky_relu, "max(z, 0) + 0.01 min(z, 0)",
        lambda z, jax, jnp: jnp.where(z > 0, z, _LEAK * z), powers=(0.0, _LEAK), parts={HINGE: 1.0 - _LEAK},
    ),
    Record(
        "tanh", blocks.tanh, "tanh(z)", lambda z, jax, jnp: jnp.tanh(z), parity="odd", strip=0.5 * math.pi,
        tails={-1: (-1.0, 2.0, 2.0), 1: (1.0, -2.0, 2.0)}, twin="sigmoid",
    ),
    Record(
        "sigmoid", blocks.sigmoid, "1/(1 + exp(−z))", lambda z, jax, jnp: jax.nn.sigmoid(z),
        parity="odd+constant", strip=math.pi, tails={-1: (0.0, 1.0, 1.0), 1: (1.0, -1.0, 1.0)},
        twin="tanh",
    ),
    Record(
        "softplus", blocks.softplus, "log(1 + exp(z))", lambda z, jax, jnp: jax.nn.softplus(z),
        parity="even+linear", strip=math.pi, tails={-1: (0.0, 1.0, 1.0)},
    ),
    Record("gelu", blocks.gelu, "z Φ(z)", lambda z, jax, jnp: z * _normal_cdf(z, jax), parts={RAMP: 1.0}),
    Record(
        "silu", blocks.silu, "z/(1 + exp(−z))", lambda z, jax, jnp: z * jax.nn.sigmoid(z),
        parity="even+linear", strip=math.pi,
    ),
    Record(
        "selu", blocks.selu, "λ max(z, 0) + λ α (exp(min(z, 0)) − 1)",
        lambda z, jax, jnp: _SCALE * _elu(z, _ALPHA, jnp), parts={HINGE: _SCALE, DECAY: _SCALE * _ALPHA},
    ),
    Record(
        "elu", blocks.elu, "max(z, 0) + exp(min(z, 0)) − 1", lambda z, jax, jnp: _elu(z, 1.0, jnp),
        parts={HINGE: 1.0, DECAY: 1.0}, tails={-1: (-1.0, 1.0, 1.0)},
    ),
    Record("identity", blocks.identity, "z", lambda z, jax, jnp: z, powers=(0.0, 1.0)),
    Record("square", blocks.square, "z²", lambda z, jax, jnp: z * z, powers=(0.0, 0.0, 1.0)),
    Record("cube", blocks.cube, "z³", lambda z, jax, jnp: z * z * z, powers=(0.0, 0.0, 0.0, 1.0)),
    Record("sin", blocks.sin, "sin(z)", lambda z, jax, jnp: jnp.sin(z), parts={SINE: 1.0}),
    Record("cos", blocks.cos, "cos(z)", lambda z, jax, jnp: jnp.cos(z), parts={COSINE: 1.0}),
    Record("exp", blocks.exp, "exp(z)", lambda z, jax, jnp: jnp.exp(z), parts={EXPONENTIAL: 1.0}),
    Record(
        "g", blocks.g, "1/(1 + exp(−4z)) + log(1 + exp(z))",
        lambda z, jax, jnp: jax.nn.sigmoid(4.0 * z) + jax.nn.softplus(z), strip=0.25 * math.pi,
        tails={-1: (0.0, 1.0, 1.0)},
    ),
)  # fmt: skip
"""The table. "one" is the constant 1, whose output weight is an output bias."""

TABLE = MappingProxyType({record.name: record for record in RECORDS})
CONSTANT = RECORDS[0]

KINDS = {record.name: number for number, record in enumerate(RECORDS)}
"""Numbers of the activations (`units.KIND`)."""
POLYNOMIAL, OWN = len(RECORDS), len(RECORDS) + 1
"""The numbers of polynomials with coefficients of a unit's own, and of activations unknown to kernels."""


def kind_of(record: Record) -> int:
    """The number that kernels know a unit of this activation by."""
    listed = TABLE.get(record.name) is record
    if record.is_polynomial and (record.power is None or not listed):
        return POLYNOMIAL
    return KINDS[record.name] if listed else OWN


def _column(values, width: int = 0, kind=np.float64) -> np.ndarray:
    """One row for each number; zeros where a record has none."""
    rows = np.zeros((len(RECORDS) + 2, width) if width else len(RECORDS) + 2, kind)
    for number, value in enumerate(values):
        if value is not None:
            rows[number] = value
    return rows


POWER = _column((-1 if r.power is None else r.power for r in RECORDS), kind=np.int64)
"""p of z^p, TEMPLATE for other polynomials, −1 for what is none."""
POWER[POLYNOMIAL], POWER[OWN] = TEMPLATE, -1
FORM = _column((r.form for r in RECORDS), kind=np.int64)
"""The smooth part that an activation is, or 0."""
KINKED = _column((r.kinked for r in RECORDS), 3)
"""c1, c2, c3 of c1 z + c2 max(z, 0) + c3 (e^z − 1) 1(z < 0); zeros for others."""
GATES = _column((r.gate for r in RECORDS), 4)
"""c0, c1, c2 and the gate of c0 + c1 z + c2 G(z); zeros for others."""
MIXTURES = _column(([(r.mixture or {}).get(p, 0.0) for p in MIXED] for r in RECORDS), 7)
"""Coefficients of the parts of mixtures; zeros for others."""


def _check() -> None:
    """What a record must say so that everything about it can be derived."""
    for record in RECORDS:
        if record.block.__name__ != record.name:
            raise AssertionError(f"{record.name}: `block` is the routine of that name")
        if record.is_sum and record.parity != "none":
            raise AssertionError(f"{record.name}: the symmetry of a sum is derived")
        if not record.parts.keys() <= PARTS.keys():
            raise AssertionError(f"{record.name}: a part that is not in PARTS")


_check()
