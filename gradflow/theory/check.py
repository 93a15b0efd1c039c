"""A `Check`: what a theorem says, what was computed, and whether it holds to how many digits."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from typing import Any

import numpy as np

from ..support.errors import ArgumentError
from ..support.validate import number


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one numerical check of a statement.

    name        short: the file's name, a dot, what is checked; one name may have several cases
    statement   what is claimed, in words and formulas
    source      paper and theorem, or "derived"
    computed    the numbers that were found: floats, integers, strings, lists of them
    residual    the worst violation found, in the units of the statement; NaN never holds
    tolerance   what rounding (or the stated confidence) allows for it
    seconds     what it took; filled in by `registry.run`
    """

    name: str
    statement: str
    source: str
    computed: dict
    residual: float
    tolerance: float
    seconds: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "computed", _plain(self.computed))
        object.__setattr__(self, "residual", float(self.residual))
        object.__setattr__(self, "tolerance", number("tolerance", self.tolerance, minimum=0.0))
        if not math.isfinite(self.tolerance):
            raise ArgumentError("tolerance", self.tolerance, "a finite number ≥ 0")

    @property
    def holds(self) -> bool:
        """residual ≤ tolerance."""
        return self.residual <= self.tolerance

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        """One line."""
        verdict = "holds" if self.holds else "FAILS"
        return (
            f"{verdict}  {self.name:<44} residual {self.residual:8.1e}, "
            f"tolerance {self.tolerance:7.1e}, {self.seconds:6.1f} s"
        )

    def text(self) -> str:
        """The line, the statement, the source and the numbers."""
        lines = [str(self), *textwrap.wrap(self.statement, 104), f"source: {self.source}"]
        for name, value in self.computed.items():
            lines += textwrap.wrap(f"{name} = {_readable(value)}", 104, subsequent_indent="  ")
        return "\n    ".join(lines)

    def as_dict(self) -> dict:
        """Everything as plain values that strict JSON can hold (NaN and infinities as strings)."""
        values = {**dataclasses.asdict(self), "holds": self.holds}
        return {name: _strict(value) for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> Check:
        """The check of `as_dict`; what it has computed stays plain. Raises TypeError for anything else."""
        given = {name: value for name, value in values.items() if name != "holds"}
        numbers = {name: float(given[name]) for name in ("residual", "tolerance", "seconds") if name in given}
        return cls(**{**given, **numbers})

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
