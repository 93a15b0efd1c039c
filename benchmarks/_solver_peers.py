"""What the solvers are compared with: SciPy's stiff solvers and SUNDIALS CVODE on the same kernels."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.integrate


class TooLate(Exception):
    """The time of a cell is over."""


class Field:
    """−∇L and −∇²L for other people's solvers: the compiled kernels by address, counted, with a deadline.

    Nothing is checked or converted: θ is copied to where the kernel reads it, one call, one sign.
    """

    def __init__(self, objective, seconds: float):
        self.size = objective.size
        self.deadline = time.perf_counter() + seconds
        self.gradients = self.hessians = 0
        self._kernel = objective._call_derivatives
        self._descriptor = objective.descriptor.ctypes.data
        self._theta, self._gradient = np.empty(self.size), np.empty(self.size)
        self._hessian = np.empty((self.size, self.size))
        self._addresses = [x.ctypes.data for x in (self._theta, self._gradient, self._hessian)]

    def velocity(self, t, y):
        """−∇L(y) as a new array."""
        return np.negative(self._slope(y))

    def velocity_into(self, t, y, out):
        """−∇L(y) written to `out`."""
        np.negative(self._slope(y), out=out)

    def jacobian(self, t, y):
        """−∇²L(y) as a new array."""
        return np.negative(self._curvature(y))

    def jacobian_into(self, t, y, slope, out):
        """−∇²L(y) written to `out`."""
        np.negative(self._curvature(y), out=out)

    def _slope(self, y):
        if time.perf_counter() > self.deadline:
            raise TooLate
        self.gradients += 1
        self._theta[:] = y
        self._kernel(self._descriptor, self._addresses[0], 0, 0, self._addresses[1], 0)
        return self._gradient

    def _curvature(self, y):
        if time.perf_counter() > self.deadline:
            raise TooLate
        self.hessians += 1
        self._theta[:] = y
        self._kernel(self._descriptor, self._addresses[0], 0, 0, 0, self._addresses[2])
        return self._hessian


def _stepwise(method) -> Callable:
    """SciPy's stepping classes without the interpolation and the event search of `solve_ivp`."""

    def run(field: Field, theta, t: float, tolerance: float):
        solver = method(field.velocity, 0.0, theta, t, rtol=tolerance, atol=tolerance, jac=field.jacobian)
        steps = 0
        while solver.status == "running":
            solver.step()
            steps += 1
        return (solver.y, steps) if solver.status == "finished" else (None, steps)

    return run


def odeint(field: Field, theta, t: float, tolerance: float):
    """LSODA in SciPy's older interface, which loops in compiled code; `LSODA` itself steps from Python."""
    path, facts = scipy.integrate.odeint(
        field.velocity,
        theta,
        [0.0, t],
        Dfun=field.jacobian,
        tfirst=True,
        rtol=tolerance,
        atol=tolerance,
        mxstep=10**7,
        full_output=True,
    )
    good = facts["message"] == "Integration successful."
    return (path[-1] if good else None), int(facts["nst"][-1])


def cvode(field: Field, theta, t: float, tolerance: float):
    """CVODE's BDF with dense direct solves: its own up to 100 parameters, LAPACK's beyond, as it advises."""
    from sksundae.cvode import CVODE

    solver = CVODE(
        field.velocity_into,
        jacfn=field.jacobian_into,
        linsolver="dense" if field.size <= 100 else "lapackdense",
        rtol=tolerance,
        atol=tolerance,
        max_num_steps=10**7,
    )
    solution = solver.solve([0.0, t], theta)
    return (solution.y[-1] if solution.success else None), solution.t.size - 1


def peers() -> dict[str, Callable]:
    """Name → run(field, theta, t, tolerance) → (θ(t) or None, steps). CVODE needs scikit-sundae."""
    found = {
        "SciPy Radau": _stepwise(scipy.integrate.Radau),
        "SciPy BDF": _stepwise(scipy.integrate.BDF),
        "SciPy LSODA": _stepwise(scipy.integrate.LSODA),
        "odeint": odeint,
    }
    try:
        import sksundae.cvode  # noqa: F401
    except ImportError:
        print("  CVODE is left out: pip install scikit-sundae")
    else:
        found["CVODE"] = cvode
    return found
