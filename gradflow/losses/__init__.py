"""Networks and inputs turned into one function of flat θ: value, gradient, Hessian, product."""
