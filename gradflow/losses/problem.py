"""What `train` minimises: teacher, student and inputs turned into one function of flat θ."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import numpy as np
import scipy.special

from ..inputs import Inputs, Samples, as_inputs
from ..networks import MLP
from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.memory import check_memory, keep_ceiling
from ..support.settings import one_of
from ..support.validate import real_array
from ..support.x64 import require_x64
from .empirical import LOSSES, EmpiricalLoss, target_array
from .from_jax import JaxLoss, StoredLoss
from .kinked import bends
from .mixture import population_loss
from .population import check_double_double
from .structure import Structure


class Problem:
    """The loss that `train` minimises: the mean over inputs of the sum over outputs of (f_θ − f*)²; no ½.

    Parameters
    ----------
    teacher : MLP, callable or array_like
        A network; with samples also a function of X (samples, features), or the targets themselves, shape
        (samples, outputs).
    student : MLP
        Its architecture, and its parameters as the starting point θ₀.
    inputs : optional
        None or a law for infinitely many inputs: `Gaussian`, `Mixture`, or with homogeneous activations
        `Sphere`, `Ball`, `StudentT`; samples X, shape (samples, features), or `Samples` for the (weighted)
        mean over them.
    reduce : bool, default True
        True: `train` follows a population problem whose law is spherically symmetric in the span of the
        teacher's and the initial weights, where that is smaller than the input space. The path is the same;
        False: not so.
    loss : {"squared", "cross_entropy"}
        With samples: "cross_entropy" of softmax(f_θ(x)) against labels (samples,), integers or text,
        probabilities (samples, outputs), or the softmax of a teacher network's outputs.
    weight_decay : float, default 0
        With samples: λ ≥ 0 adds λ‖θ‖².
    barrier : float, optional
        With samples: c adds (‖θ‖²/(2P) − c)³/3 where ‖θ‖²/(2P) > c, so that weights that would drift to
        infinity stay bounded.
    merge : tuple (i, j, μ), optional
        With samples: adds μ/2 (|w_i − w_j|² + (b_i − b_j)²) of two neurons of the first hidden layer.
    threads : int, optional
        With samples: at most so many; by default GRADFLOW_NUM_THREADS or the cores of the process. The
        results have the same bits for every number.

    Attributes
    ----------
    theta0 : ndarray, shape (P,)
        The starting point.
    classes_ : ndarray or None
        Of labels: output k is class `classes_[k]`.

    Raises
    ------
    ArgumentError
        For shapes that do not fit, targets that are not finite, and networks for which there is no population
        loss here.

    Examples
    --------
    >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 1, 1), bias=False, seed=0)
    >>> problem = Problem(teacher, student)
    >>> problem.gradient(problem.theta0).shape, problem.hessian(problem.theta0).shape
    ((4,), (4, 4))
    """

    student: MLP | None
    teacher: MLP | Callable | np.ndarray | None
    inputs: Inputs | None
    theta0: np.ndarray
    options: dict
    reduce: bool
    classes_: np.ndarray | None = None
    structure: Structure | None = None
    source: str | None = None

    def __init__(
        self,
        teacher,
        student: MLP,
        inputs=None,
        *,
        reduce: bool = True,
        loss: str = "squared",
        weight_decay: float = 0.0,
        barrier: float | None = None,
        merge: tuple[int, int, float] | None = None,
        threads: int | None = None,
    ):
        if not isinstance(student, MLP):
            raise ArgumentError("student", type(student).__name__, "a gradflow.MLP")
        if not isinstance(reduce, (bool, np.bool_)):
            raise ArgumentError("reduce", repr(reduce), "True or False")
        if loss not in LOSSES:
            raise ArgumentError("loss", repr(loss), one_of(loss, LOSSES))
        self._pose(teacher, student, inputs, reduce, threads, loss, weight_decay, barrier, merge)
        _ = self.objective  # what cannot be used is said now

    @classmethod
    def posed(cls, teacher, student: MLP | None, inputs=None, threads: int | None = None) -> Problem:
        """The same problem with nothing checked or compiled that its `objective` does not ask for first.

        Parameters
        ----------
        teacher, student, inputs, threads
            As in `Problem`.

        Returns
        -------
        Problem
        """
        if not isinstance(student, MLP):
            raise ArgumentError("student", repr(student), "a gradflow.MLP")
        problem = object.__new__(cls)
        problem._pose(teacher, student, inputs, threads=threads)
        return problem

    def with_student(self, student: MLP) -> Problem:
        """The same problem from another start.

        Parameters
        ----------
        student : MLP
            As in `Problem`; with as many inputs and outputs.

        Returns
        -------
        Problem
            With nothing compiled that its `objective` does not ask for first.

        Raises
        ------
        ArgumentError
            For a problem without networks, of `from_jax`.

        Examples
        --------
        >>> teacher, student = gf.teachers.orthonormal(3, 4), gf.MLP.random((4, 2, 1), bias=False, seed=0)
        >>> gf.Problem(teacher, student).with_student(gf.MLP.random((4, 3, 1), bias=False, seed=1)).size
        15
        """
        if not isinstance(student, MLP):
            raise ArgumentError("student", repr(student), "a gradflow.MLP")
        if self.student is None:
            raise ArgumentError("student", "one, for a problem of from_jax", "a problem with networks")
        problem = object.__new__(type(self))
        problem._pose(self.teacher, student, self.inputs, self.reduce, self._threads, **self.options)
        if self.classes_ is not None:
            problem.classes_ = self.classes_
        return problem

    def _pose(
        self,
        teacher,
        student: MLP,
        inputs,
        reduce: bool = True,
        threads: int | None = None,
        loss: str = "squared",
        weight_decay: float = 0.0,
        barrier: float | None = None,
        merge: tuple[int, int, float] | None = None,
    ) -> None:
        self.teacher, self.student, self.inputs = teacher, student, as_inputs(inputs)
        self.theta0 = student.flat()
        self.options = {"loss": loss, "weight_decay": weight_decay, "barrier": barrier}
        if merge is not None:
            self.options["merge"] = merge
        if loss == "cross_entropy" and not callable(teacher):
            self.teacher, self.classes_ = labelled(teacher, student.sizes[-1])
        self.reduce, self._threads = bool(reduce), threads

    @cached_property
    def objective(self) -> Objective:
        """L as solvers and refiners see it; made, and compiled, when first asked for."""
        assert self.student is not None and self.inputs is not None
        keep_ceiling()
        samples = self.inputs.samples
        if samples is None:
            for name, value in self.options.items():
                default = {"loss": "squared", "weight_decay": 0.0}.get(name)
                if value != default:
                    raise ArgumentError(name, repr(value), f"{default!r} without samples")
            if not isinstance(self.teacher, MLP):
                given = type(self.teacher).__name__
                raise ArgumentError("teacher", given, "a gradflow.MLP (or give samples: inputs=X)")
            return population_loss(self.student, self.teacher, self.inputs)
        if samples.dim != self.student.sizes[0]:
            allowed = f"{self.student.sizes[0]}, the student's inputs"
            raise ArgumentError("inputs", f"{samples.dim} features", allowed)
        if not callable(self.teacher):
            self.teacher = target_array("teacher", self.teacher, self.options["loss"])
        try:
            return EmpiricalLoss(
                self.student, samples.X, self.targets, samples.sample_weight, threads=self._threads,
                **self.options,
            )  # fmt: skip
        except ArgumentError as error:
            if error.argument != "targets":
                raise
            raise ArgumentError("teacher", f"targets with {error.given}", error.allowed) from error

    @cached_property
    def targets(self) -> np.ndarray | None:
        """The targets at the samples; a teacher function is called once, when they are first asked for."""
        if self.inputs is None or self.inputs.samples is None:
            return None
        return self._targets(self.teacher, self.options["loss"])

    @classmethod
    def from_jax(cls, loss: Callable, theta0) -> Problem:
        """Any smooth scalar JAX function of the parameters, with its starting point; derivatives by JAX.

        Parameters
        ----------
        loss : callable
            Of what `theta0` is, one Float64 value; JAX must be able to trace it.
        theta0 : array_like, shape (P,), or a JAX pytree
            The starting point: a flat vector, or arrays in dicts, lists, tuples, or any registered class (an
            `MLP`, an Equinox module of arrays), which become Float64.

        Returns
        -------
        Problem
            Its methods take flat θ (P,), leaf after leaf; `parameters` gives the structure back. A result can
            be saved, with the parameters and the source text of `loss` as a note.

        Raises
        ------
        ArgumentError
            For leaves that are no finite arrays, for no parameters, and for a function that JAX cannot trace
            or that gives anything but a finite number at θ₀.

        Examples
        --------
        >>> start = {"shift": np.array([1.0, 2.0]), "scale": np.array(3.0)}
        >>> bowl = lambda p: ((p["shift"] - 1.0) ** 2).sum() + (p["scale"] - 2.0) ** 2
        >>> problem = Problem.from_jax(bowl, start)
        >>> problem.gradient(problem.theta0)
        array([2., 0., 2.])
        >>> problem.parameters(problem.theta0)
        {'scale': array(3.), 'shift': array([1., 2.])}
        """
        require_x64()
        problem = object.__new__(cls)
        problem.student = problem.teacher = problem.inputs = None
        problem.structure, problem.theta0 = Structure.of("theta0", theta0)
        problem.options = {}
        problem.reduce = False
        allowed = "a function of θ that JAX can trace, with one Float64 value"
        if problem.theta0.size == 0:
            raise ArgumentError("theta0", "an empty vector", "one parameter at least")
        if not callable(loss):
            raise ArgumentError("loss", type(loss).__name__, allowed)
        function, tree = loss, problem.structure
        if tree is not None:

            def function(theta):
                return loss(tree.tree(theta))

        try:
            kind = jax.eval_shape(function, jax.ShapeDtypeStruct(problem.theta0.shape, np.float64))
            shape, dtype = kind.shape, kind.dtype
        except Exception as error:  # whatever the user's code raises under tracing
            given = f"a function that fails under tracing ({type(error).__name__}: {error})"
            raise ArgumentError("loss", given, allowed) from error
        if shape != () or dtype != np.float64:
            raise ArgumentError("loss", f"a result of shape {shape} and type {dtype}", allowed)
        problem.source = _source(loss)
        problem.objective = JaxLoss(function, problem.theta0.size, problem.theta0)
        value = problem.objective.loss(problem.theta0)
        if not np.isfinite(value):
            raise ArgumentError("loss", f"{value} at theta0", "a finite number there")
        return problem

    @classmethod
    def stored(
        cls, theta0: np.ndarray, structure: Structure | None, source: str | None, floor: float
    ) -> Problem:
        """A problem of `from_jax` as a file has it: all but the code of its loss.

        Parameters
        ----------
        theta0 : ndarray, shape (P,)
            The starting point, flat.
        structure : Structure or None
            The pytree that it is.
        source : str or None
            The source text of the loss.
        floor : float
            Its `loss_floor`.

        Returns
        -------
        Problem
            Evaluating it says what is missing.
        """
        problem = object.__new__(cls)
        problem.student = problem.teacher = problem.inputs = None
        problem.theta0, problem.structure, problem.source = theta0, structure, source
        problem.options, problem.reduce = {}, False
        problem.objective = StoredLoss(theta0.size, floor)
        return problem

    def parameters(self, theta) -> Any:
        """θ in the user's structure: the pytree given to `from_jax`, or the student network.

        Parameters
        ----------
        theta : array_like, shape (P,)

        Returns
        -------
        object
            With NumPy arrays; θ itself where `from_jax` was given a vector.
        """
        theta = self._point(theta).copy()
        if self.student is not None:
            return self.student.with_flat(theta)
        return theta if self.structure is None else self.structure.tree(theta)

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return self.theta0.size

    @property
    def places(self) -> int:
        """Hidden neurons with kinks times samples: where ∇L can jump. 0 for infinitely many inputs."""
        samples = None if self.student is None or self.inputs is None else self.inputs.samples
        if samples is None or self.student is None:
            return 0
        hidden = range(len(self.student.weights) - 1)
        return samples.X.shape[0] * sum(
            bool(bends(s)) for l in hidden for s in self.student.neuron_activations(l)
        )

    def loss(self, theta) -> float:
        """L(θ)."""
        return self.objective.loss(self._point(theta))

    def loss_error(self, theta) -> float:
        """A bound on the absolute error of `loss(theta)`.

        For infinitely many inputs it adds up the error bounds of all pair kernels, rounding included, and is
        infinite where the loss came out negative by more than that. With samples it is what the rounding of
        the network's outputs, of the size of their largest terms, makes of a mean of squares. For a loss
        from JAX it is what `Problem.from_jax` was told.
        """
        return self.objective.loss_error(self._point(theta))

    def gradient(self, theta) -> np.ndarray:
        """∇L(θ), shape (P,)."""
        return self.objective.gradient(self._point(theta))

    def loss_and_gradient(self, theta) -> tuple[float, np.ndarray]:
        """L(θ) and ∇L(θ) in one pass."""
        return self.objective.loss_and_gradient(self._point(theta))

    def hessian(self, theta) -> np.ndarray:
        """∇²L(θ), shape (P, P), symmetric bit by bit; `MemoryLimitError` if it does not fit."""
        check_hessian_memory(self.size)
        return self.objective.hessian(self._point(theta))

    def hvp(self, theta, v) -> np.ndarray:
        """∇²L(θ) v, shape (P,)."""
        return self.objective.hvp(self._point(theta), self._point(v, "v"))

    def _point(self, given, argument: str = "theta") -> np.ndarray:
        # The fast road for what solvers hand in; anything else is converted and checked.
        if type(given) is np.ndarray and given.dtype == np.float64 and given.shape == (self.size,):
            return np.ascontiguousarray(given)
        theta = real_array(argument, given, 1, finite=False)
        if theta.size != self.size:
            raise ArgumentError(argument, f"shape {theta.shape}", f"shape ({self.size},)")
        return theta

    def gauss_newton_product(self, theta, v) -> np.ndarray:
        """G(θ) v, shape (P,): the Hessian without second derivatives of the network (samples only)."""
        return self._samples("gauss_newton_product")(self._point(theta), self._point(v, "v"))

    def residuals(self, theta) -> np.ndarray:
        """f(x_s) − y_s at θ, shape (samples, outputs); softmax(f) − y with cross-entropy (samples only)."""
        return self._samples("residuals")(self._point(theta))

    def per_sample_gradients(self, theta) -> np.ndarray:
        """The gradient of every sample's own loss at θ, shape (samples, P) (samples only)."""
        return self._samples("per_sample_gradients")(self._point(theta))

    def _samples(self, name: str) -> Callable:
        if not isinstance(self.objective, EmpiricalLoss):
            raise ArgumentError("inputs", repr(self.inputs), f"samples: {name} is about single samples")
        return getattr(self.objective, name)

    def _targets(self, teacher, loss: str) -> np.ndarray:
        assert isinstance(self.inputs, Samples) and self.student is not None
        X, outputs = self.inputs.X, self.student.sizes[-1]
        network = isinstance(teacher, MLP)
        if callable(teacher):
            if network and teacher.sizes[0] != X.shape[1]:
                given = f"{teacher.sizes[0]} inputs"
                raise ArgumentError("teacher", given, f"{X.shape[1]}, as the samples have")
            teacher = teacher(X if network else X.copy())  # a function may write into what it gets
        targets = target_array("teacher", teacher, "squared" if network else loss)
        labels = loss == "cross_entropy" and targets.ndim == 1
        if targets.ndim == 1 and not labels:
            targets = targets[:, None]
        if targets.shape != (X.shape[0], outputs) and not labels:
            allowed = f"({X.shape[0]}, {outputs}): one row per sample, one column per output of the student"
            if loss == "cross_entropy":
                allowed = f"integer labels ({X.shape[0]},), as of y[:, 0], or probabilities {allowed}"
            raise ArgumentError("teacher", f"targets of shape {targets.shape}", allowed)
        return scipy.special.softmax(targets, axis=1) if network and loss == "cross_entropy" else targets

    def __reduce__(self):
        if self.student is None:
            raise TypeError("a Problem made by from_jax is code and cannot be pickled")
        teacher = (
            self.targets if callable(self.teacher) and not isinstance(self.teacher, MLP) else self.teacher
        )
        options = {"reduce": self.reduce, **self.options}
        return _rebuild, (teacher, self.student, self.inputs, options, self.classes_)

    def __repr__(self) -> str:
        if self.student is None:
            return f"Problem.from_jax({self.size} parameters)"
        return f"Problem({self.teacher!r}, {self.student!r}, {self.inputs!r})"


