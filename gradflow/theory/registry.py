"""All checks by name, and how they are run."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator

from ..support.errors import ArgumentError
from ..support.x64 import require_x64
from .check import Check, never

__all__ = [
    "SIZES",
    "names",
    "register",
    "run",
    "verify",
]


def __dir__() -> list[str]:
    return sorted(__all__)


SIZES = ("quick", "full")
"""A quick check takes seconds, so that all of them take minutes; a full one as long as it needs."""

Progress = Callable[[str], None]
"""Checks call it between pieces of work with a few words; it may raise KeyboardInterrupt."""

CheckFunction = Callable[[str, Progress], Check | Iterable[Check]]

_registered: dict[str, CheckFunction] = {}

PROVED = "proved."
"""Checks whose names begin so are proofs in ball arithmetic: they run where they are asked for."""


def register(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Decorator for a function that makes checks.

    Parameters
    ----------
    name : str
        The names of its checks are `name`, or begin with `name` and a dot.

    Returns
    -------
    callable
        Takes a function `(size, progress)` that returns one `Check` or several, and gives it back.

    Raises
    ------
    ValueError
        Where another file has registered the name.

    Examples
    --------
    >>> @register("example")
    ... def check_nothing(size, progress):
    ...     return gf.theory.Check("example", "Nothing.", "", [gf.theory.never("nothing", [False])])
    >>> [check.holds for check in run("example")]
    [True]
    >>> _ = _registered.pop("example")  # it was only an example
    """

    def decorate(function: CheckFunction) -> CheckFunction:
        if name in _registered and _registered[name].__module__ != function.__module__:
            raise ValueError(f"two checks are called {name!r}")
        _registered[name] = function
        return function

    return decorate


def names(prefix: str = "", proofs: bool = False) -> list[str]:
    """The names of all checks that begin with `prefix`, in alphabetical order.

    Parameters
    ----------
    prefix : str
        The beginning of a name.
    proofs : bool
        Those that are proofs in ball arithmetic (`proved.` before the prefix), which need the extra `prove`,
        in place of those in Float64.

    Returns
    -------
    list of str

    Raises
    ------
    ArgumentError
        Where there is none.

    Examples
    --------
    >>> import gradflow as gf
    >>> gf.theory.names("alignment")
    ['alignment.angular', 'alignment.for', 'alignment.not_for', 'alignment.relu', 'alignment.stationarity']
    """
    package = importlib.import_module(__package__)
    for module in pkgutil.walk_packages(package.__path__, f"{__package__}."):
        importlib.import_module(module.name)
    known = sorted(name for name in _registered if name.startswith(PROVED) == proofs)
    prefix = PROVED + prefix.removeprefix(PROVED) if proofs else prefix
    found = [name for name in known if name.startswith(prefix)]
    if not found:
        raise ArgumentError("name", repr(prefix), f"the beginning of one of {', '.join(known)}")
    return found


def run(name: str, size: str = "quick", progress: Progress | None = None) -> Iterator[Check]:
    """The checks of the function registered under `name`, each with the seconds it took.

    Parameters
    ----------
    name : str
        One of `names`.
    size : str
        "quick" (seconds) or "full".
    progress : callable, optional
        Called with a few words between pieces of work.

    Yields
    ------
    Check
        A function that raises gives a check that fails and says so: the others can go on.

    Raises
    ------
    ArgumentError
        For other names and sizes.

    Examples
    --------
    >>> import gradflow as gf
    >>> [check.holds for check in gf.theory.run("alignment.stationarity")]
    [True]
    """
    if size not in SIZES:
        raise ArgumentError("size", repr(size), " or ".join(map(repr, SIZES)))
    if name not in _registered:
        names(name, name.startswith(PROVED))
    if name not in _registered:
        raise ArgumentError("name", repr(name), f"one of {', '.join(sorted(_registered))}")
    require_x64()
    began = time.monotonic()
    try:
        found = _registered[name](size, progress or _silent)
        for check in [found] if isinstance(found, Check) else found:
            if check.name != name and not check.name.startswith(name + "."):
                raise ValueError(f"a check called {check.name!r} from the function of {name!r}")
            now = time.monotonic()
            yield dataclasses.replace(check, seconds=now - began)
            began = now
    except Exception as error:
        yield Check(
            name=name,
            statement=f"The check did not end: {type(error).__name__}: {error}",
            source="".join(traceback.format_exc(limit=-2)),
            parts=[never("check that did not end", [True])],
            seconds=time.monotonic() - began,
        )


def verify(prefix: str = "", size: str = "quick", progress: Progress | None = None) -> Iterator[Check]:
    """All checks whose name begins with a prefix, one after the other as they are done.

    Parameters
    ----------
    prefix : str, default ""
        The beginning of names.
    size, progress
        As in `run`.

    Yields
    ------
    Check

    Examples
    --------
    >>> [check.holds for check in verify("alignment.stationarity")]
    [True]
    """
    for name in names(prefix):
        yield from run(name, size, progress)


def _silent(words: str) -> None:
    """No progress is shown."""
