"""Compiling all kinds of problems beforehand, in several processes: `python -m gradflow warm`."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

import numpy as np


def _networks(activation: str, bias: bool = False, outputs: int = 1):
    from .networks import MLP

    shape = (4, 3, outputs)
    return (
        MLP.random(shape, activation, bias, seed=1, init="normal"),
        MLP.random((4, 2, outputs), activation, bias, seed=0, init="normal"),
    )


def _followed(solver: str, activation: str = "erf", bias: bool = False, refiner=None) -> None:
    from . import solvers
    from .run.training import train

    short = solvers.known_solvers()[solver](max_steps=3)
    train(*_networks(activation, bias), solver=short, refiner=refiner, progress=False)


def _samples(
    solver: str | None, refiner: str | None, loss: str = "squared", activation: str = "tanh"
) -> None:
    from . import solvers
    from .losses.problem import Problem
    from .run.training import train

    teacher, student = _networks(activation, True, 2)
    problem = Problem(teacher, student, np.random.default_rng(0).standard_normal((20, 4)), loss=loss)
    short = None if solver is None else solvers.known_solvers()[solver](max_steps=3)
    train(problem, solver=short, refiner=refiner, progress=False)


def _products() -> None:
    from .refiners import NewtonKrylov
    from .run.training import train

    train(*_networks("erf"), solver=None, refiner=NewtonKrylov(max_iterations=3), progress=False)


def _activations() -> None:
    from .activations import ACTIVATIONS

    for sigma in ACTIVATIONS.values():
        sigma(0.5)


KINDS: dict[str, Callable[[], None]] = {
    "infinitely many inputs, with Hessians": lambda: _followed("BDF"),
    "samples, least squares": lambda: _samples(None, "LevenbergMarquardt"),
    "expansions (softplus and others)": lambda: _followed("BDF", "softplus", True),
    "samples, classes": lambda: _samples("BDF", "TrustRegionNewton", "cross_entropy"),
    "biases and relu": lambda: _followed("BDF", "relu", True),
    "infinitely many inputs, without Hessians": lambda: _followed("KrylovBDF", refiner=None),
    "samples, without Hessians": lambda: _samples("KrylovBDF", None),
    "samples, kinks": lambda: _samples("Filippov", None, activation="relu"),
    "refinement without Hessians": _products,
    "all activations": _activations,
    "stabilised method": lambda: _followed("RKC2"),
    "explicit methods": lambda: _followed("Tsit5"),
    "ESDIRK methods": lambda: _followed("KenCarp58"),
}
"""What is compiled, by what it is for, the longest first."""


def warm(jobs: int | None = None, names: list[str] | None = None) -> Iterator[tuple[str, float]]:
    """Compile every kind, or those named; each kind with its seconds when it is done.

    Parameters
    ----------
    jobs : int, optional
        Processes; as many as cores unless given.
    names : list of str, optional
        Some of `KINDS`.

    Yields
    ------
    tuple of str and float
    """
    chosen = list(KINDS) if names is None else names
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs or cores, len(chosen)), context) as pool:
        waiting = {pool.submit(_timed, name): name for name in chosen}
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()


def _timed(name: str) -> float:
    began = time.monotonic()
    KINDS[name]()
    return time.monotonic() - began
