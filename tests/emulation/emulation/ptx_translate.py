"""PTX to C++ that runs on the emulation: what nvcc and Triton emitted, instruction by instruction.

Registers become unsigned integers of their width, labels stay labels, guards become ifs; memory, barriers and
warp operations go to `emulation/ptx_runtime.h`. What is not known is refused (`Unsupported`), never guessed:
wgmma, tcgen05, TMA, packed half arithmetic and calls.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from emulation import ptx_memory
from emulation.ptx_module import Instruction, Kernel, Label, Unsupported, bits_of, kernels
from emulation.ptx_values import Values

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_COMPARE |= {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
_UNARY = {"sqrt": "std::sqrt", "ex2": "std::exp2", "lg2": "std::log2", "sin": "std::sin", "cos": "std::cos"}
_UNARY |= {"tanh": "std::tanh", "rcp": "1.0f / ", "rsqrt": "1.0f / std::sqrt"}
_ROUND = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}
_LOGIC = {"and": "&", "or": "|", "xor": "^"}
_NO_EFFECT = {"pragma", "griddepcontrol", "nanosleep", "prefetch", "discard", "applypriority", "createpolicy"}


class Translator:
    """One kernel at a time; `trace` adds the counting of `emulation/trace.h`."""

    def __init__(self, kernel: Kernel, trace: bool) -> None:
        self.kernel, self.trace = kernel, trace
        self.values = Values(kernel)
        self.number = 0  # of the instruction
        self.barriers = 0
        self.fences = 0

    def translate(self, index: int) -> str:
        lines = [f"void kernel_{index}(const unsigned char* parameters) {{", "  (void)parameters;"]
        lines.append(f"  alignas(16) unsigned char local[{max(self.kernel.local_size, 1)}]; (void)local;")
        for kind, count in self.kernel.register_counts.items():
            size = self.kernel.registers[kind]
            names = [f"{kind}_{i} = 0" for i in range(count)] if count else [f"{kind}_ = 0"]
            lines.append(f"  {'bool' if size == 1 else f'u{size}'} {', '.join(names)};")
        lines += [self._statement(statement) for statement in self.kernel.body]
        name = self.kernel.name
        lines.append(
            f'}}\nconst emulation::Registration registration_{index}("{name}", kernel_{index}, '
            f"{self.kernel.shared_size});"
        )
        return "\n".join(lines)

    def _statement(self, statement: Instruction | Label) -> str:
        if isinstance(statement, Label):
            return f" {_label(statement.name)}:;"
        self.number += 1
        code = self._instruction(statement.opcode.split("."), statement.operands)
        if self.trace:
            name = f"{statement.opcode}@{statement.line}"
            code = f'trace::instruction("{self.kernel.name}", {self.number}, "{name}"); {code}'
        if statement.guard:
            negated, register = statement.guard.startswith("!"), statement.guard.lstrip("!")
            return f"  if ({'!' if negated else ''}{self.values.read(register, 'pred')}) {{ {code} }}"
        return f"  {code}"

    def _instruction(self, parts: list[str], a: tuple[str, ...]) -> str:
        operation, kind = parts[0], parts[-1]
        method = getattr(self, f"_{operation}", None)
        if method is not None:
            return str(method(parts, a, kind))
        memory = ptx_memory.translate(self.values, parts, a, self.number if self.trace else 0)
        if memory is not None:
            return memory
        if operation in _NO_EFFECT:
            return ";"
        if operation in _LOGIC:
            return self._write(
                a[0], kind, f"{self._read(a[1], kind)} {_LOGIC[operation]} {self._read(a[2], kind)}"
            )
        if operation in _UNARY and kind == "f32":
            return self._write(a[0], kind, f"{_UNARY[operation]}({self._read(a[1], kind)})")
        raise Unsupported(f"{'.'.join(parts)} {a} in {self.kernel.name}")

    def _read(self, operand: str, kind: str) -> str:
        return self.values.read(operand, kind)

    def _write(self, register: str, kind: str, value: str) -> str:
        return self.values.write(register, kind, value)

    def _unsigned(self, operand: str, kind: str) -> str:
        """Integers wrap: signed arithmetic is done unsigned."""
        return self._read(operand, kind if kind[0] == "f" else f"u{bits_of(kind)}")

    # ---- arithmetic ------------------------------------------------------------------------
    def _add(self, parts: list[str], a: tuple[str, ...], kind: str, sign: str = "+") -> str:
        if kind[0] not in "fsu" or kind in ("f16", "f16x2"):
            raise Unsupported(".".join(parts))
        value = f"{self._unsigned(a[1], kind)} {sign} {self._unsigned(a[2], kind)}"
        return self._write(a[0], kind, f"saturate({value})" if "sat" in parts else value)

    def _sub(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._add(parts, a, kind, "-")

    def _mul(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        if kind in ("f32", "f64"):
            return self._write(a[0], kind, f"{self._read(a[1], kind)} * {self._read(a[2], kind)}")
        return self._integer_product(parts, a, kind, "")

    def _mad(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        if kind in ("f32", "f64"):
            return self._fma(parts, a, kind)
        return self._integer_product(parts, a, kind, a[3])

    def _integer_product(self, parts: list[str], a: tuple[str, ...], kind: str, addend: str) -> str:
        if kind[0] not in "su":
            raise Unsupported(".".join(parts))
        size = bits_of(kind)
        signed = "" if kind[0] == "s" else "unsigned "
        product = f"(({signed}__int128){self._read(a[1], kind)} * ({signed}__int128){self._read(a[2], kind)})"
        result = f"u{2 * size}" if "wide" in parts else f"u{size}"
        value = f"({result})({product} >> {size})" if "hi" in parts else f"({result}){product}"
        if addend:
            value += f" + {self._read(addend, result)}"
        return self._write(a[0], result, value)

    def _fma(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        if kind not in ("f32", "f64"):
            raise Unsupported(".".join(parts))
        name = "fma_down" if "rm" in parts else "fma"
        return self._write(a[0], kind, f"ptx::{name}({', '.join(self._read(x, kind) for x in a[1:4])})")

    def _div(self, parts: list[str], a: tuple[str, ...], kind: str, operator: str = "/") -> str:
        quotient = self._write(a[0], kind, f"{self._read(a[1], kind)} {operator} {self._read(a[2], kind)}")
        if kind[0] == "f":
            return quotient
        return f'if ({self._read(a[2], kind)} == 0) emulation::fail("integer division by zero"); {quotient}'

    def _rem(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._div(parts, a, kind, "%")

    def _min(self, parts: list[str], a: tuple[str, ...], kind: str, name: str = "min") -> str:
        function = f"floating_{name}" if kind[0] == "f" else f"std::{name}"
        if "NaN" in parts:
            raise Unsupported(".".join(parts))
        return self._write(a[0], kind, f"{function}({self._read(a[1], kind)}, {self._read(a[2], kind)})")

    def _max(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._min(parts, a, kind, "max")

    def _neg(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        value = f"-{self._read(a[1], kind)}" if kind[0] == "f" else f"0 - {self._unsigned(a[1], kind)}"
        return self._write(a[0], kind, value)

    def _abs(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._write(
            a[0], kind, f"{'std::fabs' if kind[0] == 'f' else 'std::abs'}({self._read(a[1], kind)})"
        )

    # ---- bits ------------------------------------------------------------------------------
    def _not(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._write(a[0], kind, f"{'!' if kind == 'pred' else '~'}{self._read(a[1], kind)}")

    def _shl(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._write(a[0], kind, f"shift_left({self._read(a[1], kind)}, {self._read(a[2], 'u32')})")

    def _shr(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._write(a[0], kind, f"shift_right({self._read(a[1], kind)}, {self._read(a[2], 'u32')})")

    def _bfe(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        values = [self._read(a[1], kind), *(self._read(x, "u32") for x in a[2:4])]
        return self._write(a[0], kind, f"extract_bits({', '.join(values)})")

    def _bfi(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        values = [*(self._read(x, kind) for x in a[1:3]), *(self._read(x, "u32") for x in a[3:5])]
        return self._write(a[0], kind, f"insert_bits({', '.join(values)})")

    def _prmt(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._write(a[0], "b32", f"permute({', '.join(self._read(x, 'b32') for x in a[1:4])})")

    def _popc(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return self._write(a[0], "u32", f"__builtin_popcountll({self._read(a[1], kind)})")

    # ---- choices, moves and conversions ----------------------------------------------------
    def _setp(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        left, right = self._read(a[1], kind), self._read(a[2], kind)
        comparison = parts[1]
        if comparison in _COMPARE:
            value = f"({left} {_COMPARE[comparison]} {right})"
            if comparison == "ne" and kind[0] == "f":  # false for NaN
                value = f"({left} < {right} || {left} > {right})"
        elif comparison in ("nan", "num"):
            value = f"{'!' if comparison == 'num' else ''}is_nan_pair({left}, {right})"
        elif comparison.endswith("u") and comparison[:-1] in _COMPARE:  # true for NaN
            value = f"(is_nan_pair({left}, {right}) || {left} {_COMPARE[comparison[:-1]]} {right})"
        else:
            raise Unsupported(".".join(parts))
        if parts[2] in _LOGIC:
            operator = {"and": "&&", "or": "||", "xor": "!="}[parts[2]]
            negated = "!" if a[3].startswith("!") else ""
            value = f"({value} {operator} {negated}{self._read(a[3].lstrip('!'), 'pred')})"
        first, _, second = a[0].partition("|")
        if not second:
            return self._write(first, "pred", value)
        writes = f"{self._write(first, 'pred', 'v')} {self._write(second, 'pred', '!v')}"
        return f"{{ const bool v = {value}; {writes} }}"

    def _selp(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        condition = self._read(a[3], "pred")
        return self._write(a[0], kind, f"{condition} ? {self._read(a[1], kind)} : {self._read(a[2], kind)}")

    def _mov(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        size = bits_of(kind)
        if a[0].startswith("{"):
            pieces = ptx_memory.braced(a[0])
            width = size // len(pieces)
            writes = [
                self._write(p, f"b{width}", f"(u{width})(w >> {i * width})") for i, p in enumerate(pieces)
            ]
            return f"{{ const u{size} w = {self._read(a[1], f'b{size}')}; {' '.join(writes)} }}"
        if a[1].startswith("{"):
            pieces = ptx_memory.braced(a[1])
            width = size // len(pieces)
            joined = " | ".join(
                f"((u{size}){self._read(p, f'b{width}')} << {i * width})" for i, p in enumerate(pieces)
            )
            return self._write(a[0], f"b{size}", joined)
        return self._write(a[0], kind, self._read(a[1], kind))

    def _cvta(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        address = self._read(a[1], kind)
        if "shared" in parts:
            address += f" {'-' if 'to' in parts else '+'} (u64)shared_memory()"
        return self._write(a[0], kind, address)

    def _cvt(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        to, of = parts[-2], parts[-1]
        narrow = {"bf16": "float_to_bfloat", "f16": "float_to_half"}
        if to in ("bf16x2", "f16x2") and of == "f32":
            high, low = (f"(u32){narrow[to[:-2]]}({self._read(x, 'f32')})" for x in a[1:3])
            return self._write(a[0], "b32", f"({high} << 16) | {low}")
        if to in narrow and of == "f32":
            return self._write(a[0], "b16", f"{narrow[to]}({self._read(a[1], 'f32')})")
        if to == "f32" and of in narrow:
            widen = {"bf16": "bfloat_to_float", "f16": "half_to_float"}[of]
            return self._write(a[0], "f32", f"{widen}({self._read(a[1], 'b16')})")
        if bits_of(to) == 16 and to[0] in "bf":
            raise Unsupported(".".join(parts))
        value = self._read(a[1], of)
        rounding = next((_ROUND[part] for part in parts if part in _ROUND), "")
        if of[0] == "f" and (to[0] in "su" or to == of):
            value = f"{rounding}({value})"
        if "sat" in parts:
            if to != "f32":
                raise Unsupported(".".join(parts))
            value = f"saturate({value})"
        return self._write(a[0], to, f"({self.values.c_type(to)})({value})")

    # ---- control and warps -----------------------------------------------------------------
    def _bra(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return f"goto {_label(a[0])};"

    def _ret(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return "return;"

    _exit = _ret

    def _trap(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        return 'emulation::fail("trap");'

    def _bar(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        if "warp" in parts:
            return f'emulation::warp_barrier({self._read(a[0], "u32")}, "{self.kernel.name}", 0);'
        if a != ("0",):
            raise Unsupported(f"{'.'.join(parts)} {a}: named barriers")
        self.barriers += 1
        return f'ptx::barrier("{self.kernel.name}", {self.barriers});'

    _barrier = _bar

    def _membar(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        self.fences += 1
        return f'emulation::fence("{self.kernel.name}", {1000 + self.fences});'

    _fence = _membar

    def _shfl(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        result, _, valid = a[0].partition("|")
        operands = ", ".join(self._read(x, "u32") for x in a[1:5])
        call = f"shuffle(Shuffle::{parts[2]}, {operands}, inside)"
        written = self._write(valid, "pred", "inside") if valid else ""
        return f"{{ bool inside = false; const u32 v = {call}; {self._write(result, 'b32', 'v')} {written} }}"

    def _vote(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        if "ballot" not in parts:
            raise Unsupported(".".join(parts))
        return self._write(
            a[0], "b32", f"emulation::ballot({self._read(a[2], 'u32')}, {self._read(a[1], 'pred')})"
        )

    def _mma(self, parts: list[str], a: tuple[str, ...], kind: str) -> str:
        match = re.fullmatch(
            r"mma\.sync\.aligned\.m16n8k(\d+)\.row\.col\.f32\.(bf16|f16|tf32)\.\2\.f32", ".".join(parts)
        )
        if not match:
            raise Unsupported(".".join(parts))
        d, left, right, c = (ptx_memory.braced(operand) for operand in a)
        lists = (
            f"float d[4] = {{{', '.join(self._read(r, 'f32') for r in c)}}};",
            f"const u32 a[] = {{{', '.join(self._read(r, 'b32') for r in left)}}};",
            f"const u32 b[] = {{{', '.join(self._read(r, 'b32') for r in right)}}};",
            f"emulation::mma<{match[1]}, emulation::MmaType::{match[2]}>(d, a, b);",
            *(self._write(r, "f32", f"d[{i}]") for i, r in enumerate(d)),
        )
        return f"{{ {' '.join(lists)} }}"


def _label(name: str) -> str:
    return "label_" + re.sub(r"\W", "_", name)


def translate(ptx: str, only: Collection[str] = (), trace: bool = False) -> str:
    """C++ of the kernels of a PTX module; `only` those whose name holds one of these pieces, all if empty."""
    chosen = [k for k in kernels(ptx) if not only or any(piece in k.name for piece in only)]
    if not chosen:
        raise Unsupported(f"the PTX has no kernel named like {', '.join(only)}")
    bodies = [Translator(kernel, trace).translate(index) for index, kernel in enumerate(chosen)]
    includes = "".join(f'#include "emulation/{name}.h"\n' for name in ("ptx_runtime", "translated"))
    head = f"{includes}namespace {{\nusing namespace ptx;\n"
    return head + "\n".join(bodies) + "\n}\n"
