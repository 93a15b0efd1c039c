"""Linear systems and trust-region steps with Hessian-vector products only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..support.lanczos import Product

EPS = float(np.finfo(np.float64).eps)


NULL, ROUNDING_NULL = 1e-9, 1e-13
"""Curvature below this times the largest is none: Newton does not step there. The second is where rounding
begins, for points at which nothing else is left."""

LOST = 1e3
"""Growth of |H r|/|r| after its least value that tells of a least-squares solution that rounding has
spoilt."""


class Step(NamedTuple):
    """A step s of conjugate gradients.

    Its predicted reduction −g·s − ½ s·H s, whether it ends at the boundary, whether curvature along one of
    its directions was negative, and the number of products.

    residual    |g + H s| relative to |g|
    condition   the ratio of the curvatures along its directions: the condition number of H, from below
    exhausted   whether the products were used up before the residual was small
    """

    vector: np.ndarray
    reduction: float
    on_boundary: bool
    negative: bool
    products: int
    residual: float = math.nan
    condition: float = math.nan
    exhausted: bool = False


def truncated_cg(product: Product, gradient: np.ndarray, radius: float, tolerance: float, most: int) -> Step:
    """A step that lowers g·s + ½ s·H s within |s| ≤ radius: conjugate gradients up to the boundary.

    It ends where |g + H s| ≤ tolerance |g|, at the boundary, or along a direction of negative curvature at
    the boundary; at least as good as the best step along −g. Source: T. Steihaug, SIAM J. Numer. Anal. 20
    (1983) 626–637.
    """
    step, residual = np.zeros_like(gradient), -gradient
    direction, image_sum = residual.copy(), np.zeros_like(gradient)
    square = float(residual @ residual)
    first, goal = square, tolerance**2 * square
    least, largest = math.inf, 0.0

    def finish(boundary: bool, negative: bool, products: int, exhausted: bool = False) -> Step:
        reduction = -float(gradient @ step) - 0.5 * float(step @ image_sum)
        residual = math.sqrt(square / first) if first > 0.0 else 0.0
        return Step(step, reduction, boundary, negative, products, residual, largest / least, exhausted)

    for products in range(1, most + 1):
        image = product(direction)
        curved = float(direction @ image)
        flat = curved <= 4 * EPS * float(np.linalg.norm(direction) * np.linalg.norm(image))
        length = math.inf if flat else square / curved
        if not flat:
            quotient = curved / float(direction @ direction)
            least, largest = min(least, quotient), max(largest, quotient)
        if flat or float(np.linalg.norm(step + length * direction)) >= radius:
            length = _to_boundary(step, direction, radius)
            step += length * direction
            image_sum += length * image
            return finish(True, flat, products)
        step += length * direction
        image_sum += length * image
        residual -= length * image
        before, square = square, float(residual @ residual)
        if square <= goal:
            return finish(False, False, products)
        direction = residual + square / before * direction
    return finish(False, False, most, True)


def _to_boundary(step: np.ndarray, direction: np.ndarray, radius: float) -> float:
    """τ > 0 with |step + τ direction| = radius."""
    a, b = float(direction @ direction), float(step @ direction)
    c = radius**2 - float(step @ step)
    root = math.sqrt(max(b * b + a * c, 0.0))
    return c / (b + root) if b > 0.0 else (root - b) / a


class Solution(NamedTuple):
    """x with |b − H x| = `residual`, the number of products, and whether it is as small as asked.

    condition   an estimate, from below, of the condition number of H on the Krylov space
    exhausted   whether the products were used up before
    """

    x: np.ndarray
    residual: float
    products: int
    solved: bool
    condition: float = math.nan
    exhausted: bool = False


def minres(
    product: Product,
    b: np.ndarray,
    tolerance: float,
    most: int,
    longest: float = math.inf,
    null: float = NULL,
) -> Solution:
    """x that minimises |b − H x| over Krylov's spaces, H symmetric of any signs, singular or not.

    It ends where |b − H x| ≤ tolerance |b|; where |H r| ≤ null |H| |r| (a least-squares solution: what is
    left of b is in directions of zero curvature); or at |x| = longest. Source: C. C. Paige and M. A.
    Saunders, SIAM J. Numer. Anal. 12 (1975) 617–629.
    """
    x = np.zeros_like(b)
    beta = first = float(np.linalg.norm(b))
    if first == 0.0:
        return Solution(x, 0.0, 0, True)
    before, vector = np.zeros_like(b), b / beta
    w, w_before = np.zeros_like(b), np.zeros_like(b)
    cosine, sine, residual, epsilon, delta_bar = -1.0, 0.0, beta, 0.0, 0.0
    largest, least, smallest = 0.0, (math.inf, x, beta), math.inf
    for products in range(1, most + 1):
        image = product(vector) - (beta if products > 1 else 0.0) * before
        alpha = float(image @ vector)
        image -= alpha * vector
        next_beta = float(np.linalg.norm(image))
        old_epsilon = epsilon
        delta = cosine * delta_bar + sine * alpha
        gamma_bar = sine * delta_bar - cosine * alpha
        epsilon, delta_bar = sine * next_beta, -cosine * next_beta
        reach = math.hypot(gamma_bar, delta_bar)  # |H r| of the iterate before, over |r|
        largest = max(largest, math.hypot(alpha, next_beta, beta if products > 1 else 0.0))
        if products > 1 and reach <= null * largest:
            return Solution(x, residual, products, False)
        if products > 1 and reach < least[0]:
            least = reach, x, residual
        if (
            reach > LOST * least[0] and least[0] < 1e5 * null * largest
        ):  # past a least-squares solution: rounding
            return Solution(least[1], least[2], products, False)
        gamma = max(math.hypot(gamma_bar, next_beta), EPS * largest)
        smallest = min(smallest, gamma)
        cosine, sine = gamma_bar / gamma, next_beta / gamma
        part, residual = cosine * residual, abs(sine * residual)
        w, w_before = (vector - old_epsilon * w_before - delta * w) / gamma, w
        moved = x + part * w
        if float(np.linalg.norm(moved)) > longest:
            step = part * w
            return Solution(x + _to_boundary(x, step, longest) * step, residual, products, False)
        x = moved
        if residual <= tolerance * first or next_beta <= EPS * largest:
            return Solution(x, residual, products, residual <= tolerance * first)
        before, vector, beta = vector, image / next_beta, next_beta
    return Solution(x, residual, most, False, largest / smallest, True)
