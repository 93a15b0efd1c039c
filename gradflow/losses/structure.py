"""Parameters in the structure of the user's own: any JAX pytree, as flat θ and back."""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

from ..support.errors import ArgumentError
from ..support.validate import real_array


class Structure:
    """How flat θ (P,) is a pytree: leaf after leaf, as `jax.flatten_util.ravel_pytree` has it.

    names    of the leaves, as "['layer']['w']"
    shapes   of the leaves
    """

    def __init__(self, treedef: Any, names: list[str], shapes: list[tuple[int, ...]]):
        self.treedef, self.names, self.shapes = treedef, names, shapes
        self.ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    @classmethod
    def of(cls, argument: str, tree: Any) -> tuple[Structure | None, np.ndarray]:
        """The structure and flat θ, in Float64; no structure where `tree` is a vector already."""
        numbers = isinstance(tree, (list, tuple)) and all(
            isinstance(t, (int, float, np.number)) for t in tree
        )
        if numbers:
            return None, real_array(argument, tree, 1)
        paths, treedef = jax.tree_util.tree_flatten_with_path(tree)
        if jax.tree_util.treedef_is_leaf(treedef):
            array = real_array(argument, tree, None)
            if array.ndim == 1:
                return None, array
        names, arrays = [], []
        for path, leaf in paths:
            names.append(jax.tree_util.keystr(path))
            if callable(leaf) and not hasattr(leaf, "__array__"):
                allowed = "arrays only: equinox.partition(model, equinox.is_array) takes functions out"
                raise ArgumentError(argument + names[-1], f"the function {leaf!r}", allowed)
            arrays.append(real_array(argument + names[-1], leaf, None))
        flat = np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0)
        return cls(treedef, names, [a.shape for a in arrays]), flat

    def tree(self, theta: Any) -> Any:
        """The pytree of flat θ, which may be traced."""
        starts = [0, *self.ends[:-1]]
        leaves = [theta[a:b].reshape(s) for a, b, s in zip(starts, self.ends, self.shapes, strict=True)]
        return jax.tree_util.tree_unflatten(self.treedef, leaves)

    def text(self) -> str:
        """A JSON text from which `read` makes it again, if it is made of dicts, lists and tuples."""
        leaves = iter(range(len(self.shapes)))
        plain = _plain(jax.tree_util.tree_unflatten(self.treedef, list(leaves)))
        return json.dumps(
            {"tree": plain, "names": self.names, "shapes": self.shapes, "words": str(self.treedef)}
        )

    @classmethod
    def read(cls, text: str) -> Structure:
        """The structure of `text`; a dict of the leaves by their names where it was made of other things."""
        values = json.loads(text)
        names, shapes = values["names"], [tuple(shape) for shape in values["shapes"]]
        if values["tree"] is None:
            width = len(str(len(names)))  # numbered, since JAX sorts the keys of a dict
            tree: Any = {f"{i:0{width}}{name}": 0 for i, name in enumerate(names)}
        else:
            tree = _rebuilt(values["tree"])
        return cls(jax.tree_util.tree_structure(tree), values["names"], shapes)


def _plain(tree: Any) -> Any:
    """A tree of numbers as JSON can hold it, with the kinds of its nodes; None where it is another kind."""
    if type(tree) is int:
        return tree
    if type(tree) is dict and all(type(key) is str for key in tree):
        branches = {key: _plain(branch) for key, branch in tree.items()}
        return None if None in branches.values() else ["dict", branches]
    if type(tree) in (list, tuple):
        entries = [_plain(branch) for branch in tree]
        return None if None in entries else [type(tree).__name__, entries]
    return None


def _rebuilt(plain: Any) -> Any:
    if isinstance(plain, int):
        return plain
    kind, branches = plain
    if kind == "dict":
        return {key: _rebuilt(branch) for key, branch in branches.items()}
    return (list if kind == "list" else tuple)(_rebuilt(branch) for branch in branches)
