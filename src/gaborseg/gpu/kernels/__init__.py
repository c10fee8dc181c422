"""Triton kernels; only the files beside this room launch them."""
