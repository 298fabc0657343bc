"""Triton kernels, one module an operator (installed as `spinecore.kernels`).

Importing this package needs neither Triton nor a GPU: a kernel module is imported by its operator when it is
about to run.
"""
