"""Theorems of the field as numerical checks, one folder per paper.

    for check in gradflow.theory.verify("copy_average"):
        print(check)

`verify` runs checks by the beginning of their names, `names` lists them; `gradflow verify` does the same
on the command line. Each function of the files is there to be called alone as well.

check, registry, record     what a check is, all of them by name, and the file of finished ones
geometry, soft_committee,   what several papers share: angles, networks with output weights one, and means
quadrature                  over Gaussian inputs without the package's closed forms
copy_average, specialization, alignment, spurious_minima, duplicates, expand_and_cluster: the papers

A paper's folder may import what is shared and the rooms below (`landscape`, `run`, …), not another paper's.
"""

from . import (
    alignment,
    copy_average,
    duplicates,
    expand_and_cluster,
    geometry,
    quadrature,
    soft_committee,
    specialization,
    spurious_minima,
)
from .check import Check, Part, at_least, at_most, never, seldom
from .record import Record
from .registry import names, register, run, verify

__all__ = [
    "Check",
    "Part",
    "Record",
    "alignment",
    "at_least",
    "at_most",
    "copy_average",
    "duplicates",
    "expand_and_cluster",
    "geometry",
    "names",
    "never",
    "quadrature",
    "register",
    "run",
    "seldom",
    "soft_committee",
    "specialization",
    "spurious_minima",
    "verify",
]


def __dir__() -> list[str]:
    return sorted(__all__)
