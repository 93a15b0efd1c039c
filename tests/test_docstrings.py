"""Docstrings: their examples run, their parameters are those of the function, their formulas are right."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats

import gradflow as gf

ROOT = Path(__file__).parents[1]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gf.__path__, "gradflow.")
    if not module.name.startswith("gradflow.theory")  # tests/theory/test_names.py
    and ">>>" in Path(importlib.util.find_spec(module.name).origin).read_text()
]
"""Those with examples, found without running what they import late."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    found = doctest.testmod(
        module, extraglobs={"gf": gf, "np": np}, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert found.attempted > 0 and found.failed == 0


HOMES = ("networks", "activations", "inputs", "spherical", "order_parameters", "teachers")
"""Modules whose public classes and functions have docstrings in numpydoc form."""


def described() -> dict[str, object]:
    found = {}
    for module in (gf, gf.teachers):
        for name in module.__all__:
            value = getattr(module, name)
            own = getattr(value, "__module__", "") in [f"gradflow.{home}" for home in HOMES]
            if callable(value) and own and not hasattr(value, "_fields"):  # a NamedTuple is a sentence
                found[value.__qualname__] = value
    for cls in (gf.MLP, gf.Activation):
        for name in vars(cls):
            if not name.startswith("_") and callable(getattr(cls, name)) and "tree" not in name:
                found[f"{cls.__name__}.{name}"] = getattr(cls, name)
    return found


@pytest.mark.parametrize("name", described())
def test_docstrings_list_their_parameters(name):
    value = described()[name]
    text = inspect.getdoc(value)
    assert text and len(text.splitlines()[0]) <= 110 and text.splitlines()[0].endswith((".", ":"))
    sections = dict(
        re.findall(r"^([A-Z][a-z]+)\n-+\n((?:.*\n?)*?)(?=^[A-Z][a-z]+\n-+\n|\Z)", text, re.MULTILINE)
    )
    listed = re.findall(r"^(\S[^:\n]*?)(?: : .*)?$", sections.get("Parameters", ""), re.MULTILINE)
    names = [argument for line in listed for argument in line.split(", ")]
    wanted = [
        parameter.name
        for parameter in inspect.signature(value).parameters.values()
        if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    ]
    in_a_sentence = "Parameters" not in sections and len(wanted) <= 1
    assert in_a_sentence or names == wanted, (names, wanted)


def test_the_formulas_of_the_activations_are_right():
    """The table in `Activation`, row by row: name, formula and symmetry."""
    rows = re.findall(r"^    (\w+) +(\S.*?)  +(\S+)$", gf.Activation.__doc__, re.MULTILINE)
    table = {name: (formula, symmetry) for name, formula, symmetry in rows if name in gf.ACTIVATIONS}
    assert list(table) == list(gf.ACTIVATIONS)
    z = np.array([-3.7, -1.0, -0.2, 0.3, 1.0, 2.9])
    known = {name: getattr(np, name) for name in ("exp", "log", "tanh", "sin", "cos")}
    known |= {"max": np.maximum, "min": np.minimum, "erf": scipy.special.erf, "Φ": scipy.stats.norm.cdf}
    known |= {"z": z, "λ": 1.0507009873554805, "α": 1.6732632423543773}
    for name, (formula, symmetry) in table.items():
        code = formula.replace("−", "-").replace("√2", "2**0.5").replace("²", "**2").replace("³", "**3")
        code = re.sub(r"(?<=[\dλαz)]) ?(?=[z(λαΦ]|max|min)", " * ", code)
        code = re.sub(r"(Φ|log|exp|tanh|erf|sin|cos|max|min) \* \(", r"\1(", code)
        assert np.allclose(eval(code, known), gf.ACTIVATIONS[name](z), rtol=1e-14, atol=1e-15), (name, code)
        assert symmetry == gf.ACTIVATIONS[name].symmetry


def test_the_citation_has_the_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", text, re.MULTILINE).group(1) == gf.__version__
    assert re.search(r"^date-released: \d{4}-\d\d-\d\d$", text, re.MULTILINE)


def test_the_readme_names_what_there_is():
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"`gf\.((?:\w+\.)*\w+)", text):
        value = gf
        for part in name.split("."):
            value = getattr(value, part)
    missing = [name for name in gf.ACTIVATIONS if not re.search(rf"\b{name}\b", text)]
    assert not missing
    for word in ("jax_enable_x64", "GRADFLOW_NUM_THREADS", "GRADFLOW_CACHE_DIR", "Linux"):
        assert word in text
