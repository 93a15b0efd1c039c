"""Coefficients of one-step methods: published numbers, and what follows from them.

A table checks itself at import (row sums, weights that sum to one, the diagonal); the order conditions
are checked in the tests. The flow is autonomous, so the nodes serve the checks and predictors only.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property

import numpy as np
import scipy.linalg


class RungeKutta:
    """A Runge–Kutta method of `order` with an embedded one of `embedded_order`.

    A (s, s) lower triangular, with constant diagonal after an explicit first stage if `implicit`;
    b (s,), c (s,); error (s,) = b minus the embedded weights. `error_scale` multiplies the estimate,
    so that the error meets the tolerance where the estimate alone is too small.
    """

    def __init__(
        self, order, embedded_order, rows, error=None, *, embedded=None, diagonal=0.0, error_scale=1.0
    ):
        stages = len(rows) + 1
        self.order, self.embedded_order, self.error_scale = order, embedded_order, error_scale
        self.diagonal = float(diagonal)
        self.implicit = self.diagonal != 0.0
        self.A = np.zeros((stages, stages))
        for i, row in enumerate(rows, start=1):
            self.A[i, : len(row)] = [float(x) for x in row]
            self.A[i, i] = self.diagonal
        self.b = self.A[-1].copy()  # stiffly accurate, or the explicit methods' "first same as last"
        self.c = self.A.sum(axis=1)
        if error is None:
            error = self.b - np.array([float(x) for x in embedded])
        self.error = np.array([float(x) for x in error])
        if abs(self.b.sum() - 1) > 1e-13 or abs(self.error.sum()) > 1e-13:
            raise ValueError("the weights of a method sum to one, those of its error estimate to zero")

    @property
    def stages(self) -> int:
        """Number of stages s."""
        return self.b.size

    @cached_property
    def predictor(self) -> np.ndarray:
        """Weights (s, s): stage i starts from Σ_j predictor[i, j] f_j over the stages before it.

        The smallest weights that extrapolate linear functions of time exactly (derived).
        """
        weights = np.zeros_like(self.A)
        for i in range(1, self.stages):
            degree = min(PREDICTOR_DEGREE, np.unique(np.round(self.c[:i], 12)).size - 1)
            powers = np.arange(degree + 1)[:, None]
            weights[i, :i] = np.linalg.lstsq(self.c[:i] ** powers, self.c[i] ** powers[:, 0], rcond=None)[0]
        return weights

    def packed(self) -> np.ndarray:
        """One vector for the compiled steps: diagonal, A, scaled error weights, predictor."""
        return np.concatenate(
            [[self.diagonal], self.A.ravel(), self.error_scale * self.error, self.predictor.ravel()]
        )


class Rosenbrock:
    """A Rosenbrock method in the form that needs no products with the Jacobian J:

    (I/(γΔt) − J) U_i = F(θ + Σ_j a_ij U_j) + Σ_j (c_ij/Δt) U_j,
    θ_new = θ + Σ_j m_j U_j,   error = Σ_j e_j U_j.
    """

    implicit = True

    def __init__(self, order, embedded_order, gamma, a_rows, c_rows, m, e, *, error_scale=1.0):
        stages = len(a_rows) + 1
        self.order, self.embedded_order, self.error_scale = order, embedded_order, error_scale
        self.gamma = gamma
        self.a, self.C = np.zeros((stages, stages)), np.zeros((stages, stages))
        for i, (a_row, c_row) in enumerate(zip(a_rows, c_rows, strict=True), start=1):
            self.a[i, :i], self.C[i, :i] = a_row, c_row
        self.m, self.e = np.array(m), np.array(e)
        if abs(self.b.sum() - 1) > 1e-12:
            raise ValueError("the weights of a method sum to one")

    @property
    def stages(self) -> int:
        """Number of stages s."""
        return self.m.size

    @cached_property
    def gamma_matrix(self) -> np.ndarray:
        """Γ of the usual form: C = I/γ − Γ⁻¹."""
        identity = np.eye(self.stages)
        return scipy.linalg.solve_triangular(identity / self.gamma - self.C, identity, lower=True)

    @property
    def alpha(self) -> np.ndarray:
        """α = a Γ, the explicit part of the usual form."""
        return self.a @ self.gamma_matrix

    @property
    def b(self) -> np.ndarray:
        """b = Γᵀ m, the weights of the usual form."""
        return self.m @ self.gamma_matrix

    def packed(self) -> np.ndarray:
        """One vector for the compiled step: γ, a, C, m, scaled e."""
        return np.concatenate(
            [[self.gamma], self.a.ravel(), self.C.ravel(), self.m, self.error_scale * self.e]
        )


PREDICTOR_DEGREE = 2
"""Degree of the polynomial in time through the stages before that predicts the next one."""


def _fractions(text: str) -> list[Fraction]:
    return [Fraction(word) for word in text.split()]


KENCARP58 = RungeKutta(
    5, 4,
    [_fractions(row) for row in (
        "2/9",
        "2366667076620/8822750406821 2366667076620/8822750406821",
        "-257962897183/4451812247028 -257962897183/4451812247028 128530224461/14379561246022",
        "-486229321650/11227943450093 -486229321650/11227943450093 -225633144460/6633558740617 "
        "1741320951451/6824444397158",
        "621307788657/4714163060173 621307788657/4714163060173 -125196015625/3866852212004 "
        "940440206406/7593089888465 961109811699/6734810228204",
        "2036305566805/6583108094622 2036305566805/6583108094622 -3039402635899/4450598839912 "
        "-1829510709469/31102090912115 -286320471013/6931253422520 8651533662697/9642993110008",
        "0 0 3517720773327/20256071687669 4569610470461/17934693873752 2819471173109/11655438449929 "
        "3296210113763/10722700128969 -1142099968913/5710983926999",
    )],
    embedded=_fractions(
        "0 0 520639020421/8300446712847 4550235134915/17827758688493 1482366381361/6201654941325 "
        "5551607622171/13911031047899 -5266607656330/36788968843917 1074053359553/5740751784926"
    ),
    diagonal=Fraction(2, 9),
)  # fmt: skip
"""ARK5(4)8L[2]SA₂, implicit half. Source: C. A. Kennedy and M. H. Carpenter, Appl. Numer. Math. 136 (2019)
183–205. Not the 2003 scheme ARK5(4)8L[2]SA (γ = 41/200)."""


def _kvaerno(order: int, rows: list, gamma: float) -> RungeKutta:
    """Kværnø's methods: the error estimate is the difference of the last two stages."""
    penultimate = [*rows[-2], gamma, 0.0]
    return RungeKutta(order, order - 1, rows, embedded=penultimate, diagonal=gamma)


def _kvaerno3() -> RungeKutta:
    g = 0.43586652150
    return _kvaerno(3, [
        [g],
        [(-4 * g**2 + 6 * g - 1) / (4 * g), (1 - 2 * g) / (4 * g)],
        [(6 * g - 1) / (12 * g), -1 / ((24 * g - 12) * g), (-6 * g**2 + 6 * g - 1) / (6 * g - 3)],
    ], g)  # fmt: skip


def _kvaerno4() -> RungeKutta:
    g = 0.5728160625
    p, q, r = 12 * g**2 - 6 * g + 1, 12 * g**2 - 9 * g + 2, 3 * g - 1
    return _kvaerno(4, [
        [g],
        [(144 * g**4 - 180 * g**3 + 81 * g**2 - 15 * g + 1) * g / p**2,
         (-36 * g**3 + 39 * g**2 - 15 * g + 2) * g / p**2],
        [(-144 * g**5 + 396 * g**4 - 330 * g**3 + 117 * g**2 - 18 * g + 1) / (12 * g**2 * q),
         (72 * g**4 - 126 * g**3 + 69 * g**2 - 15 * g + 1) / (12 * g**2 * r),
         (-6 * g**2 + 6 * g - 1) * p**2 / (12 * g**2 * q * r)],
        [(288 * g**4 - 312 * g**3 + 120 * g**2 - 18 * g + 1) / (48 * g**2 * q),
         (24 * g**2 - 12 * g + 1) / (48 * g**2 * r),
         -(p**3) / (48 * g**2 * r * q * (6 * g**2 - 6 * g + 1)),
         (-24 * g**3 + 36 * g**2 - 12 * g + 1) / (24 * g**2 - 24 * g + 4)],
    ], g)  # fmt: skip


KVAERNO3 = _kvaerno3()
KVAERNO4 = _kvaerno4()
KVAERNO5 = _kvaerno(5, [
    [0.26],
    [0.13, 0.84033320996790809],
    [0.22371961478320505, 0.47675532319799699, -0.06470895363112615],
    [0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998],
    [0.13855640231268224, 0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676],
    [0.13659751177640291, 0, -0.05496908796538376, -0.04118626728321046, 0.62993304899016403,
     0.06962479448202728],
], 0.26)  # fmt: skip
"""A. Kværnø, BIT Numer. Math. 44 (2004) 489–502: methods 3(2), 4(3) and 5(4), A–L stable."""

