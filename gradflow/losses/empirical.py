"""The empirical loss: a network on samples, as compiled kernels with exact derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..activations import Activation
from ..inputs import Samples
from ..kernels.empirical import derivatives as empirical
from ..kernels.empirical import network_blocks as nb
from ..kernels.empirical import product as empirical_product
from ..kernels.empirical.samples import jacobian, samples, squares
from ..kernels.math import abi, team
from ..kernels.math.ahead import compile_ahead
from ..networks import MLP
from ..objective import EPS, ROUNDING, GradientSizes
from ..support import memory
from ..support.errors import ArgumentError
from ..support.settings import one_of
from ..support.validate import integer, number, real_array, resolution
from .compiled import KernelLoss, thread_limit
from .kinked import Pieces, bends
from .scales import check_targets, sample_targets, term_sizes
from .separable import HiddenLayer

LOSSES = {"squared": nb.SQUARED, "cross_entropy": nb.CROSS_ENTROPY}

_CACHE_BYTES = 1 << 20  # the rows of a longer block may take so much (second-level cache), …
_CACHE_BYTES_HESSIAN = 1 << 22  # … those of a Hessian so much: `tiles.gram` has blocks of its own
_CHUNK_ACTIVATIONS = 4_000  # a chunk of a gradient has about so many or more, …
_CHUNK_SAMPLES = 400  # … one of a Hessian so many samples: its sums cost as much as about ten
_CHUNKS, _CHUNKS_HESSIAN = 64, 8  # at most
_CHUNK_BYTES = 1 << 28  # what all partial Hessians together may take
# Multiply-adds that are worth starting a thread (an activation counts as 20): about 100 µs of work.
_THREAD_OPERATIONS, _THREAD_OPERATIONS_HESSIAN = 1_500_000, 4_000_000

_OF_ONE_DESCRIPTOR = frozenset({"kernel", "oracle", "product", "_call_product"})
"""What a batch must not take over from the whole."""


class EmpiricalLoss(KernelLoss):
    """The loss of an MLP f on samples, with exact derivatives:

        "squared"         L(θ) = Σ_s w_s Σ_o (f_o(x_s) − y_so)² / Σ_s w_s   (no ½)
        "cross_entropy"   L(θ) = −Σ_s w_s Σ_o y_so log softmax(f(x_s))_o / Σ_s w_s

    student        gives the shape, the biases and the activations; its parameters do not matter
    X              Float[Array, "samples features"]
    targets        Float[Array, "samples outputs"]; (samples,) will do for one output. Cross-entropy
                   takes integer labels (samples,), or rows of probabilities (one-hot or not)
    sample_weight  Float[Array, "samples"], ≥ 0 and not all zero, or None
    weight_decay   λ ≥ 0 adds λ‖θ‖²
    barrier        c adds (‖θ‖²/(2P) − c)³/3 where ‖θ‖²/(2P) > c, so that no parameter runs away
    merge          (i, j, μ) adds μ/2 (|w_i − w_j|² + (b_i − b_j)²) of two neurons of the first hidden layer
    threads        at most so many; by default GRADFLOW_NUM_THREADS, or the cores this process may use.
                   The results have the same bits for every number

    θ is flat as in `MLP.flat`. The data are copied once, feature by feature. Raises `ArgumentError`.
    """

    def __init__(
        self,
        student: MLP,
        X,
        targets,
        sample_weight=None,
        *,
        loss: str = "squared",
        weight_decay: float = 0.0,
        barrier: float | None = None,
        merge: Sequence | None = None,
        threads: int | None = None,
    ):
        if loss not in LOSSES:
            raise ArgumentError("loss", repr(loss), one_of(loss, LOSSES))
        data = Samples(X, sample_weight)
        X = data.X
        count, sizes = X.shape[0], student.sizes
        if X.shape[1] != sizes[0]:
            raise ArgumentError("X", f"shape {X.shape}", f"shape (samples, {sizes[0]})")
        if loss == "cross_entropy" and sizes[-1] == 1:
            allowed = "one output for each class, two or more: the softmax of one number is always 1"
            raise ArgumentError("student", "one output with loss='cross_entropy'", allowed)
        targets = _targets(targets, count, sizes[-1], loss)
        check_targets("targets", targets)
        weight_decay = number("weight_decay", weight_decay, minimum=0.0)
        corner = np.inf if barrier is None else number("barrier", barrier, minimum=0.0)

        self._sizes = sizes
        self._student = student
        self._inputs = _feature_rows(X, ones=True)
        self._targets = _feature_rows(targets, ones=False)
        self._weights = np.ones(count) if data.sample_weight is None else _scaled(data.sample_weight)
        self._merged, strength = _merged_pairs(student, merge)
        self._penalty = np.array([weight_decay, corner, strength])
        self.sum_of_squares = loss == "squared" and corner == np.inf
        self._indices: np.ndarray | None = None
        self._threads = thread_limit(threads)
        header = np.zeros(nb.LAYER, np.int64)
        header[nb.LAYERS] = len(student.weights)
        header[nb.SIZE] = student.size
        header[nb.COUNT] = count
        header[nb.INPUTS] = self._inputs.ctypes.data
        header[nb.STRIDE] = self._inputs.shape[1]
        header[nb.TARGETS] = self._targets.ctypes.data
        header[nb.WEIGHTS] = self._weights.ctypes.data
        header[nb.KIND] = LOSSES[loss]
        header[nb.PENALTY] = self._penalty.ctypes.data
        header[nb.MERGED], header[nb.MERGED_COUNT] = self._merged.ctypes.data, len(self._merged)
        compile_ahead((empirical.work, team.WORKER), (empirical.derivatives, abi.KERNEL))
        header[nb.WORKER] = abi.compile_function(empirical.work, team.WORKER).address
        header[nb.HELPER] = abi.compile_function(team.linger, team.WORKER).address
        header[nb.POOL] = team.pool().ctypes.data
        self._finish(np.concatenate([header, _layers(student)]))
        squared = loss == "squared"
        self.measure(student, sample_targets(student, targets, self._weights, squared, X))
        self.scalable = squared and weight_decay == 0.0 and corner == np.inf and strength == 0.0
        # A sum of squares of residuals, each rounded to ε times an output; not so the others.
        largest = np.maximum(self.targets.spread, self.targets.size) if squared else self.targets.spread
        self.loss_floor = (EPS**2 if squared else EPS) * float(largest @ largest)

    def _finish(self, descriptor: np.ndarray) -> None:
        _partition(descriptor, self._sizes, self._threads)
        super().__init__(
            int(descriptor[nb.SIZE]),
            empirical.derivatives,
            empirical_product.product,
            descriptor,
            (self._inputs, self._targets, self._weights, self._penalty, self._merged, self._indices),
        )
        self.sample_count = int(descriptor[nb.COUNT])
        self._gauss_newton = descriptor.copy()
        self._gauss_newton[nb.GAUSS_NEWTON] = 1

    @cached_property
    def product(self) -> int:
        for descriptor in (self.descriptor, self._gauss_newton):
            descriptor[nb.PRODUCT_WORKER] = abi.compile_function(empirical_product.work, team.WORKER).address
        return super().product

    def batch(self, selection: range | Sequence[int]) -> EmpiricalLoss:
        """The same loss on some samples, a range of step one or a list of numbers; the data are shared.

        Its mean is over the batch, with the batch's weights; penalties are as for the whole.
        """
        count = self._weights.size
        part = object.__new__(EmpiricalLoss)
        part.__dict__.update({k: v for k, v in self.__dict__.items() if k not in _OF_ONE_DESCRIPTOR})
        chosen: slice | np.ndarray
        descriptor = self.descriptor.copy()
        if isinstance(selection, range) and selection.step == 1:
            inside = 0 <= selection.start < selection.stop <= count
            if not inside:
                raise ArgumentError(
                    "selection", repr(selection), f"a range within 0 … {count} that is not empty"
                )
            descriptor[nb.START], descriptor[nb.INDICES] = selection.start, 0
            part._indices, chosen = None, slice(selection.start, selection.stop)
        else:
            indices = np.array(selection)
            if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
                raise ArgumentError("selection", repr(selection), "a range, or a list of sample numbers")
            if indices.min() < 0 or indices.max() >= count:
                given = f"numbers from {indices.min()} to {indices.max()}"
                raise ArgumentError("selection", given, f"sample numbers from 0 to {count - 1}")
            chosen = indices.astype(np.int64)
            part._indices = chosen
            descriptor[nb.INDICES] = chosen.ctypes.data
        if not self._weights[chosen].sum() > 0:
            raise ArgumentError("selection", "samples of weight zero only", "some weight")
        descriptor[nb.COUNT] = self._weights[chosen].size
        part._finish(descriptor)
        return part

    @property
    def has_gauss_newton(self) -> bool:  # type: ignore[override]
        return self.sum_of_squares

    @property
    def _plain_descriptor(self) -> np.ndarray:
        return self._gauss_newton

    def gauss_newton(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """With cross-entropy and penalties too: Jᵀ A J, A the Hessian of the loss in the outputs."""
        return super().gauss_newton(_vector(theta))

    def gauss_newton_product(self, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
        return super().gauss_newton_product(_vector(theta), _vector(v))

    def gauss_newton_diagonal(self, theta: np.ndarray) -> np.ndarray:
        return super().gauss_newton_diagonal(theta) + 2.0 * self._penalty[0]

    def outputs(self, theta: np.ndarray) -> np.ndarray:
        """f(x_s), shape (samples, outputs)."""
        result = memory.empty("inputs", int(self.descriptor[nb.COUNT]), self._sizes[-1])
        self._samples(theta, result.ctypes.data, 0)
        return result

    def residuals(self, theta: np.ndarray) -> np.ndarray:
        """f(x_s) − y_s, shape (samples, outputs); with cross-entropy softmax(f(x_s)) − y_s."""
        f = self.outputs(theta)
        if self.descriptor[nb.KIND] == nb.CROSS_ENTROPY:
            f = np.exp(f - f.max(axis=1, keepdims=True))
            f /= f.sum(axis=1, keepdims=True)
        return f - self._targets[:, self._chosen()].T

    def separable(self) -> HiddenLayer | None:
        """The same loss with its linear parameters apart; None where `HiddenLayer` cannot say it."""
        student, chosen = self._student, self._chosen()
        sigma = student.activations[0] if len(student.weights) == 2 else None
        plain = self.sum_of_squares and self._penalty[0] == 0.0 and self._penalty[2] == 0.0
        if not (isinstance(sigma, Activation) and plain):
            return None
        weights = self._weights[chosen]
        return HiddenLayer(
            self._inputs[:-1, chosen].T,
            self._targets[:, chosen].T,
            sigma,
            bias=student.biases[0] is not None,
            constant=student.biases[1] is not None,
            weights=weights / weights.sum(),
        )

    def pieces(self) -> Pieces | None:
        """The smooth pieces of L, each time with phases of their own; None where no activation has a kink."""
        hidden = range(len(self._student.weights) - 1)
        kinked = any(bends(sigma) for l in hidden for sigma in self._student.neuron_activations(l))
        return Pieces(self, self._student) if kinked else None

    def residual_vector(self, theta: np.ndarray) -> np.ndarray:
        """ρ (m,), see `least_squares`."""
        theta = _vector(theta)
        residuals = (self.outputs(theta) - self._targets[:, self._chosen()].T).T * self._scale()
        return self._with_penalties(residuals.ravel(), theta)

    def least_squares(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ρ (m,) and its Jacobian (m, P), columns contiguous, with L = |ρ|².

        Row (o, s), output by output, is √(w_s/Σw) (f_o(x_s) − y_so); √λ θ follows for a weight decay.
        """
        count, width = int(self.descriptor[nb.COUNT]), self._sizes[-1]
        f, columns = np.empty((width, count)), memory.empty("inputs", self.size, width, count)
        theta = _vector(theta)
        kernel = abi.callable_from_python(abi.compile_function(jacobian).address)
        kernel(self.descriptor.ctypes.data, theta.ctypes.data, 0, f.ctypes.data, 0, columns.ctypes.data)
        self._python_counts[0] += 1
        f -= self._targets[:, self._chosen()]
        scale = self._scale()
        f *= scale
        columns *= scale
        rows = columns.reshape(self.size, -1)
        if self._penalty[0] > 0.0:
            rows = np.hstack([rows, np.sqrt(self._penalty[0]) * np.eye(self.size)])
        if self._penalty[2] > 0.0:
            root, number = np.sqrt(0.5 * self._penalty[2]), np.arange(len(self._merged))
            apart = np.zeros((self.size, number.size))
            apart[self._merged[:, 0], number], apart[self._merged[:, 1], number] = root, -root
            rows = np.hstack([rows, apart])
        return self._with_penalties(f.ravel(), theta), rows.T

    def jacobian_squares(self, theta: np.ndarray) -> np.ndarray:
        theta = _vector(theta)
        total, matrix = np.empty(1), np.empty((self._sizes[-1], self.size))
        kernel = abi.callable_from_python(abi.compile_function(squares).address)
        kernel(self.descriptor.ctypes.data, theta.ctypes.data, 0, total.ctypes.data, 0, matrix.ctypes.data)
        return matrix / total[0]

    def gradient_sizes(self, theta: np.ndarray) -> GradientSizes:
        """Penalties add theirs: weight decay is a sum of squares √λ θ_i, none of them explained yet."""
        size, rounding = super().gradient_sizes(theta)
        decay, corner, strength = self._penalty
        if decay > 0.0 or corner < np.inf:
            mean_square = float(theta @ theta) / theta.size
            barrier = max(0.5 * mean_square - corner, 0.0) ** 2 / theta.size
            size = size + 2.0 * np.sqrt(decay) * np.linalg.norm(self.targets.spread)
            size = size + barrier * np.sqrt(mean_square)
            rounding = rounding + ROUNDING * (2.0 * decay + barrier) * np.abs(theta)
        if strength > 0.0:
            size, rounding, (a, b) = size.copy(), rounding.copy(), self._merged.T
            size[[*a, *b]] += np.sqrt(2.0 * strength) * np.linalg.norm(self.targets.spread)
            rounding[[*a, *b]] += ROUNDING * strength * np.tile(np.abs(theta[a]) + np.abs(theta[b]), 2)
        return GradientSizes(size, rounding)

    def loss_error(self, theta: np.ndarray) -> float:
        """Of a mean of squared residuals each wrong by δ: 2δ√L + δ², and the rounding of the sum."""
        loss = self.loss(_vector(theta))
        if self.descriptor[nb.KIND] != nb.SQUARED:
            return self.loss_floor + 4.0 * EPS * abs(loss)
        delta = EPS * float(np.linalg.norm(term_sizes(self.jacobian_squares(theta), theta, self.targets)))
        return 2.0 * delta * np.sqrt(abs(loss)) + delta**2 + 4.0 * EPS * abs(loss)

    def _scale(self) -> np.ndarray:
        weights = self._weights[self._chosen()]
        return np.sqrt(weights / weights.sum())

    def _with_penalties(self, residuals: np.ndarray, theta: np.ndarray) -> np.ndarray:
        decay, _, strength = self._penalty
        parts = [residuals]
        if decay > 0.0:
            parts.append(np.sqrt(decay) * theta)
        if strength > 0.0:
            a, b = self._merged.T
            parts.append(np.sqrt(0.5 * strength) * (theta[a] - theta[b]))
        return np.concatenate(parts) if len(parts) > 1 else residuals

    def per_sample_gradients(self, theta: np.ndarray) -> np.ndarray:
        """The gradient of every sample's own loss, shape (samples, P), without weights and penalties."""
        result = memory.empty("inputs", int(self.descriptor[nb.COUNT]), self.size)
        self._samples(theta, 0, result.ctypes.data)
        return result

    def _chosen(self):
        if self._indices is not None:
            return self._indices
        start = int(self.descriptor[nb.START])
        return slice(start, start + int(self.descriptor[nb.COUNT]))

    def _samples(self, theta: np.ndarray, outputs: int, matrix: int) -> None:
        kernel = abi.callable_from_python(abi.compile_function(samples).address)
        ones = np.ones(self._weights.size)
        descriptor = self.descriptor.copy()
        descriptor[nb.WEIGHTS] = ones.ctypes.data
        theta = _vector(theta)
        kernel(descriptor.ctypes.data, theta.ctypes.data, 0, outputs, 0, matrix)


