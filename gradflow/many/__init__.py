"""Many runs: batches of one problem, sweeps over a grid, and the folders that keep what is finished.

starts   `train_many`: many starts on all cores or on any executor
batch    `Batch`, what comes back: a sequence of results and failures, its table, classes and file
sweep    `sweep` over named axes, and `Sweep`, what comes back
store    a folder of finished cells that any later process goes on with
pool     futures in order, a progress bar, Ctrl-C

May import everything below it: the road (`run`), for labels and classes `landscape`.
"""

from .batch import Batch, Failure, PointClass, load
from .starts import train_many
from .sweep import Sweep, sweep

__all__ = ["Batch", "Failure", "PointClass", "Sweep", "load", "sweep", "train_many"]


def __dir__() -> list[str]:
    return sorted(__all__)
