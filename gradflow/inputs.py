"""Where the inputs of a problem come from: a law (Gaussian, a mixture, spherical), or samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from .support.eigen import symmetric_eigen
from .support.errors import ArgumentError
from .support.memory import check_memory
from .support.threads import single_threaded_blas
from .support.validate import integer, real_array, sequence


class Law:
    """What every law of the inputs answers for itself, whoever asks.

    Infinitely many inputs unless `samples` says otherwise.
    """

    @property
    def dim(self) -> int | None:
        """Input dimension, or None where any will do."""
        return None

    @property
    def samples(self) -> Samples | None:
        """The samples that it is, if the loss is a mean over such."""
        return None

    @property
    def parts(self) -> tuple[Law, ...]:
        """Itself, or what it is a mixture of."""
        return (self,)

    def sample(self, count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
        """So many draws, shape (count, dim), by the generator `rng`."""
        raise ArgumentError("inputs", type(self).__name__, "a law of infinitely many inputs")

    @property
    def isotropic(self) -> bool:
        """Whether it is the same in all directions around zero."""
        return False

    @property
    def standard(self) -> bool:
        """Whether it is N(0, I)."""
        return False

    def of_weights(self, rows: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows C^{1/2}, biases + rows μ) for rows (n, d), biases (n,): z = w·x + b in a centred x."""
        return rows, biases

    def times_covariance(self, rows: np.ndarray, dim: int) -> np.ndarray:
        """rows E xxᵀ for rows (…, d)."""
        raise ArgumentError("inputs", type(self).__name__, "None, a Gaussian or a spherically symmetric law")

    def gaussians(self, dim: int, degree: Callable[[], int]) -> list[tuple[float, Any]]:
        """Σ share · (a Gaussian), by which expectations of pairs of units in `dim` dimensions are those here.

        degree   gives the degree of homogeneity of all units, or raises `ArgumentError`
        """
        raise ArgumentError("inputs", type(self).__name__, "a law of infinitely many inputs")

    def within(self, dim: int) -> Law:
        """The law of `dim` coordinates of an isotropic one, as far as networks there can tell."""
        return self


