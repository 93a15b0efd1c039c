"""What a report of trouble needs: versions, cores, settings, the place of compiled code."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ._version import __version__
from .kernels.math import cache

NEEDED = ("numpy", "scipy", "numba", "jax", "diffrax", "optimistix", "equinox", "lineax", "h5py", "mpmath")
OPTIONAL = ("matplotlib", "pandas", "xarray", "distributed", "python-flint", "torch", "onnx")


def information() -> dict[str, str]:
    """Versions, cores, threads and folders, as words by name.

    Examples
    --------
    >>> from gradflow.information import information
    >>> list(information())[:3]
    ['gradflow', 'python', 'packages']
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("GRADFLOW_NUM_THREADS", f"not set: {cores}")
    folder = cache.cache_folder(Path(cache.__file__).parent)
    return {
        "gradflow": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": ", ".join(_known(name) for name in NEEDED),
        "optional": ", ".join(filter(None, (_known(name, "") for name in OPTIONAL))) or "none",
        "cores": f"{cores} (GRADFLOW_NUM_THREADS {threads})",
        "numbers": "Float64 (jax_enable_x64)",
        "compiled": _described(folder),
    }


def _known(name: str, otherwise: str = "missing") -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        found = importlib.util.find_spec(name.replace("-", "_")) is not None
        return name if found else (f"{name} {otherwise}" if otherwise else "")


def _described(folder: Path | None) -> str:
    if folder is None:
        return "kept nowhere: no home folder; GRADFLOW_CACHE_DIR names one"
    base = folder.parent
    files = list(base.rglob("*.code")) if base.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    kinds = (
        "none yet: python -m gradflow warm" if not files else f"{len(files)} functions, {size / 1e6:.1f} MB"
    )
    return f"in {base} (GRADFLOW_CACHE_DIR): {kinds}"
