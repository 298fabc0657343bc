"""Triton kernels compiled without a GPU, and their PTX run on the CPU."""

from __future__ import annotations

import ctypes
import hashlib
import struct
from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from emulation import ptx, sources

_POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}


class Compiled(NamedTuple):
    name: str
    ptx: str
    shared: int
    warps: int


def built(
    kernel: Any, arguments: dict[str, Any], constants: dict[str, Any], warps: int, architecture: int
) -> Any:
    """As a launch with these arguments on a GPU of that architecture would compile it: integers of 1 become
    constants, what 16 divides is known to be.
    """
    constants = constants | {name: 1 for name, v in arguments.items() if isinstance(v, int) and v == 1}
    signature, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        value = arguments[name]
        tensor = isinstance(value, torch.Tensor)
        signature[name] = _POINTERS[value.dtype] if tensor else "i32"
        if (value.data_ptr() if tensor else value) % 16 == 0:
            attributes[(index,)] = [["tt.divisibility", 16]]
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})


def compiled(
    kernel: Any, arguments: dict[str, Any], constants: dict[str, Any], warps: int, architecture: int
) -> Compiled:
    """Its name, PTX and shared memory."""
    made = built(kernel, arguments, constants, warps, architecture)
    return Compiled(made.metadata.name, made.asm["ptx"], made.metadata.shared, warps)


@cache
def _library(text: str) -> ctypes.CDLL:
    name = f"triton_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    launcher = sources.compiled(sources.HERE / "bindings/translated.cpp", ["-DEMULATION_PTX"])
    path = sources.linked(f"{name}.so", [ptx.translated(text, name), launcher], ["-shared"])
    library = ctypes.CDLL(str(path))
    library.emulation_launch.restype = ctypes.c_char_p
    library.emulation_launch.argtypes = [
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_uint * 3),
        ctypes.POINTER(ctypes.c_uint * 3),
        ctypes.c_size_t,
        ctypes.c_char_p,
    ]
    return library


def launch(
    kernel: Any, grid: tuple[int, ...], arguments: dict[str, Any], constants: dict[str, Any], warps: int
) -> None:
    """In the place of `spinecore.kernels._launch.launch`: the PTX for sm_80, on tensors of the CPU."""
    code = compiled(kernel, arguments, constants, warps, 80)
    given = [v for name, v in arguments.items() if name in kernel.arg_names]
    assert len(given) == len(arguments)
    ordered = [
        arguments[name] for name in kernel.arg_names if name in arguments and arguments[name] is not None
    ]
    parameters = b""
    for value in ordered:
        if isinstance(value, torch.Tensor):
            parameters += b"\0" * (-len(parameters) % 8) + struct.pack("<Q", value.data_ptr())
        elif value != 1:
            parameters += struct.pack("<i", value)
    parameters += b"\0" * (-len(parameters) % 8) + bytes(
        4096 - 128
    )  # scratch pointers that no kernel here uses
    wide = (ctypes.c_uint * 3)(*(*grid, 1, 1)[:3])
    block = (ctypes.c_uint * 3)(32 * code.warps, 1, 1)
    error = _library(code.ptx).emulation_launch(code.name.encode(), wide, block, code.shared, parameters)
    if error:
        raise RuntimeError(error.decode())
