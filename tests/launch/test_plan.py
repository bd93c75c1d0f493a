"""A plan's commands and its workers' environment."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from linftui.launch import placement
from linftui.launch.plan import LaunchPlan


@pytest.fixture(autouse=True)
def torch_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is here, and every GPU; each test may say otherwise."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(placement, "version", lambda package: "2.13.0")


def test_a_worker_on_the_cpu_sees_no_gpu() -> None:
    plan = LaunchPlan(devices=("cpu",), threads=3)
    assert plan.torch_device == "cpu"
    assert plan.environment()["CUDA_VISIBLE_DEVICES"] == ""
    assert plan.worker_command("train", "runs/a") == (
        [sys.executable, "-P", "-m", "linftui.worker", "train", "runs/a", "--device", "cpu", "--threads", "3"]
    )


def test_a_worker_on_a_gpu_sees_that_one_only_in_the_order_of_the_bus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("LINFTUI_TEST_MARK", "kept")
    plan = LaunchPlan(devices=("GPU-bbbb-1111",), threads=3)
    environment = plan.environment()
    assert plan.torch_device == "cuda"
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb-1111"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environment["LINFTUI_TEST_MARK"] == "kept"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"  # ours is untouched


def pages_can_be_asked_for() -> bool:
    """Whether this C library knows how, and Linux waits to be asked."""
    mode = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return platform.libc_ver() >= ("glibc", "2.35") and mode.exists() and "[madvise]" in mode.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not pages_can_be_asked_for(), reason="huge pages cannot be asked for here")
@pytest.mark.parametrize(
    ("given", "asks"),
    [
        (None, True),
        ("glibc.malloc.arena_max=3", True),
        ("glibc.malloc.hugetlb=0", False),
    ],
)
def test_large_tensors_of_a_worker_ask_for_huge_pages(
    given: str | None, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)
    program = """
import torch
large = torch.ones(1 << 24)
address, mapped = large.data_ptr(), False
for line in open("/proc/self/smaps"):
    ends = line.split(maxsplit=1)[0].split("-")
    if len(ends) == 2:
        mapped = int(ends[0], 16) <= address < int(ends[1], 16)
    elif mapped and line.startswith("VmFlags:"):
        print("hg" in line.split())
"""
    environment = LaunchPlan(devices=("cpu",), threads=1).environment()
    assert given is None or environment["GLIBC_TUNABLES"].startswith(given)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == f"{asks}\n", done.stderr


def test_one_rank_is_the_worker_itself(tmp_path: Path) -> None:
    plan = LaunchPlan(devices=("cpu",), threads=3)
    assert plan.training_command(tmp_path, "train", "runs/a") == plan.worker_command("train", "runs/a")
    assert "OMP_NUM_THREADS" not in set(plan.environment()) - set(os.environ)


def test_several_ranks_are_started_by_torchrun_and_meet_in_a_folder(tmp_path: Path) -> None:
    plan = LaunchPlan(devices=("cpu", "cpu"), threads=3)
    command = plan.training_command(tmp_path, "train", "runs/a")
    end = command.index("--no-python")
    torchrun, worker = command[:end], command[end + 1 :]
    assert torchrun[:4] == [sys.executable, "-P", "-m", "torch.distributed.run"]
    assert {"--nnodes=1", "--nproc-per-node=2", "--max-restarts=0"} < set(torchrun)
    assert f"--rdzv-endpoint={tmp_path / 'agent'}" in torchrun and "--standalone" not in torchrun
    assert worker == plan.worker_command("train", "runs/a", "--rendezvous", str(tmp_path))


def test_ranks_of_one_machine_talk_on_loopback() -> None:
    environment = LaunchPlan(devices=("GPU-aaaa-0000", "GPU-bbbb-1111"), threads=3).environment()
    assert environment["GLOO_SOCKET_IFNAME"] == environment["NCCL_SOCKET_IFNAME"] == "lo"
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa-0000,GPU-bbbb-1111"
    assert environment["OMP_NUM_THREADS"] == "3"