def _scaled(weights: np.ndarray) -> np.ndarray:
    """Sample weights in a unit, a power of two, in which their sums of squares are within Float64."""
    return weights / 2.0 ** np.floor(np.log2(weights.max()))


def _merged_pairs(student: MLP, given) -> tuple[np.ndarray, float]:
    """Pairs of parameters (m, 2) of two neurons that shall be one, and the strength μ."""
    if given is None:
        return np.zeros((0, 2), np.int64), 0.0
    allowed = "(i, j, μ): two neurons of the first hidden layer, and how strongly they are drawn together"
    if not isinstance(given, (tuple, list)) or len(given) != 3 or len(student.weights) < 2:
        raise ArgumentError("merge", repr(given), allowed)
    n, m = student.weights[0].shape
    i, j = (integer(f"merge[{k}]", given[k], 0, n - 1) for k in range(2))
    if i == j:
        raise ArgumentError("merge", repr(given), allowed)
    strength = number("merge[2]", given[2], minimum=0.0)
    if not np.isfinite(strength):
        raise ArgumentError("merge[2]", given[2], "a finite number ≥ 0")
    first, second = m * i + np.arange(m), m * j + np.arange(m)
    if student.biases[0] is not None:
        first, second = np.append(first, n * m + i), np.append(second, n * m + j)
    return np.ascontiguousarray(np.stack([first, second], axis=1), dtype=np.int64), strength


