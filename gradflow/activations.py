"""Activation functions σ with two derivatives: the table of built-in ones, and the user's own.

An activation is evaluated a block at a time through one compiled routine (`Activation.address`), the
same that network kernels call; JAX arrays take a `jax.numpy` formula instead.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from types import MappingProxyType

import numba
import numpy as np

from .differentiate import forward, scalar_code, traced_value, with_rules
from .kernels.activation_table import RECORDS, Record
from .kernels.math import abi
from .kinks import find_kinks
from .support.errors import ArgumentError
from .support.settings import one_of
from .support.validate import real_array
from .support.x64 import require_x64

SYMMETRIES = ("odd", "even", "odd+constant", "even+linear", "none")
"""σ(-z) = -σ(z); σ(z); c - σ(z); σ(z) - c z; or nothing of these."""

# Where a user's functions are checked: irrational, so that kinks at round numbers are not met.
_CHECK_POINTS = tuple(sign * x for x in (0.0731 * math.pi, 0.5**0.5, 3.1**0.5, math.e) for sign in (-1, 1))


class Activation:
    """One activation σ: R → R with its first and second derivative; the built-in ones are `ACTIVATIONS`.

    Parameters
    ----------
    value : callable
        σ, a function of one number: with `math`, NumPy scalars or `jax.numpy`, with `if`, `min` and `max`.
    first, second : callable, optional
        σ' and σ''. Those that are not given are derived from the code of the one before, which JAX traces
        and differentiates forwards; the formulas become compiled code. Functions of one's own, which Numba
        must be able to compile (`math`, NumPy scalars), may be more accurate where terms cancel, as in tails.
    symmetry : {"none", "odd", "even", "odd+constant", "even+linear"}
        σ(−z) is: nothing of these, −σ(z), σ(z), c − σ(z), or σ(z) − cz. Neurons that a symmetry makes
        equivalent are matched by it.
    name : str, optional
        How results and files call it; not a name of the table. The function's own unless given.
    traced : callable, optional
        The same σ in `jax.numpy`, needed only where JAX differentiates through it, and only where all three
        functions are given.
    kinks : sequence of float, optional
        Where σ or σ' jumps, in ascending order. Checked against what is found (`kinks`).

    Attributes
    ----------
    name, symmetry : str
    degree : int or None
        p with σ(cz) = c^p σ(z) for all c > 0; None for one's own.

    Raises
    ------
    ArgumentError
        The functions are compared with one another at a few points when the object is made: names the one
        that does not compile, cannot be traced, is not finite, or contradicts the others. Also for `kinks`
        that are not those found.

    Notes
    -----
    Built-in ones, by the names that are given wherever an activation is asked for (Φ is the normal
    distribution function):

    ===========  ===========================================  ============
    name         σ(z)                                         symmetry
    ===========  ===========================================  ============
    TABLE
    ===========  ===========================================  ============

    selu has λ = 1.0507009873554805 and α = 1.6732632423543773 [1]_; g is the asymmetric activation of
    Expand-and-Cluster [2]_. At the kinks: relu has σ'(0) = 0; leaky_relu, elu and selu take their left branch
    at 0 (slopes 0.01, 1 and λα; σ''(0) = 0, 1 and λα). Polynomials: `Polynomial`.

    Built-in ones equal their like by name and pickle as that name; one's own equals only itself, and pickles
    if its functions do. An exception raised inside one's own function is lost: return NaN instead.

    References
    ----------
    .. [1] G. Klambauer, T. Unterthiner, A. Mayr and S. Hochreiter, Self-Normalizing Neural Networks,
       NeurIPS 2017.
    .. [2] F. Martinelli, B. Şimşek, W. Gerstner and J. Brea, Expand-and-Cluster: Parameter Recovery of Neural
       Networks, ICML 2024.

    Examples
    --------
    >>> import math
    >>> bump = Activation(
    ...     lambda z: math.exp(-z * z),
    ...     lambda z: -2.0 * z * math.exp(-z * z),
    ...     lambda z: (4.0 * z * z - 2.0) * math.exp(-z * z),
    ...     symmetry="even",
    ...     name="bump",
    ... )
    >>> gf.Activation(lambda z: math.exp(-z * z), symmetry="even", name="bump").derivatives([1.0])[2].round(6)
    array([0.735759])
    >>> gf.Activation(lambda z: 1.0 if z > 1 else z if z > -1 else -1.0, symmetry="odd").kinks
    array([-1.,  1.])
    >>> gf.MLP.random((2, 3, 1), bump, seed=0)
    MLP(2-3-1, bump, biases, 13 parameters)
    >>> bump(0.0)
    array(1.)
    >>> gf.ACTIVATIONS["square"].derivatives([3.0])
    (array([9.]), array([6.]), array([2.]))
    """

    def __init__(
        self,
        value: Callable,
        first: Callable | None = None,
        second: Callable | None = None,
        *,
        symmetry: str = "none",
        name: str | None = None,
        traced: Callable | None = None,
        kinks: Sequence[float] | None = None,
    ):
        if symmetry not in SYMMETRIES:
            raise ArgumentError("symmetry", repr(symmetry), ", ".join(SYMMETRIES))
        if name is not None and name in ACTIVATIONS:
            raise ArgumentError("name", repr(name), "a name that is not in the table of activations")
        if traced is not None and not callable(traced):
            raise ArgumentError("traced", repr(traced), "a function of a JAX array")
        given = (value, first, second)
        if first is None and second is not None:
            raise ArgumentError("first", None, "σ', since second is given")
        whole, traced = _derived(given, traced)
        compiled = [_scalar(a, f) for a, f in zip(("value", "first", "second"), whole, strict=True)]
        _check_finite(compiled)
        _check_derivative("first", compiled[0], compiled[1])
        _check_derivative("second", compiled[1], compiled[2])
        _check_symmetry(symmetry, compiled[0])
        own_name = getattr(value, "__name__", "<lambda>")
        default = "custom" if own_name == "<lambda>" or own_name in ACTIVATIONS else own_name
        block = _user_block(*compiled)
        record = Record(default if name is None else name, block, parity=symmetry, strip=None)
        self._set(record, traced, False)
        self._functions = given
        self._kinks = kinks
        if kinks is not None:
            _check_kinks(real_array("kinks", kinks, 1), self.kinks)

    def _set(self, record: Record, traced: Callable | None, built_in: bool) -> None:
        self.record = record
        self.name: str = record.name
        self.symmetry: str = record.symmetry
        self.degree: int | None = record.degree
        self._traced = traced
        self._built_in: bool = built_in

    @classmethod
    def _from_record(cls, record: Record) -> Activation:
        """A built-in activation."""
        activation = cls.__new__(cls)
        activation._set(record, record.traced and _traced(record.traced), True)
        return activation

    @property
    def address(self) -> int:
        """Address of the block routine, of C signature `abi.ACTIVATION`; compiled when first asked for."""
        return abi.compile_function(self.record.block, abi.ACTIVATION, cached=self._built_in).address

    def __call__(self, z):
        """σ(z): Float64 NumPy for what NumPy understands, a traced JAX array for a JAX array."""
        jax = sys.modules.get("jax")
        if jax is not None and isinstance(z, jax.Array):
            if self._traced is None:
                given = f"{self.name!r} on a JAX array, but it has no jax.numpy formula"
                raise ArgumentError("activation", given, "an Activation made with traced=")
            require_x64()
            return self._traced(z)
        return self.derivatives(z, 0)[0]

    def derivatives(self, z, order: int = 2) -> tuple:
        """σ and its derivatives.

        Parameters
        ----------
        z : array_like
        order : {0, 1, 2}

        Returns
        -------
        tuple of numpy.ndarray
            σ(z), σ'(z), σ''(z) as far as `order`, Float64, of the shape of z.
        """
        if order not in (0, 1, 2):
            raise ArgumentError("order", repr(order), "0, 1 or 2")
        inputs = real_array("z", z, None, finite=False)
        outputs = [np.empty(inputs.shape) for _ in range(order + 1)]
        addresses = [a.ctypes.data for a in outputs] + [0] * (2 - order)
        abi.callable_from_python(self.address)(inputs.size, order, inputs.ctypes.data, *addresses)
        return tuple(outputs)

    @cached_property
    def kinks(self) -> np.ndarray:
        """Where σ or σ' jumps within ±64, ascending; found by halving intervals that no polynomial fits.

        Examples
        --------
        >>> gf.ACTIVATIONS["relu"].kinks
        array([0.])
        >>> gf.ACTIVATIONS["tanh"].kinks
        array([], dtype=float64)
        """
        if self._built_in:
            return np.zeros(1 if self.record.jump != 0.0 else 0)
        with np.errstate(all="ignore"):
            return find_kinks(self.derivatives)

    def __eq__(self, other) -> bool:
        if isinstance(other, Activation) and self._built_in and other._built_in:
            return self.name == other.name
        return self is other

    def __hash__(self) -> int:
        return hash(self.name) if self._built_in else object.__hash__(self)

    def __reduce__(self):
        if self._built_in:
            return resolve, (self.name,)
        own = self._traced if self._functions[2] is not None else None  # what is derived is derived again
        return _rebuild, (self._functions, self.symmetry, self.name, own, self._kinks)

    def __repr__(self) -> str:
        return f"<Activation {self.name!r}>"


class Polynomial(Activation):
    """A polynomial activation, of degree 20 at most.

    Parameters
    ----------
    coefficients : array_like, shape (p + 1,)
        c_0, …, c_p of σ(z) = c_0 + c_1 z + … + c_p z^p, not all zero.

    Notes
    -----
    Its name, "polynomial(c_0, …)", is as good as the object wherever an activation is asked for; equal
    coefficients make equal activations.

    Examples
    --------
    >>> hermite = Polynomial([-1.0, 0.0, 1.0])
    >>> hermite.name, hermite.symmetry
    ('polynomial(-1.0, 0.0, 1.0)', 'even')
    >>> hermite([2.0])
    array([3.])
    """

    def __init__(self, coefficients):
        given = real_array("coefficients", coefficients, 1)
        used = np.flatnonzero(given)
        if used.size == 0 or used[-1] > 20:
            what = "zeros only" if used.size == 0 else f"degree {used[-1]}"
            raise ArgumentError("coefficients", what, "a polynomial that is not zero, of degree 20 at most")
        c = self.coefficients = given[: used[-1] + 1]
        c.flags.writeable = False
        name = f"polynomial({', '.join(repr(float(x)) for x in c)})"
        # Three rows: coefficients of σ, σ' and σ''.
        table = np.zeros((3, c.size))
        for row in range(3):
            derived = np.polynomial.polynomial.polyder(c, row)
            table[row, : derived.size] = derived
        record = Record(name, _polynomial_block(table), powers=tuple(map(float, c)), strip=None)
        self._set(record, None, True)

    @property
    def address(self) -> int:
        return abi.compile_function(self.record.block, abi.ACTIVATION, cached=False).address

    def __call__(self, z):
        jax = sys.modules.get("jax")
        if jax is not None and isinstance(z, jax.Array):
            require_x64()
            return jax.numpy.polyval(jax.numpy.asarray(self.coefficients[::-1]), z)
        return super().__call__(z)

    def __reduce__(self):
        return Polynomial, (np.array(self.coefficients),)


@cache
def _polynomial_of(name: str) -> Polynomial:
    """The polynomial of this name; `ValueError` if it is none."""
    if not (name.startswith("polynomial(") and name.endswith(")")):
        raise ValueError(name)
    return Polynomial([float(x) for x in name[len("polynomial(") : -1].split(",")])


def resolve(activation: object) -> Activation:
    """The activation of a name of the table or of a polynomial, or the `Activation` itself."""
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation in ACTIVATIONS:
            return ACTIVATIONS[activation]
        with contextlib.suppress(ValueError):
            return _polynomial_of(activation)
    raise ArgumentError(
        "activation", repr(activation), f"{one_of(activation, ACTIVATIONS)}, or an Activation"
    )


def _rebuild(functions, symmetry, name, traced, kinks=None) -> Activation:
    return Activation(*functions, symmetry=symmetry, name=name, traced=traced, kinks=kinks)


def _derived(given: tuple, traced: Callable | None) -> tuple[list, Callable | None]:
    """σ, σ' and σ'' for Numba, and σ for JAX: those that are given, and those derived."""
    value, first, second = given
    if second is not None:
        return list(given), traced
    if not callable(value):
        return list(given), traced  # refused like any other
    require_x64()
    sigma = traced_value("value", value)
    _check_traced("value", value, sigma)
    if first is None:
        slope = forward(sigma)
        whole: list = [scalar_code("value", sigma, "value"), scalar_code("value", slope, "first")]
    else:
        slope = traced_value("first", first)
        _check_traced("first", first, slope)
        whole = [value, first]
    bend = forward(slope)
    whole.append(scalar_code("value" if first is None else "first", bend, "second"))
    return whole, with_rules(sigma, slope, bend) if traced is None else traced


