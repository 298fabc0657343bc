"""Operands of PTX as C++: registers, constants, special registers and addresses."""

from __future__ import annotations

import re

from emulation.ptx_module import Kernel, Unsupported, bits_of

_INDEX = {"tid": "threadIdx", "ntid": "blockDim", "ctaid": "blockIdx", "nctaid": "gridDim"}


class Values:
    """Reads and writes the registers of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def c_type(self, kind: str) -> str:
        """The C++ type of a PTX type; half precision and untyped bits are unsigned integers."""
        size = bits_of(kind)
        if kind[0] == "f" and size in (32, 64):
            return "float" if size == 32 else "double"
        return f"i{size}" if kind[0] == "s" else f"u{size}"

    def register(self, name: str) -> tuple[str, int]:
        """The C++ variable of a register, and its width."""
        match = re.fullmatch(r"%([a-zA-Z_]+?)(\d+)", name)
        if match and match[1] in self.kernel.registers and self.kernel.register_counts[match[1]]:
            return f"{match[1]}_{match[2]}", self.kernel.registers[match[1]]
        plain = name.lstrip("%")
        if plain in self.kernel.registers:
            return f"{plain}_", self.kernel.registers[plain]
        raise Unsupported(f"register {name} in {self.kernel.name}")

    def read(self, operand: str, kind: str) -> str:
        """A C++ expression of the type that `kind` stands for."""
        special = _special_register(operand)
        if special is not None:
            return f"({self.c_type(kind)}){special}"
        if match := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})", operand):
            return f"f32(0x{match[1]}u)" if kind[0] == "f" else f"0x{match[1]}u"
        if match := re.fullmatch(r"0[dD]([0-9A-Fa-f]{16})", operand):
            return f"f64(0x{match[1]}ull)" if kind[0] == "f" else f"0x{match[1]}ull"
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", operand):
            number = operand.rstrip("U")
            return f"({number} != 0)" if kind == "pred" else f"(({self.c_type(kind)}){number}ll)"
        if operand in self.kernel.shared:
            return f"(({self.c_type(kind)}){self.kernel.shared[operand]}u)"
        if operand == self.kernel.dynamic:
            return f"(({self.c_type(kind)}){self.kernel.shared_size}u)"
        if operand in self.kernel.parameters:  # its address
            return f"((u64)parameters + {self.kernel.parameters[operand]})"
        if operand in self.kernel.local:
            return f"((u64)local + {self.kernel.local[operand]})"
        try:
            variable, _ = self.register(operand)
        except Unsupported as error:
            raise Unsupported(f"operand {operand} in {self.kernel.name}") from error
        if kind == "pred":
            return variable
        if kind[0] == "f" and bits_of(kind) in (32, 64):
            return f"{kind}({variable})"
        return f"(({self.c_type(kind)})({variable}))"

    def write(self, register: str, kind: str, value: str) -> str:
        """Assigns a C++ value of `kind`; narrow signed values are extended to the register."""
        if register == "_":
            return f"(void)({value});"
        variable, size = self.register(register)
        if size == 1:
            return f"{variable} = {value};"
        if kind[0] == "f" and bits_of(kind) in (32, 64):
            return f"{variable} = bits(({self.c_type(kind)})({value}));"
        if kind[0] == "s":
            return f"{variable} = (u{size})(i{size})({self.c_type(kind)})({value});"
        return f"{variable} = (u{size})({value});"


def _special_register(operand: str) -> str | None:
    match = re.fullmatch(r"%(n?tid|n?ctaid)\.([xyz])", operand)
    if match:
        return f"{_INDEX[match[1]]}.{match[2]}"
    return {
        "%laneid": "emulation::lane()",
        "%warpid": "(emulation::worker->current->linear / 32)",
        "WARP_SZ": "32",
    }.get(operand)
