"""Flows of one hidden layer of relus on samples, slowly and by other means than the package's.

Pieces are written out in NumPy, SciPy's DOP853 integrates them at 1e-12 with its own events, and what happens
at a corner is found by trying all assignments of left, right and sliding until one is consistent.
"""

import dataclasses
import itertools

import numpy as np
from scipy.integrate import solve_ivp


@dataclasses.dataclass
class Net:
    """f(x) = c + Σ_j a_j max(w_j·x + b_j, 0), θ = (W, b, a, c); `free` says what moves (frozen: zero)."""

    X: np.ndarray
    y: np.ndarray
    width: int
    free: np.ndarray | None = None
    hidden_bias: bool = True
    output_bias: bool = True

    def split(self, theta):
        k, d = self.width, self.X.shape[1]
        W, rest = theta[: k * d].reshape(k, d), theta[k * d :]
        b, rest = (rest[:k], rest[k:]) if self.hidden_bias else (np.zeros(k), rest)
        return W, b, rest[:k], rest[k] if self.output_bias else 0.0

    def z(self, theta):
        W, b, _, _ = self.split(theta)
        return W @ self.X.T + b[:, None]

    def join(self, W, b, a, c):
        parts = [W.ravel(), *([b] if self.hidden_bias else []), a, *([[c]] if self.output_bias else [])]
        vector = np.concatenate(parts)
        return vector if self.free is None else vector * self.free

    def gradient(self, theta, slopes):
        """∇L with the slopes (k, N) of the neurons, and Σ-terms ∂L/∂h (k, N)."""
        _, _, a, c = self.split(theta)
        z = self.z(theta)
        h = slopes * z
        r = 2.0 * (a @ h + c - self.y) / len(self.y)
        q = a[:, None] * r
        s = q * slopes
        return self.join(s @ self.X, s.sum(axis=1), h @ r, r.sum()), q

    def normal(self, place):
        j, i = place
        W, b = np.zeros((self.width, self.X.shape[1])), np.zeros(self.width)
        W[j], b[j] = self.X[i], 1.0
        return self.join(W, b, np.zeros(self.width), 0.0)

    def loss(self, theta):
        _, _, a, c = self.split(theta)
        return np.mean((a @ np.maximum(self.z(theta), 0) + c - self.y) ** 2)


def field(net, theta, slopes, sliding):
    """θ' and the fractions of sliding places; `slopes` has zeros there."""
    g, q = net.gradient(theta, slopes)
    if not sliding:
        return -g, np.zeros(0)
    N = np.array([net.normal(p) for p in sliding])
    J = np.array([q[p] for p in sliding])
    parts = np.linalg.solve((N @ N.T) * J, -N @ g)
    return -(g + (parts * J) @ N), parts


def decide(net, theta, slopes, corner):
    """Slopes and sliding places behind a corner, by trying everything; the first that is consistent."""
    for choice in itertools.product((0.0, 1.0, None), repeat=len(corner)):
        trial, slide = slopes.copy(), []
        for place, side in zip(corner, choice):
            trial[place] = side or 0.0
            if side is None:
                slide.append(place)
        try:
            velocity, parts = field(net, theta, trial, slide)
        except np.linalg.LinAlgError:
            continue
        speed = [net.normal(p) @ velocity for p in corner]
        good = ((parts > 0) & (parts < 1)).all()
        for v, side in zip(speed, choice):
            good &= side is None or (v > 0 if side else v <= 0)  # a neuron asleep stays so
        _, q = net.gradient(theta, trial)
        if good and all(q[p] > 0 for p in slide):
            return trial, slide
    raise AssertionError("no consistent way on")


def _piece(net, t, end, theta, slopes, sliding, places, rtol):
    """From t to the end, or to where a place leaves its side or a fraction its bounds."""
    side = np.where(slopes > 0, 1.0, -1.0)
    checks = []
    for p in places:
        checks.append(lambda t, x, p=p: side[p] * net.z(x)[p])
    for k in range(len(sliding)):
        checks.append(lambda t, x, k=k: field(net, x, slopes, sliding)[1][k])
        checks.append(lambda t, x, k=k: 1.0 - field(net, x, slopes, sliding)[1][k])
    for check in checks:
        check.terminal, check.direction = True, -1.0
    settings = {"method": "DOP853", "rtol": rtol, "atol": 1e-13, "events": checks}
    return solve_ivp(lambda t, x: field(net, x, slopes, sliding)[0], (t, end), theta, **settings)


def follow(net, theta, end, rtol=1e-12, most=400):
    """θ at `end`, and the events: time, neuron, sample, kind."""
    t, theta = 0.0, np.array(theta, dtype=float)
    slopes = (net.z(theta) > 0).astype(float)
    sliding, events = [], []
    corner = [tuple(map(int, p)) for p in np.argwhere(net.z(theta) == 0.0)]
    if corner:
        slopes, sliding = decide(net, theta, slopes, corner)
        events += [(0.0, *p, "sliding") for p in sliding]
    for _ in range(most):
        places = [p for p in itertools.product(range(net.width), range(len(net.y))) if p not in sliding]
        run = _piece(net, t, end, theta, slopes, sliding, places, rtol)
        t, theta = float(run.t[-1]), run.y[:, -1]
        if run.status == 0:
            return theta, events
        hit = int(np.flatnonzero([len(x) for x in run.t_events])[0])
        if hit < len(places):
            place = places[hit]
            n = net.normal(place)
            theta = theta - n * (net.z(theta)[place] / (n @ n))
            before = slopes[place]
            slopes, sliding = decide(net, theta, slopes, [*sliding, place])
            events.append((t, *place, "sliding" if place in sliding else "crossing"))
            assert place in sliding or slopes[place] != before
        else:
            k, upper = divmod(hit - len(places), 2)
            gone = [(k, upper)]  # with it others whose fraction reaches its bound at the same time
            parts = field(net, theta, slopes, sliding)[1]
            gone += [(i, x > 0.5) for i, x in enumerate(parts) if i != k and min(x, 1 - x) < 1e-9]
            for k, upper in sorted(gone, reverse=True):
                place = sliding.pop(k)
                slopes[place] = float(upper)
                events.append((t, *place, "leaving"))
    raise AssertionError("too many events")
