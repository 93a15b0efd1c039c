"""The exceptions that gradflow raises.

Bad input is refused before anything is compiled. Numerical trouble during a run is not an exception
but a `StopReason` on the result.
"""

from __future__ import annotations


class GradflowError(Exception):
    """Base class of every exception that gradflow raises on purpose."""


class ArgumentError(GradflowError, ValueError):
    """A value handed in cannot be used: names the argument, what was given and what is allowed."""

    def __init__(self, argument: str, given: object, allowed: str):
        self.argument = argument
        self.given = given
        self.allowed = allowed
        super().__init__(f"{argument}: got {given}; allowed: {allowed}")

    def __reduce__(self):
        return type(self), (self.argument, self.given, self.allowed)


class MemoryLimitError(ArgumentError, MemoryError):
    """What was asked for does not fit in the memory that this process may use."""


class HessianUndefinedError(GradflowError):
    """There is no Hessian at the point: a ReLU neuron with zero weights, or numbers that overflow."""


class StorageError(GradflowError, ValueError):
    """A file is missing, truncated, foreign, or of a schema that this version does not read."""


class MissingExtraError(GradflowError, ImportError):
    """An optional package is not installed: names the package and the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str):
        self.package = package
        self.extra = extra
        self.purpose = purpose
        super().__init__(
            f"{purpose} needs the package {package!r}: install it with  pip install 'gradflow[{extra}]'"
        )

    def __reduce__(self):
        return type(self), (self.package, self.extra, self.purpose)
