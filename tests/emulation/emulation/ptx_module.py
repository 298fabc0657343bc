"""Reads PTX: its kernels with their parameters, registers, shared arrays, labels and instructions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Unsupported(ValueError):  # noqa: N818 - says what is the case
    """The translator does not know this piece of PTX."""


class Instruction(NamedTuple):
    line: int  # of the source, where the PTX was made with -lineinfo; else 0
    guard: str  # "", "%p1" or "!%p1"
    opcode: str
    operands: tuple[str, ...]


class Label(NamedTuple):
    name: str


@dataclass
class Kernel:
    """One .entry. Offsets and sizes are in bytes, registers in bits."""

    name: str
    parameters: dict[str, int] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    register_counts: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    shared_size: int = 0
    dynamic: str = ""
    local: dict[str, int] = field(default_factory=dict)
    local_size: int = 0
    body: list[Instruction | Label] = field(default_factory=list)


def bits_of(kind: str) -> int:
    """16 of f16, 64 of b64, 1 of pred."""
    return (
        1
        if kind == "pred"
        else int(re.sub(r"\D", "", kind.replace("x2", "")) or 0) * (2 if kind.endswith("x2") else 1)
    )


def split_operands(text: str) -> tuple[str, ...]:
    """At commas outside of brackets and braces."""
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "{[") - (character in "}]")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return (*parts, current.strip()) if current.strip() else tuple(parts)


def kernels(ptx: str) -> list[Kernel]:
    """All kernels of a PTX module."""
    text = re.sub(r"//[^\n]*", "", ptx)
    module_shared = re.findall(r"^\.shared[^;]*;", text, re.MULTILINE)
    dynamic = re.search(r"^\.extern\s+\.shared[^;]*?([\w$]+)\[\]", text, re.MULTILINE)
    found = []
    for match in re.finditer(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)[^{]*\{", text):
        end, depth = match.end(), 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        kernel = Kernel(match[1], dynamic=dynamic[1] if dynamic else "")
        _read_parameters(kernel, match[2])
        body = text[match.end() : end - 1]
        for declaration in module_shared:
            if _declared_name(declaration) in body:
                _declare(kernel, declaration)
        for line, statement in _statements(body):
            _read_statement(kernel, line, statement)
        kernel.shared_size = -(-kernel.shared_size // 16) * 16
        found.append(kernel)
    return found


def _read_parameters(kernel: Kernel, text: str) -> None:
    offset = 0
    for line in filter(None, map(str.strip, text.split(","))):
        match = re.match(
            r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s*(?:\.ptr[\s\w.]*?)?(?:\.align\s+\d+\s+)?([\w$]+)(?:\[(\d+)\])?$",
            line,
        )
        if not match:
            raise Unsupported(f"parameter {line!r} of {kernel.name}")
        size = bits_of(match[2]) // 8
        align = int(match[1] or size)
        offset = -(-offset // align) * align
        kernel.parameters[match[3]] = offset
        offset += size * int(match[4] or 1)


def _statements(body: str) -> Iterator[tuple[int, str]]:
    line, current = 0, ""
    for raw in body.split("\n"):
        text = raw.strip()
        if not text:
            continue
        if match := re.match(r"\.loc\s+\d+\s+(\d+)", text):
            line = int(match[1])
        elif re.match(r"[\w$%]+:$", text):
            yield line, text
        elif not text.startswith((".loc", ".pragma", ".file")):
            current += " " + text
            while ";" in current:
                statement, current = current.split(";", 1)
                yield line, statement.strip()


_ARRAY = r"\.(shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?"


def _declared_name(declaration: str) -> str:
    match = re.match(_ARRAY, declaration)
    if not match:
        raise Unsupported(f"declaration {declaration!r}")
    return match[4]


def _declare(kernel: Kernel, declaration: str) -> None:
    match = re.match(_ARRAY, declaration)
    if not match:
        raise Unsupported(f"declaration {declaration!r}")
    size = bits_of(match[3]) // 8 * int(match[5] or 1)
    align = int(match[2] or bits_of(match[3]) // 8)
    if match[1] == "shared":
        start = -(-kernel.shared_size // align) * align
        kernel.shared[match[4]], kernel.shared_size = start, start + size
    else:
        start = -(-kernel.local_size // 16) * 16
        kernel.local[match[4]], kernel.local_size = start, start + size


def _read_statement(kernel: Kernel, line: int, statement: str) -> None:
    if statement.endswith(":"):
        kernel.body.append(Label(statement[:-1]))
        return
    statement = (
        statement.lstrip("{} ").rstrip("} ")
        if "{" not in statement.lstrip("{} ")
        else statement.lstrip("{} ")
    )
    if not statement:
        return
    if match := re.match(r"\.reg\s+\.(\w+)\s+(.*)$", statement):
        for name in map(str.strip, match[2].split(",")):
            ranged = re.match(r"%([a-zA-Z_]+)<(\d+)>$", name)
            kind, count = (ranged[1], int(ranged[2])) if ranged else (name.lstrip("%"), 0)
            kernel.registers[kind] = bits_of(match[1])
            kernel.register_counts[kind] = count
        return
    if statement.startswith((".shared", ".local")):
        _declare(kernel, statement)
        return
    match = re.match(r"(?:@(!?%?\w+)\s+)?([\w.:]+)\s*(.*)$", statement, re.DOTALL)
    if not match or statement.startswith("."):
        raise Unsupported(f"statement {statement!r} of {kernel.name}")
    kernel.body.append(
        Instruction(line, match[1] or "", match[2].replace("::", "."), split_operands(match[3]))
    )
