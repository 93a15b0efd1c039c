"""What every kernel is written in: elementary functions, arithmetic, memory, BLAS, how kernels are called.

abi            one C signature for all kernels, and their compilation
inner_code, ahead, cache   compiled once: inside a kernel, by a second process, for later processes
memory, blas   doubles and matrices at addresses; products by BLAS from compiled code
team           threads that share one task
vector_math    exp, log1p, tanh, erf, Φ, atan as loops that a compiler vectorises
errorfree, double_double   arithmetic whose rounding error is known; 32 digits
angles, bivariate_normal, gauss_legendre, hermite, jets   named primitives at the singular places

May import NumPy and Numba only.
"""
