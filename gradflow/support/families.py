"""Classes found by name: the solvers, the refiners."""

from __future__ import annotations


def by_name(kind: type) -> dict:
    """The classes below an abstract one that have none below them, by their `name`."""
    below = kind.__subclasses__()
    if not below:
        return {kind.name: kind}  # type: ignore[attr-defined]
    return {name: cls for child in below for name, cls in by_name(child).items()}


def from_settings(kind: type, key: str, settings: dict):
    """The object of the class that `settings[key]` names, made from the other settings."""
    values = dict(settings)
    return by_name(kind)[values.pop(key)](**values)
