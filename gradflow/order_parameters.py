"""Order parameters: a two-layer network seen through the overlaps of its weight vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .inputs import as_inputs
from .networks import MLP
from .support.errors import ArgumentError
from .support.threads import single_threaded_blas
from .support.validate import real_array


class OrderParameters(NamedTuple):
    """Overlaps of weight vectors, with the covariance C of the inputs.

    Attributes
    ----------
    Q : ndarray, shape (…, n, n)
        W C Wᵀ, of the student's.
    R : ndarray, shape (…, n, k)
        W C Vᵀ, of the student's with the teacher's.
    T : ndarray, shape (k, k)
        V C Vᵀ, of the teacher's.

    Examples
    --------
    >>> student = gf.MLP([[[0.6, 0.8]], [[1.0]]])
    >>> order_parameters(student, gf.teachers.orthonormal(2, 2)).Q
    array([[1.]])
    """

    Q: np.ndarray
    R: np.ndarray
    T: np.ndarray


def order_parameters(student: MLP, teacher: MLP, inputs=None, theta=None) -> OrderParameters:
    """The overlaps of the first layers' weight vectors, W of the student and V of the teacher.

    Parameters
    ----------
    student, teacher : MLP
    inputs : optional
        As in `train`: None, a `Gaussian` or a spherically symmetric law.
    theta : array_like, shape (P,) or (m, P), optional
        Flat parameters, or a path of them as `flow.theta`, in place of the student's own.

    Returns
    -------
    OrderParameters
        Q = W C Wᵀ, R = W C Vᵀ and T = V C Vᵀ with the covariance C of the inputs.

    Raises
    ------
    ArgumentError
        For networks or parameters that do not fit together.

    Notes
    -----
    Q_ij = E z_i z_j − E z_i E z_j for the pre-activations z = Wx (without biases), and R and T in the same
    way: there is no 1/N. Papers that write w·x/√N for what is w·x here have Q = wwᵀ/N, the same number.

    Examples
    --------
    >>> teacher = gf.teachers.orthonormal(2, 3)
    >>> student = gf.MLP([[[0.6, 0.8, 0.0]], [[1.0]]])
    >>> Q, R, T = order_parameters(student, teacher)
    >>> R
    array([[0.6, 0.8]])
    """
    for argument, network in (("student", student), ("teacher", teacher)):
        if not isinstance(network, MLP):
            raise ArgumentError(argument, type(network).__name__, "a gradflow.MLP")
    n, d = student.weights[0].shape
    if teacher.sizes[0] != d:
        raise ArgumentError("teacher", f"{teacher.sizes[0]} inputs", f"{d}, as the student has")
    W = student.weights[0]
    if theta is not None:
        flat = real_array("theta", theta, (1, 2))
        if flat.shape[-1] != student.size:
            raise ArgumentError("theta", f"shape {flat.shape}", f"(…, {student.size}), flat parameters")
        W = flat[..., : n * d].reshape(*flat.shape[:-1], n, d)
    V = teacher.weights[0]
    with single_threaded_blas():
        images, teacher_images = _times_covariance(W, inputs, d), _times_covariance(V, inputs, d)
        Q = images @ np.swapaxes(W, -1, -2)
        T = teacher_images @ V.T
        return OrderParameters(0.5 * (Q + np.swapaxes(Q, -1, -2)), W @ teacher_images.T, 0.5 * (T + T.T))


def _times_covariance(rows: np.ndarray, inputs, dim: int) -> np.ndarray:
    law = as_inputs(inputs)
    if law.dim not in (None, dim):
        raise ArgumentError("inputs", f"dimension {law.dim}", f"{dim}, as the networks have")
    return law.times_covariance(rows, dim)
