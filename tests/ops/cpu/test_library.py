"""Which variant is used, what it is called, and that a machine without a compiler gets a working package."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from linftui.ops.cpu.library import variants

REPO = Path(__file__).resolve().parents[3]
SHOW = "from linftui.ops import backend_name; print(backend_name())"


def show(code: str = SHOW, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not variants(), reason="linftui was installed without a C++ compiler")
def test_the_first_variant_that_can_run_is_used_unless_another_is_asked_for() -> None:
    assert show().stdout.split() == [f"cpu-{next(iter(variants()))}"]
    assert show(LINFTUI_CPU_VARIANT="portable").stdout.split() == ["cpu-portable"]


def test_a_variant_that_is_not_there_is_refused() -> None:
    refused = show(LINFTUI_CPU_VARIANT="v9")
    said = "UsageError: LINFTUI_CPU_VARIANT is v9, which is not known; known: avx512, avx2, sse4, portable;"
    assert refused.returncode != 0 and said in refused.stderr
    command = [sys.executable, "-m", "linftui", "doctor"]
    environment = {**os.environ, "LINFTUI_CPU_VARIANT": "v9"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (
        told.returncode == 2 and "LINFTUI_CPU_VARIANT is v9" in told.stderr and "Traceback" not in told.stderr
    )


@pytest.mark.thorough
def test_without_a_compiler_the_wheel_is_built_and_says_that_it_is_slow(tmp_path: Path) -> None:
    source = tmp_path / "source"
    folders = ("linftui", "recipes")
    for folder in folders:
        shutil.copytree(REPO / folder, source / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for file in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(REPO / file, source)
    # cmake looks in the system's folders as well, not only along PATH.
    hidden = {"PATH": str(Path(sys.executable).parent), "CXX": "", "CC": ""}
    hidden["SKBUILD_CMAKE_ARGS"] = "-DCMAKE_SYSTEM_IGNORE_PATH=/usr/bin;/usr/local/bin;/bin"
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(source)],
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("linftui-*-py3-none-*.whl")
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    assert not list(unpacked.rglob("*.so")) and (unpacked / "linftui/recipes/digits.yaml").is_file()
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); sys.meta_path[:] = [f for f in sys.meta_path "
    code += "if 'ScikitBuild' not in type(f).__name__]\n"
    code += "import torch, linftui; from linftui.ops import norm_dist\n"
    code += "print(linftui.__file__, norm_dist(torch.ones(2, 3), torch.zeros(4, 3), 8.0).shape)\n"
    shown = show(code + SHOW + "\nfrom linftui.cli.doctor import doctor; doctor()")
    assert shown.returncode == 0, shown.stderr
    assert str(unpacked) in shown.stdout and "torch.Size([2, 4])\nreference\n" in shown.stdout
    assert "reference (plain PyTorch: correct, slow)" in shown.stdout
    assert shown.stderr.count("installed without its compiled CPU kernels") == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc") or not shutil.which("cmake"), reason="needs gcc and cmake")
def test_flags_for_fast_arithmetic_do_not_reach_who_loads_the_library(tmp_path: Path) -> None:
    """The command that links it, as cmake writes it, gets empty objects; the compiler adds its own."""
    fast = {"CXXFLAGS": "-O2 -ffast-math", "LDFLAGS": "-Ofast -funsafe-math-optimizations"}
    subprocess.run(
        ["cmake", "-G", "Unix Makefiles", "-S", REPO, "-B", tmp_path],
        env={**os.environ, **fast}, check=True, capture_output=True,
    )  # fmt: skip
    command = (tmp_path / "CMakeFiles/linftui_cpu.dir/link.txt").read_text()
    assert "-ffast-math" in command and "-Ofast" in command  # they did reach it
    (tmp_path / "empty.c").touch()
    for name in re.findall(r"\S+\.cpp\.o", command):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-c", tmp_path / "empty.c", "-o", tmp_path / name], check=True)
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    load = f"import torch, ctypes; ctypes.CDLL({str(tmp_path / 'liblinftui_cpu.so')!r});"
    assert show(f"{load} print(float(torch.tensor(2.0**-126) / 2))").stdout.split() == [str(2.0**-127)]


def test_a_library_that_cannot_be_loaded_is_told_of_with_the_reason(tmp_path: Path) -> None:
    """Compiled for a newer C library, say; here it is not even a library."""
    (tmp_path / "ops" / "cpu").mkdir(parents=True)
    (tmp_path / "ops" / "cpu" / "liblinftui_cpu.so").write_text("not a library")
    shown = show(f"import linftui; linftui.__path__.insert(0, {str(tmp_path)!r}); {SHOW}")
    assert shown.stdout.split() == ["reference"] and shown.returncode == 0
    assert "linftui cannot load its compiled CPU kernels (" in shown.stderr and str(tmp_path) in shown.stderr


EVERY_KERNEL = """
import math, threading, torch
from linftui.ops import inf_dist_bounds, norm_dist
def work():
    x, w = torch.randn(200, 300, requires_grad=True), torch.randn(210, 300)
    for p in (8.0, 12.5, 37.3, 1000.0, math.inf):
        norm_dist(x, w, p).sum().backward()
    inf_dist_bounds(x.detach(), x.detach() + 1, w)
torch.set_num_threads(2)
work()
threading.stack_size(256 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
needs_kernels = pytest.mark.skipif(not variants(), reason="linftui was installed without a C++ compiler")


@needs_kernels
def test_threads_with_small_stacks_suffice() -> None:
    done = show(EVERY_KERNEL + "print('done')", OMP_STACKSIZE="256k")
    assert done.stdout.split() == ["done"], (done.returncode, done.stderr)


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc is Linux's")
def test_there_is_one_openmp_for_torch_and_the_kernels() -> None:
    """Two would each start their own threads."""
    maps = "[line.split()[-1] for line in open('/proc/self/maps') if '/' in line]"
    named = f"{{name for name in {maps} if 'omp' in name.rsplit('/', 1)[-1]}}"
    shown = show(f"{EVERY_KERNEL}\nprint(*sorted({named}), sep='\\n')")
    found = [
        line
        for line in shown.stdout.split()
        if any(name in line for name in ("libgomp", "libomp", "libiomp"))
    ]
    assert len(found) == 1, shown.stdout + shown.stderr
