"""The loss over samples: value, gradient, Hessian and products of any network, in blocks of samples.

network_blocks   descriptor, workspace, forward and backward pass of one block
derivatives, hessian, product, samples   what is made of them
outer_products   the Hessian of one hidden layer with one output, as products of its Jacobian
tiles, chunks    small matrix products in registers; threads with a fixed order of sums

May import `kernels.math` and the blocks of activations.
"""
