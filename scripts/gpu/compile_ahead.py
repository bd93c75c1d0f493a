"""Compiles every kernel for a GPU that is elsewhere, into the cache where linftui will look for it there.

LINFTUI_CACHE=FOLDER python scripts/gpu/compile_ahead.py --arch sm_90 [--nvrtc LIBRARY]
"""

import argparse
import ctypes
import json
from pathlib import Path

from linftui.bench.cuda_ops import LIMITS
from linftui.ops.cuda.catalogue import every_kernel
from linftui.ops.cuda.compiler import cubin, nvrtc_version
from linftui.user_folders import cache_folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--nvrtc", type=Path, help="libnvrtc.so.13 of the version that the machine has")
    options = parser.parse_args()
    if options.nvrtc is not None:  # whoever asks for a library by its name gets the one that is loaded
        for library in (*options.nvrtc.parent.glob("libnvrtc-builtins.so.*"), options.nvrtc):
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    kernels = [*every_kernel(), *(kernel for kernel, _ in LIMITS.values())]
    for kernel in kernels:
        cubin(kernel, options.arch)
    facts = {"arch": options.arch, "nvrtc": nvrtc_version(), "kernels": len(kernels)}
    (cache_folder().parent / "packed.json").write_text(json.dumps(facts))
    print(f"{len(kernels)} kernels for {options.arch}, by NVRTC {'.'.join(map(str, facts['nvrtc']))}")


if __name__ == "__main__":
    main()
