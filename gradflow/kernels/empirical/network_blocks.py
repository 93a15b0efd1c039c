"""A network on a block of samples: descriptor, workspace, forward pass, loss, backward pass.

Homogeneous coordinates throughout: a layer with a bias is one matrix [W b] that acts on the rows of
its input and a last row of ones. With h_0 = x and weight layers l = 0…L−1,

    z_l = [W_l b_l] [h_l; 1],    h_{l+1} = σ_l(z_l),    f = z_{L−1},    δ_l = ∂ℓ/∂z_l.

All rows of a block lie `length` doubles apart; samples beyond the last are copies with weight zero.
Sums are taken with the raw sample weights and scaled at the end.
"""

from __future__ import annotations

import math

from numba import njit

from ..math.abi import call_six, inner_jit
from ..math.memory import load, set_word, store, word
from ..math.vector_math import exp, log1p
from .phases import hold
from .tiles import PAD, combine, gram, hadamard

# Words of a descriptor.
LAYERS = 0  # number L of weight layers
SIZE = 1  # number P of parameters
COUNT = 2  # samples of this loss: the set, or a batch of it
START = 3  # first sample, if INDICES is null
INDICES = 4  # address of COUNT sample numbers (int64), or null
INPUTS = 5  # address of the rows of X, and a row of ones
STRIDE = 6  # distance between these rows and between those of the targets, in doubles
TARGETS = 7  # address of the rows of the targets
WEIGHTS = 8  # address of the sample weights
KIND = 9  # SQUARED or CROSS_ENTROPY
WORKER = 10  # address of the function that works through chunks
BLOCK = 11  # samples in a block: without and with a Hessian
BLOCK_HESSIAN = 12
CHUNK = 13  # samples in a chunk, the unit of work of a thread: without and with a Hessian
CHUNK_HESSIAN = 14
PENALTY = 15  # address of three doubles: λ (weight decay), c (barrier, or infinity), μ (merging)
GAUSS_NEWTON = 16  # 1 leaves the second derivatives of the network out
THREADS = 17  # how many threads: without and with a Hessian
THREADS_HESSIAN = 18
PRODUCT_WORKER = 19  # WORKER for products
HELPER = 20  # address of the function that a helping thread runs
POOL = 21  # address of the slots in which helpers wait
MERGED = 22  # address of pairs of parameters (int64) that merging draws together, and how many
MERGED_COUNT = 23
PHASES = 24  # address of the words of `phases.hold`, or null: activations as they are
LAYER = 26  # from here on the layers
LAYER_WORDS = 6
# Words of a layer: inputs, outputs, bias (0 or 1), first parameter, groups and their number. Neurons
# with one activation are a group of three words: first neuron, count, address of the activation.
IN, OUT, BIAS, FIRST, GROUPS, GROUP_COUNT = range(6)

SQUARED = 0
CROSS_ENTROPY = 1

# Columns of the workspace table: addresses, per layer.
TABLE_WORDS = 16
MATRIX, INPUT, INPUT_STRIDE, DELTA, SLOPE, BEND, GRADIENT = range(7)
DIRECTION, R_INPUT, R_OUTPUT, R_DELTA, R_GRADIENT = range(7, 12)
# MATRIX [W b]; INPUT h_l and its stride; DELTA z_l, then δ_l; SLOPE σ', BEND σ'' at z_l; GRADIENT sums.
# R_…: derivatives along the direction of a product, DIRECTION that direction as matrices.
# Words of row L of the table, common to the layers.
SAMPLE_WEIGHTS, TARGET, TARGET_STRIDE, SPARE, GATHERED, PROBABILITY, POSITION = range(7)


@inner_jit
def layer(descriptor, l, column):
    """A word of layer l."""
    return word(descriptor, LAYER + LAYER_WORDS * l + column)


@inner_jit
def columns(descriptor, l):
    """Columns of [W_l b_l]."""
    return layer(descriptor, l, IN) + layer(descriptor, l, BIAS)


@inner_jit
def get(table, l, column):
    """An address in row l of a table."""
    return word(table, TABLE_WORDS * l + column)


