"""Other dynamics than the gradient flow: online stochastic gradient descent in the limit of many inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .activations import ACTIVATIONS, Activation
from .kernels.math import abi
from .networks import MLP
from .order_parameters import order_parameters
from .support.errors import ArgumentError
from .support.settings import Settings, store_plain
from .support.stopping import StopReason
from .support.validate import number, real_array

__all__ = ["OnlineFlow", "OnlineSGD", "OnlineState"]


class OnlineState(NamedTuple):
    """Order parameters at one time or several.

    Attributes
    ----------
    Q : ndarray, shape (…, n, n)
        Overlaps of the student's weight vectors.
    R : ndarray, shape (…, n, k)
        Of the student's with the teacher's.
    output_weights : ndarray, shape (…, n)
        v.
    loss : ndarray, shape (…)
        L = E(f − f*)².

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 50), gf.MLP.random((50, 2, 1), bias=False, seed=0)
    >>> flow = OnlineSGD(learning_rate=0.5).integrate(teacher, student, t1=10.0)
    >>> flow.at([1.0, 2.0]).R.shape
    (2, 2, 2)
    """

    Q: np.ndarray
    R: np.ndarray
    output_weights: np.ndarray
    loss: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class OnlineFlow:
    """A path of order parameters.

    Attributes
    ----------
    times : ndarray, shape (m,)
        Steps divided by the number of inputs.
    Q, R, T : ndarray
        Shapes (m, n, n), (m, n, k) and (k, k), as in `order_parameters`.
    output_weights : ndarray, shape (m, n)
        v.
    losses : ndarray, shape (m,)
        L = E(f − f*)², without label noise and without ½.
    stop_reason : StopReason
        END_TIME, or why the integration ended before.
    settings : dict
        Those of the `OnlineSGD`.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 50), gf.MLP.random((50, 2, 1), bias=False, seed=0)
    >>> flow = OnlineSGD(learning_rate=0.5).integrate(teacher, student, t1=10.0)
    >>> bool(flow.losses[-1] < flow.losses[0]), flow.stop_reason.name
    (True, 'END_TIME')
    """

    times: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    T: np.ndarray
    output_weights: np.ndarray
    losses: np.ndarray
    stop_reason: StopReason
    settings: dict
    _dense: Callable
    _loss: Callable

    @property
    def generalization_errors(self) -> np.ndarray:
        """½ E(f − f*)² (m,), the papers' ε_g."""
        return 0.5 * self.losses

    def at(self, t) -> OnlineState:
        """The state at a time t between 0 and the end, or at several (m,)."""
        points = np.atleast_1d(real_array("t", t, (0, 1)))
        end = self.times[-1]
        if points.size and (points.min() < 0 or points.max() > end):
            worst = points.min() if points.min() < 0 else points.max()
            raise ArgumentError("t", worst, f"times between 0 and the end, {end:g}")
        states = np.ascontiguousarray(self._dense(points).T)
        Q, R, v = _split(states, *self.R.shape[1:])
        losses = np.array([self._loss(state) for state in states])
        if np.ndim(t) == 0:
            return OnlineState(Q[0], R[0], v[0], losses[0])
        return OnlineState(Q, R, v, losses)

    def __repr__(self) -> str:
        n, k = self.R.shape[1:]
        return (
            f"<OnlineFlow: {n} student and {k} teacher neurons, t = {self.times[-1]:g}, "
            f"loss {self.losses[-1]:.6g}, {self.stop_reason.value}>"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnlineSGD(Settings):
    """Online SGD of an erf student with a new input at each step, for d → ∞ inputs: ODEs of Q, R and v.

    Parameters
    ----------
    learning_rate : float
        η > 0: w_i ← w_i − (η/d) v_i σ'(w_i·x)(f − y) x.
    noise : float, default 0
        Standard deviation s ≥ 0 of the label noise, y = f*(x) + s ξ.
    second_learning_rate : float, optional
        η₂ ≥ 0: v_i ← v_i − (η₂/d) σ(w_i·x)(f − y); η unless given, 0 fixes v.
    rtol, atol : float, default 1e-9 and 1e-11
        Tolerances of the integration (SciPy's LSODA).

    Raises
    ------
    ArgumentError
        For rates, noise and tolerances that are negative or not finite.

    Notes
    -----
    Time is steps/d. For η → 0 at fixed ηt this is the gradient flow: dθ/dt = −∇L is η = η₂ = 2 without the
    terms in η². The random fluctuations of a run of finite d are of order 1/√d.

    References
    ----------
    D. Saad and S. A. Solla, Phys. Rev. E 52 (1995) 4225; P. Riegler and M. Biehl, J. Phys. A 28 (1995) L507
    (second layer); S. Goldt et al., NeurIPS 2019.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 50), gf.MLP.random((50, 2, 1), bias=False, seed=0)
    >>> flow = OnlineSGD(learning_rate=0.5).integrate(teacher, student, t1=10.0, times=[0.0, 10.0])
    >>> flow.generalization_errors.shape
    (2,)
    """

    learning_rate: float
    noise: float = 0.0
    second_learning_rate: float | None = None
    rtol: float = 1e-9
    atol: float = 1e-11

    def __post_init__(self):
        second = self.learning_rate if self.second_learning_rate is None else self.second_learning_rate
        values = {"learning_rate": number("learning_rate", self.learning_rate, minimum=0.0, exclusive=True)}
        values["noise"] = number("noise", self.noise, minimum=0.0)
        values["second_learning_rate"] = number("second_learning_rate", second, minimum=0.0)
        for name in ("rtol", "atol"):
            values[name] = number(name, getattr(self, name), minimum=0.0, exclusive=True)
        for name, value in values.items():
            if not np.isfinite(value):
                raise ArgumentError(name, value, "a finite number")
        store_plain(self, values)

    def integrate(self, teacher: MLP, student: MLP, *, t1: float, times=None) -> OnlineFlow:
        """Follow the order parameters from those of the student, for inputs x ~ N(0, I).

        Parameters
        ----------
        teacher, student : MLP
            Networks of one hidden erf layer without biases and with one output.
        t1 : float
            The end.
        times : array_like, shape (m,), optional
            At which the path is returned, increasing within [0, t1]; the integrator's own unless given.

        Returns
        -------
        OnlineFlow

        Raises
        ------
        ArgumentError
            For any other networks and times.
        """
        import scipy.integrate  # takes a tenth of a second: not at import

        sigma = _check(teacher, "teacher")
        if _check(student, "student") != sigma:
            raise ArgumentError("student", repr(student), f"{sigma.name} neurons, as the teacher has")
        t1 = number("t1", t1, minimum=0.0, exclusive=True)
        if not np.isfinite(t1):
            raise ArgumentError("t1", t1, "a finite time")
        points = None if times is None else real_array("times", times, 1)
        if points is not None and (
            points.size == 0 or points[0] < 0 or points[-1] > t1 or (np.diff(points) <= 0).any()
        ):
            raise ArgumentError("times", f"{points.size} times", f"increasing times within [0, {t1:g}]")
        Q, R, T = order_parameters(student, teacher)
        n, k = R.shape
        start = np.concatenate([Q.ravel(), R.ravel(), student.weights[1][0]])
        rate, loss = self._functions(sigma, n, k, T, teacher.weights[1][0].copy())
        solution = scipy.integrate.solve_ivp(
            lambda _, y: rate(y), (0.0, t1), start, method="LSODA", rtol=self.rtol, atol=self.atol,
            dense_output=True,
        )  # fmt: skip
        end = solution.t[-1]
        if points is None:
            points, states = solution.t, np.ascontiguousarray(solution.y.T)
        else:
            points = points[points <= end]
            states = np.ascontiguousarray(solution.sol(points).T)
        finite = bool(np.isfinite(states).all())
        reason = StopReason.END_TIME if solution.success and finite else StopReason.STEP_UNDERFLOW
        if not finite:
            reason = StopReason.NON_FINITE
        Qs, Rs, vs = _split(states, n, k)
        losses = np.array([loss(state) for state in states])
        settings = dataclasses.asdict(self)
        return OnlineFlow(points, Qs, Rs, T, vs, losses, reason, settings, solution.sol, loss)

    def _functions(
        self, sigma: Activation, n: int, k: int, T: np.ndarray, A: np.ndarray
    ) -> tuple[Callable, Callable]:
        """The rate of change of a state, and its loss."""
        assert self.second_learning_rate is not None
        rates = np.array([self.learning_rate, self.second_learning_rate, self.noise**2])
        T = np.ascontiguousarray(T)
        descriptor = np.array([n, k, T.ctypes.data, A.ctypes.data, rates.ctypes.data], dtype=np.int64)
        assert sigma.record.online is not None
        kernel = abi.callable_from_python(abi.compile_function(sigma.record.online).address)

        def rate(state: np.ndarray, keep=(T, A, rates)) -> np.ndarray:
            state, result = np.ascontiguousarray(state), np.empty_like(state)
            kernel(descriptor.ctypes.data, state.ctypes.data, 0, 0, result.ctypes.data, 0)
            return result

        def loss(state: np.ndarray, keep=(T, A, rates)) -> float:
            result = np.empty(1)
            kernel(descriptor.ctypes.data, state.ctypes.data, 0, result.ctypes.data, 0, 0)
            return float(result[0])

        return rate, loss


def _split(states: np.ndarray, n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q, R and v of states (m, n(n + k + 1))."""
    Q = states[:, : n * n].reshape(-1, n, n)
    R = states[:, n * n : n * (n + k)].reshape(-1, n, k)
    return Q, R, states[:, n * (n + k) :]


def _check(network, argument: str) -> Activation:
    """The activation of all neurons, if the equations are known for such a network."""
    if not isinstance(network, MLP):
        raise ArgumentError(argument, type(network).__name__, "a gradflow.MLP")
    if len(network.sizes) != 3 or network.sizes[-1] != 1:
        raise ArgumentError(argument, f"sizes {network.sizes}", "one hidden layer and one output")
    if any(b is not None for b in network.biases):
        raise ArgumentError(argument, "biases", "no biases")
    sigma, *others = set(network.neuron_activations(0))
    if others or sigma.record.online is None:
        known = (name for name, sigma in ACTIVATIONS.items() if sigma.record.online is not None)
        raise ArgumentError(argument, repr(network), " or ".join(f"{name} neurons" for name in known))
    return sigma


def __dir__() -> list[str]:
    return sorted(__all__)
