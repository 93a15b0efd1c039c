"""The loop in compiled code: Numba only, sizes at run time, one compilation for everything.

`loop.py` owns the loop: step sizes, acceptance, stopping, recording; `scale.py` says how large an error may
be, `growth.py` which steps would outrun a mode that grows. A method is one function
`void step(run, 0, 0, 0, 0, 0)` that the loop calls by its address; `layout.py` says what it reads and
writes. The methods are the other files, one for each family, on the linear algebra of `algebra.py`.
"""
