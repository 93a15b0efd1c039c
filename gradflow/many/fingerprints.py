"""Short texts that are equal for equal settings, arrays, networks and functions, in every process."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..activations import Activation
from ..inputs import Law
from ..losses.problem import Problem
from ..networks import MLP

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprint(value: Any) -> str:
    """A short text that is equal for equal values: settings, arrays, networks, laws of inputs, problems.

    A function counts by its name, its compiled code, its defaults and what it closes over, not by other
    functions that it calls by their names; an object of a class that is not known here by its `repr`.
    """
    digest = hashlib.sha256()
    _digest(value, digest.update, set())
    return digest.hexdigest()[:20]


def described(value: Any) -> str:
    """A text for people as well: numbers, words and settings as they are printed, the rest by fingerprint."""
    parts = [value]
    if dataclasses.is_dataclass(value):
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if all(part is None or isinstance(part, (bool, int, float, str)) for part in parts):
        return repr(value)
    return f"{type(value).__name__} {fingerprint(value)}"


def described_function(function: Callable) -> dict[str, str]:
    """Name and fingerprint of a function."""
    return {"name": _name(_inner(function)), "code": fingerprint(function)}


def _digest(value: Any, update: Callable[[bytes], None], inside: set[int]) -> None:
    parts: list[Any]
    update(type(value).__name__.encode())
    if id(value) in inside:  # a function that closes over itself
        return
    if isinstance(value, Mapping):
        value = sorted(value.items(), key=lambda item: str(item[0]))
    if isinstance(value, (set, frozenset)):  # whose order differs between processes
        value = sorted(map(repr, value))
    if isinstance(value, MLP):
        parts = [value.sizes, list(value.activations), value.flat()]
    elif isinstance(value, Problem):
        parts = [value.teacher, value.student, value.inputs, value.theta0, value.options, value.reduce]
    elif isinstance(value, Activation):
        parts = list(value.__reduce__()[1])
    elif isinstance(value, Law):
        parts = sorted(vars(value).items())
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        update(repr((value.dtype.str, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
        return
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, functools.partial):
        parts = [value.func, value.args, value.keywords]
    elif isinstance(value, types.MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, types.FunctionType):
        parts = [_name(value), value.__code__, value.__defaults__, value.__kwdefaults__]
        for cell in value.__closure__ or ():
            try:
                parts.append(cell.cell_contents)
            except ValueError:  # not yet filled
                parts.append(None)
    elif isinstance(value, types.CodeType):
        parts = [value.co_code, value.co_names, value.co_consts]
    elif _inner(value) is not value:
        parts = [_inner(value)]
    elif isinstance(value, (type, types.ModuleType)):
        parts = [_name(value)]
    elif callable(value) and hasattr(value, "__dict__"):
        parts = [_name(type(value)), getattr(type(value).__call__, "__code__", None), vars(value)]
    else:
        update(_ADDRESS.sub("", repr(value)).encode())
        return
    update(str(len(parts)).encode())
    for part in parts:
        _digest(part, update, inside | {id(value)})


def _inner(function: Any) -> Any:
    """What a compiled or wrapped function was made of."""
    for name in ("py_func", "__wrapped__"):
        inner = getattr(function, name, None)
        if callable(inner) and not isinstance(function, types.FunctionType):
            return inner
    return function


def _name(value: Any) -> str:
    value = getattr(value, "func", value)
    qualified = getattr(value, "__qualname__", getattr(value, "__name__", type(value).__qualname__))
    return f"{getattr(value, '__module__', '')}.{qualified}"
