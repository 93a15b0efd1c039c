"""JAX must compute in 64 bits, as `import gradflow` has told it to."""

from __future__ import annotations

import sys

from .errors import ArgumentError


def require_x64() -> None:
    """Raise `ArgumentError` if JAX computes in 32 bits: asked at the door of every road through JAX.

    Numbers would lose half their digits without a word, and the solvers of other packages fail somewhere.
    """
    jax = sys.modules.get("jax")
    if jax is not None and not jax.config.jax_enable_x64:
        raise ArgumentError(
            "jax_enable_x64",
            "False, switched off after `import gradflow` had switched it on",
            "True, in JAX's configuration: jax.config.update('jax_enable_x64', True)",
        )
