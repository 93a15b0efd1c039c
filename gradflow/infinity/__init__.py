"""Runs that go to infinity: recognised, followed in coordinates in which the limit is finite, extrapolated.

channels    two neurons that merge while their output weights grow and cancel, in `coordinates` of their own
limits      values at several ε > 0 extrapolated to ε = 0, with an error that is meant
saturation  one neuron whose bias or weights grow until it is constant on all inputs
recession   a direction along which the loss falls for ever: separable classes, e^{−θ}

May import losses, networks, solvers and refiners; knows nothing of the road that asks.
"""

from .channels import Channel
from .recession import Recession
from .saturation import Saturation

Infinity = Channel | Saturation | Recession
