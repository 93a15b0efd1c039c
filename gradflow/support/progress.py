"""What long work shows while it runs, and how Ctrl-C ends it with what has been reached."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import contextmanager

_COMPILING: list[Monitor] = []
"""Those within `Monitor.compiling`, the last one first asked: who is told of a compilation."""

WARM = "python -m gradflow warm"
"""What compiles all kinds beforehand."""


@contextmanager
def compilation(what: str):
    """Within this block code is compiled that no earlier process has left: said where somebody listens."""
    monitor = _COMPILING[-1] if _COMPILING else None
    if monitor is not None:
        monitor.compiles(what)
    yield


class Monitor:
    """One line about the stage that runs, and the flag that Ctrl-C sets.

    progress   True: always, False: never, None: when standard error is a terminal
    """

    def __init__(self, progress: bool | None = None, stream=None, interval: float = 0.2):
        self.stream = sys.stderr if stream is None else stream
        self.terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        notebook = type(self.stream).__module__.startswith("ipykernel")
        self.shown = self.terminal if progress is None else bool(progress)
        # A notebook shows no line of a run by default, but is told what takes seconds of silence.
        self.tells = self.shown or (progress is None and notebook)
        self.over = self.terminal or notebook
        self._compiled, self._began = 0, 0.0
        # A line that cannot be overwritten is repeated less often.
        self.interval = interval if self.terminal else 10 * interval
        self.interrupted = False
        self._compiling = False
        self._last = 0.0
        self._written = 0

    def report(
        self, stage: str, *, loss: float, grad_norm: float, steps: int, t: float | None = None
    ) -> None:
        """Show the state of a stage, at most once per interval."""
        now = time.monotonic()
        if not self.shown or now - self._last < self.interval:
            return
        self._last = now
        time_text = "" if t is None else f"  t {t:9.3g}"
        self._write(f"{stage:<18}{time_text}  loss {loss:11.5g}  |grad| {grad_norm:9.3g}  steps {steps:,}")

    def message(self, text: str) -> None:
        """Show a line at once (a compilation begins, Ctrl-C was seen)."""
        if self.shown:
            self._last = 0.0
            self._write(text)

    def compiles(self, what: str) -> None:
        """Say what is compiled now, for the how manieth time, and since when."""
        now = time.monotonic()
        if self._compiled == 0:
            self._began = now
        self._compiled += 1
        if self.tells:
            since = f", {now - self._began:.0f} s so far" if self._compiled > 1 else f"; all kinds: {WARM}"
            self._write(f"compiling {what}, once on this machine (number {self._compiled}{since})")

    def clear(self) -> None:
        """Remove the line from a terminal or a notebook."""
        if self.over and self._written:
            self.stream.write("\r" + " " * self._written + "\r")
            self.stream.flush()
            self._written = 0

    def _write(self, text: str) -> None:
        if self.over:
            self.stream.write("\r" + text.ljust(self._written))
            self._written = len(text)
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    @contextmanager
    def compiling(self):
        """Within this block Ctrl-C never raises.

        An exception inside XLA's or LLVM's callbacks is lost, or ends the process.
        """
        self._compiling = True
        _COMPILING.append(self)
        try:
            yield
        finally:
            _COMPILING.remove(self)
            self._compiling = False

    @contextmanager
    def listening(self):
        """Within this block the first Ctrl-C sets `interrupted`, the second one raises as usual.

        Compiled code cannot be stopped in the middle: work runs in pieces of a fraction of a second
        and looks at the flag between them. Outside the main thread signals are left alone.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        previous = signal.getsignal(signal.SIGINT)
        if previous is not signal.default_int_handler:  # somebody else handles Ctrl-C: leave it to them
            yield self
            return

        def handle(signum, frame):
            if self._compiling:
                self.interrupted = True
                self.message("interrupted: stopping when the compilation is done")
            elif self.interrupted:
                signal.signal(signal.SIGINT, previous)
                raise KeyboardInterrupt
            else:
                self.interrupted = True
                self.message("interrupted: finishing the step at hand (Ctrl-C again to abort)")

        signal.signal(signal.SIGINT, handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)
            self.clear()


class Rescaled(Monitor):
    """What a stage in other units reports to: its parent, with the numbers in the units of the problem."""

    def __init__(self, parent: Monitor, loss: float, gradient: float, time: float):
        self._parent, self._units = parent, (loss, gradient, time)

    def report(
        self, stage: str, *, loss: float, grad_norm: float, steps: int, t: float | None = None
    ) -> None:
        of_loss, of_gradient, of_time = self._units
        self._parent.report(
            stage,
            loss=loss * of_loss,
            grad_norm=grad_norm * of_gradient,
            steps=steps,
            t=None if t is None else t * of_time,
        )

    def __getattr__(self, name: str):
        return getattr(self._parent, name)

    def message(self, text: str) -> None:
        self._parent.message(text)

    def compiling(self):
        return self._parent.compiling()

    def listening(self):
        return self._parent.listening()
