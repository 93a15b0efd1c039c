"""Pruning as a way to a teacher's size (figure 6B): magnitude, lottery ticket and unit-wise group lasso.

Students of four times the width, trained by L-BFGS on the teacher's logits, each method with as many CPU
seconds as `recover` took; unit-wise group lasso shares them among eight penalties.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.optimize

import gradflow as gf

from . import _recovery_cases as cases

PRUNING = ("magnitude", "lottery ticket", "group lasso")
EXPANSION = 4

STAGES, SHARE = 9, 0.2
"""Rounds of weight pruning, and the share of the weights left that each removes."""

PENALTIES = tuple(10.0**-k for k in np.arange(0.5, 4.5, 0.5))
"""Of the group lasso, in units of the answers' variance."""


class _Student:
    """tanh(X Vᵀ) A + b with masks, its mean squared error and gradient."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, width: int, rng: np.random.Generator):
        self.X = np.hstack([X, np.ones((len(X), 1))])
        self.Y, self.width = Y, width
        d, k = self.X.shape[1], Y.shape[1]
        V = rng.standard_normal((width, d)) * np.sqrt(2.0 / (d + width))
        A = rng.standard_normal((width + 1, k)) * np.sqrt(2.0 / (width + k))
        V[:, -1] = A[-1] = 0.0
        self.cut = V.size
        self.theta = np.concatenate([V.ravel(), A.ravel()])
        self.mask = np.ones(self.theta.size, bool)

    def parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return theta[: self.cut].reshape(self.width, -1), theta[self.cut :].reshape(self.width + 1, -1)

    def value(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        V, A = self.parts(theta)
        H = np.tanh(self.X @ V.T)
        R = H @ A[:-1] + A[-1] - self.Y
        back = (R @ A[:-1].T) * (1.0 - H * H)
        gradient = np.concatenate([(back.T @ self.X).ravel(), (H.T @ R).ravel(), R.sum(axis=0)])
        return float((R * R).sum() / len(R)), 2.0 / len(R) * gradient * self.mask

    def train(self, seconds: float) -> None:
        """L-BFGS until the CPU seconds are over."""
        end = time.thread_time() + seconds

        def watch(_):
            if time.thread_time() > end:
                raise StopIteration

        found = scipy.optimize.minimize(
            self.value, self.theta, jac=True, method="L-BFGS-B", callback=watch,
            options={"maxiter": 10**6, "maxfun": 10**7, "ftol": 0.0, "gtol": 0.0, "maxcor": 20},
        )  # fmt: skip
        self.theta = found.x * self.mask

    def point(self) -> tuple[int, int, float]:
        """Neurons that are connected on both sides, weights that are not zero, RMSE."""
        V, A = self.parts(self.theta)
        alive = (V[:, :-1] != 0.0).any(axis=1) & (A[:-1] != 0.0).any(axis=1)
        return int(alive.sum()), int((self.theta != 0.0).sum()), self.value(self.theta)[0] ** 0.5


def by_weights(student: _Student, rewind: bool, seconds: float) -> list[tuple[int, int, float]]:
    """The smallest weights go, round by round (Han et al. 2015), or also back to the start (Frankle 2019)."""
    first = student.theta.copy()
    points = []
    for stage in range(STAGES):
        student.train(seconds / STAGES)
        points.append(student.point())
        if stage == STAGES - 1:
            break
        left = np.flatnonzero(student.mask)
        order = left[np.argsort(np.abs(student.theta[left]))]
        student.mask[order[: int(SHARE * len(left))]] = False
        student.theta = (first if rewind else student.theta) * student.mask
    return points


def _proximal(student: _Student, penalty: float, seconds: float) -> None:
    """Accelerated proximal gradient steps on the loss and a penalty times Σ_i |(w_i, b_i, a_i)|."""
    end = time.thread_time() + seconds
    point, step, momentum = student.theta.copy(), 1.0, 1.0
    ahead = point.copy()

    def shrunk(theta: np.ndarray, by: float) -> np.ndarray:
        V, A = (part.copy() for part in student.parts(theta))
        norms = np.sqrt((V**2).sum(axis=1) + (A[:-1] ** 2).sum(axis=1))
        kept = np.maximum(1.0 - by / np.maximum(norms, 1e-300), 0.0)
        V *= kept[:, None]
        A[:-1] *= kept[:, None]
        return np.concatenate([V.ravel(), A.ravel()])

    while time.thread_time() < end:
        loss, gradient = student.value(ahead)
        while True:
            new = shrunk(ahead - step * gradient, step * penalty)
            move = new - ahead
            if student.value(new)[0] <= loss + gradient @ move + (move @ move) / (2.0 * step):
                break
            step *= 0.5
        after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = new + (momentum - 1.0) / after * (new - point)
        point, momentum, step = new, after, 1.1 * step
    student.theta = point


def by_units(make: Callable[[], _Student], seconds: float) -> list[tuple[int, int, float]]:
    """Group lasso over whole neurons, those at zero removed, the rest trained without the penalty."""
    points, part = [], seconds / len(PENALTIES) / 3
    for penalty in PENALTIES:
        student = make()
        student.train(part)
        _proximal(student, penalty * float(student.Y.var(axis=0).sum()), part)
        V, A = student.parts(student.theta)
        dead = ~((V != 0.0).any(axis=1) & (A[:-1] != 0.0).any(axis=1))
        mask_in, mask_out = np.ones_like(V, bool), np.ones_like(A, bool)
        mask_in[dead], mask_out[:-1][dead] = False, False
        student.mask = np.concatenate([mask_in.ravel(), mask_out.ravel()])
        student.theta = student.theta * student.mask
        student.train(part)
        points.append(student.point())
    return points


def _task(width: int) -> tuple[np.ndarray, np.ndarray]:
    X, labels = cases.images()
    return X, cases.image_teacher("tanh", width, X, labels)(X)


def recovered(width: int) -> dict:
    """The tanh classifier of the 8×8 digits by `recover`."""
    X, Y = _task(width)
    began = time.thread_time()
    found = gf.recovery.recover(X, Y, "tanh", students=24, widest=2 * width, progress=False)
    return _row([(found.width, found.network.size, found.rmse)], began) | {"method": "recover"}


def pruned(method: str, width: int, seconds: int) -> dict:
    """The same by pruning students of four times the width within these CPU seconds."""
    X, Y = _task(width)

    def make() -> _Student:
        return _Student(X, Y, EXPANSION * width, np.random.default_rng(0))

    began = time.thread_time()
    if method == "group lasso":
        return _row(by_units(make, seconds), began)
    return _row(by_weights(make(), method == "lottery ticket", seconds), began)


def _row(points: list[tuple[int, int, float]], began: float) -> dict:
    return {
        "neurons": [point[0] for point in points],
        "parameters": [point[1] for point in points],
        "rmse": [float(point[2]) for point in points],
        "cpu": time.thread_time() - began,
    }
