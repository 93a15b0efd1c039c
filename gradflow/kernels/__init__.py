"""The numbers: Numba kernels on plain arrays. Knows nothing of networks, losses or solvers.

`abi` says how kernels are called, `xla` makes them callable inside jitted JAX programs.
"""
