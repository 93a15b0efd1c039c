"""Alignment with one teacher neuron (Zhu, Ying & Zuo 2021).

one_teacher   minima of ReLU students, and flows to them; activations: what else aligns
"""
