"""What a GPU runs, out of what nvcc writes.

python -m emulation.cubin FILE    (prints a digest of the machine code in a .cubin)
"""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path


def machine_code(cubin: bytes) -> dict[str, bytes]:
    """The sections of a 64-bit ELF file that hold kernels, by name."""
    (start,) = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", cubin, start + i * size) for i in range(count)]
    found = {}
    for name_at, _, _, _, offset, length, *_ in headers:
        begin = headers[names][4] + name_at
        name = cubin[begin : cubin.index(b"\0", begin)].decode()
        if name.startswith(".text."):
            found[name] = cubin[offset : offset + length]
    return found


if __name__ == "__main__":
    code = machine_code(Path(sys.argv[1]).read_bytes())
    digest = hashlib.sha256(b"".join(name.encode() + body for name, body in sorted(code.items())))
    sys.stdout.write(f"machine code of {len(code)} kernels: {digest.hexdigest()}\n")
