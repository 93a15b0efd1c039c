"""gradflow: exact gradient flow for small neural networks, from a teacher to a critical point.

    import gradflow as gf

    teacher = gf.teachers.orthonormal(width=8, input_dim=9, activation="erf")
    student = gf.MLP.random((9, 3, 1), activation="erf", bias=False, seed=0)
    print(gf.train(teacher, student))

Importing gradflow switches JAX to 64-bit numbers (`jax_enable_x64`): everything here is Float64.
"""

import importlib as _importlib

import jax as _jax

_jax.config.update("jax_enable_x64", True)

from . import datasets, online, refiners, solvers, teachers  # noqa: E402
from ._version import __version__  # noqa: E402
from .activations import ACTIVATIONS, Activation, Polynomial  # noqa: E402
from .inputs import Gaussian, Mixture, Samples  # noqa: E402
from .losses.problem import Problem  # noqa: E402
from .networks import MLP  # noqa: E402
from .order_parameters import OrderParameters, order_parameters  # noqa: E402
from .run.result import Result, Spectrum  # noqa: E402
from .run.training import resume, train  # noqa: E402
from .run.trajectories import TrajectoryDistance, trajectory_distance  # noqa: E402
from .spherical import Ball, Sphere, Spherical, StudentT  # noqa: E402
from .support.errors import (  # noqa: E402
    ArgumentError,
    GradflowError,
    HessianUndefinedError,
    MemoryLimitError,
    MissingExtraError,
    StorageError,
)
from .support.stopping import StopReason  # noqa: E402

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "ArgumentError",
    "Ball",
    "Batch",
    "Failure",
    "Gaussian",
    "GradflowError",
    "HessianUndefinedError",
    "MemoryLimitError",
    "MissingExtraError",
    "Mixture",
    "OrderParameters",
    "Polynomial",
    "Problem",
    "Result",
    "Samples",
    "Spectrum",
    "Sphere",
    "Spherical",
    "StopReason",
    "StorageError",
    "StudentT",
    "Sweep",
    "TrajectoryDistance",
    "__version__",
    "certify",
    "cite",
    "datasets",
    "landscape",
    "load",
    "online",
    "order_parameters",
    "plot",
    "proofs",
    "recovery",
    "refiners",
    "resume",
    "solvers",
    "sweep",
    "teachers",
    "theory",
    "train",
    "train_many",
    "trajectory_distance",
    "verify_proof",
]

_LATE = {
    "landscape": "landscape",
    "plot": "plot",
    "proofs": "proofs",
    "recovery": "recovery",
    "theory": "theory",
    "Batch": "many",
    "Failure": "many",
    "Sweep": "many",
    "certify": "proofs",
    "cite": "citing",
    "load": "many",
    "sweep": "many",
    "train_many": "many",
    "verify_proof": "proofs",
}
"""Rooms that are imported when they are first used, and the names that come from such a room."""


def __getattr__(name: str):
    if name in _LATE:
        room = _importlib.import_module(f"{__name__}.{_LATE[name]}")
        return room if name == _LATE[name] else getattr(room, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
