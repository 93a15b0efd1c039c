"""Derivatives of a scalar function from its code: traced by JAX, differentiated forwards, written for Numba.

The function may be written with `math`, NumPy scalars or `jax.numpy`, with `if`, `min` and `max`. It is run
on a recorder that stands for z; where its code asks a condition, both answers are followed and joined by a
selection. Forward derivatives select among tangents too, so that a branch not taken adds no NaN.
"""

from __future__ import annotations

import builtins
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .support.errors import ArgumentError

MOST_PATHS = 64
"""Ways through the branches of a function that are followed at most."""

_ALLOWED = (
    "a function of one number made of arithmetic, math, numpy or jax.numpy, if, min and max; "
    "or first= and second= as well"
)


def traced_value(argument: str, function: Callable) -> Callable:
    """The function on JAX arrays, entry by entry; called, an `ArgumentError` if it cannot be traced."""
    source = getattr(function, "py_func", function)

    def traced(z):
        import jax.numpy as jnp

        replaced = _translated(source, {})
        runs = 0

        def explore(prefix: list[bool]):
            nonlocal runs
            runs += 1
            if runs > MOST_PATHS:
                given = f"a function with more than {MOST_PATHS} ways through its branches"
                raise ArgumentError(argument, given, _ALLOWED)
            path = _Path(prefix)
            found = _bare(replaced(_Recorder(z, path)))
            found = jnp.broadcast_to(jnp.asarray(found, np.float64), jnp.shape(z))
            for i in range(len(path.taken) - 1, len(prefix) - 1, -1):
                other = explore([*path.taken[:i], False])
                found = jnp.where(path.conditions[i], found, other)
            return found

        try:
            return explore([])
        except ArgumentError:
            raise
        except Exception as error:  # whatever the user's code raises on what stands for z
            given = f"a function that cannot be traced ({type(error).__name__}: {error})"
            raise ArgumentError(argument, given, _ALLOWED) from error

    return traced


def forward(function: Callable) -> Callable:
    """The derivative, entry by entry, of a function of JAX arrays."""

    def derivative(z):
        import jax
        import jax.numpy as jnp

        return jax.jvp(function, (z,), (jnp.ones_like(z),))[1]

    return derivative


def with_rules(value: Callable, first: Callable, second: Callable) -> Callable:
    """The value with forward rules of its own, so that reverse derivatives see no branch not taken."""
    import jax

    bend = second

    @jax.custom_jvp
    def slope(z):
        return first(z)

    @jax.custom_jvp
    def sigma(z):
        return value(z)

    slope.defjvp(lambda z, t: (slope(*z), bend(*z) * t[0]))
    sigma.defjvp(lambda z, t: (sigma(*z), slope(*z) * t[0]))
    return sigma


def scalar_code(argument: str, function: Callable, name: str) -> Callable:
    """A Python function of one float that computes what the JAX function does, for Numba to compile."""
    import jax

    jaxpr = jax.make_jaxpr(function)(np.float64(0.5))
    lines: list[str] = []
    (result,) = _write(argument, jaxpr.jaxpr, jaxpr.consts, ["z"], lines)
    text = "\n    ".join([f"def {name}(z):", *lines, f"return {result}"])
    scope: dict[str, Any] = {"math": math, "np": np}
    exec(text, scope)  # our own text, of the operations below
    return scope[name]


_BINARY = {"add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "lt": "<", "ge": ">=",
           "le": "<=", "eq": "==", "ne": "!="}  # fmt: skip
