"""Docstrings: complete, their examples run, their parameters are the function's, their formulas are right."""

from __future__ import annotations

import ast
import doctest
import enum
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import gradflow as gf
from gradflow.support import errors

ROOT = Path(__file__).parents[1]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gf.__path__, "gradflow.")
    if ">>>" in Path(importlib.util.find_spec(module.name).origin).read_text()
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


def modules() -> list[types.ModuleType]:
    """All of the package that can be imported here: some ask for packages that are not installed."""
    found = [gf]
    for module in pkgutil.walk_packages(gf.__path__, "gradflow."):
        if module.name != "gradflow.__main__":
            try:
                found.append(importlib.import_module(module.name))
            except ModuleNotFoundError as error:
                assert not error.name.startswith("gradflow")
    return found


def public_names() -> dict[str, object]:
    """Functions and classes of every `__all__`, by where they are defined."""
    found = {}
    for module in modules():
        values = [getattr(module, public) for public in getattr(module, "__all__", ())]
        values = [value for value in values if callable(value) and not isinstance(value, types.ModuleType)]
        found |= {f"{value.__module__}.{value.__qualname__}": value for value in values}
    return dict(sorted(found.items()))


NAMES = public_names()
METHODS = {
    f"{name}.{key}": value
    for name, cls in NAMES.items()
    if inspect.isclass(cls)
    for key, value in vars(cls).items()
    if not key.startswith("_")
    and (inspect.isfunction(value) or isinstance(value, classmethod | staticmethod))
}
WANTED = {
    "GL06": "an unknown section",
    "GL07": "sections in another order than numpydoc's",
    "PR02": "a parameter that there is not",
    "PR10": "no space before a colon",
    "RT01": "no Returns",
    "YD01": "no Yields",
    "EX01": "no Examples",
}


def sections(value) -> NumpyDocString:
    return NumpyDocString(inspect.getdoc(value) or "")


def arguments(value) -> list[str]:
    if inspect.isclass(value) and issubclass(value, Exception) and "__init__" not in vars(value):
        return []  # Python's own
    return [
        parameter.name
        for parameter in inspect.signature(value).parameters.values()
        if parameter.name not in ("self", "cls") and not parameter.name.startswith("_")
    ]


def described(value, section: str) -> set[str]:
    """Names in a section, those of the classes that one is derived from included."""
    owners = inspect.getmro(value) if inspect.isclass(value) else (value,)
    entries = [entry.name or entry.type for owner in owners for entry in sections(owner)[section]]
    return {name.strip("* ") for entry in entries for name in entry.split(",")}


def raised(value) -> set[str]:
    """The exceptions of this package that its own code raises, by name."""
    bodies = [vars(value).get(name) for name in ("__init__", "__post_init__")]
    found = set()
    for body in bodies if inspect.isclass(value) else [value]:
        if inspect.isfunction(body) and body.__module__.startswith("gradflow"):
            try:
                tree = ast.parse(textwrap.dedent(inspect.getsource(body)))
            except OSError:  # made by dataclasses
                continue
            nodes = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
            found |= {
                node.func.id for node in nodes if isinstance(node, ast.Call) and hasattr(node.func, "id")
            }
    return {name for name in found if issubclass(getattr(errors, name, Exception), gf.GradflowError)}


def is_claim(value) -> bool:
    """Whether it makes a `theory.Check`: a claim says itself in its first line, and `theory.run` runs it.

    What it takes are the sizes of its cases, and constants that tests change to see it fail.
    """
    returns = "" if inspect.isclass(value) else value.__annotations__.get("return", "")
    home = vars(sys.modules[value.__module__]).get("__all__", ())
    return re.search(r"\bCheck\b", str(returns)) is not None and "register" not in home


