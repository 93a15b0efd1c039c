"""What each student neuron does: copies, averages, duplicates, dead ones, pairs on their way to infinity."""

from __future__ import annotations

from ..inputs import as_inputs
from ..networks import MLP
from ..run.result import Result
from ..support.errors import ArgumentError
from ..support.threads import single_threaded_blas
from ..support.validate import number
from .labels import Labels
from .symmetries import network
from .table import Frame, table

EXACT = 1e-6
"""Default tolerance of exact labels: relative distance in function space."""

LOOSE = 0.25
"""Default tolerance of "perturbed" labels, likewise."""


def neurons(result, tolerance: float = EXACT, loose: float = LOOSE) -> Frame:
    r"""What every hidden neuron is: a copy of a teacher's, an average of several, dead, ….

    Parameters
    ----------
    result : Result or tuple
        A `Result`, or (student, teacher) or (student, teacher, law).
    tolerance : float, default 1e-6
        Of exact labels.
    loose : float, default 0.25
        Of perturbed labels. Of random neurons, w = Σ |g_j| v_j with output weight g, all g ~ N(0, 1), 3 %
        (erf) and 6 % (relu) pass for two orthonormal teachers, 1 and 3 % for three, fewer for more; a
        silent neuron is at distance 1.

    Returns
    -------
    pandas.DataFrame, or list of dict where pandas is not installed
        One row per neuron, with the columns kind; residual, ‖what the neuron is − what the label claims‖ /
        ‖what the label claims‖, output weights included (of "dead" and "constant" in units of U, the
        largest norm of a teacher neuron, without a teacher of a student neuron); tolerance, what it was
        compared with; teachers, the teacher neurons it copies or averages; partner, the neuron that it
        duplicates or pairs with, else None; norm, |w|; output_weight, a, or the norm of several.

    Notes
    -----
    The kind is the first of these that its residual allows, with ‖f‖² = E f(x)²:

    =================  =====================================================================================
    "dead"             ‖aσ(w·x + b)‖ / U; 0 for a ReLU that no sample activates
    "constant"         the same after its mean is taken off
    "duplicate"        σ(w·x + b) is ± that of a neuron above
    "copy"             aσ(w·x + b) is c τ(v·x + b') of a teacher neuron
    "average"          it is the best single neuron for the teachers S, \|S\| ≥ 2, together
    "channel pair"     a_i ≈ −a_j, both large, w_i ≈ w_j: the pair is its limit cσ(w·x) + (u·x) σ'(w·x)
    "perturbed …"      copy or average, within `loose`
    "other"            nothing of these; the smallest distance to a copy or an average
    =================  =====================================================================================

    S holds the teachers whose coefficient in w (least squares over all teacher vectors) is at least half the
    largest and that the neuron adds to the output with the teacher's sign; where teacher vectors are linearly
    dependent, the one or two of the twenty nearest with the smallest angle between w and their sum. The best
    neuron for S is found by Newton's method from their sum. Expectations are over the inputs of the problem,
    for a tuple over N(0, I) unless given; where the student has an output bias, functions that differ by a
    constant are one.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 3)
    >>> student = gf.MLP([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 1.0]]])
    >>> list(gf.landscape.neurons((student, teacher))["kind"])
    ['copy', 'dead']
    """
    return table(_rows(result, tolerance, loose))


def kinds(result, tolerance: float = EXACT, loose: float = LOOSE) -> list[str]:
    """The kind of every hidden neuron, as in the table of `neurons`.

    Parameters
    ----------
    result, tolerance, loose
        As in `neurons`.

    Returns
    -------
    list of str

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 3)
    >>> student = gf.MLP([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 1.0]]])
    >>> kinds((student, teacher))
    ['copy', 'dead']
    """
    return [row["kind"] for row in _rows(result, tolerance, loose)]


def _rows(result, tolerance: float, loose: float) -> list[dict]:
    tolerance = number("tolerance", tolerance, minimum=0.0)
    loose = number("loose", loose, minimum=0.0)
    law, asleep = None, None
    if isinstance(result, tuple):
        allowed = "a Result, or a tuple of a student MLP, its teacher (or None) and perhaps inputs"
        if len(result) not in (2, 3) or not (result[1] is None or isinstance(result[1], MLP)):
            raise ArgumentError("result", "another tuple", allowed)
        student, teacher = result[:2]
        law = as_inputs(result[2] if len(result) == 3 else None)
    else:
        student, teacher = result, None
    student = network("result", student)
    if isinstance(result, Result):
        teacher, law, asleep = result.problem.teacher, result.problem.inputs, result.asleep()
    comparable = isinstance(teacher, MLP) and len(teacher.weights) == 2
    if not comparable or (teacher.sizes[0], teacher.sizes[-1]) != (student.sizes[0], student.sizes[-1]):
        teacher = None
    with single_threaded_blas():
        return Labels(student, teacher, law, tolerance, loose, asleep).rows()
