"""The stepping loop in compiled code: Numba only, sizes at run time, one compilation for everything.

`loop.py` owns the loop: error control, acceptance, stopping, recording. A method is one compiled
function `void step(run, 0, 0, 0, 0, 0)` that the loop calls by its address; `layout.py` says what it
reads and writes. `esdirk.py`, `rosenbrock.py` and `explicit.py` are such methods.
"""