class Gaussian(Law):
    """Infinitely many inputs x ~ N(mean, cov); without arguments the standard Gaussian of any dimension.

    Parameters
    ----------
    mean : array_like, shape (d,), optional
        Zero unless given.
    cov : array_like, shape (d, d), optional
        The identity unless given. Symmetric to 1e-12 of its largest entry and positive semi-definite:
        eigenvalues above −1e-12 of the largest, of which negative ones are taken as zero.

    Raises
    ------
    ArgumentError
        For other matrices, naming the asymmetry or the eigenvalue.

    Examples
    --------
    >>> Gaussian(cov=[[2.0, 1.0], [1.0, 2.0]])
    Gaussian(cov of trace 4; dim 2)
    >>> Gaussian(cov=[[1.0, 2.0], [2.0, 1.0]])
    Traceback (most recent call last):
        ...
    gradflow.support.errors.ArgumentError: cov: got an eigenvalue of -1; allowed: a positive semi-definite ...
    """

    def __init__(self, mean=None, cov=None):
        self.mean = None if mean is None else real_array("mean", mean, 1)
        self.cov = None if cov is None else real_array("cov", cov, 2)
        if self.cov is not None:
            self._factor = _symmetric_root(self.cov)
        if self.mean is not None and self.cov is not None and self.mean.size != self.cov.shape[0]:
            raise ArgumentError("mean", f"shape {self.mean.shape}", f"shape ({self.cov.shape[0]},) as cov")

    @property
    def dim(self) -> int | None:
        """Input dimension, or None where any will do."""
        for array in (self.mean, self.cov):
            if array is not None:
                return array.shape[0]
        return None

    @property
    def factor(self) -> np.ndarray | None:
        """The symmetric root C^{1/2} of the covariance (d, d); None for the identity."""
        return None if self.cov is None else self._factor

    @property
    def isotropic(self) -> bool:
        if self.mean is not None and self.mean.any():
            return False
        return self.cov is None or bool((self.cov == self.cov[0, 0] * np.eye(len(self.cov))).all())

    @property
    def standard(self) -> bool:
        return self.mean is None and self.cov is None

    def of_weights(self, rows, biases) -> tuple[np.ndarray, np.ndarray]:
        biases = biases if self.mean is None else biases + rows @ self.mean
        return (rows if self.cov is None else rows @ self._factor), biases

    def times_covariance(self, rows, dim) -> np.ndarray:
        return rows if self.cov is None else rows @ self.cov

    def gaussians(self, dim, degree) -> list[tuple[float, Any]]:
        return [(1.0, self)]

    def within(self, dim: int) -> Gaussian:
        return Gaussian() if self.cov is None else Gaussian(cov=self.cov[0, 0] * np.eye(dim))

    def sample(self, count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
        """Draws from the law.

        Parameters
        ----------
        count, dim : int
            Their number, and the input dimension where the law leaves it open.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray, shape (count, dim)
        """
        draws = rng.standard_normal((count, dim))
        if self.cov is not None:
            draws = draws @ self._factor
        return draws if self.mean is None else draws + self.mean

    def __repr__(self) -> str:
        if self.mean is None and self.cov is None:
            return "Gaussian()"
        parts = [f"mean of norm {np.linalg.norm(self.mean):.3g}"] if self.mean is not None else []
        parts += [f"cov of trace {np.trace(self.cov):.3g}"] if self.cov is not None else []
        return f"Gaussian({', '.join(parts)}; dim {self.dim})"


class Mixture(Law):
    """Infinitely many inputs from a mixture of laws, Σ_c p_c N(m_c, C_c).

    Parameters
    ----------
    components : sequence of Gaussian
        Or spherically symmetric laws; their dimensions must agree.
    weights : array_like, shape (components,), optional
        p_c > 0, divided by their sum; equal ones unless given.

    Raises
    ------
    ArgumentError
        For what are no laws of infinitely many inputs, dimensions that differ, or weights that are not
        positive.

    Examples
    --------
    >>> Mixture([gf.Gaussian(), gf.Gaussian(mean=[3.0, 4.0])], [3.0, 1.0])
    Mixture(0.75 Gaussian(), 0.25 Gaussian(mean of norm 5; dim 2))
    """

    def __init__(self, components, weights=None):
        allowed = "a list of gradflow.Gaussian"
        self.components = tuple(sequence("components", components, allowed))
        if not self.components:
            raise ArgumentError("components", "an empty list", "one component at least")
        for i, law in enumerate(self.components):
            if isinstance(law, Mixture) or not isinstance(law, Law) or law.samples:
                raise ArgumentError(f"components[{i}]", type(law).__name__, "a gradflow.Gaussian")
        dims = {law.dim for law in self.components if law.dim is not None}
        if len(dims) > 1:
            raise ArgumentError("components", f"dimensions {sorted(dims)}", "one dimension")
        self._dim = next(iter(dims), None)
        count = len(self.components)
        self.weights = np.ones(count) if weights is None else real_array("weights", weights, 1)
        if self.weights.size != count:
            raise ArgumentError("weights", f"shape {self.weights.shape}", f"one per component: ({count},)")
        if (self.weights <= 0).any():
            raise ArgumentError("weights", f"minimum {self.weights.min():g}", "weights > 0")
        self.weights /= self.weights.max()  # their sum cannot overflow now
        self.weights /= self.weights.sum()

    @property
    def dim(self) -> int | None:
        return self._dim

    @property
    def parts(self) -> tuple[Law, ...]:
        return self.components

    def gaussians(self, dim, degree) -> list[tuple[float, Any]]:
        parts = zip(self.weights, self.components)
        return [(float(p) * share, law) for p, part in parts for share, law in part.gaussians(dim, degree)]

    def sample(self, count: int, dim: int, rng: np.random.Generator) -> np.ndarray:
        """So many draws, shape (count, dim), by `rng`: a component is drawn for each."""
        chosen = rng.choice(len(self.components), size=count, p=self.weights)
        draws = np.empty((count, dim))
        for c, law in enumerate(self.components):
            own = chosen == c
            draws[own] = law.sample(int(own.sum()), dim, rng)
        return draws

    def __repr__(self) -> str:
        parts = ", ".join(f"{p:.3g} {law!r}" for p, law in zip(self.weights, self.components))
        return f"Mixture({parts})"


class Samples(Law):
    """Finitely many inputs.

    Parameters
    ----------
    X : array_like, shape (samples, features)
        The inputs, one a row.
    sample_weight : array_like, shape (samples,), optional
        w_s ≥ 0, not all zero; one each unless given.

    Raises
    ------
    ArgumentError
        For arrays that are empty, of other shapes or not finite, and weights that are negative or all zero.

    Notes
    -----
    The loss is the weighted mean over samples, Σ_s w_s (…) / Σ_s w_s.

    Examples
    --------
    >>> Samples([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], sample_weight=[1.0, 1.0, 2.0])
    Samples(3 × 2, weighted)
    """

    def __init__(self, X, sample_weight=None):
        self.X = real_array("X", X, 2)
        if self.X.size == 0:
            raise ArgumentError("X", f"shape {self.X.shape}", "at least one sample and one feature")
        self.sample_weight = None
        if sample_weight is not None:
            weight = real_array("sample_weight", sample_weight, 1)
            if weight.size != self.X.shape[0]:
                raise ArgumentError(
                    "sample_weight", f"shape {weight.shape}", f"one weight per sample: ({self.X.shape[0]},)"
                )
            with np.errstate(over="ignore"):
                total = weight.sum()
            if (weight < 0).any() or not 0 < total < np.inf:
                given = f"minimum {weight.min():g}, sum {total:g}"
                raise ArgumentError("sample_weight", given, "≥ 0, with a sum that is positive and finite")
            self.sample_weight = weight

    @classmethod
    def gauss_hermite(cls, dim: int, order: int) -> Samples:
        """Nodes and weights of Gauss–Hermite quadrature: x ~ N(0, I) in few dimensions, for any network.

        Parameters
        ----------
        dim : int
            Number of features d.
        order : int
            Nodes in each dimension, order^d in all.

        Returns
        -------
        Samples
            Weighted, of sum 1.

        Raises
        ------
        ArgumentError
            For numbers that are no integers ≥ 1, and orders above 180, beyond which weights underflow.
        MemoryLimitError
            For grids that do not fit.

        Notes
        -----
        Σ_s w_s p(x_s) = E p(x) for polynomials p of degree 2·order − 1 at most in each coordinate. For
        networks the error falls fast with the order where their activations are smooth (compare two orders),
        and slowly at the kink of a ReLU.

        Examples
        --------
        >>> samples = Samples.gauss_hermite(2, 5)
        >>> samples
        Samples(25 × 2, weighted)
        >>> float(samples.sample_weight @ samples.X[:, 0] ** 8).__round__(10)  # E x⁸ = 7·5·3
        105.0
        """
        dim, order = integer("dim", dim, 1), integer("order", order, 1, 180)
        check_memory("order", 8 * (dim + 1) * order**dim, f"{order}^{dim} quadrature nodes that")
        nodes, weights = scipy.special.roots_hermitenorm(order)
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * dim, indexing="ij")], axis=1)
        shares = np.array([1.0])
        for _ in range(dim):
            shares = np.outer(shares, weights / weights.sum()).ravel()
        return cls(grid, sample_weight=shares)

    @property
    def dim(self) -> int:
        """Number of features."""
        return self.X.shape[1]

    @property
    def samples(self) -> Samples:
        return self

    @property
    def weighted(self) -> np.ndarray:
        """The samples that have weight, (m, features)."""
        return self.X if self.sample_weight is None else self.X[self.sample_weight > 0]

    def __repr__(self) -> str:
        weighted = "" if self.sample_weight is None else ", weighted"
        return f"Samples({self.X.shape[0]} × {self.X.shape[1]}{weighted})"


