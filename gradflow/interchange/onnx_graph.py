"""ONNX graphs of a network."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..kernels.activation_blocks import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from ..support.errors import ArgumentError, MissingExtraError
from ..support.files import replacing

OPSET = 20
"""The first with Gelu."""

_OPERATORS: dict[str, tuple[str, dict]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "gelu": ("Gelu", {}),
    "elu": ("Elu", {}),
    "identity": ("Identity", {}),
    "sin": ("Sin", {}),
    "cos": ("Cos", {}),
    "exp": ("Exp", {}),
}


def write_onnx(network, path: str | os.PathLike, dtype: str = "float64") -> None:
    """Write a network as an ONNX graph, from "x" (samples, features) to "y".

    One `Gemm` a layer and the activations between.

    Parameters
    ----------
    network : MLP
        Of activations that ONNX has, or that can be made of them.
    path : path
        The file.
    dtype : {"float64", "float32"}
        Of its numbers.

    Raises
    ------
    ArgumentError
        For another dtype, and activations that cannot be written.
    MissingExtraError
        Without the package onnx.

    Examples
    --------
    >>> import contextlib
    >>> with contextlib.suppress(gf.MissingExtraError):  # where onnx is not installed
    ...     write_onnx(gf.MLP.random((2, 3, 1), seed=0), "network.onnx")
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "onnx", "MLP.to_onnx") from None
    if dtype not in ("float64", "float32"):
        raise ArgumentError("dtype", repr(dtype), "'float64' or 'float32'")
    kind = onnx.TensorProto.DOUBLE if dtype == "float64" else onnx.TensorProto.FLOAT
    graph = _Graph(onnx, np.dtype(dtype))
    h = "x"
    for l, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        matrices = [graph.constant(f"W{l}", W)] + ([] if b is None else [graph.constant(f"b{l}", b)])
        h = graph.node("Gemm", [h, *matrices], transB=1)
        if l < len(network.activations):
            h = graph.activation(network.activations[l], h)
    graph.node("Identity", [h], name="y")
    shape = [
        onnx.helper.make_tensor_value_info(name, kind, ["samples", size])
        for name, size in (("x", network.sizes[0]), ("y", network.sizes[-1]))
    ]
    whole = onnx.helper.make_graph(graph.nodes, "gradflow", shape[:1], shape[1:], graph.constants)
    model = onnx.helper.make_model(
        whole, producer_name="gradflow", opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=9
    )
    onnx.checker.check_model(model)
    with replacing(path) as name:
        onnx.save(model, name)


class _Graph:
    """Nodes and constants while they are made."""

    def __init__(self, onnx: Any, dtype: np.dtype):
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list = []
        self.constants: list = []

    def constant(self, name: str, values: Any) -> str:
        array = np.asarray(values, dtype=self.dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, inputs: list[str], name: str = "", **settings) -> str:
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **settings))
        return name

    def number(self, value: float) -> str:
        return self.constant(f"c{len(self.constants)}", value)

    def activation(self, sigma: Any, z: str) -> str:
        if isinstance(sigma, tuple):
            raise ArgumentError("activation", "several in one layer", "one for each layer")
        name = sigma.name
        if name in _OPERATORS:
            kind, settings = _OPERATORS[name]
            return self.node(kind, [z], **settings)
        if name in ("erf", "normal_cdf"):
            erf = self.node("Erf", [self.node("Mul", [z, self.number(0.5**0.5)])])
            if name == "erf":
                return erf
            return self.node("Mul", [self.node("Add", [erf, self.number(1.0)]), self.number(0.5)])
        if name == "leaky_relu":  # attributes of ONNX operators, as of LeakyRelu and Selu, are Float32
            return self.node("Max", [z, self.node("Mul", [z, self.number(LEAKY_SLOPE)])])
        if name == "selu":
            zero = self.number(0.0)
            tail = self.node("Elu", [self.node("Min", [z, zero])])
            tail = self.node("Mul", [tail, self.number(SELU_ALPHA)])
            whole = self.node("Add", [self.node("Max", [z, zero]), tail])
            return self.node("Mul", [whole, self.number(SELU_SCALE)])
        if name == "silu":
            return self.node("Mul", [z, self.node("Sigmoid", [z])])
        if name == "g":
            steep = self.node("Sigmoid", [self.node("Mul", [z, self.number(4.0)])])
            return self.node("Add", [steep, self.node("Softplus", [z])])
        powers = sigma.record.powers
        if not sigma.record.is_polynomial:
            raise ArgumentError(
                "activation", repr(sigma), "one of ACTIVATIONS or a Polynomial: others are code"
            )
        total = self.number(powers[-1])
        for c in powers[-2::-1]:
            total = self.node("Add", [self.node("Mul", [total, z]), self.number(c)])
        return total