def _check_traced(argument: str, function: Callable, traced: Callable) -> None:
    """What was traced is the function: the same numbers when it is simply called."""
    import jax.numpy as jnp

    found = np.asarray(traced(jnp.asarray(_CHECK_POINTS)))
    for z, mine in zip(_CHECK_POINTS, found, strict=True):
        try:
            theirs = float(function(z))
        except (TypeError, ValueError, OverflowError, ZeroDivisionError):
            continue  # outside its domain, or not a function of floats: the other checks tell
        if math.isfinite(theirs) and not abs(mine - theirs) <= 1e-12 * max(abs(theirs), 1e-300):
            raise ArgumentError(
                argument,
                f"a function that is {theirs:.17g} at z = {z:.6g}, but {mine:.17g} when traced",
                "a function of z alone; or first= and second= as well",
            )


def _check_kinks(declared: np.ndarray, found: np.ndarray) -> None:
    def apart(points: np.ndarray, others: np.ndarray) -> list[float]:
        return [float(z) for z in points if not np.any(np.abs(others - z) <= 1e-6 * (1.0 + abs(z)))]

    for missing, words in (
        (apart(found, declared), "a kink at {:.9g}"),
        (apart(declared, found), "no kink at {:.9g}"),
    ):
        if missing:
            given = f"{declared.tolist()}, but σ has {words.format(missing[0])}"
            raise ArgumentError("kinks", given, f"those of σ: {found.tolist()}")


