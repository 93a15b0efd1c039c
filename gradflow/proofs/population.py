"""Population losses L = E|f_θ − f*|², x ~ N(μ, C), in balls: value, gradient and Hessian over a box.

All units are alike: L = Σ_{u,v} α_u·α_v K_uv with α = a_i for the student's, −c_j for the teacher's, and
a constant function with the output bias. With p_u = C w_u:

    ∂L/∂w_i = 2 Σ_v α_i·α_v (2K_s p_i + K_q p_v)
    ∂²L/∂w_i² = 2 Σ_v α_i·α_v (2K_s C + 4K_ss p_i p_iᵀ + 2K_sq (p_i p_vᵀ + p_v p_iᵀ) + K_qq p_v p_vᵀ)
    ∂²L/∂w_i∂w_j = 2 α_i·α_j (K_q C + 4K_st p_i p_jᵀ + 2K_sq p_i p_iᵀ + 2K_tq p_j p_jᵀ + K_qq p_j p_iᵀ)

A mean μ is a bias b̃ = b + w·μ of each unit.
"""

from __future__ import annotations

from collections.abc import Sequence

from .assembly import Assembly, dot, put
from .balls import Balls, acb, arb, arb_mat, exact
from .pairs import (
    Own,
    Pair,
    biased_erf_pair,
    erf_mean,
    erf_own,
    erf_pair,
    own_of,
    relu_mean,
    relu_own,
    relu_pair,
)
from .parallel import Metric, are_near, near_pair

ACTIVATIONS = ("erf", "relu")


