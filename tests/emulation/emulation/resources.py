"""What a compiled kernel takes of a multiprocessor: registers, spills, shared memory, occupancy; and which
tensor-core instructions and asynchronous copies it has.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from emulation import ptx, sources

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
_COMPILED = re.compile(
    r"Compiling entry function '(\S+)' for 'sm_\d+'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers[^\n]*",
    re.DOTALL,
)
_BODY = re.compile(r"^\.(?:visible )?\.?entry (\S+)\(.*?^}", re.DOTALL | re.MULTILINE)
_MMA = re.compile(r"mma\.sync\.aligned\.(m16n8k\d+)\.row\.col\.f32\.(?:b?f16|tf32)\.(b?f16|tf32)")


@cache
def _demangler() -> str:
    return "c++filt"


def short_name(mangled: str) -> str:
    """reduce_contiguous<float, true, false> of a mangled kernel."""
    done = subprocess.run([_demangler(), mangled], capture_output=True, text=True, check=True)
    match = re.search(r"cuda::(\w+(?:<[^()]*>)?)\(", done.stdout)
    return match[1] if match else mangled


@cache
def _shared_ptx() -> list[str]:
    """The files whose code for sm_100 and later comes from the PTX for sm_80."""
    found = re.search(
        r"set\(spinecore_shared_ptx ([\w ]+)\)", (sources.ROOT / "CMakeLists.txt").read_text("utf-8")
    )
    assert found, "CMakeLists.txt has no list spinecore_shared_ptx"
    return found[1].split()


@cache
def _ptx(operator: str, architecture: int) -> Path:
    """What the package's machine code is made from (CMakeLists.txt): one PTX for sm_80 to sm_90, one for
    later GPUs, or with some files the same.
    """
    compiler = ptx.nvcc()
    assert compiler, "nvcc is needed"
    source = sources.ROOT / f"csrc/cuda/{operator}.cu"
    later = architecture >= 100 and operator not in _shared_ptx()
    shared = 100 if later else min(architecture, 80)
    make = [compiler, "-std=c++17", f"-arch=compute_{shared}", "-ptx"]
    make += [f"-I{sources.ROOT}/csrc/include", str(source), "-o", "{}"]
    return sources.cached(f"{operator}.ptx", [source.read_bytes(), sources.headers()], make)


@cache
def _report(operator: str, architecture: int) -> str:
    """What ptxas says of csrc/cuda/<operator>.cu, and a digest of the machine code."""
    path = _ptx(operator, architecture)
    compile_it = f"{ptx.nvcc()} -arch=sm_{architecture} -cubin -Xptxas=-v {path} -o {{}}.cubin 2> {{}}"
    digest = f"{sys.executable} {sources.HERE}/emulation/cubin.py {{}}.cubin >> {{}}"
    make = ["/bin/sh", "-c", f"{compile_it} && {digest} && rm {{}}.cubin"]
    return sources.cached(f"{operator}_{architecture}.txt", [path.read_bytes()], make).read_text()


def machine_code(operator: str, architecture: int) -> str:
    """A digest of what the GPU runs; the same where the code is the same to the byte."""
    match = re.search(
        r"^machine code of [1-9]\d* kernels: \w+$", _report(operator, architecture), re.MULTILINE
    )
    assert match, f"no machine code of {operator} for sm_{architecture}"
    return match[0]


def cuda_resources(
    operator: str, architecture: int, threads: int, other_threads: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """Of every kernel of csrc/cuda/<operator>.cu, as nvcc builds it for the package; `threads` of a block, or
    those of the kernels that are called otherwise.
    """
    report = _report(operator, architecture)
    emitted = _ptx(operator, architecture).read_text()
    bodies = {match[1]: match[0] for match in _BODY.finditer(emitted)}
    kernels = {}
    for match in _COMPILED.finditer(report):
        shared = re.search(r"(\d+) bytes smem", match[0])
        kernels[short_name(match[1])] = {
            "registers": int(match[4]),
            "spills": int(match[2]) + int(match[3]),
            "shared": int(shared[1]) if shared else 0,
        }
        products = {".".join(found) for found in _MMA.findall(bodies[match[1]])}
        if products:
            kernels[short_name(match[1])]["tensor cores"] = ", ".join(sorted(products))
        if "cp.async.cg" in bodies[match[1]]:
            kernels[short_name(match[1])]["asynchronous copies"] = True
    for name, found in kernels.items():
        block = other_threads.get(name.split("<")[0], threads)
        found["occupancy"] = occupancies(architecture, block, {name: found})[0]
    return dict(sorted(kernels.items()))


@cache
def _calculator() -> Path:
    compiler = ptx.nvcc()
    assert compiler, "nvcc is needed"
    make = [compiler, "-std=c++17", "-x", "cu", str(sources.HERE / "occupancy/occupancy.cpp"), "-o", "{}"]
    return sources.cached("occupancy", [(sources.HERE / "occupancy/occupancy.cpp").read_bytes()], make)


def occupancies(architecture: int, threads: int, kernels: dict[str, dict[str, Any]]) -> list[float]:
    """Resident threads over those a multiprocessor can hold, of every kernel."""
    major, minor = divmod(architecture, 10)
    lines = [f"{major} {minor} {threads} {k['registers']} {k['shared']}" for k in kernels.values()]
    done = subprocess.run([_calculator()], input="\n".join(lines), capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]
