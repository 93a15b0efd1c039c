"""Theorems of the field as numerical checks, one folder per paper.

    for check in gradflow.theory.verify("copy_average"):
        print(check)

`verify` runs checks by the beginning of their names, `names` lists them; `gradflow verify` does the same
on the command line. Each function of the files is there to be called alone as well.
"""

from .check import Check, Part, at_least, at_most, never, seldom
from .record import Record
from .registry import names, register, run, verify

__all__ = [
    "Check",
    "Part",
    "Record",
    "at_least",
    "at_most",
    "names",
    "never",
    "register",
    "run",
    "seldom",
    "verify",
]


def __dir__() -> list[str]:
    return sorted(__all__)
