"""A `Check`: what a theorem says, what was measured over how many cases, and whether it is within bounds."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..support.errors import ArgumentError
from ..support.validate import integer, number

__all__ = [
    "Check",
    "Part",
    "at_least",
    "at_most",
    "never",
    "seldom",
]


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclasses.dataclass(frozen=True)
class Part:
    """One quantity of a check, over all its cases, beside its bound.

    Made by `at_most`, `at_least`, `never` and `seldom`, which count the cases themselves.

    Parameters
    ----------
    what : str
        The quantity in words.
    cases : int
        How many values, runs, pairs or samples it was taken over. A part of no cases never holds.
    worst : float
        The value that comes closest to the bound or lies farthest beyond it; NaN where any of them is.
    bound : float
        What it may be.
    upper : bool
        Whether the bound is from above.

    Raises
    ------
    ArgumentError
        For a bound that is not finite.

    Examples
    --------
    >>> at_most("error", [1e-3, 2e-3], 1e-2)
    Part(what='error', cases=2, worst=0.002, bound=0.01, upper=True)
    """

    what: str
    cases: int
    worst: float
    bound: float
    upper: bool = True

    def __post_init__(self):
        object.__setattr__(self, "cases", integer("cases", self.cases, 0))
        object.__setattr__(self, "worst", float(self.worst))
        object.__setattr__(self, "bound", number("bound", self.bound))
        if not math.isfinite(self.bound):
            raise ArgumentError("bound", self.bound, "a finite number")

    @property
    def holds(self) -> bool:
        """Whether there were cases and the worst of them is within the bound."""
        within = self.worst <= self.bound if self.upper else self.worst >= self.bound
        return bool(self.cases > 0 and within)

    @property
    def strain(self) -> float:
        """How much of its room is used: 1 at the bound, larger beyond, infinite without a case."""
        if self.cases == 0 or math.isnan(self.worst):
            return math.inf
        used, room = (self.worst, self.bound) if self.upper else (self.bound, self.worst)
        if room > 0.0 and used >= 0.0:
            return used / room
        return 0.0 if self.holds else math.inf

    def __str__(self) -> str:
        sign = "≤" if self.upper else "≥"
        over = f"{self.cases} case" + "s" * (self.cases != 1)
        return f"{self.what} {self.worst:.3g} {sign} {self.bound:.3g} ({over})"


def at_most(what: str, values: Any, bound: float, cases: int | None = None) -> Part:
    """The part that says that no value is above the bound.

    Parameters
    ----------
    what : str
        The quantity in words.
    values : array_like
        One number or an array of them, of any shape: one per case. No case, or a NaN, does not hold.
    bound : float
        What they may be; finite.
    cases : int, optional
        How many cases they were made of where one number stands for several, as a mean does.

    Returns
    -------
    Part
        The largest value beside its bound.

    Examples
    --------
    >>> from gradflow.theory import at_most
    >>> print(at_most("error", [1e-16, 3e-16], 1e-15))
    error 3e-16 ≤ 1e-15 (2 cases)
    >>> at_most("error", [], 1e-15).holds
    False
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    worst = float(given.max()) if given.size else math.nan
    return Part(what, given.size if cases is None else cases, worst, bound)


