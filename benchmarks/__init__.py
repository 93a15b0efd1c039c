"""Speed, measured: `python -m benchmarks` lists what there is, `python -m benchmarks NAME` runs one.

A benchmark is a module of this folder with `main(argv)`. It prints what it found and writes
`benchmarks/results/NAME.json`; what it compares, it measures in turn within one process, so that a
busy machine slows both sides alike.
"""