def _scalar(argument: str, function) -> Callable:
    """A user's scalar function compiled for one double; an `ArgumentError` if Numba cannot."""
    allowed = "a function of one float, returning a real number, that Numba can compile"
    if not callable(function):
        raise ArgumentError(argument, repr(function), allowed)
    source = getattr(function, "py_func", function)
    if not inspect.isfunction(source):  # math.sin, np.sin, a callable object: Numba compiles functions

        def called(z):
            return function(z)

        source = called
    compiled = abi.kernel_jit(source)
    try:
        compiled.compile((numba.float64,))
    except Exception as error:  # Numba raises more than its own NumbaError for what it cannot compile
        given = f"a function that Numba cannot compile; it says: {str(error).strip()}\n"
        raise ArgumentError(argument, given, allowed) from error
    returned = compiled.nopython_signatures[0].return_type
    if not isinstance(returned, (numba.types.Float, numba.types.Integer, numba.types.Boolean)):
        raise ArgumentError(argument, f"a function that returns {returned}", allowed)
    return compiled


def _user_block(value: Callable, first: Callable, second: Callable) -> Callable:
    """A block routine around three compiled scalar functions."""

    def block(n, order, z, out_value, out_first, out_second):
        inputs = numba.carray(abi.as_pointer(z), n, np.float64)
        values = numba.carray(abi.as_pointer(out_value), n, np.float64)
        firsts = numba.carray(abi.as_pointer(out_first), n, np.float64)
        seconds = numba.carray(abi.as_pointer(out_second), n, np.float64)
        for i in range(n):
            values[i] = value(inputs[i])
        if order >= 1:
            for i in range(n):
                firsts[i] = first(inputs[i])
        if order == 2:
            for i in range(n):
                seconds[i] = second(inputs[i])

    return block


