"""What the core does to the process it is loaded into, each time in a fresh one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spinecore import _native

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")
core = _native.core()

MXCSR = """
import ctypes, ctypes.util
def mxcsr():
    environment = (ctypes.c_uint32 * 8)()  # fenv_t of glibc on x86-64: 28 bytes of x87, then MXCSR
    ctypes.CDLL(ctypes.util.find_library("m")).fegetenv(environment)
    return environment[7] & ~0x3F  # without the sticky exception flags
"""


def run(code: str, **environment: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "SPINECORE_CPU_ISA"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux_only
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only on x86-64")
def test_import_leaves_the_floating_point_mode_alone() -> None:
    code = MXCSR + "a = mxcsr(); import spinecore._core; b = mxcsr(); print(a == b, 1e-310 / 10 != 0.0)"
    assert run(code) == "True True"


@linux_only
@pytest.mark.parametrize("first", ["import torch, spinecore._core", "import spinecore._core, torch"])
def test_one_openmp_runtime_whichever_is_imported_first(first: str) -> None:
    code = first + (
        "\nimport re; torch.ones(300, 300) @ torch.ones(300, 300)\n"
        "maps = open('/proc/self/maps').read().splitlines()\n"
        "print(len({line.split()[-1] for line in maps if re.search('gomp|iomp|libomp', line)}))"
    )
    assert run(code) == "1"


@pytest.mark.parametrize(
    ("cap", "expected"), [("baseline", "baseline"), ("avx2", "avx2"), ("avx512", "avx512"), ("", "avx512")]
)
def test_cap_on_the_instruction_set(cap: str, expected: str) -> None:
    info = json.loads(
        run("import json, spinecore._core as c; print(json.dumps(c.info()))", SPINECORE_CPU_ISA=cap)
    )
    order = ("baseline", "avx2", "avx512")
    assert info["isa_selected"] == order[min(order.index(expected), order.index(core.info()["isa_best"]))]
    assert info["isa_error"] == ""


def test_unknown_cap_is_an_error_of_every_operator() -> None:
    code = """
import torch
from spinecore import _native
a = [torch.zeros(1, 1, 1, 1), *[torch.zeros(1, 1), torch.zeros(1)] * 2, torch.zeros(1), torch.zeros(1)]
try:
    _native.core().scse_gate_forward(*a, 0, torch.zeros(1, 1, 1, 1), *[torch.zeros(1, 1) for _ in range(3)])
except ValueError as error:
    print(error)
print(_native.info()["isa_error"])
"""
    message = "SPINECORE_CPU_ISA='sse9' is not an instruction set: use baseline, avx2 or avx512"
    assert run(code, SPINECORE_CPU_ISA="sse9").splitlines() == [message, message]


def test_importing_spinecore_does_not_import_torch() -> None:
    assert run("import sys, spinecore; spinecore.__version__; print('torch' in sys.modules)") == "False"


def test_own_pool_gives_the_same_bits_as_torchs() -> None:
    """Also after a fork, which takes no thread of the pool along."""
    code = """
import hashlib, os, sys, torch
import spinecore._core as core
from spinecore import _native
torch.manual_seed(0)
n, c, h, w, r = 2, 24, 90, 91, 3
x, dy = torch.randn(n, c, h, w), torch.randn(n, c, h, w)
p = [torch.randn(r, c), torch.randn(r), torch.randn(c, r), torch.randn(c), torch.randn(c), torch.randn(1)]
def digest():
    y, gates = torch.empty_like(x), [torch.empty(n, c), torch.empty(n, h * w), torch.empty(n, c)]
    out = [torch.empty_like(x), *[torch.empty_like(q) for q in p]]
    core.scse_gate_forward(x, *p, 0, y, *gates)
    workspace = torch.empty(core.scse_gate_workspace(n, c, h, w, r))
    core.scse_gate_backward(x, dy, *p[:5], *gates, 0, *out, workspace)
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in (y, *out))).hexdigest()
seen, sources = set(), []
for threads in (1, 2, 5):
    core.set_pool_threads(threads)
    sources.append(core.info()["threads_source"])
    seen |= {digest() for _ in range(20)}
pid = os.fork()
if pid == 0:
    os._exit(0 if digest() in seen else 1)
