"""Pair kernels, K(w, w') = E σ(w·x + b) τ(w'·x + b') over Gaussian x: one file a closed form or a rule.

units          the record of a neuron and the tables that all pair kernels read and write
erf, relu      layers of one activation without biases
mixture        sums of z^p, erf, |z| and z erf: everything elementary without biases
gated, gates   a gate and a straight line, with biases
general, smoothed, finite   elementary Gaussian means; polynomials, exponentials, sines with anything
panels, panel_nodes         one integral along a weight vector, where a kink meets what is not elementary
expansion, expansion_tables, close   Hermite series of smooth activations, quadrature for close pairs
roads                                which of the two for which pair, with its error
serving                              which kernel for which activations, with its error

May import `kernels.math` and the table of activations (which imports `units`, `erf` and `relu`).
"""
