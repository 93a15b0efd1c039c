"""Balls: exact numbers in and out, precision, bounds as floats rounded outwards.

A ball [m ± r] of FLINT's arb contains the true value: every operation rounds m to the working precision
and adds what it lost to r.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import contextmanager

from ..support.errors import MissingExtraError

try:
    import flint
    from flint import acb as acb
    from flint import arb as arb
    from flint import arb_mat as arb_mat
    from flint import ctx
except ImportError as error:  # pragma: no cover - tested in a process without it
    raise MissingExtraError("python-flint", "prove", "a proof in ball arithmetic") from error


class Balls:
    """The functions that the pair formulas need, in balls; π is that of the working precision."""

    def __init__(self) -> None:
        self.pi = arb.pi()

    sqrt = staticmethod(arb.sqrt)
    exp = staticmethod(arb.exp)
    erf = staticmethod(arb.erf)
    atan2 = staticmethod(arb.atan2)


@contextmanager
def precision(bits: int):
    """A block in which results are rounded to so many bits."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


def version() -> str:
    """What computes: python-flint and FLINT, by their versions."""
    return f"python-flint {flint.__version__}, FLINT {flint.__FLINT_VERSION__}"


def exact(values: Iterable[float]) -> list:
    """Floats as balls of radius zero."""
    return [arb(float(value)) for value in values]


def midpoint(ball) -> float:
    """The midpoint as a float, rounded to nearest."""
    return float(ball.mid())


def upper(ball) -> float:
    """A float ≥ |x| for all x of the ball; infinite where the ball is."""
    value = float(ball.abs_upper())
    return math.nextafter(value, math.inf) if math.isfinite(value) else math.inf


def bounds(ball) -> tuple[float, float]:
    """The largest float below and the smallest above all of the ball, or nearly so."""
    lower, higher = ball.lower(), ball.upper()
    low, high = float(lower), float(higher)
    if not arb(low) <= lower:
        low = math.nextafter(low, -math.inf)
    if not arb(high) >= higher:
        high = math.nextafter(high, math.inf)
    return low, high


def largest(balls: Iterable):
    """The largest upper bound of |x| over balls, exact; zero for none, infinity if any is not finite."""
    found = arb(0)
    for ball in balls:
        size = ball.abs_upper()
        if not size.is_finite():  # what is not a number compares as false with everything
            return arb("inf")
        if size > found:
            found = size
    return found


def square_root(ball):
    """√x over the non-negative part of a ball of something that is not negative."""
    return ball.sqrt() if ball > 0 else ball.nonnegative_part().sqrt()


def to_text(ball) -> str:
    """An exact ball as mantissa and exponent in hexadecimal digits, "0x3p-5" for 3/32."""
    if not ball.is_exact():
        raise ValueError("only a ball of radius zero has a text of its own")
    mantissa, exponent = ball.man_exp()
    return f"{int(mantissa):#x}p{int(exponent)}"


def from_text(text: str):
    """The exact ball of `to_text`, or of `float.hex`."""
    head, _, tail = text.partition("p")
    if "." in head:
        return arb(float.fromhex(text))
    return arb((int(head, 16), int(tail or 0)))