@inner_jit
def put(table, l, column, address):
    """Enter an address in row l of a table, if there is one."""
    if table != 0:
        set_word(table, TABLE_WORDS * l + column, address)


@inner_jit
def matrices_size(descriptor):
    """Doubles that all [W b] need together."""
    total = 0
    for l in range(word(descriptor, LAYERS)):
        total += layer(descriptor, l, OUT) * columns(descriptor, l)
    return total


@inner_jit
def place_matrices(descriptor, table, column, base):
    """Enter the addresses of one matrix per layer, packed from `base` on."""
    for l in range(word(descriptor, LAYERS)):
        put(table, l, column, base)
        base += 8 * layer(descriptor, l, OUT) * columns(descriptor, l)


@inner_jit
def flat_index(descriptor, l, i, j):
    """Position in θ of entry (i, j) of [W_l b_l]."""
    n = layer(descriptor, l, IN)
    first = layer(descriptor, l, FIRST)
    return first + i * n + j if j < n else first + layer(descriptor, l, OUT) * n + i


@inner_jit
def pack(descriptor, theta, base):
    """Write the matrices [W b] of flat θ from `base` on."""
    k = 0
    for l in range(word(descriptor, LAYERS)):
        for i in range(layer(descriptor, l, OUT)):
            for j in range(columns(descriptor, l)):
                store(base, k, load(theta, flat_index(descriptor, l, i, j)))
                k += 1


@inner_jit
def unpack(descriptor, base, scale, flat):
    """The reverse of `pack`, times `scale`."""
    k = 0
    for l in range(word(descriptor, LAYERS)):
        for i in range(layer(descriptor, l, OUT)):
            for j in range(columns(descriptor, l)):
                store(flat, flat_index(descriptor, l, i, j), scale * load(base, k))
                k += 1


@inner_jit
def place_rows(descriptor, table, base, length, order, directional):
    """Enter the addresses of all rows of a block; the doubles they need (ask with a null table)."""
    layers = word(descriptor, LAYERS)
    start = base
    put(table, layers, SPARE, base)
    base += 8 * 64
    put(table, layers, SAMPLE_WEIGHTS, base)
    base += 8 * length
    outputs = layer(descriptor, layers - 1, OUT)
    put(table, layers, PROBABILITY, base)
    if word(descriptor, KIND) == CROSS_ENTROPY:
        base += 8 * length * outputs
    put(table, layers, GATHERED, base)
    if word(descriptor, INDICES) != 0:
        base += 8 * length * (layer(descriptor, 0, IN) + 1 + outputs)
    for l in range(layers):
        n = layer(descriptor, l, OUT) * length * 8
        put(table, l, DELTA, base)
        base += n
        if l + 1 < layers:
            put(table, l + 1, INPUT, base)
            put(table, l + 1, INPUT_STRIDE, length)
            base += n + 8 * length
            put(table, l, SLOPE, base)
            base += n
            if order == 2:
                put(table, l, BEND, base)
                base += n
        if directional:
            put(table, l, R_OUTPUT, base)
            base += n
            put(table, l, R_DELTA, base)
            base += n
            if l + 1 < layers:
                put(table, l + 1, R_INPUT, base)
                base += n
    return (base - start) // 8


