"""A training step noted as two lists of kernel calls: forward, and backward with every gradient.

A module's own forward runs once on a `values.Value` in place of its input; nothing is computed. PyTorch's
functions reach it through `__torch_function__` (`functions`), modules of spinecore by calling
`Value.through` (`convolutions`, `units`). Each notes its kernels (`spinecore.ops.recording.run`) and, on the
`values.Tape`, what its backward will note.
"""