def _vector(theta) -> np.ndarray:
    return np.ascontiguousarray(theta, dtype=np.float64)


def target_array(argument: str, given, loss: str) -> np.ndarray:
    """Targets in Float64. Probabilities given in a shorter type, whose sum is 1 there, have it here too."""
    targets, eps = real_array(argument, given, (1, 2)), resolution(given)
    if loss == "cross_entropy" and targets.ndim == 2 and eps > resolution(targets):
        sums = targets.sum(axis=1, keepdims=True)
        one = abs(sums[:, 0] - 1) <= 2 * targets.shape[1] * eps
        targets[one] /= sums[one]
    return targets


def _targets(given, count: int, outputs: int, loss: str) -> np.ndarray:
    """Targets as rows of numbers (samples, outputs)."""
    targets = target_array("targets", given, loss)
    if loss == "cross_entropy":
        if targets.ndim == 1:
            if targets.size != count:
                raise ArgumentError("targets", f"shape {targets.shape}", f"one label per sample: ({count},)")
            wrong = targets[~np.isin(targets, np.arange(outputs))]
            if wrong.size:
                raise ArgumentError("targets", f"the label {wrong[0]:g}", f"integers from 0 to {outputs - 1}")
            return np.eye(outputs)[targets.astype(np.int64)]
        wrong = (targets < 0).any(axis=1) | (np.abs(targets.sum(axis=1) - 1) > 1e-12)
        if wrong.any():
            given = f"the row {targets[wrong.argmax()]}"
            raise ArgumentError("targets", given, "rows of probabilities, ≥ 0 and of sum 1, or labels")
    elif targets.ndim == 1:
        targets = targets[:, None]
    if targets.shape != (count, outputs):
        raise ArgumentError("targets", f"shape {targets.shape}", f"shape {(count, outputs)}")
    return targets


