"""Allocations that fail inside kernels: `MemoryLimitError`, never a crash and never a number."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import gradflow as gf

ROOT = Path(gf.__file__).parent


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def compared_with_zero(tree: ast.AST) -> set[str]:
    return {
        node.left.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and isinstance(node.comparators[0], ast.Constant)
        and node.comparators[0].value == 0
    }


def test_every_allocation_is_asked_whether_it_failed():
    """Its result has a name, and the function compares that name with 0."""
    checked = 0
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef) or not calls(function, "allocate"):
                continue
            named = set()
            for node in ast.walk(function):
                if isinstance(node, ast.Assign):
                    values, targets = [node.value], node.targets[:1]
                    if isinstance(targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                        values, targets = node.value.elts, node.targets[0].elts
                    named |= {t.id for v, t in zip(values, targets, strict=True) if calls(v, "allocate")}
            assert len(named) == len(calls(function, "allocate")), (path, function.name)
            assert named <= compared_with_zero(function), (path, function.name)
            checked += len(named)
    assert checked > 10


# Replaces C's aligned_alloc, by the name under which compiled code finds it, with one that fails at the
# n-th call; then makes every call of every problem fail at each of its allocations in turn.
FAILING = """
import ctypes, json, sys
import llvmlite.binding, numba, numpy as np
import gradflow as gf
from gradflow.kernels.math import abi, memory

state = np.zeros(2, np.int64)  # calls so far, the call that fails (from 1 on; 0: none)
libc = ctypes.CDLL(None)
real = ctypes.cast(libc.aligned_alloc, ctypes.c_void_p).value
state_address = state.ctypes.data

def failing(alignment, size):
    words = numba.carray(abi.as_pointer(state_address), 2, np.int64)
    words[0] += 1
    if words[0] == words[1]:
        return np.int64(0)
    return call(real, alignment, size)

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

@intrinsic
def call(typingctx, address, a, b):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)] * 2)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
    return types.int64(types.int64, types.int64, types.int64), codegen

allocator = abi.compile_function(failing, types.int64(types.int64, types.int64), cached=False)
llvmlite.binding.add_symbol("aligned_alloc", allocator.address)

def attempt(work, make=lambda: None):
    'Every allocation of work(make()) fails once: how many there are, and those that did not say so.'
    state[:] = 0
    truth, wrong, n = work(make()), [], 0
    while True:
        n += 1 if n < 20 else n // 3  # a flow has thousands, all alike
        made = make()
        state[:] = 0, n
        try:
            answer = work(made)
        except gf.MemoryLimitError:
            failed = True
        else:
            failed = state[0] >= n
            if failed or not same(answer, truth):
                wrong.append(n)
        state[:] = 0
        if not same(work(made), truth):  # nothing of the failure remains
            wrong.append(-n)
        if not failed:
            return [n - 1, wrong]

def same(a, b):
    if isinstance(a, (tuple, list)):
        return all(same(x, y) for x, y in zip(a, b))
    return np.array_equal(np.asarray(a), np.asarray(b))
"""

POPULATION = """
d = 3
def problem(activation, bias, inputs, teacher=None):
    t = gf.MLP.random((d, 2, 1), teacher or activation, bias, seed=1, init="normal")
    s = gf.MLP.random((d, 2, 1), activation, bias, seed=0, init="normal")
    W = np.array(s.weights[0])
    W[0] = t.weights[0][0] * (1.0 + 1e-3) + 1e-3 * W[0]  # a close pair
    s = gf.MLP([W, s.weights[1]], s.biases, activation)
    return lambda: (gf.Problem(t, s, inputs), s.flat())
law = gf.Gaussian(np.arange(d) / 5.0, np.eye(d) + 0.3)
mixture = gf.Mixture([gf.Gaussian(), law])
found = {}
for name, make in {
    "erf": problem("erf", False, None),
    "erf, law": problem("erf", True, law),
    "softplus": problem("softplus", True, law),
    "gelu": problem("gelu", True, mixture),
}.items():
    found[name + ": made"] = attempt(lambda make: make()[0].loss(make()[1]), lambda: make)
    for what, work in {
        "gradient": lambda m: m[0].loss_and_gradient(m[1]),
        "Hessian": lambda m: m[0].hessian(m[1]),
        "product": lambda m: m[0].hvp(m[1], np.cos(m[1])),
    }.items():
        found[name + ": " + what] = attempt(work, make)
print(json.dumps(found))
"""

OTHERS = """
rng = np.random.default_rng(0)
X, theta = rng.standard_normal((50, 3)), None
found = {}
def sampled(sizes=(3, 4, 2), **options):
    s = gf.MLP.random(sizes, "tanh", seed=0)
    return lambda: (gf.Problem(np.sin(X[:, :2]), s, X, **options), s.flat())
cases = {
    "loss": lambda p, t: p.loss(t),
    "gradient": lambda p, t: p.loss_and_gradient(t),
    "Hessian": lambda p, t: p.hessian(t),
    "product": lambda p, t: p.hvp(t, np.cos(t)),
    "Gauss-Newton": lambda p, t: p.gauss_newton_product(t, np.cos(t)),
    "residuals": lambda p, t: p.residuals(t),
    "per sample": lambda p, t: p.per_sample_gradients(t),
    "least squares": lambda p, t: p.objective.least_squares(t),
}
for what, work in cases.items():
    found["samples: " + what] = attempt(lambda m, work=work: work(*m), sampled(threads=2))
one = gf.MLP.random((3, 4, 1), "tanh", seed=0)  # one output: outer products
found["one output"] = attempt(lambda p: p.hessian(one.flat()), lambda: gf.Problem(X[:, :1], one, X))
t, s = gf.teachers.orthonormal(2, 3), gf.MLP.random((3, 2, 1), bias=False, seed=0)
low = 1e-17 * s.flat()
found["double-double"] = attempt(
    lambda p: p.objective.double_double(s.flat(), low), lambda: gf.Problem(t, s)
)
rates = np.ones(s.size)
rates[0] = 0.0
for solver in (gf.solvers.BDF(t1=0.5), gf.solvers.RKC2(t1=0.1)):
    def whole(made):
        result = gf.train(t, s, solver=solver, refiner=None, rates=rates)
        return result.theta, result.loss
    found["some rates zero: " + solver.name] = attempt(whole)
online = gf.online.OnlineSGD(learning_rate=0.1)
found["online"] = attempt(lambda made: online.integrate(t, s, t1=1.0).losses)
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("cases", [POPULATION, OTHERS], ids=["population", "others"])
def test_each_allocation_that_fails_is_a_memory_limit_error(cases):
    run = subprocess.run([sys.executable, "-c", FAILING + cases], capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.returncode, run.stderr[-2000:])
    found = json.loads(run.stdout)
    print(found)
    assert {name: wrong for name, (_, wrong) in found.items() if wrong} == {}
    assert all(count >= 1 for count, _ in found.values()), found