forked = os.waitpid(pid, 0)[1]
_native.core()
sources.append(core.info()["threads_source"])
seen.add(digest())
print(len(seen), forked, *sources)
"""
    assert run(code) == "1 0 serial pool pool borrowed"


@linux_only
def test_needs_nothing_but_the_system_libraries() -> None:
    """No libtorch, no OpenMP, no CUDA runtime: one file serves every torch and machines without a driver."""
    dynamic = subprocess.run(
        ["readelf", "-d", core.__file__], capture_output=True, text=True, check=True
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic))
    allowed = r"(libstdc\+\+|libm|libgcc_s|libc|libpthread|librt|libdl|ld-linux[\w-]*)\.so\.\d+"
    assert needed
    assert [name for name in needed if not re.fullmatch(allowed, name)] == []


def test_info_tells_why_cuda_is_off() -> None:
    info = _native.info()
    assert info["available"]
    assert info["cuda_devices"] > 0 or info["cuda_reason"]
    if info["cuda_built"] and not Path("/proc/driver/nvidia").exists():
        assert info["cuda_reason"] == "no NVIDIA driver is installed"  # CUDA itself would call it too old
    assert Path(core.__file__).name.startswith("_core.")


def test_a_missing_core_is_explained() -> None:
    code = """
import sys
sys.modules["spinecore._core"] = None
from spinecore import _native
print(_native.unavailable_reason() is not None, _native.info()["available"])
try:
    _native.core()
except _native.NativeCoreUnavailable as error:
    print("SPINECORE_CORE=ON" in str(error))
"""
    assert run(code).split() == ["True", "False", "True"]


@linux_only
def test_forked_data_loader_workers_finish_with_the_same_bits() -> None:
    """With torch's threads and with the core's own, both already started in the parent."""
    code = """
import torch
from spinecore import _native, ops
torch.manual_seed(0)
x = torch.randn(2, 32, 96, 96)
p = [torch.randn(4, 32), None, torch.randn(32, 4), None, torch.randn(32), None]
class Gated(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return ops.scse_gate(x, *p)
torch.set_num_threads(2)
wanted = ops.scse_gate(x, *p)
for source in ("borrowed", "pool"):
    if source == "pool":
        _native.core().set_parallel_for(0)
        _native.core().set_pool_threads(3)
    same = torch.equal(ops.scse_gate(x, *p), wanted)
    loader = torch.utils.data.DataLoader(Gated(), num_workers=2, multiprocessing_context="fork")
    same = same and all(torch.equal(item[0], wanted) for item in loader)
    print(_native.core().info()["threads_source"], same)
"""
    assert run(code).split() == ["borrowed", "True", "pool", "True"]


@linux_only
def test_own_pool_works_with_the_threads_it_gets() -> None:
    """Where the system refuses more threads, fewer do the work: no crash, no wait for the missing ones."""
    code = """
import os, resource, torch
import spinecore._core as core
torch.set_num_threads(1)
n, c, h, w, r = 1, 16, 128, 128, 2
x, y = torch.randn(n, c, h, w), torch.empty(n, c, h, w)
p = [torch.randn(r, c), torch.randn(r), torch.randn(c, r), torch.randn(c), torch.randn(c), torch.randn(1)]
gates = [torch.empty(n, c), torch.empty(n, h * w), torch.empty(n, c)]
core.set_pool_threads(1)
core.scse_gate_forward(x, *p, 0, y, *gates)
wanted = y.clone()
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), -1))  # room for a few stacks of 8 MiB
core.set_pool_threads(64)
for _ in range(5):
    y.fill_(0)
    core.scse_gate_forward(x, *p, 0, y, *gates)
    assert torch.equal(y, wanted)
print(len(os.listdir("/proc/self/task")) < 60)
"""
    assert run(code) == "True"


@linux_only
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only on x86-64")
@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_bfloat16_products_are_used_where_processor_and_selection_have_them(
    isa: str,
) -> None:
    """Not on Intel's, where they are slower than products of floats."""
    facts = Path("/proc/cpuinfo").read_text()
    flags = re.search(r"^flags\s*:(.*)$", facts, re.MULTILINE)
    assert flags is not None
    has = "avx512_bf16" in flags[1].split() and core.info()["isa_best"] == "avx512"
    has = has and "GenuineIntel" not in facts
    code = "import spinecore._core as c; print(c.info()['bf16_products'])"
    assert run(code, SPINECORE_CPU_ISA=isa) == str(has and isa == "avx512")
