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


def add_options(parser: argparse.ArgumentParser, name: str, workers: int = 2) -> None:
    """The options that every such benchmark has."""
    parser.add_argument("--executor", choices=EXECUTORS, default="threads")
    parser.add_argument("--workers", type=int, default=workers, help="threads or processes")
    parser.add_argument("--folder", type=Path, default=_timing.RESULTS, help="where the results go")
    parser.add_argument("--store", type=Path, help="where finished runs are kept, by default in FOLDER")
    parser.add_argument("--anew", action="store_true", help="forget the finished runs")
    parser.set_defaults(name=name)


@contextlib.contextmanager
def executor(chosen: argparse.Namespace) -> Iterator[Executor | None]:
    """What the runs go to, as the command line asks for it; None is `sweep`'s own threads."""
    if chosen.executor == "processes":
        spawned = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(chosen.workers, mp_context=spawned) as pool:
            yield pool
    elif chosen.executor == "dask":
        from distributed import Client, LocalCluster

        options = {"n_workers": chosen.workers, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client, client.get_executor() as pool:
            yield pool
    else:
        yield None


def sweep(
    part: str, grid: dict, make, chosen: argparse.Namespace, pool: Executor | None, **options
) -> list[dict]:
    """The rows of `gradflow.sweep` over a part of a benchmark, which has a folder of its own.

    Runs that failed in an earlier call are done again. Ends the program where some fail or are unfinished.
    """
    folder = (chosen.store or chosen.folder / f"{chosen.name}.runs") / part
    if chosen.anew and folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    settings = {"store": folder, "executor": pool, "workers": chosen.workers, "retry": True}
    found = gf.sweep(grid, make, **settings, **options)
    for cell, text in found.failures:
        print(f"  failed: {cell}: {text.splitlines()[-1]}")
    if found.unfinished:
        raise SystemExit(f"{len(found.unfinished)} runs unfinished ({found.trouble or 'interrupted'})")
    if found.failures:
        raise SystemExit(f"{len(found.failures)} runs failed")
    return found.rows()
