"""Units of queries and answers, taken out before anything is decided and put back at the end."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..networks import MLP, in_units
from ..support.powers import nearest_power_of_two
from .result import Recovery

UNIFORM = 12**0.5
"""Range of a uniform law in units of its standard deviation."""

ALIKE = 2.0**-5
"""Features whose range is at least this part of the largest have one unit, as the pixels of an image do.

On the 8×8 digits (ranges 1/16 … 1, tanh teacher of 16) four of the first eight students of the right width
reach the floor with one unit for all pixels, and none of six with a unit for each: damping in units of a
pixel's own range no longer holds the weights still of those that are hardly ever lit. A feature of another
size has its own: with one unit a teacher of two inputs is found at a ratio of 20, not at 200.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """Powers of two by which queries and answers are divided: no digit is lost, and scales do not matter.

    features   Float[Array, "d"]: the largest range over √12, or a feature's own below `ALIKE` of it
    answers    one for all outputs: their standard deviation, all together

    The range and not the deviation of a feature: a pixel that is lit in one image of thousands keeps its size
    beside the others.
    """

    features: np.ndarray
    answers: float

    @classmethod
    def of(cls, X: np.ndarray, Y: np.ndarray, features: bool = True) -> Units:
        """Those of queries and answers; of the answers alone without `features`."""
        spread = np.ptp(X, axis=0) if features else np.zeros(X.shape[1])
        largest = spread.max(initial=0.0)
        spread = np.where(spread >= ALIKE * largest, largest, spread)
        return cls(nearest_power_of_two(spread / UNIFORM), float(nearest_power_of_two(_deviation(Y))))

    def inside(self, X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Queries and answers in these units."""
        return X / self.features, Y / self.answers

    def original(self, found: Recovery) -> Recovery:
        """What was found in these units for queries and answers as they were given."""
        network = self._network(found.network)
        certificate, y = found.certificate, self.answers
        if certificate is not None:
            ones = found.network.with_flat(np.ones(found.network.size))
            certificate = dataclasses.replace(
                certificate,
                rmse=certificate.rmse * y,
                held_out=certificate.held_out * y,
                floor=certificate.floor * y,
                smaller=certificate.smaller * y,
                errors=certificate.errors * self._network(ones).flat(),
            )
        agreed = found.agreed
        if agreed.size:
            agreed = agreed / np.append(self.features, 1.0)
        return dataclasses.replace(
            found,
            network=network,
            rmse=found.rmse * y,
            certificate=certificate,
            agreed=agreed,
            students=tuple(student | {"loss": student["loss"] * y * y} for student in found.students),
            affine=None if found.affine is None else found.affine * (y / self.features),
        )

    def _network(self, network: MLP) -> MLP:
        return in_units(network, self.answers, 1.0 / self.features)


def _deviation(Y: np.ndarray) -> float:
    """Root mean square about the mean, all outputs together, without squares that overflow or vanish."""
    centre = Y.mean(axis=0)
    if not np.isfinite(centre).all():
        centre = (Y / len(Y)).sum(axis=0)
    apart = Y - centre
    largest = float(np.abs(apart).max())
    return largest * float(np.sqrt(((apart / largest) ** 2).sum(axis=1).mean())) if largest > 0.0 else 0.0
