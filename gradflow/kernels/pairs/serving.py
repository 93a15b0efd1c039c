"""Which pair kernel serves which activations, and what it may err by: decided here, once.

The kernels of `CLOSED`, the fastest first, serve every pair of activations of their scope. Activations that
none of them serves together are expanded (`expansion`): pairs that a closed kernel serves keep it, and which
of the other roads a pair takes, with what error, `roads` decides at the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import NamedTuple

from ..activation_table import (
    CENTRED,
    FORM,
    GATES,
    KINKED,
    MIXTURES,
    POWER,
    RAMP,
    RECORDS,
    STEP,
    Record,
    kind_of,
)
from . import expansion, gated, general, mixture, panels
from .roads import ROUNDING


class Road(NamedTuple):
    """How the pairs of a set of activations are evaluated.

    kernel      the pair kernel
    error       the bound of every pair's error (as `roads` has it); None: `roads` records it pair by pair
    closed      of an expansion: the kernel that serves pairs of `members`; None where there are none
    members     the activations whose pairs it serves
    """

    kernel: Callable
    error: float | None
    closed: Callable | None = None
    members: frozenset[Record] = frozenset()


# Whether the numbers are there that a kernel reads, of the number by which it knows a unit.


def _constant(record: Record) -> bool:
    return POWER[kind_of(record)] == 0


def _mixed(record: Record) -> bool:
    return bool(MIXTURES[kind_of(record)].any())


def _gated(record: Record) -> bool:
    return bool(GATES[kind_of(record)].any())


def _bent(record: Record) -> bool:
    kind = kind_of(record)
    return bool(KINKED[kind].any()) or POWER[kind] == 0 or FORM[kind] in (STEP, CENTRED, RAMP)


def _elementary(record: Record) -> bool:
    kind = kind_of(record)
    return bool(KINKED[kind].any()) or POWER[kind] >= 0 or FORM[kind] != 0


CLOSED = (
    (general.constants, True, _constant),
    (mixture.mixture, False, _mixed),
    (gated.gated, True, _gated),
    (panels.panels, True, _bent),
    (general.general, True, _elementary),
)
"""Kernels, whether they know biases, and their scope."""


def closed(records: Collection[Record], biased: bool) -> Callable | None:
    """The fastest closed kernel that serves all pairs of these activations; None without."""
    first = next(iter(records))
    if not biased and first.alone is not None and all(record is first for record in records):
        return first.alone
    for kernel, knows_biases, serves in CLOSED:
        if (knows_biases or not biased) and all(map(serves, records)):
            return kernel
    return None


def is_slow(record: Record, biased: bool) -> bool:
    """Whether a series is cheaper than the closed kernel: of zΦ(z) with biases, which is an integral."""
    return biased and record.form == RAMP


def road(records: Collection[Record], biased: bool) -> Road:
    """How their pairs are evaluated; `biased`: whether some unit has a bias, or inputs a mean."""
    kernel = closed(records, biased)
    smooth = len(set(records)) > 1 and not any(record.kinked for record in records)
    if kernel is not None and not (smooth and any(is_slow(record, biased) for record in records)):
        return Road(kernel, ROUNDING)
    members = frozenset(record for record in records if closed([record], biased) is not None)
    if members and closed(members, biased) is None:  # each has one, but not together
        members = frozenset(record for record in members if _elementary(record))
    return Road(expansion.expansion, None, closed(members, biased) if members else None, members)


def refusal(record: Record) -> str:
    """Why no pair of an activation is served; empty where all are."""
    if record.is_sum or record.strip != 0.0:
        return ""
    return f"activation {record.name!r}, which is neither a sum of known parts nor known to be analytic"


def _check() -> None:
    """Every ordered pair is refused, or has a road whose kernels know both."""
    for pair in itertools.product(RECORDS, repeat=2):
        if any(map(refusal, pair)):
            continue
        for biased in (False, True):
            found = road(pair, biased)
            members, kernel = (
                (pair, found.kernel) if found.error is not None else (found.members, found.closed)
            )
            for record in members:
                known = [k for k, knows_biases, serves in CLOSED if biased <= knows_biases and serves(record)]
                if kernel not in (known if biased else [record.alone, *known]):
                    names = " beside ".join(record.name for record in pair)
                    raise AssertionError(f"{names}: a kernel that does not know {record.name}")


_check()
