"""Settings objects: frozen dataclasses whose fields are given by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable

from .errors import ArgumentError


class Settings:
    """Base of a settings class: refuses values without a name, and names that it does not have."""

    def __new__(cls, *unnamed, **named):
        fields = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
        if unnamed:
            example = f"{cls.__name__}({fields[0]}={unnamed[0]!r})"
            allowed = f"settings by name: {example}, or {', '.join(fields[1:])}"
            raise ArgumentError(cls.__name__, f"{unnamed[0]!r} without a name", allowed)
        for name in named:
            if name not in fields:
                given = f"a setting that {cls.__name__} does not have"
                raise ArgumentError(name, given, one_of(name, fields))
        return super().__new__(cls)


def one_of(given: object, names: Iterable[str]) -> str:
    """The names that are allowed, in words; that which is nearly `given` first, as a question."""
    names = list(names)
    folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(str(given).casefold(), folded, n=1, cutoff=0.75)
    return (f"did you mean {folded[near[0]]!r}? One of " if near else "one of ") + ", ".join(names)


def store_plain(settings, values: dict) -> None:
    """Put checked values back into a frozen settings object: plain numbers, which JSON can hold."""
    for name, value in values.items():
        object.__setattr__(settings, name, value)
