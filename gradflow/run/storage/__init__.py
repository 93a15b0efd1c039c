"""HDF5 files of problems, results and checkpoints: no pickle, written whole or not at all."""

from .results import load, save

__all__ = ["load", "save"]
