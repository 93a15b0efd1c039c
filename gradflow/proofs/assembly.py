"""The blocks of pairs, put into the Hessian of a population loss (formulas in `population`)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .balls import arb, arb_mat
from .pairs import Own, Pair


class Assembly:
    """Puts the blocks of pairs into the Hessian; a mean turns ∂/∂b̃ into a part of ∂/∂w."""

    def __init__(self, loss, H: list, images: list):
        self.loss, self.H, self.images = loss, H, images
        self.d, self.C, self.mean = loss.d, loss.C, loss.mean
        self.shifted = loss.shifted

    def diagonal(self, i: int, own: Own, partners: list, alpha: list) -> None:
        """∂²L/∂w_i² with its bias, and ∂²L/∂a_i∂w_i."""
        loss, d, p = self.loss, self.d, self.images[i]
        zero = arb(0)
        square = dot(alpha[i], alpha[i])
        scale, middle = 2 * square * own.s, 4 * square * own.ss
        left: list = []
        right: list = []
        along = [zero] * d
        special: list = []
        wb, bb, bias_self = [zero] * d, square * own.bb, 2 * square * own.sb
        cross = [[4 * c * own.s * y for y in p] for c in alpha[i]]
        cross_b = [2 * c * own.b for c in alpha[i]]
        for v, pair, block in partners:
            c = 2 * dot(alpha[i], alpha[v])
            z = self.images[v]
            plain = not (isinstance(pair.q, int) and pair.q == 0)
            for r in range(loss.o):
                factor = 2 * alpha[v][r]
                f, g = 2 * factor * pair.s, factor * pair.q
                row = cross[r]
                cross[r] = [y + f * a + g * e for y, a, e in zip(row, p, z)] if plain else [
                    y + f * a for y, a in zip(row, p)
                ]  # fmt: skip
                cross_b[r] += factor * pair.b
            if block is not None:
                special.append((c, block))
                continue
            scale += 2 * c * pair.s
            middle += 4 * c * pair.ss
            if plain:
                f, g = 2 * c * pair.sq, c * pair.qq
                left.append(z)
                right.append([g * e + f * a for e, a in zip(z, p)])
                along = [y + f * e for y, e in zip(along, z)]
            if self.shifted:
                bias_self += 2 * c * pair.sb
                bb += c * pair.bb
                if plain:
                    f = c * pair.qb
                    wb = [y + f * e for y, e in zip(wb, z)]
        along = [y + middle * a for y, a in zip(along, p)]
        left.append(p)
        right.append(along)
        block = (arb_mat(left).transpose() * arb_mat(right)).tolist()
        for c, extra in special:
            for a, b in itertools.product(range(d), range(d)):
                block[a][b] += c * extra[a][b]
        for a in range(d):
            if self.C is None:
                block[a][a] += scale
            else:
                block[a] = [y + scale * c for y, c in zip(block[a], self.C[a])]
        wb = [y + bias_self * a for y, a in zip(wb, p)]
        self._place(i, i, block, wb, wb, bb)
        for r in range(loss.o):
            self._place_output(i, r, i, cross[r], cross_b[r])

    def off_diagonal(self, i: int, j: int, pair: Pair, c, block) -> None:
        """∂²L/∂w_i∂w_j with the biases."""
        d, p, z = self.d, self.images[i], self.images[j]
        if block is not None:
            rows = [[c * entry for entry in row] for row in block[1]]
        else:
            f, g = 4 * c * pair.st, 2 * c * pair.sq
            h, k = 2 * c * pair.tq, c * pair.qq
            with_p = [f * e + g * a for a, e in zip(p, z)]
            with_z = [h * e + k * a for a, e in zip(p, z)]
            rows = [[a * y + e * w for y, w in zip(with_p, with_z)] for a, e in zip(p, z)]
            scale = c * pair.q
            if self.C is None:
                for a in range(d):
                    rows[a][a] += scale
            else:
                rows = [[y + scale * e for y, e in zip(row, line)] for row, line in zip(rows, self.C)]
        wb = bw = bb = None
        if self.shifted:
            f, g = 2 * c * pair.sc, c * pair.qc
            wb = [f * a + g * e for a, e in zip(p, z)]  # ∂w_i ∂b_j
            f, g = 2 * c * pair.tb, c * pair.qb
            bw = [f * e + g * a for a, e in zip(p, z)]  # ∂b_i ∂w_j
            bb = c * pair.bc
        self._place(i, j, rows, wb, bw, bb)

    def output(self, u: int, j: int, pair: Pair, factors: list) -> None:
        """∂²L/∂a_u∂w_j, the pair seen from j."""
        p, z = self.images[j], self.images[u]
        plain = not (isinstance(pair.q, int) and pair.q == 0)
        for r, factor in enumerate(factors):
            f, g = 2 * factor * pair.s, factor * pair.q
            row = [f * a + g * e for a, e in zip(p, z)] if plain else [f * a for a in p]
            self._place_output(u, r, j, row, factor * pair.b)

    def _place(self, i: int, j: int, block, wb, bw, bb) -> None:
        loss, d, H, mean = self.loss, self.d, self.H, self.mean
        if mean is not None:
            block = [
                [block[a][b] + wb[a] * mean[b] + mean[a] * bw[b] + bb * mean[a] * mean[b] for b in range(d)]
                for a in range(d)
            ]
            wb = [y + m * bb for y, m in zip(wb, mean)]
            bw = [y + m * bb for y, m in zip(bw, mean)]
        top, side = i * d, j * d
        for a in range(d):
            H[top + a][side : side + d] = block[a]
        if i != j:
            for b in range(d):
                H[side + b][top : top + d] = [block[a][b] for a in range(d)]
        if loss.bias:
            at_i, at_j = loss.bias_at(i), loss.bias_at(j)
            for a in range(d):
                put(H, top + a, at_j, wb[a])
                put(H, at_i, side + a, bw[a])
            put(H, at_i, at_j, bb)

    def _place_output(self, u: int, r: int, j: int, row, b) -> None:
        loss = self.loss
        at = loss.output_at(u, r)
        if self.mean is not None:
            row = [y + b * m for y, m in zip(row, self.mean)]
        for a in range(self.d):
            put(self.H, at, j * self.d + a, row[a])
        if loss.bias:
            put(self.H, at, loss.bias_at(j), b)


def dot(left: Sequence, right: Sequence):
    """α_u·α_v."""
    if len(left) == 1:
        return left[0] * right[0]
    total = left[0] * right[0]
    for a, b in zip(left[1:], right[1:]):
        total += a * b
    return total


def put(H: list, i: int, j: int, value) -> None:
    """An entry and its mirror image."""
    H[i][j] = value
    H[j][i] = value
