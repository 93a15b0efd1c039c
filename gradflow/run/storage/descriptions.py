"""What the data sets of a file are, said in the file: words of the docstrings of what is stored."""

from __future__ import annotations

import inspect
import re
from functools import cache, cached_property


@cache
def _said(kind: type) -> dict[str, tuple[str, str]]:
    """The type and the description of every attribute and parameter in a docstring in NumPy's form."""
    found: dict[str, tuple[str, str]] = {}
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    inside, names = False, []
    for i, line in enumerate(lines):
        if i + 1 < len(lines) and lines[i + 1].startswith("---"):
            inside, names = line in ("Attributes", "Parameters"), []
        elif inside and (entry := re.match(r"(\w+(?:, \w+)*) : (.*)", line)):
            names = entry[1].split(", ")
            names = [name for name in names if name not in found]
            found |= dict.fromkeys(names, (entry[2], ""))
        elif inside and line.startswith(" "):
            for name in names:
                form, words = found[name]
                found[name] = form, f"{words} {line.strip()}".strip()
    for name, member in inspect.getmembers(kind):
        if isinstance(member, (property, cached_property)) and member.__doc__:
            found.setdefault(name, ("", inspect.cleandoc(member.__doc__).partition("\n")[0]))
    return found


def describe(group, *kinds: type) -> None:
    """Attributes `form` and `description` of the data sets in a group that these docstrings know.

    A data set of one among several, as `weights_1`, is known by the name of all, `weights`; one with a word
    before, as `hessian_eigenvalues`, by the name without it.
    """

    def known(path: str, dataset) -> None:
        name = path.rpartition("/")[2]
        stem = name.rstrip("0123456789").rstrip("_")
        for said in map(_said, kinds):
            for candidate in (name, stem, f"{stem}es", name.partition("_")[2]):
                if candidate in said and hasattr(dataset, "dtype") and "form" not in dataset.attrs:
                    dataset.attrs["form"], dataset.attrs["description"] = said[candidate]

    group.visititems(known)
