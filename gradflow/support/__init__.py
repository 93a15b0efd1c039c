"""Small helpers that every room may use and that know of none: errors, argument checks, files, threads.

errors      `GradflowError` and its kinds, each naming the argument, what was given and what is allowed
validate    plain values and arrays from what users hand in, or an `ArgumentError`
stopping    `StopReason`, the sentences that say why a stage stopped, and the one test of convergence
progress    the line on standard error, Ctrl-C, and who may write
files       files that appear whole or not at all; headers and checksums of those in HDF5
threads     BLAS on one thread
eigen       symmetric eigenvalues with bits that no thread count changes

May import NumPy, SciPy and one another; nothing else of the package but its version.
"""