def _polynomial_block(table: np.ndarray) -> Callable:
    """A block routine of a polynomial from the coefficients of its value and two derivatives, by Horner."""
    terms = table.shape[1]

    def block(n, order, z, out_value, out_first, out_second):
        inputs = numba.carray(abi.as_pointer(z), n, np.float64)
        for row in range(order + 1):
            address = out_value if row == 0 else out_first if row == 1 else out_second
            outputs = numba.carray(abi.as_pointer(address), n, np.float64)
            for i in range(n):
                outputs[i] = table[row, terms - 1]
            for k in range(terms - 2, -1, -1):
                for i in range(n):
                    outputs[i] = outputs[i] * inputs[i] + table[row, k]

    return block


def _check_finite(compiled: list) -> None:
    for argument, function in zip(("value", "first", "second"), compiled, strict=True):
        for z in _CHECK_POINTS:
            if not math.isfinite(function(z)):
                raise ArgumentError(argument, f"{function(z)} at z = {z:.6g}", "finite values")


def _check_derivative(argument: str, function: Callable, derivative: Callable) -> None:
    for z in _CHECK_POINTS:
        estimate, error = _richardson(function, z)
        given = derivative(z)
        if abs(given - estimate) > 1e-6 * max(abs(given), abs(estimate)) + 10.0 * error + 1e-9:
            raise ArgumentError(
                argument,
                f"{given:.12g} at z = {z:.6g} where finite differences give {estimate:.12g} ± {error:.1g}",
                "the derivative of value" if argument == "first" else "the derivative of first",
            )


