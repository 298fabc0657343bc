"""CUDA and Triton kernels on a machine without a GPU: tools of the tests, with tests of their own.

`sources` builds the package's .cu files for the CPU, `ptx` runs what nvcc and Triton really emitted,
`interpreter` guards Triton's interpreter, `resources` reads registers, shared memory and occupancy out of
compiled kernels.
"""
