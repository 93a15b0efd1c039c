"""What to cite for a result, in BibTeX."""

from __future__ import annotations

from ._version import __version__
from .networks import MLP
from .run.result import Result
from .support.errors import ArgumentError

_OWN = f"""@software{{gradflow,
  title = {{gradflow: gradient flow of small neural networks to machine precision}},
  author = {{{{the gradflow authors}}}},
  year = {{2026}},
  version = {{{__version__}}}
}}"""


def _entry(kind: str, key: str, author: str, title: str, year: int, **more: str) -> str:
    fields = {"author": author, "title": f"{{{title}}}", **more, "year": str(year)}
    return f"@{kind}{{{key},\n" + ",\n".join(f"  {k} = {{{v}}}" for k, v in fields.items()) + "\n}"


ENTRIES = {
    "gradflow": _OWN,
    "brea2023": _entry(
        "article", "brea2023",
        "Brea, Johanni and Martinelli, Flavio and Şimşek, Berfin and Gerstner, Wulfram",
        "MLPGradientFlow: going with the flow of multilayer perceptrons (and finding minima fast and "
        "accurately)",
        2023, journal="arXiv preprint arXiv:2301.10638",
    ),
    "shampine1997": _entry(
        "article", "shampine1997", "Shampine, Lawrence F. and Reichelt, Mark W.",
        "The MATLAB ODE suite", 1997, journal="SIAM Journal on Scientific Computing", volume="18",
        pages="1--22",
    ),
    "brown1989": _entry(
        "article", "brown1989", "Brown, Peter N. and Hindmarsh, Alan C.",
        "Reduced storage matrix methods in stiff ODE systems", 1989,
        journal="Applied Mathematics and Computation", volume="31", pages="40--91",
    ),
    "kennedy2019": _entry(
        "article", "kennedy2019", "Kennedy, Christopher A. and Carpenter, Mark H.",
        "Higher-order additive Runge–Kutta schemes for ordinary differential equations", 2019,
        journal="Applied Numerical Mathematics", volume="136", pages="183--205",
        doi="10.1016/j.apnum.2018.10.007",
    ),
    "kvaerno2004": _entry(
        "article", "kvaerno2004", "Kværnø, Anne",
        "Singly diagonally implicit Runge–Kutta methods with an explicit first stage", 2004,
        journal="BIT Numerical Mathematics", volume="44", pages="489--502",
    ),
    "steinebach2023": _entry(
        "article", "steinebach2023", "Steinebach, Gerd",
        "Construction of Rosenbrock–Wanner method Rodas5P and numerical benchmarks within the Julia "
        "Differential Equations package", 2023, journal="BIT Numerical Mathematics", volume="63", pages="27",
    ),
    "tsitouras2011": _entry(
        "article", "tsitouras2011", "Tsitouras, Ch.",
        "Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying assumption", 2011,
        journal="Computers \\& Mathematics with Applications", volume="62", pages="770--775",
    ),
    "prince1981": _entry(
        "article", "prince1981", "Prince, P. J. and Dormand, J. R.",
        "High order embedded Runge–Kutta formulae", 1981,
        journal="Journal of Computational and Applied Mathematics", volume="7", pages="67--75",
    ),
    "sommeijer1998": _entry(
        "article", "sommeijer1998", "Sommeijer, B. P. and Shampine, L. F. and Verwer, J. G.",
        "RKC: an explicit solver for parabolic PDEs", 1998,
        journal="Journal of Computational and Applied Mathematics", volume="88", pages="315--326",
    ),
    "kidger2021": _entry(
        "phdthesis", "kidger2021", "Kidger, Patrick", "On Neural Differential Equations", 2021,
        school="University of Oxford",
    ),
    "golub1973": _entry(
        "article", "golub1973", "Golub, G. H. and Pereyra, V.",
        "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables "
        "separate", 1973, journal="SIAM Journal on Numerical Analysis", volume="10", pages="413--432",
    ),
    "williams1997": _entry(
        "inproceedings", "williams1997", "Williams, Christopher K. I.",
        "Computing with infinite networks", 1997,
        booktitle="Advances in Neural Information Processing Systems 9", pages="295--301",
    ),
    "cho2009": _entry(
        "inproceedings", "cho2009", "Cho, Youngmin and Saul, Lawrence K.", "Kernel methods for deep learning",
        2009, booktitle="Advances in Neural Information Processing Systems 22", pages="342--350",
    ),
}  # fmt: skip
"""BibTeX entries by their keys; authors and titles in Unicode, for Biber."""

_SOLVERS = {
    "BDF": ["shampine1997"],
    "KrylovBDF": ["brown1989"],
    "KenCarp58": ["kennedy2019"],
    "Kvaerno3": ["kvaerno2004"],
    "Kvaerno4": ["kvaerno2004"],
    "Kvaerno5": ["kvaerno2004"],
    "Rodas5P": ["steinebach2023"],
    "Tsit5": ["tsitouras2011"],
    "Dopri8": ["prince1981"],
    "RKC2": ["sommeijer1998"],
}
_REFINERS = {"VariableProjection": ["golub1973"]}


def cite(result: Result | None = None) -> str:
    """BibTeX entries: of gradflow and its approach, and of the methods that a result used.

    Parameters
    ----------
    result : Result, optional

    Returns
    -------
    str
        Entries in UTF-8, an empty line between two.

    Raises
    ------
    ArgumentError
        For what is no result.

    Examples
    --------
    >>> import gradflow as gf
    >>> print(gf.cite().splitlines()[0])
    @software{gradflow,
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, progress=False)
    >>> [line.split("{")[1].rstrip(",") for line in gf.cite(result).splitlines() if line.startswith("@")]
    ['gradflow', 'brea2023', 'shampine1997', 'williams1997']
    """
    keys = ["gradflow", "brea2023"]
    if result is not None:
        if not isinstance(result, Result):
            raise ArgumentError("result", type(result).__name__, "a gradflow.Result, or nothing")
        keys += _used(result)
    return "\n\n".join(ENTRIES[key] for key in dict.fromkeys(keys))


def _used(result: Result) -> list[str]:
    keys: list[str] = []
    if result.flow is not None:
        library, _, name = result.flow.settings["solver"].rpartition(".")
        keys += (["kidger2021"] if library == "diffrax" else []) + _SOLVERS.get(name, [])
    if result.refinement is not None:
        keys += _REFINERS.get(result.refinement.settings["refiner"], [])
    problem = result.problem
    if problem.inputs is not None and problem.inputs.samples is None:
        networks = [network for network in (problem.student, problem.teacher) if isinstance(network, MLP)]
        units = (sigma for network in networks for sigma in network.neuron_activations(0))
        keys += sorted({sigma.record.source for sigma in units} - {""})
    return keys
