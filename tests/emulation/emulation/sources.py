"""Builds the package's CUDA sources for the CPU, once for every content of the sources."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]
HERE = ROOT / "tests/emulation"
CACHE = ROOT / "build/emulation"
INCLUDE = (HERE / "include", ROOT / "csrc/include", ROOT / "csrc/cuda")
FLAGS = (
    "-std=c++17",
    "-fno-strict-aliasing",
    "-ffp-contract=fast",
    "-fPIC",
    "-pthread",
    "-Wall",
    "-Wno-psabi",
    "-Wno-unknown-pragmas",
    "-DSPINECORE_CUDA_EMULATION",
    *(f"-I{folder}" for folder in INCLUDE),
)
SANITIZERS = {
    "address": ("-g1", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-g1", "-O1", "-fsanitize=thread"),
}


def compiler() -> str:
    """The C++ compiler. Not clang for TSan: its runtime has 255 slots for threads, and with a block of 256 it
    loses races (seen with 19; GCC 12 has no such limit, and a test with planted races would tell).
    """
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    assert found, "the emulation needs g++ or clang++"
    return found


@cache
def headers() -> bytes:
    """What every object file depends on."""
    digest = hashlib.sha256()
    for folder in INCLUDE:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in ("", ".h", ".cuh"):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-8000:]}")


def cached(name: str, key: Sequence[bytes], make: Sequence[str]) -> Path:
    """The file that the command `make` writes in the place of `{}`, unless it is there already."""
    digest = hashlib.sha256(b"\0".join([*key, "\0".join(make).encode()])).hexdigest()[:20]
    target = CACHE / digest / name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{os.getpid()}-{name}")
        _run([part.replace("{}", str(draft)) for part in make])
        draft.replace(target)
    return target


def compiled(source: Path, flags: Sequence[str] = (), sanitizer: str = "") -> Path:
    """The object file of one C++ or CUDA source."""
    options = SANITIZERS.get(sanitizer, ("-O1",))
    make = [compiler(), *FLAGS, *options, *flags, "-x", "c++", "-c", str(source), "-o", "{}"]
    return cached(f"{source.stem}.o", [source.read_bytes(), headers()], make)


def linked(name: str, objects: Sequence[Path], flags: Sequence[str] = (), sanitizer: str = "") -> Path:
    """A program, or with -shared a library, of these objects."""
    link = [*SANITIZERS.get(sanitizer, ()), "-pthread", "-ldl", *flags]
    make = [compiler(), *map(str, objects), *link, "-o", "{}"]
    return cached(name, [path.parent.name.encode() for path in objects], make)


@cache
def python_flags() -> tuple[str, ...]:
    import pybind11

    places = (pybind11.get_include(), sysconfig.get_path("include"))
    return (*(f"-I{place}" for place in places), "-fvisibility=hidden")


# Kernels that an operator shares with others lie in a source of their own.
_SHARED = {
    "covariance_decorrelation": ("feature_products",),
    "cross_decorrelation": ("feature_products",),
    "latent_pool": ("feature_products", "matrices"),
    "dictionary_pool": ("feature_products", "matrices"),
}


def kernel_sources(operator: str) -> list[Path]:
    """The package's .cu files of one operator."""
    return [ROOT / f"csrc/cuda/{stem}.cu" for stem in (operator, *_SHARED.get(operator, ()))]


def operator_sources(operator: str) -> list[Path]:
    """The package's sources of one operator, and the checks they share."""
    entry = ROOT / f"csrc/cuda/{operator}_entry.cpp"
    return [*kernel_sources(operator), entry, ROOT / "csrc/cpu/tensor_view.cpp"]


def operator_module(
    operator: str, name: str, extra: Sequence[Path] = (), flags: Sequence[str] = ()
) -> ModuleType:
    """The operator's own binding and sources as a Python module called `name`, on the CPU; `flags` and the
    object files `extra` change how kernels run.
    """
    if name in sys.modules:
        return sys.modules[name]
    bindings = [ROOT / f"csrc/bindings/{stem}.cpp" for stem in (f"cuda_{operator}", "tensor_caster")]
    module = HERE / f"bindings/{operator}.cpp"
    objects = [compiled(source, flags) for source in operator_sources(operator)]
    objects += [compiled(binding, python_flags()) for binding in bindings]
    objects.append(compiled(module, (*python_flags(), f"-DEMULATED_MODULE={name}")))
    library = linked(f"{name}.so", [*objects, *extra], ["-shared"])
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded
