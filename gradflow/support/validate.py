"""Checks of what users hand in: Float64 arrays out, or an `ArgumentError` that names the argument."""

from __future__ import annotations

import sys

import numpy as np

from .errors import ArgumentError


def real_array(
    argument: str, given, ndim: int | tuple[int, ...] | None, *, finite: bool = True
) -> np.ndarray:
    """A C-contiguous Float64 copy of `given` with one of the allowed numbers of dimensions (None: any).

    float32, bfloat16, integers, lists, JAX arrays and torch tensors are converted; complex numbers, objects,
    text, masked entries, sparse matrices, NaN and infinities are refused, each with what to do instead.
    """
    masked = _masked(given)
    if masked:
        raise ArgumentError(argument, f"{masked} masked entries", "numbers without a mask: drop or fill them")
    array = _as_numpy(argument, given)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(argument, *_not_numbers(array))
    dimensions = (ndim,) if isinstance(ndim, int) else ndim
    if dimensions is not None and array.ndim not in dimensions:
        allowed = " or ".join(str(n) for n in dimensions)
        raise ArgumentError(argument, f"shape {array.shape}", f"an array with {allowed} dimension(s)")
    with np.errstate(over="ignore"):  # a long double beyond Float64 is refused as the infinity it becomes
        result = np.array(array, dtype=np.float64, order="C", copy=True)
    if finite and not np.isfinite(result).all():
        raise ArgumentError(argument, _not_finite(result), "finite numbers")
    return result


def _masked(given) -> int:
    """How many entries are masked, in a masked array or in a list of such."""
    if isinstance(given, np.ma.MaskedArray):
        return int(np.ma.count_masked(given))
    if isinstance(given, (list, tuple)):
        return sum(_masked(entry) for entry in given if not isinstance(entry, (int, float)))
    return 0


def _as_numpy(argument: str, given) -> np.ndarray:
    """What NumPy makes of it, as an array of numbers where it is one."""
    if callable(given) and not hasattr(given, "__array__"):
        name = getattr(given, "__name__", type(given).__name__)
        raise ArgumentError(argument, f"the function {name!r}", f"an array; did you mean {name}()?")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(given, torch.Tensor):
        if given.layout is not torch.strided:
            raise ArgumentError(argument, "a sparse torch tensor", "a dense array: tensor.to_dense()")
        given = given.detach().cpu()
        given = given.double() if given.is_floating_point() else given.resolve_conj().resolve_neg()
    if hasattr(given, "tocsr") and hasattr(given, "nnz"):  # SciPy's sparse matrices and their like
        raise ArgumentError(argument, f"a sparse {type(given).__name__}", "a dense array: X.toarray()")
    try:
        array = np.asarray(given)
        if array.dtype.name in _SMALL_FLOATS:
            return array.astype(np.float64)
        return array
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(given, (list, tuple)) and isinstance(error, ValueError):
            raise ArgumentError(argument, "a ragged sequence", "a rectangular array of numbers") from error
        words = f"{type(given).__name__}, of which NumPy makes no array ({error})"
        raise ArgumentError(argument, words, "a rectangular array of numbers") from error


# A type of JAX's and of ml_dtypes, which NumPy does not count among the floats.
_SMALL_FLOATS = {"bfloat16"}


def resolution(given) -> float:
    """Machine epsilon of the type in which numbers were given; that of Float64 for integers and lists."""
    dtype = getattr(given, "dtype", None)
    name = str(np.asarray(given).dtype if dtype is None else dtype).rpartition(".")[2]  # "torch.float32"
    return {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}.get(name, 2.0**-52)


def _not_numbers(array: np.ndarray) -> tuple[str, str]:
    """What an array of no numbers is, and what is allowed instead."""
    allowed = "real numbers"
    if array.dtype.kind in "US":
        return (
            "text",
            f"{allowed}; labels with loss='cross_entropy', or by numpy.unique(y, return_inverse=True)",
        )
    if array.dtype.kind == "O" and array.size:
        for k, entry in enumerate(array.ravel()):
            if isinstance(entry, str):
                return f"text, {entry!r}", _not_numbers(np.array(["text"]))[1]
            if not isinstance(entry, (int, float, np.number)):
                where = tuple(int(i) for i in np.unravel_index(k, array.shape))
                kind = type(entry).__name__
                return f"an object, {kind}" + (f" at index {where}" if where else ""), allowed
    return f"an array of {array.dtype}", allowed


def _not_finite(array: np.ndarray) -> str:
    """The first entry that is not finite, how many there are, and in which rows."""
    bad = np.argwhere(~np.isfinite(array))
    first = tuple(int(i) for i in bad[0])
    words = f"{array[first]} at index {first}"
    if len(bad) == 1:
        return words
    rows = np.unique(bad[:, 0])
    shown = ", ".join(str(row) for row in rows[:8]) + (", …" if rows.size > 8 else "")
    where = f"in {rows.size} of {len(array)} rows: {shown}" if array.ndim > 1 else f"at {shown}"
    return f"{words}; {len(bad)} entries that are not finite, {where}"


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


def generator(argument: str, seed) -> np.random.Generator:
    """The random generator of a seed: an integer ≥ 0, a `numpy.random.SeedSequence` or a Generator."""
    if isinstance(seed, (np.random.Generator, np.random.SeedSequence)):
        return np.random.default_rng(seed)
    return np.random.default_rng(integer(argument, seed, 0))