def at_least(what: str, values: Any, bound: float, cases: int | None = None) -> Part:
    """The part that says that no value is below the bound.

    Parameters
    ----------
    what, values, bound, cases
        As in `at_most`.

    Returns
    -------
    Part

    Examples
    --------
    >>> at_least("order", [1.9, 2.1], 1.8).holds
    True
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    worst = float(given.min()) if given.size else math.nan
    return Part(what, given.size if cases is None else cases, worst, bound, upper=False)


def never(what: str, flags: Iterable) -> Part:
    """The part that says that something is true of no case.

    Parameters
    ----------
    what : str
        The thing in words.
    flags : iterable of bool
        One for each case.

    Returns
    -------
    Part
        The number of those of which it is, at most 0.

    Examples
    --------
    >>> never("saddles among the ends", [False, False, True]).holds
    False
    """
    given = np.asarray(list(flags), dtype=bool)
    return Part(what, given.size, float(given.sum()), 0.0)


def seldom(what: str, flags: Iterable, share: float) -> Part:
    """The part that says that something is true of a share of the cases at most.

    Parameters
    ----------
    what : str
        The thing in words.
    flags : iterable of bool
        One for each case.
    share : float
        At most so many of all.

    Returns
    -------
    Part

    Examples
    --------
    >>> seldom("starts that fail", [False, False, False, True], 0.3).holds
    True
    """
    given = np.asarray(list(flags), dtype=bool)
    return Part(f"share of {what}", given.size, float(given.mean()) if given.size else math.nan, share)


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one numerical check of a statement.

    A check holds if each of its parts does; a part that nothing was measured for does not. A check without
    parts cannot be made.

    Parameters
    ----------
    name : str
        The name its function is registered under, or that and a dot and what is checked.
    statement : str
        What is claimed, in words and formulas.
    source : str
        Paper and theorem, or "derived".
    parts : sequence of Part
        What was measured, each with the number of its cases and its bound.
    computed : dict
        Other numbers that were found: floats, integers, strings, lists of them.
    seconds : float
        What it took; filled in by `registry.run`.

    Raises
    ------
    ArgumentError
        For a check without parts.

    Examples
    --------
    >>> import math
    >>> from gradflow.theory import Check, at_most
    >>> errors = [abs(math.sin(n * math.pi)) for n in range(4)]
    >>> check = Check("example.sine", "sin(n pi) = 0.", "derived", [at_most("error", errors, 1e-15)])
    >>> check.holds, check.cases
    (True, 4)
    """

    name: str
    statement: str
    source: str
    parts: Sequence[Part]
    computed: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "computed", _plain(self.computed))
        if not self.parts or not all(isinstance(part, Part) for part in self.parts):
            raise ArgumentError("parts", self.parts, "one part at least: at_most(…), at_least(…), …")

    @property
    def holds(self) -> bool:
        """Whether each part has cases and is within its bound."""
        return all(part.holds for part in self.parts)

    @property
    def cases(self) -> int:
        """How many cases the part with the fewest was measured over."""
        return min(part.cases for part in self.parts)

    @property
    def tightest(self) -> Part:
        """The part that fails, or is nearest to it."""
        return max(self.parts, key=lambda part: (not part.holds, part.strain))

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        """One line: the verdict, the name, the tightest part, the seconds."""
        verdict = "holds" if self.holds else "FAILS"
        return f"{verdict}  {self.name:<44} {self.tightest}, {self.seconds:.1f} s"

    def text(self) -> str:
        """The line, the statement, the source, all parts and the numbers."""
        lines = [str(self), *textwrap.wrap(self.statement, 104), f"source: {self.source}"]
        for part in self.parts:
            lines += textwrap.wrap(f"{'holds' if part.holds else 'FAILS'}: {part}", 104)
        for name, value in self.computed.items():
            lines += textwrap.wrap(f"{name} = {_readable(value)}", 104, subsequent_indent="  ")
        return "\n    ".join(lines)

    def as_dict(self) -> dict:
        """Everything as plain values that strict JSON can hold (NaN and infinities as strings)."""
        values = {**dataclasses.asdict(self), "holds": self.holds}
        return {name: _strict(_plain(value)) for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> Check:
        """The check of which `values` are the `as_dict`; what it has computed stays plain.

        Raises TypeError for anything else.
        """
        given = {name: value for name, value in values.items() if name != "holds"}
        parts = tuple(Part(**{**part, "worst": float(part["worst"])}) for part in given.pop("parts"))
        return cls(**{**given, "seconds": float(given["seconds"]), "parts": parts})

    def json(self) -> str:
        """`as_dict` as one line of JSON."""
        return json.dumps(self.as_dict(), allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays as Python's own."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_strict(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return "[" + ", ".join(_readable(entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_readable(entry)}" for key, entry in value.items()) + "}"
    return str(value)