def _feature_rows(array: np.ndarray, ones: bool) -> np.ndarray:
    """(samples, features) as rows of features, on cache lines, padded with copies of the last sample.

    The distance of the rows is an odd number of cache lines, so that many rows do not meet in one set
    of the cache.
    """
    count, features = array.shape
    stride = nb.PAD * ((_ceil(count, nb.PAD) + 1) | 1)
    total, line = (features + ones) * stride, 64 // 8
    room = memory.empty("inputs", total + line)
    start = -room.ctypes.data // 8 % line
    rows = room[start : start + total].reshape(features + ones, stride)
    rows[:features, :count] = array.T
    rows[:features, count:] = array[-1][:, None]
    rows[features:] = 1.0
    return rows


def _layers(student: MLP) -> np.ndarray:
    """The layers' words of a descriptor, and behind them the groups of neurons of equal activation."""
    layers = len(student.weights)
    words = np.zeros((layers, nb.LAYER_WORDS), np.int64)
    groups: list[int] = []
    first = 0
    for l, (W, b) in enumerate(zip(student.weights, student.biases, strict=True)):
        before = len(groups)
        if l + 1 < layers:
            neurons = student.neuron_activations(l)
            starts = [i for i, a in enumerate(neurons) if i == 0 or a is not neurons[i - 1]]
            for i, end in zip(starts, [*starts[1:], len(neurons)], strict=True):
                groups += [i, end - i, neurons[i].address]
        start = nb.LAYER + words.size + before
        words[l] = (W.shape[1], W.shape[0], b is not None, first, start, (len(groups) - before) // 3)
        first += W.size + (0 if b is None else b.size)
    return np.concatenate([words.ravel(), np.array(groups, np.int64)])


def _partition(descriptor: np.ndarray, sizes: tuple[int, ...], threads: int) -> None:
    """Lengths of blocks and chunks and numbers of threads, from sizes and counts alone.

    Only the threads depend on what the machine has; they do not change a bit of the results.
    """
    count, size, neurons = int(descriptor[nb.COUNT]), int(descriptor[nb.SIZE]), sum(sizes[1:])
    rows = 4 * neurons + sizes[0]
    parts = min(_CHUNKS, max(1, count * neurons // _CHUNK_ACTIVATIONS))
    fitting = max(1, _CHUNK_BYTES // (8 * size**2))
    parts_hessian = min(_CHUNKS_HESSIAN, max(1, count // _CHUNK_SAMPLES), fitting)
    descriptor[nb.CHUNK], descriptor[nb.BLOCK] = _lengths(count, parts, _CACHE_BYTES // (8 * rows))
    descriptor[nb.CHUNK_HESSIAN], descriptor[nb.BLOCK_HESSIAN] = _lengths(
        count, parts_hessian, _CACHE_BYTES_HESSIAN // (8 * (rows + size))
    )
    work, work_hessian = count * (3 * size + 20 * neurons), count * size**2 // 2
    threads = min(threads, team.MAX_THREADS)
    descriptor[nb.THREADS] = min(threads, max(1, work // _THREAD_OPERATIONS))
    descriptor[nb.THREADS_HESSIAN] = min(threads, max(1, work_hessian // _THREAD_OPERATIONS_HESSIAN))


def _lengths(count: int, parts: int, cached: int) -> tuple[int, int]:
    """Lengths of chunks and blocks: nearly equal parts, in blocks that fill an odd number of cache lines.

    A block has up to 248 samples, or up to 120 where no more than `cached` fit the cache: shorter ones
    cost more in the ends of loops than they save in the cache.
    """
    chunk = nb.PAD * _ceil(_ceil(count, parts), nb.PAD)
    longest = 248 if cached >= 248 else 120
    lines = _ceil(_ceil(chunk, _ceil(chunk, longest)), nb.PAD)
    return chunk, nb.PAD * (lines | 1)


def _ceil(a: int, b: int) -> int:
    return (a + b - 1) // b