TSIT5 = RungeKutta(
    5, 4,
    [
        [0.161],
        [-0.008480655492356989, 0.335480655492357],
        [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        [5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
        [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
         2.324710524099774],
    ],
    [0.0017800110522257773, 0.0008164344596567463, -0.007880878010261994, 0.1447110071732629,
     -0.5823571654525552, 0.45808210592918686, -0.015151515151515152],
)  # fmt: skip
"""Ch. Tsitouras, Comput. Math. Appl. 62 (2011) 770–775."""

_LAST = (
    "14005451/335480064 0 0 0 0 -59238493/1068277825 181606767/758867731 561292985/797845732 "
    "-1041891430/1371343529 760417239/1151165299 118820643/751138087 -528747749/2220607170 1/4"
)
DOPRI8 = RungeKutta(
    8, 7,
    [_fractions(row) for row in (
        "1/18",
        "1/48 1/16",
        "1/32 0 3/32",
        "5/16 0 -75/64 75/64",
        "3/80 0 0 3/16 3/20",
        "29443841/614563906 0 0 77736538/692538347 -28693883/1125000000 23124283/1800000000",
        "16016141/946692911 0 0 61564180/158732637 22789713/633445777 545815736/2771057229 "
        "-180193667/1043307555",
        "39632708/573591083 0 0 -433636366/683701615 -421739975/2616292301 100302831/723423059 "
        "790204164/839813087 800635310/3783071287",
        "246121993/1340847787 0 0 -37695042795/15268766246 -309121744/1061227803 -12992083/490766935 "
        "6005943493/2108947869 393006217/1396673457 123872331/1001029789",
        "-1028468189/846180014 0 0 8478235783/508512852 1311729495/1432422823 -10304129995/1701304382 "
        "-48777925059/3047939560 15336726248/1032824649 -45442868181/3398467696 3065993473/597172653",
        "185892177/718116043 0 0 -3185094517/667107341 -477755414/1098053517 -703635378/230739211 "
        "5731566787/1027545527 5232866602/850066563 -4093664535/808688257 3962137247/1805957418 "
        "65686358/487910083",
        "403863854/491063109 0 0 -5068492393/434740067 -411421997/543043805 652783627/914296604 "
        "11173962825/925320556 -13158990841/6184727034 3936647629/1978049680 -160528059/685178525 "
        "248638103/1413531060 0",
        _LAST,
    )],
    embedded=_fractions(
        "13451932/455176623 0 0 0 0 -808719846/976000145 1757004468/5645159321 656045339/265891186 "
        "-3867574721/1518517206 465885868/322736535 53011238/667516719 2/45 0 0"
    ),
)  # fmt: skip
"""P. J. Prince and J. R. Dormand, J. Comput. Appl. Math. 7 (1981) 67–75: RK8(7)13M."""

_RODAS_LAST = [-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256,
               0.030198172008377946]  # fmt: skip
RODAS5P = Rosenbrock(
    5, 4, 0.21193756319429014,
    [
        [3.0],
        [2.849394379747939, 0.45842242204463923],
        [-6.954028509809101, 2.489845061869568, -10.358996098473584],
        [2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641],
        _RODAS_LAST,
        [*_RODAS_LAST, 1.0],
        [*_RODAS_LAST, 1.0, 1.0],
    ],
    [
        [-14.155112264123755],
        [-17.97296035885952, -2.859693295451294],
        [147.12150275711716, -1.41221402718213, 71.68940251302358],
        [165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306],
        [24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471],
        [30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
         -28.087943162872662],
        [37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
         -54.66780262877968, -9.48861652309627],
    ],
    [*_RODAS_LAST, 1.0, 1.0, 1.0],
    [0.0] * 7 + [1.0],
)  # fmt: skip
"""Rodas5P, stiffly accurate, L-stable. Source: G. Steinebach, BIT Numer. Math. 63 (2023) 27."""


def differentiation_formulas() -> np.ndarray:
    """Coefficients of the NDF of orders 1 to 5 as `compiled.bdf` reads them.

    κ = −0.1850, −1/9, −0.0823, −0.0415, 0 for k = 1…5; γ_k = Σ_{m=1}^k 1/m; α_k = (1 − κ_k) γ_k; error
    constants κ_k γ_k + 1/(k + 1), with κ_6 = 0 for the estimate of a higher order.
    """
    kappa = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0, 0.0])
    gamma = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 7))])
    constants = kappa * gamma + 1 / np.arange(1, 8)
    second = np.array([1.0, 1.0, 11 / 12, 5 / 6])
    return np.concatenate([((1 - kappa) * gamma)[:6], gamma[:6], constants, second, np.ones(6)])
