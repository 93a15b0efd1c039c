"""Symmetric points in balls: the reduced loss of a student that permutations of teachers leave fixed.

Teachers c_b r_b e_j in blocks b of m_b coordinates (a last block of unused coordinates without teachers);
students in groups: one single neuron, or one neuron per coordinate of a block. A point is x: for each
group its weight on every block (two on the block it is tied to: own and others), then a. Pairs of units of
the same kinds have the same s, t, q, each a quadratic form in x with whole coefficients:

    L(x) = Σ_kinds count · α α' · K(s, t, q)

By the principle of symmetric criticality (Palais 1979) a critical point of L(x) is one of the full loss.
The full Hessian there commutes with the permutations; `isotypic` gives its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .balls import Balls, arb
from .pairs import Pair, erf_own, erf_pair, relu_from, relu_own, relu_pair


class Parameter(NamedTuple):
    """An entry of x: a weight of a group on a block (own or others), or with block −1 its output."""

    group: int
    block: int
    own: bool
    size: int


class Kind(NamedTuple):
    """Pairs of units that are alike: how many, their outputs, and s, t, q as forms.

    outputs   positions in x, or a ball where the number is fixed
    s, t, q   lists of (coefficient, i, j): Σ coefficient x_i x_j, where −1 stands for 1
    """

    number: int
    left: Any
    right: Any
    s: list
    t: list
    q: list
    same: bool


class AnsatzLoss:
    """The reduced loss; arguments as in `gradflow.landscape.Ansatz`, numbers as balls, sizes whole."""

    def __init__(self, activation, teachers, groups, unused, outputs, norms, train_outputs):
        self.activation = activation
        self.blocks = [*teachers, *([unused] if unused else [])]
        self.teachers = len(teachers)
        self.groups = list(groups)
        self.outputs, self.norms = list(outputs), list(norms)
        self.train_outputs = train_outputs
        self.parameters: list[Parameter] = []
        for g, tied in enumerate(self.groups):
            count = self.neurons(g)
            for b, size in enumerate(self.blocks):
                if b == tied:
                    self.parameters.append(Parameter(g, b, True, count))
                if b != tied or size > 1:
                    own = size - 1 if b == tied else size
                    self.parameters.append(Parameter(g, b, False, count * own))
            if train_outputs:
                self.parameters.append(Parameter(g, -1, False, count))
        self._at = {(p.group, p.block, p.own): i for i, p in enumerate(self.parameters)}
        self.size = len(self.parameters)
        self.kinds = self._kinds()

    def neurons(self, g: int) -> int:
        """How many neurons a group has."""
        tied = self.groups[g]
        return 1 if tied is None else self.blocks[tied]

    def position(self, g: int, b: int, own: bool = False) -> int | None:
        """Where a number is in x; None where there is none."""
        return self._at.get((g, b, own))

    def _output(self, g: int):
        return self._at[g, -1, False] if self.train_outputs else arb(1)

    def _product(self, g: int, h: int, same: bool) -> list:
        """w·w' of neurons of groups g and h, with the same index or with different ones."""
        form = []
        for b, size in enumerate(self.blocks):
            mine, theirs = self.groups[g] == b, self.groups[h] == b
            rest = size
            if mine and theirs and same:
                form.append((1, self.position(g, b, True), self.position(h, b, True)))
                rest -= 1
            else:
                if mine:
                    form.append((1, self.position(g, b, True), self.position(h, b)))
                    rest -= 1
                if theirs:
                    form.append((1, self.position(g, b), self.position(h, b, True)))
                    rest -= 1
            form.append((rest, self.position(g, b), self.position(h, b)))
        return [(n, i, j) for n, i, j in form if n and i is not None and j is not None]

    def _kinds(self) -> list[Kind]:
        kinds = []
        squares = [self._product(g, g, True) for g in range(len(self.groups))]
        for g, tied in enumerate(self.groups):
            n = self.neurons(g)
            kinds.append(Kind(n, self._output(g), self._output(g), squares[g], squares[g], squares[g], True))
            for h in range(g + 1):
                other, m = self.groups[h], self.neurons(h)
                twice = 1 if g == h else 2
                matched = n if (tied is not None and tied == other) or g == h else 0
                pair = (self._output(g), self._output(h), squares[g], squares[h])
                if matched and g != h:
                    kinds.append(Kind(twice * matched, *pair, self._product(g, h, True), False))
                if n * m > matched:
                    kinds.append(Kind(twice * (n * m - matched), *pair, self._product(g, h, False), False))
            for b in range(self.teachers):
                size, r = self.blocks[b], self.norms[b]
                norm = [(r * r, -1, -1)]
                for own in (True, False):
                    if own and b != tied:
                        continue
                    count = n if own else n * (size - 1 if b == tied else size)
                    at = self.position(g, b, own)
                    if count and at is not None and not self.outputs[b] == 0:
                        form = [(r, at, -1)]
                        both = (self._output(g), -self.outputs[b])
                        kinds.append(Kind(2 * count, *both, squares[g], norm, form, False))
        return kinds

    def _teacher_term(self, x):
        total = arb(0)
        for b in range(self.teachers):
            m, r, c = self.blocks[b], self.norms[b], self.outputs[b]
            if c == 0:
                continue
            total += m * c * c * self._own(x, r * r).K
            for h in range(b + 1):
                count = m * (m - 1) if h == b else 2 * m * self.blocks[h]
                if count:
                    p = self._pair(x, r * r, self.norms[h] * self.norms[h], arb(0), False)
                    total += count * c * self.outputs[h] * p.K
        return total

    def _own(self, x, s):
        return erf_own(x, s) if self.activation == "erf" else relu_own(x, s)

    def _pair(self, x, s, t, q, second: bool) -> Pair:
        if self.activation == "erf":
            return erf_pair(x, s, t, q, second)
        if second:
            return relu_pair(x, s, t, q)
        root = (s * t - q * q).nonnegative_part().sqrt()
        return relu_from(x, s, t, q, root, x.pi - x.atan2(root, q), False)

    def _evaluate(self, point: Sequence, kind: Kind):
        """α, α', and for s, t, q their values and gradients as {position: ball}."""
        full = [*point, arb(1)]
        forms = []
        for form in (kind.s, kind.t, kind.q):
            value, gradient = arb(0), {}
            for n, i, j in form:
                value += n * full[i] * full[j]
                if i >= 0:
                    gradient[i] = gradient.get(i, 0) + n * full[j]
                if j >= 0:
                    gradient[j] = gradient.get(j, 0) + n * full[i]
            forms.append((value, gradient))
        left = point[kind.left] if isinstance(kind.left, int) else kind.left
        right = point[kind.right] if isinstance(kind.right, int) else kind.right
        return left, right, forms

    def value_and_gradient(self, point: Sequence, value: bool = True):
        """L and ∂L/∂x over a box of x."""
        x = Balls()
        total = self._teacher_term(x) if value else None
        gradient = [arb(0)] * self.size
        for kind in self.kinds:
            left, right, forms = self._evaluate(point, kind)
            s, t, q = (f[0] for f in forms)
            if kind.same:
                own = self._own(x, s)
                K, slopes = own.K, [(own.s, forms[0][1])]
            else:
                p = self._pair(x, s, t, q, False)
                K, slopes = p.K, [(p.s, forms[0][1]), (p.t, forms[1][1]), (p.q, forms[2][1])]
            factor = kind.number * left * right
            if value:
                total += factor * K
            for slope, form in slopes:
                for i, entry in form.items():
                    gradient[i] += factor * slope * entry
            for mine, other in ((kind.left, right), (kind.right, left)):
                if isinstance(mine, int):
                    gradient[mine] += kind.number * other * K
        return total, gradient

    def hessian(self, point: Sequence):
        """∂²L/∂x² over a box of x, rows of balls."""
        x = Balls()
        H = [[arb(0)] * self.size for _ in range(self.size)]
        for kind in self.kinds:
            left, right, forms = self._evaluate(point, kind)
            s, t, q = (f[0] for f in forms)
            if kind.same:
                own = self._own(x, s)
                K, first, second = own.K, [own.s], [[own.ss]]
                used, lists = forms[:1], [kind.s]
            else:
                p = self._pair(x, s, t, q, True)
                K, first = p.K, [p.s, p.t, p.q]
                second = [[p.ss, p.st, p.sq], [p.st, p.tt, p.tq], [p.sq, p.tq, p.qq]]
                used, lists = forms, [kind.s, kind.t, kind.q]
            factor = kind.number * left * right
            slope: dict = {}
            for d, (_, form) in zip(first, used):
                for i, entry in form.items():
                    slope[i] = slope.get(i, 0) + d * entry
            for a, (_, one) in enumerate(used):
                for b, (_, other) in enumerate(used):
                    scale = factor * second[a][b]
                    for i, u in one.items():
                        for j, v in other.items():
                            H[i][j] += scale * u * v
            for d, form in zip(first, lists):
                for n, i, j in form:
                    if i >= 0 and j >= 0:
                        H[i][j] += factor * d * n
                        H[j][i] += factor * d * n
            for mine, theirs, other in ((kind.left, kind.right, right), (kind.right, kind.left, left)):
                if not isinstance(mine, int):
                    continue
                for i, entry in slope.items():
                    H[mine][i] += kind.number * other * entry
                    H[i][mine] += kind.number * other * entry
                if isinstance(theirs, int):
                    H[mine][theirs] += kind.number * K
        return H
