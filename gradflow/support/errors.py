"""The exceptions that gradflow raises.

Bad input is refused before anything is compiled. Numerical trouble during a run is not an exception
but a `StopReason` on the result.
"""

from __future__ import annotations


class GradflowError(Exception):
    """Base class of every exception that gradflow raises on purpose.

    Examples
    --------
    >>> try:
    ...     gf.MLP.random((3, 0, 1), seed=0)
    ... except GradflowError as error:
    ...     print(error)
    sizes[1]: got 0; allowed: an integer ≥ 1
    """


class ArgumentError(GradflowError, ValueError):
    """A value handed in cannot be used; a `ValueError` too.

    Parameters
    ----------
    argument : str
        Its name.
    given : object
        What was given, or words on it.
    allowed : str
        What is allowed.

    Examples
    --------
    >>> print(ArgumentError("width", 0, "a positive integer"))
    width: got 0; allowed: a positive integer
    """

    def __init__(self, argument: str, given: object, allowed: str):
        self.argument = argument
        self.given = given
        self.allowed = allowed
        super().__init__(f"{argument}: got {given}; allowed: {allowed}")

    def __reduce__(self):
        return type(self), (self.argument, self.given, self.allowed)


class MemoryLimitError(ArgumentError, MemoryError):
    """What was asked for does not fit in the memory that this process may use; a `MemoryError` too.

    Examples
    --------
    >>> try:
    ...     gf.MLP.random((10**7, 10**7, 1), seed=0)
    ... except MemoryLimitError as error:
    ...     print(error.argument)
    sizes
    """


class HessianUndefinedError(GradflowError):
    """There is no Hessian at the point: a ReLU neuron with zero weights, or numbers that overflow.

    Examples
    --------
    >>> student = gf.MLP([[[0.0, 0.0]], [[1.0]]], activation="relu")
    >>> teacher = gf.teachers.orthonormal(2, 2, activation="relu")
    >>> try:
    ...     gf.train(teacher, student, refiner=None, progress=False).hessian()
    ... except HessianUndefinedError as error:
    ...     print(error)
    neuron 0 has zero weights and a kinked activation: L has no Hessian there
    """


class StorageError(GradflowError, ValueError):
    """A file is missing, truncated, foreign, or of a schema that this version does not read.

    Examples
    --------
    >>> try:
    ...     gf.load("nowhere.h5")
    ... except StorageError as error:
    ...     print("nowhere.h5" in str(error))
    True
    """


class MissingExtraError(GradflowError, ImportError):
    """An optional package is not installed; an `ImportError` too.

    Parameters
    ----------
    package : str
        The package that is missing.
    extra : str
        The extra of gradflow that brings it.
    purpose : str
        What needs it.

    Examples
    --------
    >>> print(MissingExtraError("matplotlib", "plot", "a picture"))
    a picture needs the package 'matplotlib': install it with  pip install 'gradflow[plot]'
    """

    def __init__(self, package: str, extra: str, purpose: str):
        self.package = package
        self.extra = extra
        self.purpose = purpose
        super().__init__(
            f"{purpose} needs the package {package!r}: install it with  pip install 'gradflow[{extra}]'"
        )

    def __reduce__(self):
        return type(self), (self.package, self.extra, self.purpose)
