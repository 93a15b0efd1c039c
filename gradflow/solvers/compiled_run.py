"""One run of the compiled loop: a method, the arrays it works on, and the calls of it.

The loop and a method are compiled once for all problems and sizes (`compiled/`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache

import numpy as np

from ..kernels.math import abi
from ..kernels.math.ahead import compile_ahead
from ..objective import Objective
from ..support import memory
from ..support.stopping import StopReason
from .compiled import algebra, between, growth, loop
from .compiled import layout as at
from .modes import PRODUCTS, Modes, convex, dense_modes, lanczos_modes, longest_step, verdict

CHUNK = 256
"""Accepted steps that one call of the compiled loop can hand back, at most."""

CHUNK_NUMBERS = 2_000_000
"""Numbers in the buffer of accepted steps, at most (but one step at least)."""


LIMIT_STEPS = {at.BY_FACTORS: 10, at.BY_PRODUCTS: 20}
"""Accepted steps for which an answer about growing modes holds."""

_STATUS = {
    None: at.RUNNING,
    StopReason.GRADIENT: at.GRADIENT_MET,
    StopReason.SADDLE: at.SADDLE_MET,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A method for the compiled loop: its step function and what that needs (`compiled/layout.py`).

    step            the Python source of the step, with the signature `layout.STEP_FUNCTION`
    tableau         its coefficients, one vector; `stages` their number
    estimate_order  order of the method whose error is estimated: the error is O(Δt^(estimate_order + 1))
    hessian         whether it wants ∇²L at every accepted point, and memory for it and a factorisation
    own_velocity    whether it writes θ' of the new point itself
    own_steps       whether it chooses the length of steps itself
    own_evaluation  whether it hands back L, ∇L and θ'' itself; ∇²L is then its own affair
    stabilised      whether an explicit method adapts to the largest curvature
    vectors, numbers, integers   so many of each are kept for it between steps, and stored in checkpoints
    work            scratch vectors it needs
    patience        accepted steps for which the answer that no mode limits the step holds, if more than
                    `LIMIT_STEPS`, and
    reach           how many times longer a step may be than the one it was asked for
    probe           products for such an answer, at most, where the Hessian is not formed
    linearised      whether it asks for ∇L and several products at the same point
    """

    step: Callable
    tableau: np.ndarray
    stages: int
    estimate_order: int
    hessian: bool
    own_velocity: bool = False
    own_steps: bool = False
    own_evaluation: bool = False
    stabilised: bool = False
    vectors: int = 0
    numbers: int = 0
    integers: int = 0
    work: int = 0
    patience: int = 0
    reach: float = 4.0
    probe: int = PRODUCTS
    linearised: bool = False

    def compile_ahead(self) -> None:
        """Have compiled what a run calls, while something else is compiled."""
        functions = (loop.weigh_only, self.step, loop.advance, between.between_steps)
        compile_ahead(*((function, at.STEP_FUNCTION) for function in functions))

    def address(self, run: Run) -> int:
        """The address of the step function."""
        return abi.compile_function(self.step, at.STEP_FUNCTION).address

    @property
    def guard(self) -> int:
        """How it is kept from outrunning a mode that grows; an explicit method has no such steps."""
        return at.BY_FACTORS if self.hessian else at.BY_PRODUCTS if self.stabilised else at.NEVER

    @property
    def products(self) -> bool:
        """Whether it, or the loop on its behalf, asks for ∇²L v."""
        return not self.hessian


