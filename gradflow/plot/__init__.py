"""Pictures: of flows, networks, spectra, phase diagrams and slices, each on axes of the user's or its own.

    import gradflow as gf

    ax = gf.plot.losses([first, second])
    ax.figure.savefig("losses.pdf")

Every function takes `ax=` and returns the axes it drew on. Without it a figure of one journal column is made,
in the style of `gf.plot.STYLE` (`with matplotlib.rc_context(gf.plot.STYLE):` gives other figures that style).
Needs matplotlib (`pip install "gradflow[plot]"`), which is imported when a picture is drawn.

flows      losses, gradients, trajectories
networks   weights
limits     limit: what a run that goes to infinity goes to
spectra    spectrum
grids      phase, slice
pages      overview: four pictures of one result; save, check_path

May import everything below it but the command line.
"""

from .flows import gradients, losses, trajectories
from .grids import phase, slice
from .limits import limit
from .networks import weights
from .pages import PICTURES, check_path, overview, save, save_overview
from .spectra import spectrum
from .style import COLUMN, STYLE

__all__ = [
    "COLUMN",
    "PICTURES",
    "STYLE",
    "check_path",
    "gradients",
    "limit",
    "losses",
    "overview",
    "phase",
    "save",
    "save_overview",
    "slice",
    "spectrum",
    "trajectories",
    "weights",
]


def __dir__() -> list[str]:
    return sorted(__all__)