def _source(function: Any) -> str | None:
    """The source text of a function as a note for people; never run. None where there is none."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None


def labelled(given: Any, outputs: int) -> tuple[Any, np.ndarray | None]:
    """Labels (samples,) that are text as integers, and the classes in order: output k is class k.

    Other targets stay as they are; integers have the classes 0 … outputs − 1.
    """
    array = np.asarray(given) if np.ndim(given) == 1 else None
    if array is None or array.size == 0:
        return given, None
    text = array.dtype.kind in "US" or (
        array.dtype.kind in "OT" and all(isinstance(entry, str) for entry in array)
    )
    if not text:
        return given, np.arange(outputs) if array.dtype.kind in "iub" else None
    classes, labels = np.unique(array.astype(str), return_inverse=True)
    if classes.size > outputs:
        shown = ", ".join(map(repr, classes[:6].tolist())) + (", …" if classes.size > 6 else "")
        raise ArgumentError(
            "teacher", f"{classes.size} classes ({shown})", f"at most {outputs}, the student's outputs"
        )
    return labels, classes


def _rebuild(teacher, student, inputs, options, classes=None) -> Problem:
    problem = Problem(teacher, student, inputs, **options)
    problem.classes_ = classes
    return problem


def check_precision(precision, problem: Problem) -> None:
    """Raise `ArgumentError` unless `precision` is "double", or "double-double" where the loss has it."""
    if not isinstance(precision, str) or precision not in ("double", "double-double"):
        raise ArgumentError("precision", repr(precision), "'double' or 'double-double'")
    if precision == "double-double":
        check_double_double(problem.teacher, problem.student, problem.inputs)


def check_hessian_memory(size: int, matrices: int = 4) -> None:
    """Raise `MemoryLimitError` unless `matrices` P × P Float64 matrices fit in the memory now free."""
    check_memory(
        "student",
        8 * matrices * size**2,
        f"{size:,} parameters, whose dense Hessian work",
        "; without Hessians: solver=gf.solvers.RKC2(), refiner=gf.refiners.LBFGS()",
    )
