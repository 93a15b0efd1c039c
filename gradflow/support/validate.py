"""Checks of what users hand in: Float64 arrays out, or an `ArgumentError` that names the argument."""

from __future__ import annotations

import numpy as np

from .errors import ArgumentError


def real_array(argument: str, given, ndim: int | tuple[int, ...], *, finite: bool = True) -> np.ndarray:
    """A C-contiguous Float64 copy of `given` with one of the allowed numbers of dimensions.

    float32, integers, lists and JAX arrays are converted; complex numbers, objects, NaN and
    infinities are refused.
    """
    dimensions = (ndim,) if isinstance(ndim, int) else ndim
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ArgumentError(argument, "a ragged sequence", "a rectangular array of numbers") from error
    if array.dtype.kind not in "fiub":
        raise ArgumentError(argument, f"an array of {array.dtype}", "real numbers")
    if array.ndim not in dimensions:
        allowed = " or ".join(str(n) for n in dimensions)
        raise ArgumentError(argument, f"shape {array.shape}", f"an array with {allowed} dimension(s)")
    result = np.array(array, dtype=np.float64, order="C", copy=True)
    if finite and not np.isfinite(result).all():
        bad = int(np.flatnonzero(~np.isfinite(result.ravel()))[0])
        where = tuple(int(i) for i in np.unravel_index(bad, result.shape))
        raise ArgumentError(argument, f"{result.ravel()[bad]} at index {where}", "finite numbers")
    return result


def integer(argument: str, given, minimum: int, maximum: int | None = None) -> int:
    """An integer within [minimum, maximum]."""
    allowed = f"an integer ≥ {minimum}" + (f" and ≤ {maximum}" if maximum is not None else "")
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        raise ArgumentError(argument, repr(given), allowed)
    if given < minimum or (maximum is not None and given > maximum):
        raise ArgumentError(argument, given, allowed)
    return int(given)


def number(argument: str, given, *, minimum: float = -np.inf, exclusive: bool = False) -> float:
    """A real number ≥ minimum (> minimum if exclusive); infinity is allowed, NaN is not."""
    sign = ">" if exclusive else "≥"
    allowed = "a real number" if minimum == -np.inf else f"a real number {sign} {minimum:g}"
    if isinstance(given, bool) or not isinstance(given, (int, float, np.integer, np.floating)):
        raise ArgumentError(argument, repr(given), allowed)
    value = float(given)
    if np.isnan(value) or value < minimum or (exclusive and value == minimum):
        raise ArgumentError(argument, given, allowed)
    return value


def check_rates(given, size: int) -> np.ndarray:
    """Rates of a flow, (size,): ≥ 0 and not all zero; one each unless given."""
    if given is None:
        return np.ones(size)
    rates = real_array("rates", given, 1)
    if rates.size != size:
        raise ArgumentError("rates", f"shape {rates.shape}", f"shape ({size},), one per parameter")
    if (rates < 0).any() or not (rates > 0).any():
        raise ArgumentError("rates", f"minimum {rates.min():g}", "rates ≥ 0, at least one of them > 0")
    return rates


def sequence(argument: str, given, allowed: str) -> list:
    """The entries of a list, tuple or array as a list."""
    if isinstance(given, (list, tuple)) or (hasattr(given, "__array__") and len(np.shape(given)) > 0):
        return list(given)
    raise ArgumentError(argument, repr(given), allowed)


def store_plain(settings, values: dict) -> None:
    """Put checked values back into a frozen settings object: plain numbers, which JSON can hold."""
    for name, value in values.items():
        object.__setattr__(settings, name, value)


def generator(argument: str, seed) -> np.random.Generator:
    """The random generator of a seed: an integer ≥ 0, a `numpy.random.SeedSequence` or a Generator."""
    if isinstance(seed, (np.random.Generator, np.random.SeedSequence)):
        return np.random.default_rng(seed)
    return np.random.default_rng(integer(argument, seed, 0))
