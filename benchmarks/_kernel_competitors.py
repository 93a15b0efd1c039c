"""What the kernels are compared with: the same loss in PyTorch and in JAX, one thread each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class Problem:
    """A network of given sizes with standard Gaussian data (or given data) and random parameters."""

    def __init__(self, sizes, activation: str, count: int, loss: str = "squared", data=None, seed: int = 0):
        import gradflow as gf
        from gradflow.losses.empirical import EmpiricalLoss

        rng = np.random.default_rng(seed)
        self.sizes, self.activation, self.count, self.kind = tuple(sizes), activation, count, loss
        self.student = gf.MLP.random(sizes, activation, seed=seed)
        if data is None:
            self.X, self.Y = rng.standard_normal((count, sizes[0])), rng.standard_normal((count, sizes[-1]))
        else:
            self.X, self.Y = data
        self.theta = self.student.flat() + 0.1 * rng.standard_normal(self.student.size)
        self.build = lambda threads: EmpiricalLoss(self.student, self.X, self.Y, loss=loss, threads=threads)
        self.loss = self.build(1)

    @property
    def size(self) -> int:
        return self.theta.size

    @property
    def activations(self) -> int:
        return self.count * sum(self.sizes[1:-1])

    def shapes(self):
        """(rows, columns, first weight, first bias) of the layers in flat θ."""
        start = 0
        for columns, rows in zip(self.sizes[:-1], self.sizes[1:]):
            yield rows, columns, start, start + rows * columns
            start += rows * columns + rows


def in_loop(gradient: Callable, theta, steps: int) -> Callable[[], object]:
    """`steps` gradients inside one jitted `fori_loop`, each depending on the one before."""
    import jax

    @jax.jit
    def run(start):
        return jax.lax.fori_loop(0, steps, lambda _, t: t - 1e-12 * gradient(t), start)

    start = jax.numpy.asarray(theta)
    return lambda: run(start).block_until_ready()


def jax_loss(problem: Problem) -> Callable:
    """The loss as a JAX function of flat θ."""
    import jax
    import jax.numpy as jnp

    from gradflow.activations import resolve

    sigma, X, Y = resolve(problem.activation), jnp.asarray(problem.X), jnp.asarray(problem.Y)

    def loss(theta):
        h = X
        for i, (rows, columns, w, b) in enumerate(problem.shapes()):
            h = h @ theta[w:b].reshape(rows, columns).T + theta[b : b + rows]
            if i + 2 < len(problem.sizes):
                h = sigma(h)
        if problem.kind == "cross_entropy":
            return -jnp.take_along_axis(jax.nn.log_softmax(h), Y[:, None], axis=1).mean()
        return ((h - Y) ** 2).sum(axis=1).mean()

    return loss


def jax_hessian(problem: Problem) -> Callable[[], object]:
    import jax

    compute, theta = jax.jit(jax.hessian(jax_loss(problem))), jax.numpy.asarray(problem.theta)
    return lambda: compute(theta).block_until_ready()


def torch_loss(problem: Problem) -> Callable:
    """The loss as a PyTorch function of flat θ."""
    import torch

    F = torch.nn.functional
    sigma = {
        "softplus": F.softplus,
        "tanh": torch.tanh,
        "erf": lambda z: torch.erf(z * 0.5**0.5),
        "relu": torch.relu,
        "g": lambda z: torch.sigmoid(4 * z) + F.softplus(z),
    }[problem.activation]
    X, Y = torch.from_numpy(problem.X), torch.from_numpy(problem.Y)

    def loss(theta):
        h = X
        for i, (rows, columns, w, b) in enumerate(problem.shapes()):
            h = F.linear(h, theta[w:b].reshape(rows, columns), theta[b : b + rows])
            if i + 2 < len(problem.sizes):
                h = sigma(h)
        if problem.kind == "cross_entropy":
            return F.cross_entropy(h, Y)
        return ((h - Y) ** 2).sum(dim=1).mean()

    return loss


def torch_gradients(problem: Problem, compiled: bool) -> dict[str, Callable[[], object]]:
    """Value and gradient in PyTorch: eager autograd, torch.func, and torch.compile if wanted."""
    import torch

    loss = torch_loss(problem)

    def autograd(function):
        theta = torch.from_numpy(problem.theta.copy()).requires_grad_()

        def call():
            theta.grad = None
            value = function(theta)
            value.backward()
            return value

        return call

    functional, fixed = torch.func.grad_and_value(loss), torch.from_numpy(problem.theta.copy())
    calls = {"torch eager": autograd(loss), "torch.func": lambda: functional(fixed)}
    if compiled:
        torch._dynamo.reset()
        call = autograd(torch.compile(loss, dynamic=False))
        try:
            call()
        except Exception as error:  # no C++ compiler, usually
            print(f"torch.compile does not work here: {type(error).__name__}")
        else:
            calls["torch.compile"] = call
    return calls


def torch_hessians(problem: Problem) -> dict[str, Callable[[], object]]:
    import torch

    loss, theta = torch_loss(problem), torch.from_numpy(problem.theta.copy())
    functional = torch.func.hessian(loss)
    return {
        "torch.func.hessian": lambda: functional(theta),
        "autograd.functional.hessian": lambda: torch.autograd.functional.hessian(loss, theta),
    }