_FUNCTIONS = {
    "exp": "math.exp", "log": "math.log", "log1p": "math.log1p", "expm1": "math.expm1", "tanh": "math.tanh",
    "sinh": "math.sinh", "cosh": "math.cosh", "tan": "math.tan", "sin": "math.sin", "cos": "math.cos",
    "asin": "math.asin", "acos": "math.acos", "atan": "math.atan", "atan2": "math.atan2",
    "asinh": "math.asinh", "acosh": "math.acosh", "atanh": "math.atanh", "sqrt": "math.sqrt",
    "erf": "math.erf", "erfc": "math.erfc", "lgamma": "math.lgamma", "floor": "math.floor",
    "ceil": "math.ceil", "abs": "abs", "max": "max", "min": "min", "sign": "np.sign", "rem": "math.fmod",
    "is_finite": "math.isfinite", "cbrt": "np.cbrt",
}  # fmt: skip
_FORMS = {
    "neg": "(-{0})", "logistic": "(1.0 / (1.0 + math.exp(-{0})))", "rsqrt": "(1.0 / math.sqrt({0}))",
    "square": "({0} * {0})", "pow": "({0} ** {1})", "exp2": "(2.0 ** {0})", "not": "(not {0})",
    "and": "({0} and {1})", "or": "({0} or {1})", "xor": "({0} != {1})", "select_n": "({2} if {0} else {1})",
    "clamp": "min(max({1}, {0}), {2})", "stop_gradient": "{0}", "copy": "{0}", "copy_p": "{0}",
    "broadcast_in_dim": "{0}", "reshape": "{0}", "squeeze": "{0}", "zeros_like": "0.0",
}  # fmt: skip


def _write(argument: str, jaxpr, consts, inputs: list[str], lines: list[str]) -> list[str]:
    """Append one line for each operation; the names of the results."""
    names: dict[Any, str] = dict(zip(jaxpr.invars, inputs, strict=True))
    names |= {var: _literal(argument, value) for var, value in zip(jaxpr.constvars, consts, strict=True)}

    def of(atom) -> str:
        return _literal(argument, atom.val) if hasattr(atom, "val") else names[atom]

    for equation in jaxpr.eqns:
        kind, given = equation.primitive.name, [of(atom) for atom in equation.invars]
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if inner is not None:
            constants = getattr(inner, "consts", [])
            results = _write(argument, getattr(inner, "jaxpr", inner), constants, given, lines)
        else:
            if any(atom.aval.shape != () for atom in equation.outvars):
                raise ArgumentError(argument, f"a function with arrays inside ({kind})", _ALLOWED)
            lines.append(f"x{len(lines)} = {_expression(argument, kind, given, equation.params)}")
            results = [f"x{len(lines) - 1}"]
        names |= dict(zip(equation.outvars, results, strict=True))
    return [of(atom) for atom in jaxpr.outvars]


def _expression(argument: str, kind: str, given: list[str], params: dict) -> str:
    if kind in _BINARY:
        return f"{given[0]} {_BINARY[kind]} {given[1]}"
    if kind in _FUNCTIONS:
        return f"{_FUNCTIONS[kind]}({', '.join(given)})"
    if kind == "integer_pow":
        power = params["y"]
        return f"{given[0]} ** {power}" if power >= 0 else f"1.0 / {given[0]} ** {-power}"
    if kind == "convert_element_type":
        return given[0] if np.dtype(params["new_dtype"]).kind == "b" else f"float({given[0]})"
    if kind in _FORMS:
        return _FORMS[kind].format(*given)
    raise ArgumentError(argument, f"a function with the operation {kind!r} inside", _ALLOWED)


def _literal(argument: str, value) -> str:
    array = np.asarray(value)
    if array.ndim:
        raise ArgumentError(argument, "a function with arrays inside", _ALLOWED)
    if array.dtype.kind == "b":
        return str(bool(array))
    number = float(array)
    if not math.isfinite(number):
        return "np.nan" if math.isnan(number) else "np.inf" if number > 0 else "(-np.inf)"
    return f"({number!r})"


class _Path:
    """The answers that are given on one way through a function: those of `prefix`, then yes."""

    def __init__(self, prefix: list[bool]):
        self.prefix = prefix
        self.taken: list[bool] = []
        self.conditions: list[Any] = []

    def answer(self, condition) -> bool:
        place = len(self.taken)
        self.taken.append(self.prefix[place] if place < len(self.prefix) else True)
        self.conditions.append(condition)
        return self.taken[-1]


