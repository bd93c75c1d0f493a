"""The kernels under ThreadSanitizer and AddressSanitizer: the same sources, recorded launches, exact arrays.

ThreadSanitizer sees a missing barrier as a race between the threads of a block; AddressSanitizer sees an
index outside an array or outside the block's shared memory.
"""

import math
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from distance_problems import problem
from host_launcher import HostLauncher, Launch, build, record

from linftui.ops import cuda
from linftui.ops.cuda.catalogue import Kernel
from linftui.ops.cuda.compiler import SOURCES

SANITIZERS = {
    "thread": ("-fsanitize=thread",),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}


def one_launch_of_each(host: HostLauncher) -> None:
    """Every source at least once, with two splits or steps where there are any."""
    case = problem(5, 7, 33)
    x, weight, grad = case.x, case.weight, case.grad
    _, argmax = cuda.inf_dist_argmax(x, weight)
    cuda.inf_dist_backward(grad, x, weight, argmax)
    cuda.inf_dist_bounds(x, x + 1, weight, True)
    cuda.norm_dist_forward(x, weight, math.inf)
    for p in (8.0, 37.3, 300.0):
        y = cuda.norm_dist_forward(x, weight, p)
        cuda.norm_dist_backward(grad, x, weight, y, p)


def replay(program: Path, launch: Path) -> subprocess.CompletedProcess[str]:
    # Without a fixed layout ThreadSanitizer of this age does not start on newer kernels.
    command = ["setarch", "-R", str(program), str(launch)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def watch(host: HostLauncher, sanitizer: str, launches: Iterable[Launch], folder: Path) -> None:
    for launch in launches:
        kernel = launch[0]
        record(folder / "launch", *launch)
        done = replay(build(kernel, host.folder, "replay.cpp", *SANITIZERS[sanitizer]), folder / "launch")
        assert done.returncode == 0 and done.stdout == "done\n", f"{kernel.name}: {done.stderr[:2000]}"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address", pytest.param("thread", marks=pytest.mark.thorough)])
def test_no_source_races_or_strays(sanitizer: str, host: HostLauncher, tmp_path: Path) -> None:
    one_launch_of_each(host)
    launches = {launch[0].source: launch for launch in host.launches}
    assert set(launches) == {path.name for path in SOURCES.glob("*.cu")}
    watch(host, sanitizer, launches.values(), tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_no_kernel_races_or_strays(sanitizer: str, host: HostLauncher, tmp_path: Path) -> None:
    one_launch_of_each(host)
    watch(host, sanitizer, {launch[0]: launch for launch in host.launches}.values(), tmp_path)


BROKEN = {
    "thread": "memory[(threadIdx.x + 1) % 64] = memory[threadIdx.x];",
    "address": "memory[64 + threadIdx.x] = 1;",
}


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_the_watch_is_awake(sanitizer: str, shim_folder: Path, tmp_path: Path) -> None:
    """A kernel that does what it must not is caught."""
    source = tmp_path / f"{sanitizer}.cu"
    body = f"float* memory = shared_memory(); {BROKEN[sanitizer]}"
    source.write_text(f"#include <intrinsics.cuh>\nKERNEL(64, 1) broken(int) {{ {body} }}\n")
    kernel = Kernel(str(source), "broken", threads=64, shared_bytes=256)
    record(tmp_path / "launch", kernel, (1, 1, 1), (0,))
    done = replay(build(kernel, shim_folder, "replay.cpp", *SANITIZERS[sanitizer]), tmp_path / "launch")
    assert done.returncode != 0 and "Sanitizer" in done.stderr
