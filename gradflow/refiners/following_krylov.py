"""Eigenvector following without matrices: the lowest modes by products, the others by conjugate gradients."""

from __future__ import annotations

import numpy as np

from ..support.lanczos import NEGATIVE, Product, low_end
from ..support.low_modes import LowModes, lowest_modes
from ..support.stopping import StopReason
from .krylov import Step, truncated_cg
from .newton_krylov import RESIDUAL, _Run

LONGEST = 0.02
"""Steps do not grow beyond this part of 1 + |θ|: saddles are near, and uphill there is no end."""

SHORT = 1e-6
"""Newton steps below this part of 1 + |θ| converge by themselves."""

COARSE, CERTAIN, SHARE = 1e-6, 1e-9, 0.1
"""Residuals of the modes on the way, relative to |λ|_max and to their own eigenvalues."""


class Following:
    """A walk to a saddle with `index` negative eigenvalues, in the units of a refinement without matrices."""

    def __init__(self, run: _Run, index: int, radius: float, probe: int):
        self.run, self.index, self.radius, self.probe = run, index, radius, probe
        guesses = np.random.default_rng(0).standard_normal((run.theta.size, max(index, 1)))
        self.vectors = guesses / np.linalg.norm(guesses, axis=0)

    def modes(self, count: int, accuracy: float, share: float) -> LowModes:
        """The lowest modes here, from those of the last point."""
        run = self.run
        slope = (run.units * run.gradient)[:, None]
        guesses = np.hstack([self.vectors, slope])
        found = lowest_modes(run.product, guesses, count, accuracy, share, run.settings.products)
        self.vectors = found.vectors
        return found

    def walk(self) -> None:
        """Go on until the Newton step is short, with `index` negative eigenvalues and no other in its way."""
        run, radius = self.run, self.radius
        while not run.out_of_budget():
            found = self.modes(self.index, COARSE, SHARE)
            V, values = found.vectors, found.values
            slope = run.units * run.gradient
            along = V.T @ slope
            down = self.down(V, slope - V @ along, radius)
            sizes = np.maximum(np.abs(values), COARSE * found.largest)
            uphill = _bounded(along, sizes, radius)
            negative = values < -NEGATIVE * found.largest
            still = ~negative & (np.abs(along) <= 1e-8 * radius * sizes + 1e-300)
            uphill[still] = radius / np.sqrt(max(int(still.sum()), 1))
            step = V @ uphill + down.vector
            length = float(np.linalg.norm(step))
            short = length <= SHORT * run.length or run.norm <= run.settings.gtol
            if negative.all() and short and not (down.on_boundary or down.negative or still.any()):
                return
            candidate = run.theta + run.units * step
            loss, gradient = run.objective.loss_and_gradient(candidate)
            finite = bool(np.isfinite(loss) and np.isfinite(gradient).all())
            quality = np.inf
            if finite:
                image = run.product(step)
                error = run.units * gradient - slope - image
                quality = model_error(error, run.product(error), step, image)
            if quality > 1.0 and length > 1e-10 * run.length:
                radius = 0.4 * length
                continue
            if not finite:
                run.reason = StopReason.NON_FINITE
                return
            radius = next_radius(radius, length, quality, LONGEST * run.length)
            run.move(candidate, loss, gradient)

    def down(self, V: np.ndarray, slope: np.ndarray, radius: float) -> Step:
        """The step beside the modes: it lowers the model of L, within the radius."""
        run = self.run
        scale = max(run.objective.gradient_scale, 1e-300)
        tolerance = min(0.1, float(np.sqrt(run.norm / scale)))
        found = truncated_cg(self.beside(V), slope, radius, tolerance, run.settings.products)
        run.note(found, found.residual)
        return found

    def beside(self, V: np.ndarray) -> Product:
        """Products with ∇²L beside the modes."""

        def product(v: np.ndarray) -> np.ndarray:
            v = v - V @ (V.T @ v)
            image = self.run.product(v)
            return image - V @ (V.T @ image)

        return product

    def has_index(self) -> bool:
        """Whether the point has `index` negative eigenvalues, and a search for another finds none."""
        run, index = self.run, self.index
        V = np.zeros((run.theta.size, 0))
        if index:
            found = self.modes(index, CERTAIN, SHARE)
            V, certain = found.vectors, found.values < -NEGATIVE * found.largest
            if not (certain & (found.values + found.residuals < 0.0)).all():
                return False
        return not low_end(self.beside(V), run.theta.size, self.probe, RESIDUAL).negative


def _bounded(slopes: np.ndarray, sizes: np.ndarray, radius: float) -> np.ndarray:
    """slopes/sizes, shortened to `radius`."""
    step = slopes / np.maximum(sizes, 1e-300)
    length = float(np.linalg.norm(step))
    return step if length <= radius else step * (radius / length)


def model_error(error: np.ndarray, its_image: np.ndarray, step: np.ndarray, image: np.ndarray) -> float:
    """How far the quadratic model is off after a step s: what the error e of its gradient is worth as a step.

    In units of |s|. L does not tell: uphill and downhill parts of its change cancel. With the images H e and
    H s, e is worth a step of |e|/ρ, ρ its Rayleigh quotient or, if that is less, |H s|/|s|: in the curved
    valleys of this field the gradient of stiff modes soon exceeds all of it along soft ones, and a short step
    takes it back.
    """
    size, length = float(np.linalg.norm(error)), float(np.linalg.norm(step))
    if not size > 0.0:
        return 0.0
    curvature = abs(float(error @ its_image)) / size**2
    return size / max(curvature * length, float(np.linalg.norm(image)), 1e-300)


def next_radius(radius: float, length: float, quality: float, longest: float) -> float:
    """The bound on the next step after one of this length and `model_error`."""
    grown = max(min(2.0 * radius, longest), radius)
    return 0.5 * length if quality > 0.5 else grown if quality < 0.2 else radius
