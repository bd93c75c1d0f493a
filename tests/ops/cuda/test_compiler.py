"""The cache of compiled kernels, and what is said when they cannot be compiled at all."""

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from linftui.errors import DeviceError
from linftui.ops.cuda import catalogue, compiler
from linftui.ops.cuda.launcher import CudaLauncher, backend_name

driver = pytest.importorskip("cuda.bindings.driver", reason="no bindings: pip install 'linftui[cuda]'")
pytest.importorskip("cuda.bindings.nvrtc", reason="no NVRTC here: pip install 'linftui[cuda]'")
pytest.importorskip("cuda.core", reason="no cuda-core here: pip install 'linftui[cuda]'")

KERNEL = catalogue.pack("pairs")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LINFTUI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cubins"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was compiled rather than found."""
    compiled: list[str] = []
    real = compiler.compile_kernel

    def counted(kernel: catalogue.Kernel, arch: str) -> tuple[bytes, str]:
        compiled.append(f"{kernel.name} {arch}")
        return real(kernel, arch)

    monkeypatch.setattr(compiler, "compile_kernel", counted)
    return compiled


def test_a_kernel_is_compiled_once_for_each_architecture(folder: Path, compilations: list[str]) -> None:
    first = compiler.cubin(KERNEL, "sm_90")
    assert compiler.cubin(KERNEL, "sm_90") == first and compilations == ["pack_pairs sm_90"]
    assert compiler.cubin(KERNEL, "sm_80") != first and len(compilations) == 2
    # Another entry of the same source is the same file.
    assert compiler.cubin(catalogue.pack("whole"), "sm_90") == first and len(compilations) == 2
    assert len(list(folder.iterdir())) == 2
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_compiler_or_source_means_another_file(
    folder: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.cubin(KERNEL, "sm_90")
    monkeypatch.setattr(compiler, "nvrtc_version", lambda: (13, 99))
    compiler.cubin(KERNEL, "sm_90")
    monkeypatch.setattr(compiler, "_sources_digest", lambda: "other")
    compiler.cubin(KERNEL, "sm_90")
    assert len(compilations) == len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_is_built_again(damage: bytes | None, folder: Path, compilations: list[str]) -> None:
    code = compiler.cubin(KERNEL, "sm_90")
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?" if damage is None else damage)
    assert compiler.cubin(KERNEL, "sm_90") == code and len(compilations) == 2
    kept = path.read_bytes()
    assert kept == hashlib.sha256(code).digest() + code
    assert compiler.cubin(KERNEL, "sm_90") == code and len(compilations) == 2


def test_several_ranks_may_start_at_once(folder: Path) -> None:
    program = (
        "import hashlib; from linftui.ops.cuda import catalogue, compiler;"
        "print(hashlib.sha256(compiler.cubin(catalogue.pack('pairs'), 'sm_90')).hexdigest())"
    )
    ranks = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = {rank.communicate(timeout=120)[0] for rank in ranks}
    assert answers == {hashlib.sha256(compiler.cubin(KERNEL, "sm_90")).hexdigest() + "\n"}
    assert [path.suffix for path in folder.iterdir()] == [".cubin"]  # nothing half-written is left


@pytest.mark.parametrize("cache", ["file", "~no-such-user"], ids=["no folder can be made in it", "no home"])
def test_where_nothing_can_be_kept_it_is_compiled_with_a_warning(
    compilations: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINFTUI_CACHE", cache)
    with pytest.warns(RuntimeWarning, match="compiled kernels cannot be kept"):
        assert compiler.cubin(KERNEL, "sm_90")[:4] == b"\x7fELF"
    assert compilations == ["pack_pairs sm_90"]


def test_a_full_disk_leaves_nothing_behind(
    folder: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        assert compiler.cubin(KERNEL, "sm_90")
    assert list(folder.iterdir()) == [] and len(compilations) == 1


def test_a_folder_others_can_write_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(DeviceError, match=r"can be written by others.*LINFTUI_CACHE"):
        compiler.cubin(KERNEL, "sm_90")


def test_a_link_in_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match="cubins is a link, or .* cannot be trusted"):
        compiler.kernels_folder()


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True, mode=0o700)
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(DeviceError, match="cannot be trusted"):
        compiler.cubin(KERNEL, "sm_90")


@pytest.mark.parametrize(
    "call",
    [
        compiler.nvrtc_version,
        lambda: compiler.compile_kernel(KERNEL, "sm_90"),
        lambda: CudaLauncher(torch.device("cuda", 0)),
    ],
)
def test_without_the_extra_one_sentence_says_what_to_do(
    call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.core", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(DeviceError) as caught:
        call()
    message = str(caught.value)
    assert "cannot be used" in message and "linftui[cuda]" in message and "--devices cpu" in message
    assert "\n" not in message


def told(device: torch.device) -> str:
    with pytest.raises(DeviceError) as refused:
        backend_name(device)
    return str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver here")
class TestGpuThatCannotBeUsed:
    """As told by a torch that believes in a GPU, and a driver of any age."""

    DEVICE = torch.device("cuda", 0)

    @pytest.fixture(autouse=True)
    def hopper(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X")

    def test_no_driver_at_all(self) -> None:
        assert "the NVIDIA driver does not respond" in told(self.DEVICE) and "--devices cpu" in told(
            self.DEVICE
        )

    def test_a_driver_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "cuDriverGetVersion", lambda: (0, 12080))
        assert told(self.DEVICE) == (
            "the NVIDIA driver is for CUDA 12.8, the kernels need one for CUDA 13; "
            "update the driver, or choose --devices cpu"
        )

    def test_a_gpu_that_is_too_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        assert told(self.DEVICE) == (
            "NVIDIA X (sm_75) is older than sm_80, for which the kernels are written; choose --devices cpu"
        )

    def test_where_nothing_is_wrong_the_backend_has_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "cuDriverGetVersion", lambda: (0, 13000))
        major, minor = compiler.nvrtc_version()
        assert backend_name(self.DEVICE) == f"cuda sm_90, NVRTC {major}.{minor}"
