"""How flows with kinks are followed (`solvers.filippov`).

rosenbrock   one step on a smooth piece, within the boundaries along which the flow slides
following    the loop: steps, events located, ends
"""
