"""The one road: problem → plan → flow → refinement → result → report and file.

training    `train` and `resume`: one run from its starting point to its end
coordinates the parameters that move, in the span of all weights where that is smaller
checkpoint  the file from which an interrupted flow goes on
end         the name of what a run has come to, with its evidence
result      what was found; spectrum, the eigenvalues there, found in curvature; report, its words; storage,
            its HDF5 file

May import what lies below: infinity, solvers, refiners, losses, networks, inputs. What a point means (labels,
symmetries, theorems) belongs in `landscape` and `theory`, above.
"""