Inputs = Law


def as_inputs(inputs) -> Inputs:
    """None is the standard Gaussian, an array is `Samples`; laws and `Samples` pass unchanged."""
    if inputs is None:
        return Gaussian()
    if isinstance(inputs, Law):
        return inputs
    try:
        return Samples(inputs)
    except ArgumentError as error:
        raise ArgumentError(
            "inputs", error.given, f"a law (gradflow.Gaussian, …), Samples, or {error.allowed}"
        ) from error


def _symmetric_root(cov: np.ndarray) -> np.ndarray:
    if cov.shape[0] != cov.shape[1] or cov.size == 0:
        raise ArgumentError("cov", f"shape {cov.shape}", "a square matrix")
    asymmetry = np.abs(cov - cov.T).max()
    if asymmetry > 1e-12 * np.abs(cov).max():
        raise ArgumentError("cov", f"an asymmetry of {asymmetry:.3g}", "a symmetric matrix")
    with single_threaded_blas():
        values, vectors = symmetric_eigen(0.5 * (cov + cov.T))
        if values[0] < -1e-12 * max(values[-1], 0.0):
            raise ArgumentError("cov", f"an eigenvalue of {values[0]:.6g}", "a positive semi-definite matrix")
        if values[-1] <= 0:
            raise ArgumentError("cov", "a matrix of zeros", "a positive eigenvalue at least")
        return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
