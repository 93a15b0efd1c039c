"""How benchmarks that are many runs use `gradflow.sweep`: where runs are kept, and on what they run."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import gradflow as gf

from . import _timing

EXECUTORS = ("threads", "processes", "dask")


def add_options(parser: argparse.ArgumentParser, workers: int = 2) -> None:
    """The options that every such benchmark has."""
    parser.add_argument("--executor", choices=EXECUTORS, default="threads")
    parser.add_argument("--workers", type=int, default=workers, help="threads or processes")
    parser.add_argument("--store", type=Path, help="a folder in which finished runs are kept")
    parser.add_argument("--again", action="store_true", help="forget the finished runs")


@contextlib.contextmanager
def executor(name: str, workers: int) -> Iterator[Executor | None]:
    """What the runs go to; None is `sweep`'s own threads."""
    if name == "processes":
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    elif name == "dask":
        from distributed import Client, LocalCluster

        options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client, client.get_executor() as pool:
            yield pool
    else:
        yield None


def sweep(name: str, grid: dict, make, chosen: argparse.Namespace, **options) -> gf.Sweep:
    """`gradflow.sweep` as the command line asks for it, in a folder of this name."""
    folder = (chosen.store or _timing.RESULTS / "runs") / name
    if chosen.again and folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with executor(chosen.executor, chosen.workers) as pool:
        found = gf.sweep(grid, make, store=folder, executor=pool, workers=chosen.workers, **options)
    for cell, text in found.failures:
        print(f"  failed: {cell}: {text.splitlines()[-1]}")
    if found.unfinished:
        raise SystemExit(f"{len(found.unfinished)} runs unfinished ({found.trouble or 'interrupted'})")
    return found