@inner_jit
def load_block(descriptor, table, position, valid, length):
    """Set inputs, targets and weights of samples position … position + valid; the sum of weights."""
    layers = word(descriptor, LAYERS)
    put(table, layers, POSITION, position)
    stride = word(descriptor, STRIDE)
    inputs, targets = word(descriptor, INPUTS), word(descriptor, TARGETS)
    source = word(descriptor, WEIGHTS)
    weights = get(table, layers, SAMPLE_WEIGHTS)
    indices = word(descriptor, INDICES)
    if indices == 0:
        first = word(descriptor, START) + position
        put(table, 0, INPUT, inputs + 8 * first)
        put(table, 0, INPUT_STRIDE, stride)
        put(table, layers, TARGET, targets + 8 * first)
        put(table, layers, TARGET_STRIDE, stride)
        for s in range(valid):
            store(weights, s, load(source, first + s))
    else:
        features, outputs = layer(descriptor, 0, IN) + 1, layer(descriptor, layers - 1, OUT)
        base = get(table, layers, GATHERED)
        put(table, 0, INPUT, base)
        put(table, 0, INPUT_STRIDE, length)
        put(table, layers, TARGET, base + 8 * features * length)
        put(table, layers, TARGET_STRIDE, length)
        for s in range(length):
            sample = word(indices, position + min(s, valid - 1))
            store(weights, s, load(source, sample))
            for k in range(features):
                store(base, k * length + s, load(inputs, k * stride + sample))
            for k in range(outputs):
                store(base, (features + k) * length + s, load(targets, k * stride + sample))
    total = 0.0
    for s in range(valid):
        total += load(weights, s)
    for s in range(valid, length):
        store(weights, s, 0.0)
    return total


@inner_jit
def forward(descriptor, table, length, order):
    """h_l, σ'(z_l) and σ''(z_l) up to `order`; leaves the outputs f in DELTA of the last layer."""
    layers, first = word(descriptor, LAYERS), 0
    for l in range(layers):
        n, width = columns(descriptor, l), layer(descriptor, l, OUT)
        z = get(table, l, DELTA)
        combine(get(table, l, MATRIX), n, 1, width, n, get(table, l, INPUT), get(table, l, INPUT_STRIDE),
                z, length, length, 0, 0, 0)  # fmt: skip
        if l + 1 < layers:
            h = get(table, l + 1, INPUT)
            group = descriptor + 8 * layer(descriptor, l, GROUPS)
            for _ in range(layer(descriptor, l, GROUP_COUNT)):
                skip = 8 * length * word(group, 0)
                slope = get(table, l, SLOPE) + skip if order > 0 else 0
                bend = get(table, l, BEND) + skip if order > 1 else 0
                call_six(word(group, 2), word(group, 1) * length, order, z + skip, h + skip, slope, bend)
                group += 24
            if word(descriptor, PHASES) != 0:
                slope = get(table, l, SLOPE) if order > 0 else 0
                bend = get(table, l, BEND) if order > 1 else 0
                position = get(table, layers, POSITION)
                hold(word(descriptor, PHASES), first, width, position, length, z, h, slope, bend)
            for s in range(length):
                store(h, width * length + s, 1.0)
            first += width


@njit(error_model="numpy", nogil=True, fastmath={"reassoc", "nsz", "contract"})
def squared_error(f, target, weights, length):
    """Σ_s w (f − y)²; overwrites f with w (f − y)."""
    total = 0.0
    for s in range(length):
        error = load(f, s) - load(target, s)
        residual = load(weights, s) * error
        store(f, s, residual)
        total += residual * error
    return total


@inner_jit
def cross_entropy(f, target, stride, weights, probability, outputs, length):
    """Σ_s w Σ_o y_o (log Σ_k exp f_k − f_o), where Σ_o y_o = 1; turns f into w (p − y) and writes p."""
    total = 0.0
    for s in range(length):
        top = load(f, s)
        for i in range(1, outputs):
            top = max(top, load(f, i * length + s))
        partition = 0.0
        for i in range(outputs):
            e = exp(load(f, i * length + s) - top)
            store(probability, i * length + s, e)
            partition += e
        # The partition counts its largest term as one: log1p of the rest, and no call to libm.
        log_partition, surprise, weight = log1p(partition - 1.0), 0.0, load(weights, s)
        for i in range(outputs):
            k = i * length + s
            p, y = load(probability, k) / partition, load(target, i * stride + s)
            surprise += y * (log_partition - (load(f, k) - top))
            store(probability, k, p)
            store(f, k, weight * (p - y))
        total += weight * surprise
    return total


