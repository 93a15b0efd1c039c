"""What a loss with kinks looks like at a point where it has one: hulls of gradients, corners, boundaries.

hull         the generalised gradient at a kink: its element of least norm
corner       which boundaries are crossed from a point, and along which a flow slides
manifold     boundaries along which it slides, and coordinates along them
zeros        neurons whose weights are zero
events       what is recorded of them

A place is a neuron and a sample; its boundary is where its pre-activation is at a kink. L restricted to a set
of boundaries is smooth, and a flow slides along them by the gradient of that restriction, as long as the
generalised gradient has an element tangential to all of them.

Solvers and refiners use this; it knows of a loss only its pieces (`losses.kinked`).
"""
