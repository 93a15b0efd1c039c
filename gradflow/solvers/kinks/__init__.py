"""Flows of losses with kinks: Filippov solutions with located crossings, sliding and leaving.

hull         the generalised gradient at a kink: its element of least norm
rosenbrock   one step on a smooth piece, within the boundaries along which the flow slides
corner       which boundaries are crossed, and along which the flow slides, where it meets some
events       what is recorded of them
following    the loop: steps, events located, ends

A place is a neuron and a sample; its boundary is where its pre-activation is at a kink. L restricted to a set
of boundaries is smooth, and a flow slides along them by the gradient of that restriction, as long as the
generalised gradient has an element tangential to all of them.
"""
