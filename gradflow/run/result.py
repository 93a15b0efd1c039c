"""What was found: the end point of a training run, how good it is, and how it was reached."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np

from ..boundaries.end import Kink
from ..infinity import Channel, Infinity, Limit, LimitNetwork
from ..losses.problem import Problem, check_hessian_memory
from ..losses.reduced import find_span
from ..networks import MLP
from ..objective import Restricted
from ..refiners import Refinement
from ..solvers import Flow
from ..support.errors import ArgumentError, GradflowError, HessianUndefinedError
from ..support.stopping import CRITICAL, StopReason, is_critical
from ..support.threads import single_threaded_blas
from ..support.validate import integer, number
from .coordinates import Coordinates, choose_span
from .curvature import find_spectrum
from .end import End, find_end, reached
from .extremes import Extremes, find_extremes
from .frames import attach
from .kinks import find_kink
from .spectrum import Spectrum

SPECTRUM_SIZE = 1500
"""Reports and files have the spectrum of up to so many parameters without being asked."""

NOISE = 1e-6
"""∇L, in units of the terms that cancel in it, below which a flow that makes no progress is at its end."""

REPORTED_NEURONS = 30
"""Lines of the neuron table that a report prints at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The outcome of `gradflow.train`; printing it gives a report.

    Attributes
    ----------
    problem : Problem
        What was minimised.
    theta : ndarray, shape (P,)
        The end point; `student` is the network there.
    loss : float
        L there; below `problem.objective.loss_floor` it cannot be told from zero.
    grad_norm : float
        ∞-norm of ∇L there, over the parameters that move.
    flow : Flow or None
        The trajectory, None with `solver=None`.
    refinement : Refinement or None
        The refinement, None with `refiner=None`.
    reduced_dim : int or None
        The dimension of the span in which it was solved, None if in the full input space.
    channel : Channel, Limit, Saturation, Recession or None
        What goes to infinity where the run ends: a pair of neurons (a channel), neurons that become units of
        another kind (a limit), a neuron, or all of θ along a direction in which the loss falls for ever; None
        elsewhere. Its `loss` is the limit.
    rates : ndarray, shape (P,)
        The rates of the flow, zero for frozen parameters.
    seed : int or None
        What `train` was given.
    seconds : float
        Wall-clock time of the whole run.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(3, 4)
    >>> student = gf.MLP.random((4, 2, 1), bias=False, seed=0)
    >>> result = gf.train(teacher, student, progress=False)
    >>> result.converged, result.grad_norm < 1e-14
    (True, True)
    >>> result.student
    MLP(4-2-1, erf, no biases, 10 parameters)
    >>> result.flow.at(0.5).shape
    (10,)
    """

    problem: Problem
    theta: np.ndarray
    loss: float
    grad_norm: float
    rates: np.ndarray
    flow: Flow | None
    refinement: Refinement | None
    seconds: float
    channel: Infinity | None = None
    reduced_dim: int | None = None
    seed: int | None = None

    def __post_init__(self):
        self._give_curvature()

    def _give_curvature(self) -> None:
        """Let the flow ask the problem for its second derivatives (`Flow.sharpness`)."""
        if self.flow is not None:
            self.__dict__["flow"] = dataclasses.replace(self.flow, curvature=self._curvature)

    def _curvature(self, theta: np.ndarray):
        """Products with ∇²L of the parameters that move, and how many these are."""
        objective, free = self.problem.objective, self.rates != 0
        if not free.all():
            objective, theta = Restricted(objective, theta, free), np.ascontiguousarray(theta[free])
        return lambda v: objective.hvp(theta, np.ascontiguousarray(v)), objective.size

    @property
    def converged(self) -> bool:
        """Whether the end point is a critical point or a global minimum, as far as Float64 can tell.

        Every component of ∇L is 0 within 1e-12 of the terms that cancel in it, or their rounding
        (`critical`); or L is 0 within its own error (`zero_loss`). False on the way to infinity.
        """
        return reached(self)

    @cached_property
    def end(self) -> End:
        """What the run has come to: its kind, the numbers that say so, and what is unsure.

        Returns
        -------
        End
            Of kind "critical point", "manifold of minima", "kink", "infinity" or "unfinished".

        Notes
        -----
        The first line of the report, `converged`, the exit codes of the command line and `Batch.table` read
        it. Up to 1,500 parameters it needs the spectrum.

        Examples
        --------
        >>> import gradflow as gf
        >>> teacher = gf.teachers.orthonormal(3, 4)
        >>> result = gf.train(teacher, gf.MLP.random((4, 2, 1), bias=False, seed=0), progress=False)
        >>> result.end.kind
        'critical point'
        """
        return find_end(self)

    @cached_property
    def limit(self) -> LimitNetwork | None:
        """The network at infinity to which the run leads, a function of X; None where there is none.

        Returns
        -------
        LimitNetwork or None
            Units σ(z), z₁σ'(z), z₂σ'(z) + z₁²σ''(z)/2, linear, exponential, hinge and step, in `layers`, with
            `weights` between them. Its loss is `channel.loss`. None for losses that fall for ever along a
            direction, and where a neuron has reached its limit within Float64.
        """
        if isinstance(self.channel, Limit):
            return self.channel.network
        return self.channel.network(self.problem) if isinstance(self.channel, Channel) else None

    @cached_property
    def flow_ended(self) -> bool | None:
        """Whether the flow was followed to its own end; None without a flow.

        False where a limit on steps or time, `t1`, stiffness or Ctrl-C stopped it before: what the refinement
        found from there is a critical point, but need not be the one that the flow leads to.
        """
        if self.flow is None:
            return None
        if self.flow.stop_reason is not StopReason.NO_PROGRESS:
            return self.flow.stop_reason.ends_flow
        objective, moves, theta = self.problem.objective, self.rates != 0, self.flow.step_theta[-1]
        theta = np.ascontiguousarray(theta)
        tolerances = objective.gradient_sizes(theta).tolerances(NOISE)[moves]
        return is_critical(objective.gradient(theta)[moves], tolerances)

    @cached_property
    def critical(self) -> bool:
        """Whether ∇L is zero as far as Float64 can tell (`converged`)."""
        objective, moves = self.problem.objective, self.rates != 0
        if not np.isfinite(self.theta).all():
            return False
        with single_threaded_blas():
            tolerances = objective.gradient_sizes(self.theta).tolerances(CRITICAL)[moves]
            gradient = objective.gradient(self.theta)[moves] if self.kink is None else self.kink.gradient
            return is_critical(gradient, tolerances)

    @cached_property
    def kink(self) -> Kink | None:
        """What is at the end point if ∇L jumps there, on samples; None where L is smooth, or zero.

        Returns
        -------
        Kink or None
            Which neurons are at their kinks on which samples, the element of least norm of the generalised
            gradient, whose size is `grad_norm` then, and whether the point is a local minimum.

        Examples
        --------
        >>> X = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, -1.0]])
        >>> student = gf.MLP([[[0.6, -0.2], [1.0, -0.9]], [[1.0, 1.0]]], None, "relu")
        >>> problem = gf.Problem(np.array([[0.0], [1.0], [-0.8]]), student, X)
        >>> result = gf.train(problem, rates=[1.0, 1.0, 0.0, 1.0, 0.0, 0.0], progress=False)
        >>> result.kink.neurons, result.kink.samples, result.converged
        (array([1]), array([2]), True)
        """
        with single_threaded_blas():
            return find_kink(self.problem, self.theta, self.rates)

    @cached_property
    def zero_loss(self) -> bool:
        """Whether L is zero within the error of its own evaluation: a global minimum, degenerate or not."""
        objective = self.problem.objective
        return bool(np.isfinite(self.theta).all()) and objective.is_zero(self.theta, self.loss)

    @cached_property
    def flat_directions(self) -> int | None:
        """At loss zero, the eigenvalues of ∇²L that what is left of L cannot tell from zero.

        There ∇²L = 2E JJᵀ + 2E r ∇²f with |r| ≤ √δL: |λ| ≤ λ_max √δL/ρ, ρ the spread of the targets. None
        elsewhere, and where the spectrum is not at hand.
        """
        spectrum = self.spectrum_at_hand if self.zero_loss else None
        if spectrum is None:
            return None
        objective, values = self.problem.objective, np.abs(spectrum.eigenvalues)
        part = np.sqrt(max(objective.loss_error(self.theta), abs(self.loss))) / objective.spread
        return int((values <= part * values.max(initial=0.0)).sum())

    @property
    def stop_reason(self) -> StopReason:
        """Why the last stage stopped."""
        stage = self.refinement or self.flow
        assert stage is not None
        return stage.stop_reason

    @property
    def theta_low(self) -> np.ndarray | None:
        """The low part of the end point, flat (P,), after a refinement in double-double."""
        extended = None if self.refinement is None else self.refinement.extended
        return None if extended is None else extended.theta_low

    @property
    def loss_low(self) -> float:
        """L is `loss` + `loss_low`; 0 unless it was evaluated in double-double."""
        extended = None if self.refinement is None else self.refinement.extended
        return 0.0 if extended is None else extended.loss_low

    @cached_property
    def loss_bound(self) -> float:
        """Bound on the absolute error of the loss; in Float64, `Problem.loss_error` at the end point."""
        extended = None if self.refinement is None else self.refinement.extended
        return self.problem.loss_error(self.theta) if extended is None else extended.loss_bound

    @cached_property
    def kernel_error(self) -> float:
        """Estimated relative error of the pair kernels of an infinite-data loss at the end point.

        See `Objective.kernel_error`; 0 with samples. Above 1e-13 the report says so.
        """
        return self.problem.objective.kernel_error(self.theta)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the run; the point is then the last one reached."""
        stages = (self.flow, self.refinement)
        return any(s is not None and s.stop_reason is StopReason.INTERRUPTED for s in stages)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.with_stepper()

    def with_stepper(self) -> Result:
        """Itself with a flow that can be asked for any time, also from a file or another process."""
        if self.flow is not None:
            basis = None
            if self.reduced_dim is not None:
                basis = choose_span(self.problem, self.rates)[0]
            coordinates = Coordinates(self.problem, self.rates, basis)
            self.__dict__["flow"] = attach(coordinates, self.flow)
            self._give_curvature()
        return self

    @cached_property
    def student(self) -> MLP:
        """The student network at the end point; `GradflowError` for a problem made by `Problem.from_jax`."""
        if self.problem.student is None:
            raise GradflowError("a problem made by Problem.from_jax has no network: use result.parameters()")
        return self.problem.student.with_flat(self.theta)

    def parameters(self) -> Any:
        """The end point in the structure of the user's own.

        Returns
        -------
        object
            The student network; for `Problem.from_jax` the pytree that it was given, of NumPy arrays. After
            `gradflow.load` the same for dicts, lists and tuples, a dict of arrays by name for other classes.

        Examples
        --------
        >>> import gradflow as gf
        >>> import jax.numpy as jnp
        >>> bowl = lambda p: jnp.sum((p["w"] - 1.0) ** 2) + p["b"] ** 2
        >>> start = {"w": np.zeros((1, 2)), "b": np.array(3.0)}
        >>> result = gf.train(gf.Problem.from_jax(bowl, start), solver=None, progress=False)
        >>> result.parameters()["w"]
        array([[1., 1.]])
        """
        return self.problem.parameters(self.theta)

    def predict(self, X) -> np.ndarray:
        """The student's answers: classes (samples,) after cross-entropy, else outputs (samples, outputs).

        Parameters
        ----------
        X : array_like, shape (samples, features)
            A DataFrame will do.

        Returns
        -------
        numpy.ndarray
            Entries of `problem.classes_`, where there are such.
        """
        outputs = self.student(X)
        if self.problem.options["loss"] != "cross_entropy":
            return outputs
        labels = outputs.argmax(axis=1)
        return labels if self.problem.classes_ is None else self.problem.classes_[labels]

    def hessian(self) -> np.ndarray:
        """∇²L at the end point over the parameters that move, shape (p, p).

        Raises `HessianUndefinedError` where a ReLU neuron of a population problem has zero weights.
        """
        self.check_hessian()
        objective = self.problem.objective
        check_hessian_memory(objective.size)
        with single_threaded_blas():
            free = self.rates != 0
            if free.all():
                return objective.hessian(self.theta)
            return Restricted(objective, self.theta, free).hessian(self.theta[free])

    def spectrum(self, tolerance: float | None = None) -> Spectrum:
        """All eigenvalues of ∇²L at the end point over the parameters that move, with multiplicity.

        Parameters
        ----------
        tolerance : float, optional
            Relative to the largest |λ|: what counts as zero, 8 p ε unless given.

        Returns
        -------
        Spectrum

        Notes
        -----
        The zeros that symmetry explains are told apart, and the index is stated where it is certain: see
        `Spectrum`. Where all weights lie in a subspace and the law of the inputs is spherically symmetric,
        the eigenvalues are those of the block in that subspace and, for each further dimension, of one
        n × n matrix.
        """
        if tolerance is None:
            return self._spectrum
        return find_spectrum(self, number("tolerance", tolerance, minimum=0.0))

    @property
    def spectrum_order(self) -> int:
        """The order of the matrix whose eigenvalues `spectrum` finds."""
        if self.span is None:
            return int((self.rates != 0).sum())
        assert self.problem.student is not None
        return self.theta.size - self.problem.student.sizes[1] * (self.span.shape[1] - self.span.shape[0])

    @property
    def spectrum_at_hand(self) -> Spectrum | None:
        """The spectrum where it is known or cheap to find, None elsewhere."""
        if self.spectrum_order > SPECTRUM_SIZE and "_spectrum" not in self.__dict__:
            return None
        try:
            return self._spectrum
        except GradflowError:
            return None

    @cached_property
    def _spectrum(self) -> Spectrum:
        check_hessian_memory(self.spectrum_order)
        return find_spectrum(self)

    def extremes(self, count: int = 1) -> Extremes:
        """The `count` smallest and largest eigenvalues of ∇²L at the end point, over what moves.

        By Hessian-vector products alone (Lanczos), with their residuals, and with what is known of the index:
        for networks whose `spectrum` is out of reach.

        Parameters
        ----------
        count : int
            Eigenvalues at each end.

        Returns
        -------
        Extremes

        Raises
        ------
        HessianUndefinedError
            Where a ReLU neuron of a population problem has zero weights.

        Notes
        -----
        A random start would show an eigenvalue below λ₁ − (λ_max − λ_min) (log(1.65 √P/δ)/(2m − 1))² in m
        Lanczos steps, λ₁ the lowest Ritz value, but for a probability δ.

        References
        ----------
        J. Kuczyński and H. Woźniakowski, SIAM J. Matrix Anal. Appl. 13 (1992) 1094–1122.

        Examples
        --------
        >>> import gradflow as gf
        >>> teacher = gf.teachers.orthonormal(3, 4)
        >>> result = gf.train(teacher, gf.MLP.random((4, 2, 1), bias=False, seed=0), progress=False)
        >>> result.extremes().negative
        False
        """
        count = integer("count", count, 1)
        return self._extremes if count == 1 else find_extremes(self, count)

    @cached_property
    def _extremes(self) -> Extremes:
        return find_extremes(self)

    @cached_property
    def span(self) -> np.ndarray | None:
        """The span (r, d) of all weights at the end point where the Hessian is known from its block there.

        None where it is not: another law of the inputs, samples, or fewer than two dimensions to spare.
        """
        if not self.problem.reduce:
            return None
        moves = (self.rates != 0).astype(np.float64)
        basis = find_span(self.student, self.problem.teacher, self.problem.inputs, moves)
        return None if basis is None or basis.shape[1] - basis.shape[0] < 2 else basis

    def check_hessian(self) -> None:
        """Raises `HessianUndefinedError` where ∇²L does not exist at the end point."""
        dead = self._dead_neurons()
        if dead:
            raise HessianUndefinedError(
                f"neuron {dead[0]} has zero weights and a kinked activation: L has no Hessian there"
            )
        if self.kink is not None:
            raise HessianUndefinedError(
                f"neuron {self.kink.neurons[0]} of hidden layer {self.kink.layers[0]} is at its kink on "
                f"sample {self.kink.samples[0]}: L has no Hessian there; result.kink.eigenvalues are those "
                "along the kinks"
            )

    def evaluate(self, inputs=None, targets=None) -> float:
        """The loss of the end point on other inputs, without penalties.

        Parameters
        ----------
        inputs : optional
            As in `train`; the problem's own unless given.
        targets : array_like, shape (samples, outputs), or callable, optional
            The problem's own teacher unless given. Where that is an array of targets, it belongs to the
            problem's samples, and other inputs need targets of their own.

        Returns
        -------
        float

        Raises
        ------
        GradflowError
            For a problem made by `Problem.from_jax`.
        ArgumentError
            Where targets are needed, or do not fit.

        Examples
        --------
        >>> teacher, student = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
        >>> result = gf.train(teacher, student, progress=False)
        >>> result.evaluate(np.random.default_rng(0).standard_normal((10, 3))) < 1e-20
        True
        """
        if self.problem.student is None:
            raise GradflowError("a problem made by Problem.from_jax has no inputs to exchange")
        teacher = self.problem.teacher if targets is None else targets
        if isinstance(teacher, np.ndarray) and targets is None:
            raise ArgumentError(
                "targets", None, "targets for these inputs: the problem had targets, no teacher"
            )
        kind = self.problem.options["loss"]
        return Problem(teacher, self.problem.student, inputs, loss=kind).loss(self.theta)

    def halved(self) -> dict:
        """The numbers in the convention of papers that use ½E(f − f*)²: L/2, ∇L/2, and times 2t.

        Keys: loss, grad_norm, and with a flow times (m,), losses (m,), grad_norms (m,).
        """
        numbers: dict = {"loss": self.loss / 2, "grad_norm": self.grad_norm / 2}
        if self.flow is not None:
            numbers["times"] = 2 * self.flow.times
            numbers["losses"] = self.flow.losses / 2
            numbers["grad_norms"] = self.flow.grad_norms / 2
        return numbers

    def asleep(self) -> np.ndarray:
        """Which neurons of the first hidden layer are zero on all samples, as a ReLU with z ≤ 0 there."""
        table, bias = self.student.neuron_activations(0), self.student.biases[0]
        sleepers = np.array([a.record.sleeps for a in table])
        samples = None if self.problem.inputs is None else self.problem.inputs.samples
        if samples is None or not sleepers.any():
            return np.zeros(len(table), dtype=bool)
        z = samples.X @ self.student.weights[0].T + (0.0 if bias is None else bias)
        return sleepers & (z <= 0).all(axis=0)

    def _dead_neurons(self) -> list[int]:
        inputs = self.problem.inputs
        if inputs is None or inputs.samples is not None:
            return []
        table = self.student.neuron_activations(0)
        silent = np.zeros(len(table), dtype=bool)
        for law in inputs.parts:
            silent |= self._silent(law)
        return [i for i, a in enumerate(table) if silent[i] and a.record.jump != 0.0]

    def _silent(self, law) -> np.ndarray:
        """Which hidden neurons have the pre-activation 0 for almost all inputs of a law."""
        W, bias = self.student.weights[0], self.student.biases[0]
        shift = np.zeros(W.shape[0]) if bias is None else np.asarray(bias)
        W, shift = law.of_weights(W, shift)
        return (W == 0).all(axis=1) & (shift == 0)

    def save(self, path: str | PathLike) -> None:
        """Write everything to one HDF5 file at `path` (see `gradflow.load`)."""
        from .storage import save

        save(self, path)

    def __str__(self) -> str:
        from .report import report

        return report(self)

    def _repr_html_(self) -> str:
        from .html import html

        return html(self)

    def __repr__(self) -> str:
        if self.channel is not None:
            state = "goes to infinity"
        else:
            state = "converged" if self.converged else "not converged"
        return f"<Result: {state}, loss {self.loss:.6g}, |grad| {self.grad_norm:.2g}>"