def _richardson(function: Callable, z: float) -> tuple[float, float]:
    """f'(z) and an estimate of its error: central differences with steps 0.06 … 1e-6, extrapolated.

    Ridders' method (Advances in Engineering Software 4 (1982) 75): the entry of the Neville tableau
    that differs least from its neighbours. Small steps serve functions that vary fast; their ratio is
    not 2, because steps that share a period with the function would all see none of it.
    """
    ratio = 1.7
    best, smallest, previous = math.nan, math.inf, []
    for level in range(21):
        step = 0.0613 / ratio**level
        row = [(function(z + step) - function(z - step)) / (2.0 * step)]
        for j, coarse in enumerate(previous):
            row.append(row[j] + (row[j] - coarse) / (ratio ** (2 * (j + 1)) - 1.0))
            error = max(abs(row[j + 1] - row[j]), abs(row[j + 1] - coarse))
            if error < smallest:
                best, smallest = row[j + 1], error
        previous = row
    return best, smallest


def _check_symmetry(symmetry: str, value: Callable) -> None:
    points = [z for z in _CHECK_POINTS if z > 0]
    even = [value(z) + value(-z) for z in points]
    odd = [value(z) - value(-z) for z in points]
    slopes = [difference / z for difference, z in zip(odd, points, strict=True)]
    deviation = {
        "odd": max(map(abs, even)),
        "even": max(map(abs, odd)),
        "odd+constant": max(even) - min(even),
        "even+linear": max(slopes) - min(slopes),
        "none": 0.0,
    }[symmetry]
    if deviation > 1e-9 * max(abs(value(z)) for z in _CHECK_POINTS):
        given = f"{symmetry!r}, which value misses by {deviation:.3g}"
        raise ArgumentError("symmetry", given, "the symmetry of value")


def _traced(formula: Callable) -> Callable:
    """A formula of (z, jax, jax.numpy) as a function of z that imports JAX when called."""

    def traced(z):
        import jax
        import jax.numpy as jnp

        return formula(z, jax, jnp)

    return traced


_BUILT_IN = [Activation._from_record(record) for record in RECORDS if record.listed]

ACTIVATIONS = MappingProxyType({activation.name: activation for activation in _BUILT_IN})
"""The built-in activations by name; their formulas are a table in `Activation`."""

IDENTITY = next(sigma for sigma in _BUILT_IN if sigma.record.power == 1)
"""σ(z) = z."""

if Activation.__doc__:
    _ROWS = (f"{sigma.name:<13}{sigma.record.formula:<45}{sigma.symmetry}" for sigma in _BUILT_IN)
    Activation.__doc__ = Activation.__doc__.replace("    TABLE\n", "".join(f"    {row}\n" for row in _ROWS))
