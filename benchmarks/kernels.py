"""The empirical kernels against PyTorch, JAX, a published solver and the machine itself.

    python -m benchmarks kernels [--quick] [--rounds 7] [--no-compile]

One process, pinned to one core but for the part on threads. A ratio is taken per round, in which every
competitor runs once. Gradients in PyTorch are called from Python, as ours are beside them; JAX's and
ours beside it run inside a jitted `fori_loop`. "limit" marks competitors whose Hessian would need more
than 2 GB. `--quick` leaves out N = 100,000 and torch.compile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from . import _timing
from ._kernel_competitors import (
    Problem,
    in_loop,
    jax_hessian,
    jax_loss,
    torch_gradients,
    torch_hessians,
)

MEMORY_LIMIT = 2e9

# MLPGradientFlow.jl 0.3.0, one thread, softplus, input 2: microseconds of gradient and Hessian, taken
# earlier on this kind of machine (Julia 1.5.3, LoopVectorization 0.12.108, AVX-512).
JULIA = {
    (10, 100): (17, 49), (10, 1_000): (172, 464), (10, 10_000): (1_780, 9_710),
    (50, 100): (73, 700), (50, 1_000): (753, 18_100), (50, 10_000): (11_500, 367_000),
    (100, 100): (141, 5_500), (100, 1_000): (1_800, 116_000), (100, 10_000): (46_000, 2_190_000),
}  # fmt: skip


def problems(quick: bool) -> dict[str, Problem]:
    """The cells of the table."""
    counts = (10, 100, 1_000, 10_000) if quick else (10, 100, 1_000, 10_000, 100_000)
    cells = {}
    for width in (10, 50, 100):
        for count in counts:
            cells[f"softplus 2-{width}-1, N={count}"] = Problem((2, width, 1), "softplus", count)
    for activation in ("tanh", "erf", "relu", "g"):
        for width in (10, 50):
            for count in (1_000, 10_000):
                cells[f"{activation} 2-{width}-1, N={count}"] = Problem((2, width, 1), activation, count)
    cells["tanh 10-30-30-5, N=1000"] = Problem((10, 30, 30, 5), "tanh", 1_000)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print("scikit-learn is not installed: the digits are left out")
    else:
        digits = load_digits()
        data = (np.ascontiguousarray(digits.data / 16.0), digits.target.astype(np.int64))
        cells["relu 64-32-10, digits"] = Problem((64, 32, 10), "relu", len(data[1]), "cross_entropy", data)
    return cells


def measure(problem: Problem, rounds: int, compiled: bool) -> dict:
    """Everything about one cell."""
    import jax

    from gradflow.kernels import xla

    loss, theta = problem.loss, problem.theta
    result: dict = {}
    ours = {"gradflow": lambda: loss.loss_and_gradient(theta)}
    rivals = torch_gradients(problem, compiled)
    timings = _timing.in_turn(ours | rivals, rounds=rounds, warmups=3, shortest=0.01)
    fastest = min(rivals, key=timings.median)
    result["gradient from Python"] = timings.as_dict()
    result["torch"] = {"fastest": fastest, "ratio": timings.ratio(fastest, "gradflow")}

    steps = max(1, int(2e6 / max(problem.activations, 1)))
    handle = jax.numpy.asarray([loss.derivatives, loss.descriptor.ctypes.data, 0])
    pair = {
        "gradflow": in_loop(lambda t: xla.loss_and_gradient(handle, t)[1], theta, steps),
        "jax": in_loop(jax.grad(jax_loss(problem)), theta, steps),
    }
    timings = _timing.in_turn(pair, rounds=rounds)
    seconds = timings.median("gradflow") / steps
    result["gradient in a loop"] = {"steps": steps} | timings.as_dict()
    result["jax"] = {"ratio": timings.ratio("jax", "gradflow")}
    result["gradient seconds"] = seconds
    result["ns per activation"] = 1e9 * seconds / problem.activations

    pair = {"gradflow": lambda: loss.all_derivatives(theta)}
    if 8.0 * 4 * problem.size * problem.activations < MEMORY_LIMIT:
        pair |= torch_hessians(problem) | {"jax": jax_hessian(problem)}
    timings = _timing.in_turn(pair, rounds=rounds, shortest=0.001)
    result["hessian"] = timings.as_dict()
    result["hessian seconds"] = timings.median("gradflow")
    if len(pair) > 1:
        fastest = min((name for name in pair if "hessian" in name), key=timings.median)
        result["torch hessian"] = {"fastest": fastest, "ratio": timings.ratio(fastest, "gradflow")}
        result["jax hessian"] = {"ratio": timings.ratio("jax", "gradflow")}
    return result


def beside_the_machine(problem: Problem, rounds: int) -> dict:
    """The gradient beside a pass of exp over as many numbers, the Hessian beside dsyrk of its size."""
    import threadpoolctl
    from numba import carray
    from scipy.linalg.blas import dsyrk

    from gradflow.kernels.math import abi
    from gradflow.kernels.math.abi import as_pointer
    from gradflow.kernels.math.vector_math import exp

    loss, theta = problem.loss, problem.theta
    block = min(problem.activations, 5_000)
    source, target = np.random.default_rng(0).standard_normal(block), np.empty(block)

    def exp_pass(count, source, target, passes, unused, spare):
        z, out = carray(as_pointer(source), count, np.float64), carray(as_pointer(target), count, np.float64)
        for _ in range(passes):
            for i in range(count):
                out[i] = exp(z[i])

    def copy_pass():
        for _ in range(passes):
            np.copyto(target, source)

    exp_kernel = abi.callable_from_python(abi.compile_function(exp_pass, cached=False).address)
    passes = max(1, problem.activations // block)
    arguments = (block, source.ctypes.data, target.ctypes.data, passes, 0, 0)
    jacobian = np.asfortranarray(np.random.default_rng(0).standard_normal((problem.count, problem.size)))
    with threadpoolctl.threadpool_limits(1):
        timings = _timing.in_turn(
            {
                "gradient": lambda: loss.loss_and_gradient(theta),
                "exp pass": lambda: exp_kernel(*arguments),
                "copy pass": copy_pass,
                "hessian": lambda: loss.all_derivatives(theta),
                "dsyrk": lambda: dsyrk(1.0, jacobian, trans=1),
            },
            rounds=rounds,
            shortest=0.005,
        )
    operations = problem.count * problem.size * (problem.size + 1)
    return {
        "ns per activation": {
            name: 1e9 * timings.median(name) / problem.activations
            for name in ("gradient", "exp pass", "copy pass")
        },
        "GFLOP/s": {name: operations / timings.median(name) / 1e9 for name in ("hessian", "dsyrk")},
        "hessian / dsyrk": statistics.median(1 / r for r in timings.ratios("hessian", "dsyrk")),
    }


def threads(width: int, count: int, rounds: int) -> dict:
    """Gradients per second on two threads beside two independent processes of one thread each."""
    problem = Problem((2, width, 1), "softplus", count)
    one, two = problem.loss, problem.build(2)
    gradients = [loss.loss_and_gradient(problem.theta)[1] for loss in (one, two)]
    same = np.array_equal(gradients[0], gradients[1])
    shares, speedups = [], []
    for _ in range(rounds):
        joint = sum(_independent(width, count))
        pooled = _throughput(two, problem.theta, 0.5)
        single = _throughput(one, problem.theta, 0.5)
        shares.append(pooled / joint)
        speedups.append(pooled / single)
    return {
        "of joint throughput": _timing.summary(shares),
        "speed-up": _timing.summary(speedups),
        "same bits": same,
    }


def _throughput(loss, theta, seconds: float) -> float:
    loss.loss_and_gradient(theta)
    start, calls = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        loss.loss_and_gradient(theta)
        calls += 1
    return calls / elapsed


def _independent(width: int, count: int) -> list[float]:
    """Calls per second of two processes that run at the same time."""
    command = [sys.executable, "-m", "benchmarks.kernels", "--worker", str(width), str(count)]
    root = Path(__file__).parents[1]
    running = [
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in running:  # both have imported and compiled
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in running]


def _worker(width: int, count: int) -> None:
    problem = Problem((2, width, 1), "softplus", count)
    problem.loss.loss_and_gradient(problem.theta)
    print("ready", flush=True)
    sys.stdin.readline()
    print(_throughput(problem.loss, problem.theta, 0.5))


def peak_memory() -> dict:
    """What a Hessian adds to the peak of a process at P = 401, N = 100,000, in a process of its own."""
    code = (
        "from benchmarks._kernel_competitors import Problem\n"
        "p = Problem((2, 100, 1), 'softplus', 100_000)\n"
        "p.loss.loss_and_gradient(p.theta)\n"
        "def memory(key):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"  # the peak starts anew (Linux)
        "before = memory('VmRSS')\n"
        "p.loss.all_derivatives(p.theta)\n"
        "print(memory('VmHWM') - before)\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return {"bytes": int(done.stdout), "P² doubles": 8 * 401**2, "P·N doubles": 8 * 401 * 100_000}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks kernels", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="no N = 100,000, no torch.compile")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    cores = os.sched_getaffinity(0)
    os.environ["GRADFLOW_NUM_THREADS"] = "1"
    if options.worker:
        width, count = options.worker
        return _worker(int(width), int(count))

    facts = _timing.machine()
    os.sched_setaffinity(0, {min(cores)})  # before JAX and PyTorch count the cores
    import torch

    torch.set_num_threads(1)
    print(_timing.describe(facts), f"torch {torch.__version__}", sep=", ")
    print("\nratios: the competitor's time over ours. Julia: taken earlier on this kind of machine")
    print(f"{'':28}{'ns/act':>7}{'gradient':>10} µs{'torch':>7} {'(which)':<14}{'jax':>6}{'julia':>7}"
          f"{'Hessian':>11} µs{'torch':>7}{'jax':>7}{'julia':>7}")  # fmt: skip
    cells = {}
    for name, problem in problems(options.quick).items():
        cell = measure(problem, options.rounds, not (options.quick or options.no_compile))
        cells[name] = cell
        julia = JULIA.get((problem.sizes[1], problem.count)) if name.startswith("softplus") else None
        if julia is not None:
            cell["julia (earlier)"] = {
                "gradient": 1e-6 * julia[0] / cell["gradient seconds"],
                "hessian": 1e-6 * julia[1] / cell["hessian seconds"],
            }
        print(_line(name, cell), flush=True)

    machine = {}
    for width in (10, 50, 100):
        for count in (1_000, 10_000):
            key = f"softplus 2-{width}-1, N={count}"
            machine[key] = found = beside_the_machine(
                Problem((2, width, 1), "softplus", count), options.rounds
            )
            ns, rate = found["ns per activation"], found["GFLOP/s"]
            print(f"{key:28} ns per activation {ns['gradient']:.2f} (exp alone {ns['exp pass']:.2f}, copy "
                  f"{ns['copy pass']:.2f}); Hessian {rate['hessian']:.1f} GFLOP/s, "
                  f"dsyrk {rate['dsyrk']:.1f}: {100 * found['hessian / dsyrk']:.0f} %",
                  flush=True)  # fmt: skip

    call = Problem((2, 8, 1), "softplus", 100)
    handle_free = _timing.median_seconds(lambda: call.loss.loss_and_gradient(call.theta), shortest=0.02)
    kernel = measure_kernel(call, options.rounds)
    overhead = 1e6 * (handle_free - kernel)
    print(f"one gradient from Python, 33 parameters, N=100: {overhead:.1f} µs above "
          f"the kernel's {1e6 * kernel:.1f}")  # fmt: skip
    memory = peak_memory()
    print(f"peak memory of a Hessian, P=401, N=100,000: {memory['bytes'] / 1e6:.1f} MB "
          f"(P² is {memory['P² doubles'] / 1e6:.1f}, P·N {memory['P·N doubles'] / 1e6:.0f})")  # fmt: skip

    os.sched_setaffinity(0, cores)
    pooled = {}
    if len(cores) > 1:
        for width, count in ((10, 10_000), (100, 1_000), (100, 10_000)):
            found = pooled[f"2-{width}-1, N={count}"] = threads(width, count, options.rounds)
            share, speedup = found["of joint throughput"]["median"], found["speed-up"]["median"]
            print(f"two threads, 2-{width}-1, N={count}: {100 * share:.0f} % of two processes together,"
                  f" {speedup:.2f}× one thread, same bits: {found['same bits']}", flush=True)  # fmt: skip
    ratios = {key: [c[key]["ratio"] for n, c in cells.items() if key in c and n.startswith("softplus")]
              for key in ("torch", "jax", "torch hessian", "jax hessian")}  # fmt: skip
    for key, values in ratios.items():
        print(f"softplus grid, {key}: least {min(values):.1f}, median {statistics.median(values):.1f}")
    results = {"cells": cells, "machine": machine, "threads": pooled, "memory": memory,
               "python call": {"seconds": handle_free, "kernel seconds": kernel}}  # fmt: skip
    print(f"written: {_timing.write('kernels', results, facts)}")


def measure_kernel(problem: Problem, rounds: int) -> float:
    """Seconds of the gradient kernel alone, inside a jitted loop."""
    import jax

    from gradflow.kernels import xla

    handle = jax.numpy.asarray([problem.loss.derivatives, problem.loss.descriptor.ctypes.data, 0])
    loop = in_loop(lambda t: xla.loss_and_gradient(handle, t)[1], problem.theta, 10_000)
    return _timing.median_seconds(loop, rounds=rounds) / 10_000


def _line(name: str, cell: dict) -> str:
    def ratio(key):
        return f"{cell[key]['ratio']:.1f}" if key in cell else "limit"

    julia = cell.get("julia (earlier)", {})
    gradient, hessian = (f"{julia[k]:.1f}" if julia else "" for k in ("gradient", "hessian"))
    which = "(" + cell["torch"]["fastest"].removeprefix("torch").lstrip(" .") + ")"
    microseconds = 1e6 * cell["gradient seconds"]
    return (
        f"{name:28}{cell['ns per activation']:7.2f}{microseconds:10.1f}   {ratio('torch'):>7} {which:<14}"
        f"{ratio('jax'):>6}{gradient:>7}{1e6 * cell['hessian seconds']:11.1f}   "
        f"{ratio('torch hessian'):>7}{ratio('jax hessian'):>7}{hessian:>7}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