class _Recorder:
    """What stands for a number while a function is run: a JAX array, and the way that is being followed."""

    def __init__(self, array, path: _Path):
        self.array, self.path = array, path

    def __bool__(self) -> bool:
        condition = self.array if self.array.dtype == bool else self.array != 0
        return self.path.answer(condition)

    def __abs__(self):
        import jax.numpy as jnp

        return _Recorder(jnp.abs(self.array), self.path)

    def __neg__(self):
        return _Recorder(-self.array, self.path)

    def __pos__(self):
        return self

    def __invert__(self):
        return _Recorder(~self.array, self.path)

    __hash__ = None  # type: ignore[assignment]


def _operator(name: str) -> Callable:
    def operate(self, other):
        result = getattr(self.array, name)(_bare(other))
        return result if result is NotImplemented else _Recorder(result, self.path)

    return operate


for _name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "and", "or", "xor"):
    setattr(_Recorder, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(_Recorder, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(_Recorder, f"__{_name}__", _operator(f"__{_name}__"))


def _bare(value):
    return value.array if isinstance(value, _Recorder) else value


def _lifted(function: Callable) -> Callable:
    """A function of JAX arrays as a function of recorders."""

    def lifted(*given, **named):
        path = next((g.path for g in (*given, *named.values()) if isinstance(g, _Recorder)), None)
        found = function(*map(_bare, given), **{key: _bare(value) for key, value in named.items()})
        return found if path is None else _Recorder(found, path)

    return lifted


class _Module:
    """A module of mathematics with its functions on recorders."""

    def __init__(self, module: types.ModuleType):
        self._module = module

    def __getattr__(self, name: str):
        return _translated(getattr(self._module, name), {})


def _translated(value: Any, known: dict[int, Any]) -> Any:
    """A name that a function reads, as it is to be while recorders run through it."""
    import jax
    import jax.numpy as jnp

    home = getattr(value, "__module__", None) or ""
    if isinstance(value, types.ModuleType):
        root = value.__name__.partition(".")[0]
        return _Module(value) if root in ("math", "numpy", "scipy", "jax") else value
    if value is builtins.float:
        return lambda z: z if isinstance(z, _Recorder) else float(z)
    if isinstance(value, np.ufunc) or home in ("math", "numpy") or home.startswith("scipy.special"):
        name = getattr(value, "__name__", "")
        name = {"fabs": "abs", "pow": "power", "lgamma": "gammaln", "absolute": "abs"}.get(name, name)
        for place in (jnp, jax.scipy.special, jax.nn):
            if callable(getattr(place, name, None)):
                return _lifted(getattr(place, name))
        return value
    if isinstance(value, types.FunctionType) and home.partition(".")[0] not in ("jax", "numpy", "builtins"):
        return _replaced(value, known)
    if hasattr(value, "py_func"):
        return _replaced(value.py_func, known)
    return _lifted(value) if home.startswith("jax") and callable(value) else value


def _replaced(function: Any, known: dict[int, Any]) -> Any:
    """The same code with its names of mathematics replaced by functions of recorders."""
    if not isinstance(function, types.FunctionType):
        return _translated(function, known)
    if id(function) in known:
        return known[id(function)]
    code = function.__code__
    scope = dict(function.__globals__)
    copy = types.FunctionType(code, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    known[id(function)] = copy
    for name in _names(code):
        if name in scope:
            scope[name] = _translated(scope[name], known)
        elif name == "float":
            scope[name] = _translated(float, known)
    cells = [_cell(cell, known) for cell in function.__closure__ or ()]
    whole = types.FunctionType(code, scope, function.__name__, function.__defaults__, tuple(cells) or None)
    whole.__kwdefaults__ = function.__kwdefaults__
    known[id(function)] = whole
    return whole


def _names(code: types.CodeType) -> set[str]:
    """All names that code, and code inside it, reads."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _cell(cell, known: dict[int, Any]):
    try:
        return types.CellType(_translated(cell.cell_contents, known))
    except ValueError:  # not yet filled
        return cell
