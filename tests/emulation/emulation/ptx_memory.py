"""Loads, stores, atomics and asynchronous copies of PTX as C++."""

from __future__ import annotations

import re

from emulation.ptx_module import Unsupported, bits_of
from emulation.ptx_values import Values

_SPACES = ("global", "shared", "local", "param")


def braced(operand: str) -> list[str]:
    """The registers of {a, b}."""
    return [piece.strip() for piece in operand.strip("{} ").split(",")]


def translate(values: Values, parts: list[str], a: tuple[str, ...], trace: int) -> str | None:
    """C++ of a memory instruction, or None; `trace` is its number where accesses are counted."""
    operation = parts[0]
    if operation in ("ld", "ldu"):
        return _load(values, parts, a, trace)
    if operation == "st":
        return _store(values, parts, a, trace)
    if operation in ("atom", "red"):
        return _atomic(values, parts, a)
    if operation == "cp" and parts[1] == "async":
        return _copy(values, parts, a, trace)
    if operation == "ldmatrix":
        return _ldmatrix(values, parts, a, trace)
    return None


def _space(parts: list[str]) -> str:
    return next((part for part in parts if part in _SPACES), "generic")


def _address(values: Values, operand: str, space: str, size: int) -> str:
    inner = operand.strip()[1:-1].strip()
    match = re.fullmatch(r"(.+?)\s*\+\s*(-?\d+)", inner)
    base, offset = (match[1], int(match[2])) if match else (inner, 0)
    if space == "shared":
        return f"shared({values.read(base, 'u32')} + {offset}, {size})"
    return f"(unsigned char*)({values.read(base, 'u64')} + {offset}ll)"


def _access(trace: int, space: str, store: bool, address: str, size: int | str) -> str:
    if not trace or space in ("local", "param"):
        return ""
    kind = "trace::shared_access" if space == "shared" else f"trace::global_{'store' if store else 'load'}"
    return f"trace::access({trace}, {kind}, {address}, {size}); "


def _vector(parts: list[str]) -> int:
    return next((int(part[1]) for part in parts if part in ("v2", "v4", "v8")), 1)


def _load(values: Values, parts: list[str], a: tuple[str, ...], trace: int) -> str:
    kind, space, count = parts[-1], _space(parts), _vector(parts)
    size = bits_of(kind) // 8
    bits = kind if kind[0] in "su" else f"b{bits_of(kind)}"
    registers = braced(a[0])
    address = _address(values, a[1], space, size * count)
    traced = _access(trace, space, False, "q", size * count)
    reads = " ".join(f"const auto v{i} = load<{values.c_type(bits)}>(q + {i * size});" for i in range(count))
    writes = " ".join(values.write(register, bits, f"v{i}") for i, register in enumerate(registers))
    aligned = f'check_aligned(q, {size * count}, "load"); '
    return f"{{ const unsigned char* q = {address}; {aligned}{traced}{reads} {writes} }}"


def _store(values: Values, parts: list[str], a: tuple[str, ...], trace: int) -> str:
    kind, space, count = parts[-1], _space(parts), _vector(parts)
    size = bits_of(kind) // 8
    bits = f"u{bits_of(kind)}"
    address = _address(values, a[0], space, size * count)
    writes = " ".join(
        f"ptx::store<{bits}>(q + {i * size}, {values.read(register, bits)});"
        for i, register in enumerate(braced(a[1]))
    )
    traced = _access(trace, space, True, "q", size * count)
    return f'{{ unsigned char* q = {address}; check_aligned(q, {size * count}, "store"); {traced}{writes} }}'


def _atomic(values: Values, parts: list[str], a: tuple[str, ...]) -> str:
    kind = parts[-1]
    operation = next((part for part in parts if part in ("add", "exch", "cas")), None)
    if operation is None or bits_of(kind) < 32:
        raise Unsupported(".".join(parts))
    first = 1 if parts[0] == "atom" else 0
    if "v2" in parts or "v4" in parts:
        raise Unsupported(".".join(parts))
    address = _address(values, a[first], _space(parts), bits_of(kind) // 8)
    given = ", ".join(f"({values.c_type(kind)}){values.read(x, kind)}" for x in a[first + 1 :])
    # A release or acquire at the instruction is a fence beside it.
    name = values.kernel.name
    before = f'emulation::fence("{name}", 0); ' if "acq_rel" in parts or "release" in parts else ""
    after = f' emulation::fence("{name}", 0);' if "acq_rel" in parts or "acquire" in parts else ""
    call = f"atomic_{operation}<{values.c_type(kind)}>({address}, {given})"
    return before + (values.write(a[0], kind, call) if first else f"{call};") + after


def _copy(values: Values, parts: list[str], a: tuple[str, ...], trace: int) -> str:
    if "commit_group" in parts:
        return "emulation::commit_copies();"
    if "wait_group" in parts:
        return f"emulation::wait_copies({a[0]});"
    if "wait_all" in parts:
        return "emulation::commit_copies(); emulation::wait_copies(0);"
    if "bulk" in parts:
        raise Unsupported(".".join(parts))
    size = int(a[2], 0)
    copied = values.read(a[3], "u32") if len(a) > 3 and not a[3].startswith("%rd") else str(size)
    target, source = _address(values, a[0], "shared", size), _address(values, a[1], "global", size)
    traced = _access(trace, "global", False, source, copied)
    return f"{traced}ptx::copy_async({target}, {source}, {size}, (int)({copied}));"


def _ldmatrix(values: Values, parts: list[str], a: tuple[str, ...], trace: int) -> str:
    count = next(int(part[1]) for part in parts if part in ("x1", "x2", "x4"))
    transposed = "true" if "trans" in parts else "false"
    address = _address(values, a[1], "shared", 16)
    traced = _access(trace, "shared", False, address, f"emulation::lane() / 8 < {count} ? 16 : 0")
    writes = " ".join(values.write(r, "b32", f"d[{i}]") for i, r in enumerate(braced(a[0])))
    return f"{{ {traced}u32 d[4]; emulation::ldmatrix<{count}, {transposed}>(d, {address}); {writes} }}"