@inner_jit
def output_loss(descriptor, table, length):
    """The weighted loss of the block; turns f into δ_{L−1} (without the factor 2 of a square)."""
    layers = word(descriptor, LAYERS)
    f, target = get(table, layers - 1, DELTA), get(table, layers, TARGET)
    stride = get(table, layers, TARGET_STRIDE)
    weights, outputs = get(table, layers, SAMPLE_WEIGHTS), layer(descriptor, layers - 1, OUT)
    if word(descriptor, KIND) == CROSS_ENTROPY:
        return cross_entropy(f, target, stride, weights, get(table, layers, PROBABILITY), outputs, length)
    total = 0.0
    for i in range(outputs):
        total += squared_error(f + 8 * i * length, target + 8 * i * stride, weights, length)
    return total


@inner_jit
def derivative_factor(descriptor):
    """What the sums of derivatives lack: the 2 of a square."""
    return 2.0 if word(descriptor, KIND) == SQUARED else 1.0


@inner_jit
def backward(descriptor, table, length, order):
    """δ_l of all layers from δ_{L−1}, and Σ_s δ_l [h_l; 1]ᵀ added to GRADIENT.

    For order 2, BEND becomes (∂ℓ/∂h_{l+1}) ∘ σ''(z_l), the diagonal that curves the activation.
    """
    layers = word(descriptor, LAYERS)
    spare = get(table, layers, SPARE)
    for back in range(layers):
        l = layers - 1 - back
        n, width = columns(descriptor, l), layer(descriptor, l, OUT)
        delta = get(table, l, DELTA)
        gram(delta, length, width, get(table, l, INPUT), get(table, l, INPUT_STRIDE), n,
             length, get(table, l, GRADIENT), n, spare, False)  # fmt: skip
        if l > 0:
            below, slope = get(table, l - 1, DELTA), get(table, l - 1, SLOPE)
            n_in = layer(descriptor, l, IN)
            scale = slope if order == 1 else 0
            combine(get(table, l, MATRIX), 1, n, n_in, width, delta, length,
                    below, length, length, 0, scale, length)  # fmt: skip
            if order == 2:
                bend = get(table, l - 1, BEND)
                hadamard(below, bend, bend, n_in * length)
                hadamard(below, slope, below, n_in * length)


@inner_jit
def padded(count):
    """`count` rounded up to a multiple of PAD."""
    return (count + PAD - 1) // PAD * PAD


@inner_jit
def add_penalty(descriptor, theta, loss, gradient):
    """Add λ‖θ‖² and the barrier (u³/3 where u = ‖θ‖²/(2P) − c > 0) to loss and gradient, if wanted.

    Returns (diagonal, outer): the penalty's Hessian is diagonal·I + outer·θθᵀ.
    """
    size, penalty = word(descriptor, SIZE), word(descriptor, PENALTY)
    decay, corner = load(penalty, 0), load(penalty, 1)
    if decay == 0.0 and corner == math.inf:
        return 0.0, 0.0
    norm = 0.0
    for k in range(size):
        norm += load(theta, k) * load(theta, k)
    u = max(norm / (2.0 * size) - corner, 0.0)
    diagonal, outer = 2.0 * decay + u * u / size, 2.0 * u / (size * size)
    if loss != 0:
        store(loss, 0, load(loss, 0) + decay * norm + u * u * u / 3.0)
    if gradient != 0:
        for k in range(size):
            store(gradient, k, load(gradient, k) + diagonal * load(theta, k))
    return diagonal, outer


@inner_jit
def add_merging(descriptor, theta, loss, gradient):
    """Add μ/2 Σ (θ_a − θ_b)² over the merged pairs to loss and gradient, if wanted; returns μ."""
    pairs, count = word(descriptor, MERGED), word(descriptor, MERGED_COUNT)
    strength = load(word(descriptor, PENALTY), 2)
    if count == 0 or strength == 0.0:
        return 0.0
    total = 0.0
    for k in range(count):
        a, b = word(pairs, 2 * k), word(pairs, 2 * k + 1)
        apart = load(theta, a) - load(theta, b)
        total += apart * apart
        if gradient != 0:
            store(gradient, a, load(gradient, a) + strength * apart)
            store(gradient, b, load(gradient, b) - strength * apart)
    if loss != 0:
        store(loss, 0, load(loss, 0) + 0.5 * strength * total)
    return strength
