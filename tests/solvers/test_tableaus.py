"""Order conditions of every table, by rooted trees."""

from functools import cache

import numpy as np
import pytest

from gradflow.solvers import tableaus

TABLES = {
    name: table
    for name, table in vars(tableaus).items()
    if hasattr(table, "packed") and not isinstance(table, type)
}
RUNGE_KUTTA = [name for name, table in TABLES.items() if isinstance(table, tableaus.RungeKutta)]
ROSENBROCK = [name for name, table in TABLES.items() if isinstance(table, tableaus.Rosenbrock)]


@cache
def trees(vertices):
    """Rooted trees of so many vertices, each the sorted tuple of its branches."""
    if vertices == 1:
        return [()]

    def forests(total, largest):
        if total == 0:
            yield ()
        for size in range(min(total, largest), 0, -1):
            for tree in trees(size):
                for rest in forests(total - size, size):
                    yield tuple(sorted((tree, *rest)))

    return sorted(set(forests(vertices - 1, vertices - 1)))


def vertices(tree):
    return 1 + sum(map(vertices, tree))


def density(tree):
    return vertices(tree) * int(np.prod([density(branch) for branch in tree]))


def weight(tree, alpha, beta):
    """The elementary weight at the stages: where a vertex has one branch only, the Jacobian takes part."""
    matrix = beta if len(tree) == 1 else alpha
    result = np.ones(len(alpha))
    for branch in tree:
        result = result * (matrix @ weight(branch, alpha, beta))
    return result


def residual(b, alpha, beta, order):
    """Largest violation of the conditions of this order."""
    return max(abs(b @ weight(tree, alpha, beta) - 1 / density(tree)) for tree in trees(order))


def test_trees_are_counted():
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@pytest.mark.parametrize("name", RUNGE_KUTTA)
def test_order_conditions_of_runge_kutta_methods(name):
    table = getattr(tableaus, name)
    # Tsitouras' published decimals meet his conditions to 1.5e-14 in Float64.
    allowed = 2e-14 if name == "TSIT5" else 1e-14
    for b, order in ((table.b, table.order), (table.b - table.error, table.embedded_order)):
        assert max(residual(b, table.A, table.A, p) for p in range(1, order + 1)) < allowed
        assert residual(b, table.A, table.A, order + 1) > 1e-6  # and not of higher order
    assert np.abs(table.predictor[1:].sum(axis=1) - 1).max() < 1e-13


def test_every_table_of_the_module_is_tested():
    assert len(TABLES) == len(RUNGE_KUTTA) + len(ROSENBROCK) >= 7


@pytest.mark.parametrize("name", ROSENBROCK)
def test_order_conditions_of_rosenbrock_methods(name):
    table = getattr(tableaus, name)
    gamma = table.gamma_matrix
    beta = table.alpha + gamma
    embedded = (table.m - table.e) @ gamma
    assert np.abs(np.diag(gamma) - table.gamma).max() < 1e-15 and np.abs(np.triu(gamma, 1)).max() < 1e-15
    for b, order in ((table.b, table.order), (embedded, table.embedded_order)):
        assert (
            max(residual(b, table.alpha, beta, p) for p in range(1, order + 1)) < 2e-14
        )  # published decimals
        assert residual(b, table.alpha, beta, order + 1) > 1e-6
    # Stiffly accurate: the last stage is the new point.
    assert np.abs(beta[-1] - table.b).max() < 1e-14


@pytest.mark.parametrize("name", [name for name in RUNGE_KUTTA if TABLES[name].implicit])
def test_implicit_methods_damp_stiff_components(name):
    A = getattr(tableaus, name).A
    z = -1e8
    inner = np.linalg.solve(np.eye(len(A)) - z * A, np.ones(len(A)))
    assert abs(inner[-1]) < 1e-6  # stiffly accurate: R(z) is the last stage


def test_a_wrong_table_is_refused():
    with pytest.raises(ValueError, match="sum to one"):
        tableaus.RungeKutta(1, 0, [[0.5]], embedded=[1.0, 0.0])
