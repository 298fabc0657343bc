"""PTX of the package's CUDA sources, translated and put in the place of their kernels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from functools import cache
from pathlib import Path
from types import ModuleType

from emulation import sources
from emulation.ptx_translate import translate


@cache
def nvcc() -> str | None:
    """The CUDA compiler, if there is one."""
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def emitted(operator: str, architecture: int = 80) -> Path:
    """The PTX that nvcc makes of csrc/cuda/<operator>.cu."""
    compiler = nvcc()
    assert compiler, "nvcc is needed"
    source = sources.ROOT / f"csrc/cuda/{operator}.cu"
    make = [compiler, "-std=c++17", f"-arch=compute_{architecture}", "-lineinfo", "-ptx"]
    make += [f"-I{sources.ROOT}/csrc/include", str(source), "-o", "{}"]
    return sources.cached(f"{operator}_{architecture}.ptx", [source.read_bytes(), sources.headers()], make)


def translated(
    ptx: str, name: str, only: Collection[str] = (), trace: bool = False, sanitizer: str = ""
) -> Path:
    """The object file of translated PTX. No contraction: the PTX says which products are fused."""
    folder = sources.CACHE / "translated"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{'-trace' if trace else ''}.cpp"
    text = translate(ptx, only, trace)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    flags = ["-ffp-contract=off", "-Wno-unused", "-DEMULATION_PTX", *(["-DEMULATION_TRACE"] if trace else [])]
    return sources.compiled(path, flags, sanitizer)


def operator_module(
    operator: str, name: str, only: Collection[str], architecture: int = 80, trace: bool = False
) -> ModuleType:
    """As `sources.operator_module`, but the kernels are those that nvcc emitted; `only` those of these
    names, of which each of the operator's sources has one.
    """
    flags = ["-DEMULATION_PTX", *(["-DEMULATION_TRACE"] if trace else [])]
    kernels = [
        translated(emitted(source.stem, architecture).read_text(), f"{name}_{source.stem}", only, trace)
        for source in sources.kernel_sources(operator)
    ]
    launcher = sources.compiled(sources.HERE / "bindings/translated.cpp", flags)
    return sources.operator_module(operator, name, [*kernels, launcher], flags)
