"""The population loss: infinitely many Gaussian inputs, pair by pair of neurons."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ..activations import ACTIVATIONS
from ..inputs import Gaussian
from ..kernels.activation_table import CONSTANT, EXPONENTIAL, FORM, POLYNOMIAL, Record, kind_of
from ..kernels.math import abi, team
from ..kernels.math.ahead import compile_ahead
from ..kernels.pairs import expansion_tables, roads, serving
from ..kernels.pairs.units import BIAS, FIELDS, FIRST_ORDER_ROWS, KIND, NORM, PAIR
from ..kernels.population import derivatives as population
from ..kernels.population import double_double, linearised, own_pairs
from ..kernels.population import geometry as pair_geometry
from ..networks import MLP
from ..objective import EPS, DoubleDoubleLoss, Linear
from ..support.errors import ArgumentError
from . import expansion
from .compiled import KernelLoss, thread_limit
from .scales import LARGEST, Moments, moment_targets, output_start, population_squares

_SAMPLES = "; samples (inputs=X) work for any network"

KEPT_BYTES = 2**30
"""Products keep the pairs of their point in up to so many bytes (n = k = 1,000 needs a third of it)."""


class PopulationLoss(KernelLoss):
    """L(θ) = E_x |f_θ(x) − f*(x)|², x ~ N(μ, C), both networks Σ_i a_i σ(w_i·x + b_i) + c; no ½.

    L = Σ_ii' a_i·a_i' K(w_i, w_i') − 2 Σ_ij a_i·c_j K(w_i, v_j) + Σ_jj' c_j·c_j' K(v_j, v_j') with
    K(w, w') = E σ(w·x + b) τ(w'·x + b'), σ and τ the activations of the two neurons, in each network and
    for each neuron its own: closed forms and expansions, as `kernels.pairs.serving` decides.
    θ is as `MLP.flat` has it: W (n, d) row by row, b (n) if any, a (outputs, n) row by row, the output
    biases if any. A zero weight vector at a kink (bias zero) has the left slope there (0 for ReLU); no
    Hessian is claimed there, its rows and columns are those of that convention.

    student   an `MLP`: its architecture only, θ is given call by call
    teacher   an `MLP`
    inputs    a `Gaussian`

    `loss_floor` is the rounding error of L at a student that reproduces the teacher.
    Raises `ArgumentError` for networks and inputs that it does not serve.
    The mathematics and the error bounds: `docs/population-loss.md`.
    """

    def __init__(self, student: MLP, teacher: MLP, inputs: Gaussian):
        for argument, network in (("student", student), ("teacher", teacher)):
            _check_network(argument, network)
        largest = float(np.abs(teacher.weights[1]).max())
        if largest >= LARGEST:
            allowed = f"weights below {LARGEST:.0e}: their squares are beyond Float64"
            raise ArgumentError("teacher", f"an output weight of size {largest:g}", allowed)
        dim = student.sizes[0]
        if teacher.sizes[0] != dim:
            raise ArgumentError("teacher", f"{teacher.sizes[0]} inputs", f"{dim}, as the student has")
        width = student.sizes[-1]
        if teacher.sizes[-1] != width:
            raise ArgumentError("teacher", f"{teacher.sizes[-1]} outputs", f"{width}, as the student has")
        if not isinstance(inputs, Gaussian):
            raise ArgumentError("inputs", type(inputs).__name__, "a gradflow.Gaussian")
        if inputs.dim not in (None, dim):
            raise ArgumentError("inputs", f"dimension {inputs.dim}", f"{dim}, as the networks have")
        mean = inputs.mean if inputs.mean is not None and inputs.mean.any() else None
        units, others = _Units(student, mean is not None), _Units(teacher, mean is not None)
        for argument, side in (("student", units), ("teacher", others)):
            side.check(argument)
        biased = units.biased or others.biased
        road = serving.road(units.kinds | others.kinds, biased)
        expanded = road.error is None
        ahead = [(population.derivatives, abi.KERNEL), (road.kernel, PAIR)]
        if expanded:
            ahead += [(roads.expand, abi.KERNEL), *([(road.closed, PAIR)] if road.closed else [])]
        compile_ahead(*ahead)
        if expanded:
            for side in (units, others):
                side.expand(road, biased)

        derivatives = abi.compile_function(population.derivatives).address
        prepare = abi.compile_function(population.prepare_units).address

        factor, covariance = inputs.factor, inputs.cov
        if covariance is not None:
            covariance = 0.5 * (covariance + covariance.T)
        law, constant = (mean, factor, covariance), np.zeros(1)

        # The teacher as a student without a teacher: its loss is the teacher-teacher term, its rows and
        # records are those that the kernels expect, rounded as the student's would be.
        def kernel_of(*sides: _Units) -> int:
            """The pair kernel between units of these networks."""
            kinds = set().union(*(side.kinds for side in sides))
            narrow = None if expanded else serving.closed(kinds, any(side.biased for side in sides))
            return abi.compile_function(narrow or road.kernel, PAIR).address

        alone = _descriptor(others, kernel_of(others), kernel_of(others), dim, width, law, constant, 0)
        theta = np.ascontiguousarray(teacher.flat())
        k = others.count
        rows, records, total = np.empty((k, dim)), np.empty((k, FIELDS)), np.empty(1)
        tables = np.empty(k * int(alone[pair_geometry.TABLE_SIZE]))
        addresses = (alone.ctypes.data, theta.ctypes.data)
        abi.callable_from_python(prepare)(
            *addresses, 2, tables.ctypes.data, rows.ctypes.data, records.ctypes.data
        )
        abi.callable_from_python(derivatives)(*addresses, 0, total.ctypes.data, 0, 0)
        outputs = np.ascontiguousarray(-_output_weights(teacher))

        own, cross = kernel_of(units), kernel_of(units, others)
        descriptor = _descriptor(units, own, cross, dim, width, law, total, k)
        descriptor[pair_geometry.TEACHER_ROWS] = rows.ctypes.data
        descriptor[pair_geometry.TEACHER_UNITS] = records.ctypes.data
        descriptor[pair_geometry.TEACHER_OUTPUTS] = outputs.ctypes.data
        # Memory that the first product fills; until then it is address space only.
        room = 2 + int(population.linearisation_size.py_func(descriptor, units.count))
        kept = np.empty(room if 8 * room <= KEPT_BYTES else 2)
        kept[:2] = 0.0
        if kept.size == room:
            descriptor[pair_geometry.LINEARISATION] = kept.ctypes.data
        keep = (units, others, law, total, rows, records, tables, outputs, kept)
        super().__init__(student.size, population.derivatives, population.product, descriptor, keep)
        self._teacher = theta
        self._road = road
        self._networks = teacher, student, inputs
        self._teacher_sizes = _sizes(alone, records)
        self._teacher_errors = self._pair_errors(records, records)
        if expanded:
            _, found, _tables = self._prepare(student.flat())
            for argument, own_records in (("teacher", records), ("student", found[: units.count])):
                if expansion.diverges(own_records):
                    raise ArgumentError(
                        argument,
                        "an activation whose square has no finite Gaussian expectation at these weights",
                        "activations and weights for which E σ(w·x)² is finite",
                    )
        # Three sums of this size cancel.
        weights = np.abs(outputs) * self._teacher_sizes[0]
        self.loss_floor = float(np.einsum("pi,pj,ij", weights, weights, self._teacher_errors[0]))
        if not np.isfinite(total[0]) or not np.isfinite(self.loss_floor):
            given = f"a network with E |f*(x)|² = {total[0]:g}, beyond Float64"
            raise ArgumentError("teacher", given, "smaller weights (e^u overflows at |w| ≈ 19)")
        sizes = np.abs(outputs) @ self._teacher_sizes[0]
        self.moments = self._moments(alone, theta, sizes, float(total[0]))
        self.measure(student, moment_targets(self.moments, self, student))

    def _moments(self, alone: np.ndarray, theta: np.ndarray, sizes: np.ndarray, total: float) -> Moments:
        """E f*_o² by the teacher's descriptor with one output, E f*_o from ∂L/∂c_o at a silent student."""
        teacher, student, _ = self._networks
        outputs, silent = sizes.size, student.flat()
        silent[output_start(student) :] = 0.0
        squares, means = np.full(outputs, total), np.zeros(outputs)
        if student.biases[1] is not None:
            means = -0.5 * self.gradient(silent)[-outputs:]
        if outputs > 1:
            first, one, value = output_start(teacher), alone.copy(), np.zeros(1)
            none = np.zeros(1)
            one[pair_geometry.OUTPUTS], one[pair_geometry.CONSTANT] = 1, none.ctypes.data
            rows = teacher.weights[1] if teacher.biases[1] is None else np.column_stack(
                [teacher.weights[1], teacher.biases[1]]
            )  # fmt: skip
            for o, row in enumerate(rows):
                point = np.append(theta[:first], row)
                self._call_derivatives(one.ctypes.data, point.ctypes.data, 0, value.ctypes.data, 0, 0)
                squares[o] = value[0]
        return Moments(squares, means, sizes)

    has_gauss_newton = True

    @cached_property
    def _plain_descriptor(self) -> np.ndarray:
        descriptor = self.descriptor.copy()
        descriptor[pair_geometry.GAUSS_NEWTON] = 1
        return descriptor

    def _linear(self) -> Linear | None:
        descriptor = self.descriptor
        room = np.zeros(1, dtype=np.int64)
        ask = abi.callable_from_python(abi.compile_function(linearised.room).address)
        ask(descriptor.ctypes.data, room.ctypes.data, 0, 0, 0, 0)
        if room[0] == 0:
            return None
        for place, work in (
            (pair_geometry.LINEARISE_WORK, linearised.linearise_work),
            (pair_geometry.INNER_WORK, linearised.inner_work),
            (pair_geometry.IMAGE_WORK, linearised.image_work),
            (pair_geometry.HELPER, team.linger),
        ):
            descriptor[place] = abi.compile_function(work, team.WORKER).address
        descriptor[pair_geometry.SGEMM] = abi.blas_address("sgemm")
        descriptor[pair_geometry.POOL] = team.pool().ctypes.data
        descriptor[pair_geometry.THREADS] = thread_limit()
        linearise = abi.compile_function(linearised.linearise).address
        return Linear(linearise, abi.compile_function(linearised.times).address, int(room[0]))

    def jacobian_squares(self, theta: np.ndarray) -> np.ndarray:
        _, student, law = self._networks
        return population_squares(student, theta, law)

    def double_double(self, theta: np.ndarray, theta_low: np.ndarray | None = None) -> DoubleDoubleLoss:
        """L and ∇L at θ + θ_low in double-double arithmetic (about 32 digits), teacher taken as exact.

        `bound` is 1e-29 times the sum of the absolute values of the terms of L, so that L is known
        relatively to bound/L. With a covariance, C is the square of its rounded root. Raises
        `ArgumentError` unless `check_double_double` finds nothing in the way.
        """
        check_double_double(*self._networks)
        theta = np.ascontiguousarray(theta, dtype=np.float64)
        low = np.zeros_like(theta) if theta_low is None else np.ascontiguousarray(theta_low, dtype=np.float64)
        loss, gradient, gradient_low = np.empty(3), np.empty(self.size), np.empty(self.size)
        descriptor, _ = self._double_double
        self._call_double_double(
            *(a.ctypes.data for a in (descriptor, theta, low, loss, gradient, gradient_low))
        )
        return DoubleDoubleLoss(
            float(loss[0]), float(loss[1]), gradient, gradient_low, 1e-29 * float(loss[2])
        )

    def kernel_error(self, theta: np.ndarray) -> float:
        """The largest error bound of the pair kernels at θ (`Objective.kernel_error`).

        2e-15 for closed forms; for the other roads what `pairs.roads` recorded. Infinite where an
        expectation was not found finite, and where L(θ) < 0 by more than `loss_error` explains: a mean of
        squares is not negative, so that the bounds are false there.
        """
        largest, bound = self._errors(theta)
        if not self.loss(theta) >= -bound:
            return math.inf
        return float(max(largest, self._teacher_errors.max()))

    def loss_error(self, theta: np.ndarray) -> float:
        """A bound on the absolute error of L(θ), from the bounds of all pairs (`Objective.loss_error`)."""
        bound = self._errors(theta)[1]
        return bound if self.loss(theta) >= -bound else math.inf

    def _prepare(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows, records and tables of all units at θ, as the kernels see them."""
        descriptor = self.descriptor
        units = int(descriptor[pair_geometry.STUDENTS] + descriptor[pair_geometry.OUTPUT_BIAS])
        every, dim = units + int(descriptor[pair_geometry.TEACHERS]), int(descriptor[pair_geometry.DIM])
        rows, records = np.empty((every, dim)), np.empty((every, FIELDS))
        tables = np.empty(units * int(descriptor[pair_geometry.TABLE_SIZE]))
        prepare = abi.callable_from_python(abi.compile_function(population.prepare_units).address)
        prepare(
            descriptor.ctypes.data, theta.ctypes.data, 1, *(a.ctypes.data for a in (tables, rows, records))
        )
        return rows, records, tables

    def _pair_errors(self, records: np.ndarray, every: np.ndarray) -> np.ndarray:
        """The error bounds of K and ∂K of units with every one, both as records, shape (2, units, every)."""
        if self._road.error is None:
            errors = expansion.pair_errors(records, len(every))
        else:
            errors = np.full((2, len(records), len(every)), self._road.error)
        return errors + _exponent_errors(records, every)

    def _errors(self, theta: np.ndarray) -> tuple[float, float]:
        """The largest error bound of the student's pairs, and the bound on the error of L(θ)."""
        return self.kept("errors", np.ascontiguousarray(theta, dtype=np.float64), self._find_errors)

    def _find_errors(self, theta: np.ndarray) -> tuple[float, float]:
        errors, bound = self._all_errors(theta)
        return float(errors.max()), bound

    def _all_errors(self, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """The error bounds of K and ∂K of the student's pairs (2, N, N+k), and that of L(θ).

            |δL| ≤ Σ_ij |o_i·o_j| √(K_ii K_jj) ε_ij + 2 Σ_ij |o_i·o_j| √(E σ_i'²) δ_i √K_jj

        with the bounds ε of the pairs, and δ_i the rounding of the field w̃_i·x + b̃_i where it is not
        what θ holds (a covariance, a mean).
        """
        descriptor, (teacher, student, _) = self.descriptor, self._networks
        units = int(descriptor[pair_geometry.STUDENTS] + descriptor[pair_geometry.OUTPUT_BIAS])
        k = int(descriptor[pair_geometry.TEACHERS])
        if not np.isfinite(theta).all():
            return np.full((2, units, units + k), np.inf), math.inf
        _, records, _tables = self._prepare(theta)  # the records hold addresses in the tables
        errors = self._pair_errors(records[:units], records)
        own = _sizes(descriptor, records[:units])
        sizes, slopes = (np.append(a, b) for a, b in zip(own, self._teacher_sizes, strict=True))
        both = (student.with_flat(theta), teacher)
        outputs = [_output_weights(network) for network in both]
        outputs = np.abs(np.hstack(outputs))
        fields = np.concatenate([self._field_errors(network) for network in both])
        every = np.block([[errors[0]], [errors[0][:, units:].T, self._teacher_errors[0]]])
        with np.errstate(all="ignore"):
            weights = outputs * sizes
            bound = np.einsum("pi,pj,ij", weights, weights, every)
            bound += 2.0 * (outputs * slopes * fields).sum(axis=1) @ weights.sum(axis=1)
        return errors, float(bound) if np.isfinite(bound) else math.inf

    def _field_errors(self, network: MLP) -> np.ndarray:
        """By how much rounding moves the field of each unit: of C^{1/2}w, and of b + w·μ."""
        factor, mean = self._networks[2].factor, self._networks[2].mean
        weights = np.abs(network.weights[0])
        errors = np.zeros(len(weights))
        if factor is not None:
            errors += np.linalg.norm(weights @ np.abs(factor), axis=1)
        if mean is not None and mean.any():
            errors += weights @ np.abs(mean)
            if network.biases[0] is not None:
                errors += np.abs(network.biases[0])
        if network.biases[1] is not None:
            errors = np.append(errors, 0.0)
        return 4.0 * float(np.finfo(np.float64).eps) * errors

    @cached_property
    def _call_double_double(self):
        return abi.callable_from_python(abi.compile_function(double_double.evaluate).address)

    @cached_property
    def _double_double(self) -> tuple[np.ndarray, np.ndarray]:
        """The descriptor, and the teacher-teacher term it points to: the loss of the teacher alone."""
        n, k, d = (
            int(self.descriptor[i])
            for i in (pair_geometry.STUDENTS, pair_geometry.TEACHERS, pair_geometry.DIM)
        )
        descriptor = np.zeros(double_double.DESCRIPTOR_SIZE, dtype=np.int64)
        total = np.zeros(3)
        descriptor[:] = (
            k,
            0,
            d,
            precise_kind(*self._networks[:2]) or 0,
            0,
            self.descriptor[pair_geometry.FACTOR],
            total.ctypes.data,
        )
        constant = np.empty(3)
        self._call_double_double(
            descriptor.ctypes.data, self._teacher.ctypes.data, 0, constant.ctypes.data, 0, 0
        )
        total[:] = constant
        descriptor[double_double.STUDENTS] = n
        descriptor[double_double.TEACHERS] = k
        descriptor[double_double.TEACHER] = self._teacher.ctypes.data
        return descriptor, total


def check_double_double(teacher, student, inputs) -> None:
    """Raise `ArgumentError` where a loss has no double-double form (`PopulationLoss.double_double`)."""
    networks = [network for network in (student, teacher) if isinstance(network, MLP)]
    if not isinstance(inputs, Gaussian):
        given, allowed = type(inputs).__name__, "a Gaussian: a loss over samples is a sum of squares"
    elif inputs.mean is not None and inputs.mean.any():
        given, allowed = "a mean that is not zero", "mean zero"
    elif len(networks) < 2 or any(len(network.sizes) != 3 for network in networks):
        given, allowed = "other than two networks of one hidden layer", "one hidden layer"
    elif any(b is not None for network in networks for b in network.biases):
        given, allowed = "biases", "no biases"
    elif student.sizes[-1] != 1:
        given, allowed = "several outputs", "one output"
    else:
        if precise_kind(*networks) is not None:
            return
        names = {sigma.name for network in networks for sigma in network.neuron_activations(0)}
        known = (name for name, sigma in ACTIVATIONS.items() if sigma.record.precise is not None)
        given, allowed = " and ".join(sorted(names)), ", or ".join(f"{name} neurons only" for name in known)
    raise ArgumentError("precision", f"'double-double' with {given}", allowed)


def precise_kind(*networks: MLP) -> int | None:
    """The number in `kernels.population.double_double` of the one activation of these networks."""
    kinds = {sigma.record.precise for network in networks for sigma in network.neuron_activations(0)}
    return kinds.pop() if len(kinds) == 1 else None


class _Units:
    """The hidden units of a network, the constant one for output biases included, as kernels see them."""

    def __init__(self, network: MLP, mean: bool):
        self.neurons = network.neuron_activations(0)
        self.units: list[Record] = [sigma.record for sigma in self.neurons]
        self.hidden_bias, self.output_bias = (b is not None for b in network.biases)
        if self.output_bias:
            self.units.append(CONSTANT)
        self.hidden = network.sizes[1]
        self.count = len(self.units)
        self.kinds = set(self.units)
        self.biased = self.hidden_bias or mean
        self.numbers = np.array([kind_of(record) for record in self.units], dtype=np.float64)
        self.tables = np.zeros(self.count)
        self.data: list[np.ndarray] = []
        for i in np.flatnonzero(self.numbers == POLYNOMIAL):
            powers = self.units[i].powers
            self.data.append(np.array([len(powers) - 1.0, *powers]))
            self.tables[i] = self.data[-1].ctypes.data
        self.expanded = False

    def check(self, argument: str) -> None:
        """`ArgumentError` for an activation that no kernel serves."""
        for sigma in set(self.neurons):
            given, unknown = serving.refusal(sigma.record), sigma.record.strip is None
            if unknown and not sigma.record.is_sum and expansion.has_kinks(sigma):
                given = f"activation {sigma.name!r}, whose values or slopes jump where no derivative says so"
            if given:
                raise ArgumentError(argument, given, f"a smooth activation of one's own{_SAMPLES}")

    def expand(self, road: serving.Road, biased: bool) -> None:
        """Make `tables` the data of the activations."""
        self.expanded = True
        closed = 0 if road.closed is None else abi.compile_function(road.closed, PAIR).address
        for i, record in enumerate(self.units):
            sigma = self.neurons[i] if i < self.hidden else None
            kernel, slow = closed if record in road.members else 0, serving.is_slow(record, biased)
            self.data.append(expansion.activation_data(record, sigma, kernel, slow, self.tables[i]))
            self.tables[i] = self.data[-1].ctypes.data


def _output_weights(network: MLP) -> np.ndarray:
    """Output weights and biases, shape (outputs, units)."""
    last = np.asarray(network.weights[1])
    return last if network.biases[1] is None else np.column_stack([last, network.biases[1]])


def _exponent_errors(records: np.ndarray, every: np.ndarray) -> np.ndarray:
    """What the last bits of the exponents cost in E e^z τ(z'), relative to it, (units, every).

    They are sums of r², r'², r r' and the biases, those of units that are not exponential left out.
    """
    (grows, r, own), (grows_too, rj, others) = (
        (FORM[units[:, KIND].astype(int)] == EXPONENTIAL, units[:, NORM], np.abs(units[:, BIAS]))
        for units in (records, every)
    )
    if not (grows.any() or grows_too.any()):
        return np.zeros((r.size, rj.size))
    with np.errstate(all="ignore"):
        exponents = (grows * (r * r + own))[:, None] + (grows_too * (rj * rj + others))[None]
        exponents += np.where(grows[:, None] | grows_too[None], np.outer(r, rj), 0.0)
    return EPS * exponents


def _sizes(descriptor: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """√K(v, v) and √(E σ'(v·x)²) of each unit."""
    units, room, values = (
        np.ascontiguousarray(units),
        np.empty(2 + FIRST_ORDER_ROWS),
        np.empty((len(units), 2)),
    )
    call = abi.callable_from_python(abi.compile_function(own_pairs.own_pairs).address)
    places = (room.ctypes.data, room.ctypes.data + 16, values.ctypes.data)
    call(int(descriptor[pair_geometry.STUDENT_PAIR]), units.ctypes.data, len(units), *places)
    sizes, slopes = np.sqrt(np.maximum(values, 0.0)).T
    return sizes, slopes


def _descriptor(
    units: _Units, own: int, cross: int, dim: int, width: int, law: tuple, constant, teachers: int
) -> np.ndarray:
    """The descriptor of a loss; `own` and `cross` are the pair kernels student × student and × teacher."""
    mean, factor, covariance = law
    descriptor = np.zeros(pair_geometry.DESCRIPTOR_SIZE, dtype=np.int64)
    descriptor[pair_geometry.STUDENTS] = units.hidden
    descriptor[pair_geometry.TEACHERS] = teachers
    descriptor[pair_geometry.STUDENT_KINDS] = units.numbers.ctypes.data
    descriptor[pair_geometry.STUDENT_TABLES] = units.tables.ctypes.data
    descriptor[pair_geometry.STUDENT_PAIR], descriptor[pair_geometry.TEACHER_PAIR] = own, cross
    descriptor[pair_geometry.DIM] = dim
    descriptor[pair_geometry.OUTPUTS] = width
    descriptor[pair_geometry.HIDDEN_BIAS] = units.hidden_bias
    descriptor[pair_geometry.OUTPUT_BIAS] = units.output_bias
    descriptor[pair_geometry.BIASED] = units.biased
    descriptor[pair_geometry.MEAN] = 0 if mean is None else mean.ctypes.data
    descriptor[pair_geometry.FACTOR] = 0 if factor is None else factor.ctypes.data
    descriptor[pair_geometry.COVARIANCE] = 0 if covariance is None else covariance.ctypes.data
    descriptor[pair_geometry.CONSTANT] = constant.ctypes.data
    descriptor[pair_geometry.DERIVATIVES] = abi.compile_function(population.derivatives).address
    if units.expanded:
        descriptor[pair_geometry.EXPAND] = abi.compile_function(roads.expand).address
        table = expansion_tables.TABLE_DOUBLES + roads.DECISION * (units.count + teachers)
        descriptor[pair_geometry.TABLE_SIZE] = table
    descriptor[pair_geometry.DGEMM] = abi.blas_address("dgemm")
    return descriptor


def _check_network(argument: str, network: MLP) -> None:
    """`ArgumentError` unless the network is in scope."""
    if not isinstance(network, MLP):
        raise ArgumentError(argument, type(network).__name__, "a gradflow.MLP")
    hidden = len(network.sizes) - 2
    if hidden != 1:
        raise ArgumentError(argument, f"{hidden} hidden layers", f"one hidden layer{_SAMPLES}")
