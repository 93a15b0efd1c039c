"""What `train` minimises: teacher, student and inputs turned into one function of flat θ."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import jax
import numpy as np
import scipy.special

from ..inputs import Inputs, Samples, as_inputs
from ..networks import MLP
from ..objective import Objective
from ..support.errors import ArgumentError
from ..support.memory import check_memory, refresh_ceiling
from ..support.settings import one_of
from ..support.validate import real_array
from ..support.x64 import require_x64
from .empirical import LOSSES, EmpiricalLoss, target_array
from .from_jax import JaxLoss
from .mixture import population_loss
from .population import check_double_double


class Problem:
    """L(θ) = mean over inputs of the sum over outputs of (f_θ − f*)²; no ½.

    teacher   an `MLP`; with samples also a function of X (samples, features), or the targets
              themselves, (samples, outputs)
    student   an `MLP`: its architecture, and its parameters as the starting point θ₀
    inputs    None or a law for infinitely many inputs: `Gaussian`, `Mixture`, or with
              homogeneous activations `Sphere`, `Ball`, `StudentT`; samples X (samples, features) or
              `Samples` for the (weighted) mean over them

    reduce    True: `train` follows a population problem whose law is spherically symmetric in the span
              of the teacher's and the initial weights, where that is smaller than the input space. The
              path is the same; False: not so

    With samples also:

    loss          "squared", or "cross_entropy" of softmax(f_θ(x)) against integer labels (samples,),
                  probabilities (samples, outputs), or the softmax of a teacher network's outputs
    weight_decay  λ ≥ 0 adds λ‖θ‖²
    barrier       c adds (‖θ‖²/(2P) − c)³/3 where ‖θ‖²/(2P) > c: weights that would drift to infinity
                  stay bounded
    threads       at most so many; by default GRADFLOW_NUM_THREADS or the cores of the process. The
                  results have the same bits for every number

    Raises `ArgumentError` for shapes that do not fit, targets that are not finite, and networks for
    which there is no population loss here.
    """

    student: MLP | None
    teacher: MLP | Callable | np.ndarray | None
    inputs: Inputs | None
    theta0: np.ndarray
    options: dict
    reduce: bool

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
        threads: int | None = None,
    ):
        if not isinstance(student, MLP):
            raise ArgumentError("student", type(student).__name__, "a gradflow.MLP")
        if not isinstance(reduce, (bool, np.bool_)):
            raise ArgumentError("reduce", repr(reduce), "True or False")
        if loss not in LOSSES:
            raise ArgumentError("loss", repr(loss), one_of(loss, LOSSES))
        self._pose(teacher, student, inputs, reduce, threads, loss, weight_decay, barrier)
        _ = self.objective  # what cannot be used is said now

    @classmethod
    def posed(cls, teacher, student: MLP | None, inputs=None) -> Problem:
        """The same problem with nothing checked or compiled that its `objective` does not ask for first."""
        if not isinstance(student, MLP):
            raise ArgumentError("student", repr(student), "a gradflow.MLP")
        problem = object.__new__(cls)
        problem._pose(teacher, student, inputs)
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
    ) -> None:
        self.teacher, self.student, self.inputs = teacher, student, as_inputs(inputs)
        self.theta0 = student.flat()
        self.options = {"loss": loss, "weight_decay": weight_decay, "barrier": barrier}
        self.reduce, self._threads = bool(reduce), threads

    @cached_property
    def objective(self) -> Objective:
        """L as solvers and refiners see it; made, and compiled, when first asked for."""
        assert self.student is not None and self.inputs is not None
        refresh_ceiling()
        samples = self.inputs.samples
        if samples is None:
            for name, default in (("loss", "squared"), ("weight_decay", 0.0), ("barrier", None)):
                if self.options[name] != default:
                    raise ArgumentError(name, repr(self.options[name]), f"{default!r} without samples")
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
        """Any smooth scalar JAX function of flat θ (P,), with its starting point; derivatives by JAX."""
        require_x64()
        problem = object.__new__(cls)
        problem.student = problem.teacher = problem.inputs = None
        problem.theta0 = real_array("theta0", theta0, 1)
        problem.options = {}
        problem.reduce = False
        allowed = "a function of θ (P,) that JAX can trace, with one Float64 value"
        if problem.theta0.size == 0:
            raise ArgumentError("theta0", "an empty vector", "one parameter at least")
        if not callable(loss):
            raise ArgumentError("loss", type(loss).__name__, allowed)
        try:
            kind = jax.eval_shape(loss, jax.ShapeDtypeStruct(problem.theta0.shape, np.float64))
            shape, dtype = kind.shape, kind.dtype
        except Exception as error:  # whatever the user's code raises under tracing
            given = f"a function that fails under tracing ({type(error).__name__}: {error})"
            raise ArgumentError("loss", given, allowed) from error
        if shape != () or dtype != np.float64:
            raise ArgumentError("loss", f"a result of shape {shape} and type {dtype}", allowed)
        problem.objective = JaxLoss(loss, problem.theta0.size, problem.theta0)
        value = problem.objective.loss(problem.theta0)
        if not np.isfinite(value):
            raise ArgumentError("loss", f"{value} at theta0", "a finite number there")
        return problem

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
            bool(s.kinks) for l in hidden for s in self.student.neuron_activations(l)
        )

    def loss(self, theta) -> float:
        """L(θ)."""
        return self.objective.loss(self._point(theta))

    def loss_error(self, theta) -> float:
        """A bound on the absolute error of `loss(theta)` for infinitely many inputs; 0 with samples.

        It adds up the error bounds of all pair kernels, rounding included. Infinite where the loss came
        out negative by more than that.
        """
        return self.objective.loss_error(self._point(theta))

    def gradient(self, theta) -> np.ndarray:
        """∇L(θ), shape (P,)."""
        return self.objective.gradient(self._point(theta))

    def loss_and_gradient(self, theta) -> tuple[float, np.ndarray]:
        """L(θ) and ∇L(θ) in one pass."""
        return self.objective.loss_and_gradient(self._point(theta))

    def hessian(self, theta) -> np.ndarray:
        """∇²L(θ), shape (P, P), symmetric bit by bit. Raises `MemoryLimitError` if it does not fit."""
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
        """G v, shape (P,): the Hessian without second derivatives of the network (samples only)."""
        return self._samples("gauss_newton_product")(self._point(theta), self._point(v, "v"))

    def residuals(self, theta) -> np.ndarray:
        """f(x_s) − y_s, shape (samples, outputs); softmax(f) − y with cross-entropy (samples only)."""
        return self._samples("residuals")(self._point(theta))

    def per_sample_gradients(self, theta) -> np.ndarray:
        """The gradient of every sample's own loss, shape (samples, P) (samples only)."""
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
        return _rebuild, (teacher, self.student, self.inputs, {"reduce": self.reduce, **self.options})

    def __repr__(self) -> str:
        if self.student is None:
            return f"Problem.from_jax({self.size} parameters)"
        return f"Problem({self.teacher!r}, {self.student!r}, {self.inputs!r})"


def _rebuild(teacher, student, inputs, options) -> Problem:
    return Problem(teacher, student, inputs, **options)


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
