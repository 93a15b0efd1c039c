"""The population loss from its pairs: value, gradient, Hessian, products; the equations of online learning.

geometry     from weight rows to cosines, sines and normals of all pairs
derivatives  L and ∇L; hessian, product: rows of ∇²L and of ∇²L v
linearised   L, ∇L and all products at one θ, for Krylov methods: in 32 bits, on several cores
double_double   L and ∇L to 32 digits, for erf and ReLU
online_erf   averages over joint fields, for order parameters

May import `kernels.pairs` and `kernels.math`.
"""
