"""How long a loop may go on, asked at one place and in one order."""

from __future__ import annotations

import math
import time

from .progress import Monitor
from .stopping import StopReason


class Limits:
    """The limits of a loop, counted from the moment this is made.

    steps    most steps; `left` says how many remain
    seconds  most wall-clock time
    """

    def __init__(self, monitor: Monitor, steps: int, seconds: float):
        self.monitor, self.steps, self.seconds = monitor, steps, seconds
        self._began = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    def left(self, steps: int) -> int:
        """How many steps are allowed after so many."""
        return self.steps - steps

    def reason(self, steps: int, *numbers: float) -> StopReason | None:
        """Why the loop must stop after so many steps, or None.

        numbers   what must be finite, as a loss and the norm of its gradient
        """
        if not all(map(math.isfinite, numbers)):
            return StopReason.NON_FINITE
        if self.monitor.interrupted:
            return StopReason.INTERRUPTED
        if self.left(steps) <= 0:
            return StopReason.MAX_STEPS
        return StopReason.MAX_SECONDS if self.spent >= self.seconds else None