class Run:
    """The arrays of one run of the compiled loop, and the calls of it.

    `numbers`, `integers` and `vectors` are the whole state: a run with the same settings and a copy of
    them continues with the same bits.
    """

    def __init__(
        self, method: Method, objective: Objective, rates: np.ndarray, settings: np.ndarray, room: int = CHUNK
    ):
        size = rates.size
        self.method, self.objective, self.rates, self.size = method, objective, rates, size
        self.kernel = objective.kernel
        self.width = at.R_VECTORS + 3 * size
        self.room = int(np.clip(CHUNK_NUMBERS // self.width, 1, room))
        groups, count = _groups(objective, size)
        self.numbers = np.zeros(at.OWN_NUMBERS + method.numbers)
        self.integers = np.zeros(at.OWN_INTEGERS + method.integers, dtype=np.int64)
        self.vectors = np.zeros((at.OWN_VECTORS + method.vectors, size))
        self.record = np.empty((self.room, self.width))
        self.fresh = np.zeros((4, size))
        self.settings = settings
        matrix = (size, size) if method.hessian else (1, 1)
        linear = self.kernel.linear() if method.linearised else None
        constants = np.array([ord("L"), size, 1, 0, size, ord("N"), ord("T")], dtype=np.int64)
        arrays = {
            at.TABLEAU: np.ascontiguousarray(method.tableau),
            at.SETTINGS: settings,
            at.NUMBERS: self.numbers,
            at.INTEGERS: self.integers,
            at.VECTORS: self.vectors,
            at.FRESH: self.fresh,
            at.WORK: np.zeros((at.OWN_WORK + method.work, size)),
            at.HESSIAN: np.empty(matrix),
            at.FACTOR: np.empty(matrix),
            at.PIVOTS: np.zeros(size, dtype=np.int32),
            at.RATES: rates,
            at.MEMORY: memory.empty("student", 1 if linear is None else linear.room),
            at.ROOTS: np.sqrt(rates),
            at.RECORD: self.record,
            at.ROUTINES: _routines(),
            at.CONSTANTS: constants,
            at.COUNTERS: self.kernel.counters,
            at.GROUPS: groups,
            at.GROUP_SIZES: np.zeros(count),
        }
        self._callbacks: list = []
        words = {
            at.SIZE: size,
            at.GROUP_COUNT: count,
            at.GUARD: method.guard,
            at.ORACLE: self.called_back(self._answer),
            at.KERNEL: self.kernel.derivatives,
            at.PRODUCT: self.kernel.product() if method.products else 0,
            at.DESCRIPTOR: self.kernel.descriptor,
            at.STEP: 0,
            at.LINEARISE: 0 if linear is None else linear.linearise,
            at.TIMES: 0 if linear is None else linear.times,
            at.STAGES: method.stages,
            at.WANTS_HESSIAN: int(method.hessian and not method.own_evaluation),
            at.OWN_EVALUATION: int(method.own_evaluation),
            at.STABILISED: int(method.hessian or method.stabilised),
            at.OWN_VELOCITY: int(method.own_velocity),
            at.OWN_STEPS: int(method.own_steps),
            at.ROOM: self.room,
            **{word: array.ctypes.data for word, array in arrays.items()},
        }
        self.arrays = arrays
        words[at.STEP] = method.address(self)
        self.words = np.array([words[word] for word in range(at.WORDS)], dtype=np.int64)
        abi.compile_function(loop.advance, at.STEP_FUNCTION)

    def start(self, t: float, theta, velocity, loss: float, gradient, step: float) -> None:
        """The state of a run that begins at t with a first step of this length."""
        self.numbers[:] = 0.0
        self.integers[:] = 0
        self.vectors[:] = 0.0
        for place, vector in ((at.THETA, theta), (at.VELOCITY, velocity), (at.GRADIENT, gradient)):
            self.vectors[place] = vector
        power = np.cos(np.arange(1.0, self.size + 1.0))  # any vector without symmetry
        self.vectors[at.POWER] = power / np.linalg.norm(power)
        first = {
            at.TIME: t, at.NEXT: step, at.LOSS: loss, at.GRAD_NORM: np.abs(gradient).max(),
            at.GROWTH: loop.LARGEST_GROWTH, at.WINDOW_LOSS: np.inf, at.WINDOW_LOW: np.inf,
            at.BEFORE_LOSS: np.inf, at.BEFORE_LOW: np.inf, at.WATCH: self.settings[at.GTOL],
            at.STEP_LIMIT: np.inf, at.GROWTH_ALLOWED: growth.FOLLOWED[self.method.estimate_order],
        }  # fmt: skip
        for place, value in first.items():
            self.numbers[place] = value
        self.integers[at.ACCEPTED] = 1

    def take_hessian(self, hessian: np.ndarray) -> None:
        """∇²L at the point that the run starts from, for methods that want it there."""
        if self.method.hessian and not self.method.own_evaluation:
            self.arrays[at.HESSIAN][:] = hessian
            self.integers[at.HESSIAN_READY] = 1

    def modes(self, step: float = np.inf) -> Modes:
        """The modes at θ; without Hessians as many as show what grows in a step of this length."""
        theta = self.vectors[at.THETA].copy()
        if not self.method.hessian:
            # A polynomial of degree √(Δt λ_max) tells eigenvalues apart that differ by 1/Δt.
            told = 10.0 + 2.0 * np.sqrt(step * self.numbers[at.CURVATURE]) if step < np.inf else PRODUCTS
            degree = min(told, self.method.probe if step < np.inf else PRODUCTS)
            return lanczos_modes(self.objective, self.rates, theta, self.vectors[at.GRADIENT], int(degree))
        gradient, hessian = self._derivatives(theta)
        return dense_modes(hessian, self.rates, theta, gradient)

    def _derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """∇L and ∇²L at θ; computed where the method has them from nearby only."""
        if self.method.own_evaluation:
            return self.objective.all_derivatives(theta)[1:]
        return self.vectors[at.GRADIENT], self.arrays[at.HESSIAN]

    def end(self) -> StopReason | None:
        """Why the flow ends here, where ∇L is small, or None; WATCH is when to look again."""
        theta = self.vectors[at.THETA].copy()
        if self.method.hessian:
            gradient, hessian = self._derivatives(theta)
            if convex(hessian, self.rates):
                return StopReason.GRADIENT
            modes = dense_modes(hessian, self.rates, theta, gradient)
        else:
            modes = self.modes()
        reason = verdict(modes, self.objective, self.rates, theta, float(self.settings[at.GTOL]))
        self.numbers[at.WATCH] = 0.1 * self.numbers[at.GRAD_NORM]
        return reason

    def _answer(self, question: int) -> None:
        """The oracle of the compiled loop (`layout.ORACLE`)."""
        if question == at.IS_THIS_THE_END:
            self.integers[at.STATUS] = _STATUS[self.end()]
            return
        scale, growth_allowed = self.arrays[at.WORK][at.SCALE], self.numbers[at.GROWTH_ALLOWED]
        step = self.numbers[at.TAKEN]
        limit = longest_step(self.modes(step), self.rates, scale, growth_allowed)
        self.numbers[at.STEP_LIMIT] = limit
        self.numbers[at.CLEAR_STEP] = min(limit, self.method.reach * step)
        free = self.method.patience if limit >= self.method.reach * step else 0
        self.integers[at.LIMIT_AGE] = max(free, LIMIT_STEPS[self.method.guard])

    def called_back(self, function: Callable[[int], None]) -> int:
        """The address of a Python function of one number, which the compiled loop calls: void(run, n, …)."""

        def guarded(run, number, *_):
            try:
                function(number)
            except BaseException as error:  # it cannot pass through compiled code: raised afterwards
                self.objective.failure = self.objective.failure or error
                self.integers[at.STATUS] = at.NOT_FINITE

        self._callbacks.append(abi.python_kernel(guarded))
        return abi.address_of(self._callbacks[-1])

    def weigh(self, step: float) -> np.ndarray:
        """1/(the error allowed) (P,) of a step from here."""
        self.numbers[at.TAKEN] = step
        self.call(loop.weigh_only)
        return self.arrays[at.WORK][at.SCALE].copy()

    def attempt(self, step: float) -> bool:
        """One step of the method from the state, not accepted; whether it passes the error test."""
        self.numbers[at.TAKEN] = step
        self.call(loop.attempt)
        return bool(self.numbers[at.ERROR] <= 1.0 and self.integers[at.FAILED] == 0)

    def call(self, function: Callable, *arguments: int) -> None:
        """Call a function of the compiled layer on this run, with up to five numbers more."""
        address = abi.compile_function(function, at.STEP_FUNCTION).address
        rest = (*arguments, *(0,) * (5 - len(arguments)))
        abi.callable_from_python(address)(self.words.ctypes.data, *rest)
        if self.objective.failure is not None:
            error, self.objective.failure = self.objective.failure, None
            raise error

    def advance(self, attempts: int) -> np.ndarray:
        """Try so many steps; the rows of those accepted (`layout.R_TIME`…), until the next call."""
        before = int(self.integers[at.ACCEPTED_STEPS])
        self.call(loop.advance, attempts)
        return self.record[: int(self.integers[at.ACCEPTED_STEPS]) - before]

    @property
    def time(self) -> float:
        """The time t reached."""
        return float(self.numbers[at.TIME])

    @property
    def status(self) -> int:
        """Why the loop came back, as `layout` numbers it."""
        return int(self.integers[at.STATUS])

    @property
    def accepted(self) -> int:
        """Accepted steps."""
        return int(self.integers[at.ACCEPTED_STEPS])

    @property
    def tried(self) -> int:
        """Accepted and rejected steps."""
        return self.accepted + int(self.integers[at.REJECTED_STEPS])


@cache
def _routines() -> np.ndarray:
    places = {
        algebra.DPOTRF: abi.lapack_address("dpotrf"), algebra.DTRSV: abi.blas_address("dtrsv"),
        algebra.DSYTRF: abi.lapack_address("dsytrf"), algebra.DSYTRS: abi.lapack_address("dsytrs"),
    }  # fmt: skip
    return np.array([places[place] for place in range(len(places))], dtype=np.int64)


def _groups(objective: Objective, size: int) -> tuple[np.ndarray, int]:
    """The two weight vectors that each parameter belongs to (2, P), by numbers without gaps, and how many."""
    if objective.weight_vectors is None:
        return np.zeros((2, size), dtype=np.int64), 1
    names, numbers = np.unique(objective.weight_vectors, return_inverse=True)
    return np.ascontiguousarray(numbers.reshape(2, size), dtype=np.int64), names.size


def pack_settings(solver, method: Method, gtol: float, floor: float, end: float) -> np.ndarray:
    """The settings of a run as the compiled loop reads them."""
    values = {
        at.RTOL: solver.rtol, at.ATOL: solver.atol, at.END: end, at.GTOL: gtol, at.LOSS_FLOOR: floor,
        at.EXPONENT: 1.0 / (method.estimate_order + 1), at.STEPS_LEFT: float(solver.max_steps),
    }  # fmt: skip
    return np.array([values[place] for place in range(len(values))])
