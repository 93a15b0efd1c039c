"""Runs that go to infinity: recognised, followed in coordinates in which the limit is finite, extrapolated.

channels    two neurons that merge while their output weights grow and cancel, in `coordinates` of their own
limits      values at several ε > 0 extrapolated to ε = 0, with an error that is meant
limit       networks on samples whose neurons become units of other kinds: `limit_network` has the units and
            their fit, `charts` the way there and back
continued   the same with infinitely many inputs, followed outwards and extrapolated
saturation  one neuron whose bias or weights grow until it is constant on all inputs
units       those of targets and features, in which all of this knows sizes of about one only
recession   a direction along which the loss falls for ever: separable classes, e^{−θ}

May import losses, networks, solvers and refiners; knows nothing of the road that asks.
"""

from .channels import Channel
from .limit import Limit
from .limit_network import LimitNetwork
from .recession import Recession
from .saturation import Saturation

__all__ = ["Channel", "Infinity", "Limit", "LimitNetwork", "Recession", "Saturation"]

Infinity = Channel | Limit | Saturation | Recession