class PopulationLoss:
    """A population loss of one-hidden-layer networks whose numbers are floats.

    Parameters
    ----------
    activation : "erf" or "relu"
    sizes : (d, n, o)
    bias, output_bias : bool
        Whether the student has them; hidden biases with erf only.
    teacher : tuple (V, b, A, c)
        Rows of floats; b and c may be None.
    mean, cov : of the Gaussian law, None for zero and the identity
    """

    def __init__(self, activation, sizes, bias, output_bias, teacher, mean=None, cov=None):
        self.activation = activation
        self.d, self.n, self.o = sizes
        self.bias, self.output_bias = bias, output_bias
        V, b, A, c = teacher
        self.mean = None if mean is None else exact(mean)
        self.C = None if cov is None else [exact(row) for row in cov]
        self.metric = Metric(self.C)
        self.shifted = bool(bias or b is not None or mean is not None)
        keep = [j for j, row in enumerate(V) if self.shifted or any(row)]
        self.V = [exact(V[j]) for j in keep]
        self.teacher_bias = [arb(0) if b is None else arb(float(b[j])) for j in keep]
        self.teacher_out = [[-arb(float(A[o][j])) for o in range(self.o)] for j in keep]
        self.teacher_const = None if c is None else [-value for value in exact(c)]
        self.size = self.n * (self.d + bias + self.o) + self.o * output_bias
        self._matrix = None if self.C is None else arb_mat(self.C)

    # --- parameters -------------------------------------------------------------------------------

    def _split(self, theta: Sequence):
        n, d, o = self.n, self.d, self.o
        W = [list(theta[i * d : (i + 1) * d]) for i in range(n)]
        at = n * d
        b = list(theta[at : at + n]) if self.bias else [arb(0)] * n
        at += n * self.bias
        A = [[theta[at + r * n + i] for r in range(o)] for i in range(n)]
        c = list(theta[at + n * o : at + n * o + o]) if self.output_bias else None
        return W, b, A, c

    def weight_at(self, i: int, a: int) -> int:
        """The position of w_i's entry a in flat θ."""
        return i * self.d + a

    def bias_at(self, i: int) -> int:
        """The position of the bias of neuron i."""
        return self.n * self.d + i

    def output_at(self, i: int, r: int) -> int:
        """The position of a_i's entry r; i = n is the output bias."""
        at = self.n * (self.d + self.bias)
        return at + r * self.n + i if i < self.n else at + self.n * self.o + r

    # --- units ------------------------------------------------------------------------------------

    def _units(self, theta: Sequence):
        W, b, A, c = self._split(theta)
        zero = [arb(0)] * self.d
        rows = [*W, *([zero] if c else []), *self.V, *([zero] if self.teacher_const else [])]
        alpha = [*A, *([c] if c else []), *self.teacher_out]
        alpha += [self.teacher_const] if self.teacher_const else []
        biases = [*b, *([arb(0)] if c else []), *self.teacher_bias]
        biases += [arb(0)] if self.teacher_const else []
        const = {self.n} if c else set()
        const |= {len(rows) - 1} if self.teacher_const else set()
        U = arb_mat(rows)
        P = U if self._matrix is None else U * self._matrix
        gram = (P * U.transpose()).tolist()
        if self.mean is not None:
            shift = (U * arb_mat(self.d, 1, self.mean)).entries()
            biases = [x if u in const else x + shift[u] for u, x in enumerate(biases)]
        return rows, P, gram, alpha, biases, const

    def _pairs(self, x, units, second: bool, values: bool):
        """κ of every unit that is asked for, K of every pair of a student's unit with a later one."""
        rows, P, gram, _, biases, const = units
        images = rows if P is None else P.tolist()
        first = self.n + self.output_bias
        own, pairs, blocks = {}, {}, {}
        for u in range(first):
            own[u] = self._own(x, gram[u][u], biases[u], u in const, values)
        for u in range(first):
            for v in range(u + 1, len(rows)):
                s, t, q = gram[u][u], gram[v][v], gram[u][v]
                if u in const or v in const:
                    pair = self._with_constant(x, s, t, biases[u], biases[v], u in const, v in const)
                elif self.activation == "relu":
                    if are_near(s, t, q):
                        pair, block = near_pair(
                            x, s, t, rows[u], rows[v], images[u], images[v], self.metric, second
                        )
                        if second:
                            blocks[u, v] = block
                    else:
                        pair = relu_pair(x, s, t, q, second)
                elif self.shifted:
                    K = _biased_value(x, s, t, q, biases[u], biases[v]) if values else arb(0)
                    pair = biased_erf_pair(x, s, t, q, biases[u], biases[v], K)
                else:
                    pair = erf_pair(x, s, t, q, second)
                pairs[u, v] = pair
        return own, pairs, blocks

    def _own(self, x, s, b, const: bool, values: bool) -> Own:
        if const:
            return Own(arb(1), arb(0), arb(0))
        if self.activation == "relu":
            return relu_own(x, s)
        if not self.shifted:
            return erf_own(x, s)
        K = _biased_value(x, s, s, s, b, b) if values else arb(0)
        return own_of(biased_erf_pair(x, s, s, s, b, b, K))

    def _with_constant(self, x, s, t, b, c, left: bool, right: bool) -> Pair:
        if left and right:
            return Pair(arb(1), 0, 0, 0)
        m = self._mean(x, t if left else s, c if left else b)
        pair = Pair(m.K, m.s, 0, 0, ss=m.ss, b=m.b, sb=m.sb, bb=m.bb)
        return pair.swapped() if left else pair

    def _mean(self, x, s, b) -> Own:
        return relu_mean(x, s) if self.activation == "relu" else erf_mean(x, s, b)

    def _teacher_term(self, x, units):
        """Σ over the teacher's units: a constant, once per precision."""
        _, _, gram, alpha, biases, const = units
        first = self.n + self.output_bias
        total = arb(0)
        for u in range(first, len(alpha)):
            total += dot(alpha[u], alpha[u]) * self._own(x, gram[u][u], biases[u], u in const, True).K
            for v in range(u + 1, len(alpha)):
                s, t, q = gram[u][u], gram[v][v], gram[u][v]
                if u in const or v in const:
                    K = self._with_constant(x, s, t, biases[u], biases[v], u in const, v in const).K
                elif self.activation == "relu":
                    root = (s * t - q * q).nonnegative_part().sqrt()
                    K = (root + (x.pi - x.atan2(root, q)) * q) / (2 * x.pi)
                elif self.shifted:
                    K = _biased_value(x, s, t, q, biases[u], biases[v])
                else:
                    K = erf_pair(x, s, t, q, False).K
                total += 2 * dot(alpha[u], alpha[v]) * K
        return total

    # --- what is asked for --------------------------------------------------------------------------

    def value_and_gradient(self, theta: Sequence, value: bool = True):
        """L and ∇L, (P,), over a box of θ (or at a point), at the working precision; L None if not asked."""
        x = Balls()
        units = self._units(theta)
        rows, P, _, alpha, _, _ = units
        own, pairs, _ = self._pairs(x, units, False, True)
        n, d, first, total = self.n, self.d, self.n + self.output_bias, len(rows)
        zero = arb(0)
        G = [[zero] * total for _ in range(n)]
        K = [[zero] * total for _ in range(first)]
        db = [zero] * n
        for u in range(first):
            square = dot(alpha[u], alpha[u])
            K[u][u] = own[u].K
            if u < n:
                G[u][u] += 2 * square * own[u].s
                db[u] += square * own[u].b
        for (u, v), p in pairs.items():
            both = 2 * dot(alpha[u], alpha[v])
            K[u][v] = p.K
            if v < first:
                K[v][u] = p.K
            if u < n:
                G[u][u] += 2 * both * p.s
                G[u][v] = both * p.q
                db[u] += both * p.b
            if v < n:
                G[v][v] += 2 * both * p.t
                G[v][u] = both * p.q
                db[v] += both * p.c
        gradient = [zero] * self.size
        inner = (arb_mat(G) * P).tolist()
        for i in range(n):
            for a in range(d):
                g = inner[i][a]
                if self.mean is not None:
                    g = g + db[i] * self.mean[a]
                gradient[self.weight_at(i, a)] = g
            if self.bias:
                gradient[self.bias_at(i)] = db[i]
        outer = (arb_mat(K) * arb_mat(alpha)).tolist()
        for u in range(first):
            for r in range(self.o):
                gradient[self.output_at(u, r)] = 2 * outer[u][r]
        if not value:
            return None, gradient
        loss = self._teacher_term(x, units)
        for u in range(first):
            loss += dot(alpha[u], alpha[u]) * own[u].K
        for (u, v), p in pairs.items():
            loss += 2 * dot(alpha[u], alpha[v]) * p.K
        return loss, gradient

    def hessian(self, theta: Sequence):
        """∇²L over a box of θ, as rows of balls (P, P)."""
        x = Balls()
        units = self._units(theta)
        _, P, _, alpha, _, _ = units
        images = P.tolist()
        own, pairs, blocks = self._pairs(x, units, True, True)
        n, o, first = self.n, self.o, self.n + self.output_bias
        zero = arb(0)
        H = [[zero] * self.size for _ in range(self.size)]
        assemble = Assembly(self, H, images)
        partners: list[list] = [[] for _ in range(first)]
        for (u, v), p in pairs.items():
            block = blocks.get((u, v))
            partners[u].append((v, p, None if block is None else block[0]))
            if v < first:
                partners[v].append((u, p.swapped(), None if block is None else block[2]))
        for i in range(n):
            assemble.diagonal(i, own[i], partners[i], alpha)
        for (u, v), p in pairs.items():
            if v >= first:
                continue
            for r in range(o):
                put(H, self.output_at(u, r), self.output_at(v, r), 2 * p.K)
            block = blocks.get((u, v))
            if u < n and v < n:
                assemble.off_diagonal(u, v, p, 2 * dot(alpha[u], alpha[v]), block)
            if v < n:
                assemble.output(u, v, p.swapped(), [2 * c for c in alpha[v]])
            if u < n:
                assemble.output(v, u, p, [2 * c for c in alpha[u]])
        for u in range(first):
            for r in range(o):
                at = self.output_at(u, r)
                H[at][at] = H[at][at] + 2 * own[u].K
        return H


def _biased_value(x, s, t, q, b, c):
    """K of erf with biases: erf · erf at q = 0, plus the integral of the density from 0 to q.

    At the midpoint, and from there by bounds on the first derivatives.
    """
    center = [v.mid() for v in (s, t, q, b, c)]
    S, T, Q, B, E = (1 + center[0], 1 + center[1], *center[2:])
    value = (B / (2 * S).sqrt()).erf() * (E / (2 * T).sqrt()).erf()
    if not Q == 0:
        S_, T_, Q_, B_, E_ = map(acb, (S, T, Q, B, E))

        def integrand(z, analytic):
            D = S_ * T_ - (Q_ * z) * (Q_ * z)
            top = T_ * B_ * B_ - 2 * Q_ * z * B_ * E_ + S_ * E_ * E_
            return (-top / (2 * D)).exp() / D.sqrt(analytic=analytic)

        value += 2 * Q / x.pi * acb.integral(integrand, 0, 1).real
    if all(v.is_exact() for v in (s, t, q, b, c)):
        return value
    p = biased_erf_pair(x, s, t, q, b, c, arb(0))
    for slope, v in zip((p.s, p.t, p.q, p.b, p.c), (s, t, q, b, c)):
        value += slope * arb(0, v.rad())
    return value
