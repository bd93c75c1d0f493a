"""Which variant is used, what it is called, and that a machine without a compiler gets a working package."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from linftui.ops.cpu.library import NAMES, variants

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
    assert show().stdout.split() == [f"cpu-{NAMES[next(iter(variants()))]}"]
    assert show(LINFTUI_CPU_VARIANT="portable").stdout.split() == ["cpu-portable"]


def test_a_variant_that_is_not_there_is_refused() -> None:
    refused = show(LINFTUI_CPU_VARIANT="v9")
    assert refused.returncode != 0 and "LINFTUI_CPU_VARIANT is v9; what can run here: " in refused.stderr


@pytest.mark.slow
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