def lacking(name: str, value) -> set[str]:
    """What the docstring of a public function or class has not."""
    if is_claim(value):
        return set() if sections(value)["Summary"] else {"no summary"}
    found = {code for code, _ in validate(name)["errors"]}
    missing = {text for code, text in WANTED.items() if code in found}
    if not sections(value)["Summary"]:
        missing.add("no summary")
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        return missing
    firsts = [entry.name.split(",")[0].strip("* ") for entry in sections(value)["Parameters"]]
    if (places := [arguments(value).index(first) for first in firsts]) != sorted(places):
        missing.add("parameters in another order")
    named = described(value, "Parameters") | described(value, "Attributes")
    missing |= {f"nothing on {argument}" for argument in arguments(value) if argument not in named}
    return missing | {
        f"nothing on {error}" for error in raised(value) if error not in described(value, "Raises")
    }


@pytest.mark.parametrize("name", NAMES)
def test_public_docstrings_are_complete(name):
    """Parameters (or fields, as Attributes), Returns, Raises and an example, in numpydoc's form."""
    assert not lacking(name, NAMES[name])
    first = inspect.getdoc(NAMES[name]).splitlines()[0]
    assert len(first) <= 110 and first.endswith((".", ":"))


@pytest.mark.parametrize("name", METHODS)
def test_public_methods_say_what_they_take(name):
    """Its arguments, in a sentence or in a section; an override may leave it to what it overrides."""
    value = METHODS[name]
    value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    cls, key = name.rsplit(".", 1)
    assert any(vars(base)[key].__doc__ for base in NAMES[cls].__mro__ if key in vars(base))
    if value.__doc__:
        words = set(re.findall(r"\w+", value.__doc__.replace("θ", " theta ")))
        assert set(arguments(value)) <= words
        assert described(value, "Parameters") <= set(arguments(value))


def test_every_public_method_has_a_docstring():
    """Of all classes: ruff's D102, but an override inherits that of what it overrides."""
    missing = []
    for module in modules():
        for cls in vars(module).values():
            if (
                inspect.isclass(cls)
                and cls.__module__ == module.__name__
                and not cls.__name__.startswith("_")
            ):
                for key, value in vars(cls).items():
                    own = inspect.isroutine(value) or isinstance(value, property | functools.cached_property)
                    owners = [vars(base)[key] for base in cls.__mro__ if key in vars(base)]
                    if own and not key.startswith("_") and not any(owner.__doc__ for owner in owners):
                        missing.append(f"{module.__name__}.{cls.__name__}.{key}")
    assert not missing


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
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "tour.md").read_text()
    for name in re.findall(r"`gf\.((?:\w+\.)*\w+)", text):
        value = gf
        for part in name.split("."):
            value = getattr(value, part)
    missing = [name for name in gf.ACTIVATIONS if not re.search(rf"\b{name}\b", text)]
    assert not missing
    for word in ("jax_enable_x64", "GRADFLOW_NUM_THREADS", "GRADFLOW_CACHE_DIR", "Linux"):
        assert word in text


UNTYPED = {
    "gradflow.losses.problem.Problem.parameters",  # the user's own structure
    "gradflow.run.result.Result.parameters",
    "gradflow.networks.MLP.to_torch",  # of packages that are optional or ship no types
    "gradflow.networks.MLP.to_equinox",
    "gradflow.many.sweep.Sweep.to_xarray",
    "gradflow.networks.MLP.tree_flatten",  # JAX's own protocol
    "gradflow.networks.MLP.tree_unflatten",
}


def test_public_functions_say_what_they_return():
    rooms = ("gradflow.theory", "gradflow.infinity", "gradflow.landscape.ansatz_loss")
    functions = {
        name: getattr(value, "__func__", value)
        for name, value in (NAMES | METHODS).items()
        if not inspect.isclass(value) and not name.startswith(rooms)
    }
    lacking = {
        name
        for name, function in functions.items()
        if inspect.signature(function).return_annotation in (inspect.Signature.empty, "Any")
    }
    assert lacking <= UNTYPED
