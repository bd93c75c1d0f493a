"""What `--devices` means on machines with and without GPUs, and what a worker is then told."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from linftui.devices import DeviceSnapshot, Gpu
from linftui.errors import DeviceError
from linftui.launch import plan
from linftui.launch.plan import LaunchPlan, plan_devices

GIB = 1 << 30

# Known by index, by UUID; the second has the most memory free.
GPUS = (
    Gpu(index=0, uuid="GPU-aaaa-0000", name="H100", memory_total=80 * GIB, memory_used=60 * GIB),
    Gpu(index=1, uuid="GPU-bbbb-1111", name="H100", memory_total=80 * GIB, memory_used=1 * GIB),
    Gpu(index=2, uuid="GPU-cccc-2222", name="T4", memory_total=16 * GIB, memory_used=0),
)


def machine(gpus: tuple[Gpu, ...] = (), cores: int = 4) -> DeviceSnapshot:
    problem = "" if gpus else "NVML: Driver Not Loaded"
    return DeviceSnapshot(
        cores, memory_total=8 * GIB, memory_available=4 * GIB, gpus=gpus, gpu_problem=problem
    )


@pytest.fixture(autouse=True)
def torch_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is here, and every GPU; each test may say otherwise."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(plan, "version", lambda package: "2.13.0")


def test_a_torch_for_cpus_has_no_use_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "version", lambda package: "2.13.0+cpu")
    assert plan_devices("auto", machine(GPUS)).devices == ("cpu",)
    assert refusal("gpu:1", machine(GPUS)) == (
        "--devices gpu:1 takes a GPU, and torch 2.13.0+cpu is built for CPUs only; "
        "install a torch that is built for CUDA, or choose --devices cpu"
    )


def refusal(spec: str, here: DeviceSnapshot) -> str:
    with pytest.raises(DeviceError) as refused:
        plan_devices(spec, here)
    assert refused.value.exit_code == 2
    return str(refused.value)


@pytest.mark.parametrize("spec", ["auto", "cpu", "cpu:1"])
def test_without_a_gpu_it_is_the_cpu_with_all_its_cores(spec: str) -> None:
    assert plan_devices(spec, machine(cores=4)) == LaunchPlan(devices=("cpu",), threads=4)


def test_auto_takes_the_gpu_with_the_most_free_memory() -> None:
    assert plan_devices("auto", machine(GPUS)).devices == ("GPU-bbbb-1111",)
    assert plan_devices("auto", machine(GPUS[::2])).devices == ("GPU-aaaa-0000",)


@pytest.mark.parametrize(
    ("spec", "uuid"),
    [
        ("0", "GPU-aaaa-0000"),
        ("2", "GPU-cccc-2222"),
        ("GPU-bbbb-1111", "GPU-bbbb-1111"),
        ("gpu:1", "GPU-aaaa-0000"),
    ],
)
def test_a_gpu_is_named_by_its_number_or_its_uuid(spec: str, uuid: str) -> None:
    assert plan_devices(spec, machine(GPUS)).devices == (uuid,)


@pytest.mark.parametrize("missing", ["cuda", "cuda.core"])
@pytest.mark.parametrize("spec", ["auto", "0"])
def test_a_gpu_without_what_its_kernels_need_is_refused(
    spec: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cuda.core", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # as where it is not installed
    assert refusal(spec, machine(GPUS)) == (
        f"--devices {spec} takes a GPU, and the compiler for its kernels is not installed; "
        "pip install 'linftui[cuda]', or choose --devices cpu"
    )
    assert plan_devices("cpu", machine(GPUS)).devices == ("cpu",)


def test_the_cpu_can_be_asked_for_where_there_are_gpus() -> None:
    assert plan_devices("cpu", machine(GPUS)).devices == ("cpu",)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cpu:5", "--devices cpu:5 asks for 5 ranks, but linftui may use 4 cores; ask for fewer"),
        ("gpu:4", "--devices gpu:4 asks for 4 ranks, but this machine has 3 GPUs; ask for fewer"),
        ("cpu:0", "--devices cpu:0 asks for no rank at all"),
        ("gpu:0", "--devices gpu:0 asks for no rank at all"),
        ("3", "there is no GPU 3 here; known: 0, 1, 2"),
        ("0,9", "there is no GPU 9 here; known: 0, 1, 2"),
        ("GPU-dddd", "there is no GPU GPU-dddd here; known: 0, 1, 2"),
        ("0,0", "--devices 0,0 names a GPU twice"),
        ("0,GPU-aaaa-0000", "--devices 0,GPU-aaaa-0000 names a GPU twice"),
    ],
)
def test_what_is_not_there_is_refused(spec: str, message: str) -> None:
    assert refusal(spec, machine(GPUS)) == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gpu:1", "--devices gpu:1 asks for 1 rank, but this machine has no GPUs; use --devices cpu"),
        ("0", "there is no GPU 0 here; known: NVML: Driver Not Loaded"),
    ],
)
def test_a_gpu_on_a_machine_without_one_is_refused_with_the_reason(spec: str, message: str) -> None:
    assert refusal(spec, machine()) == message


@pytest.mark.parametrize(
    ("spec", "devices", "threads"),
    [
        ("cpu:2", ("cpu", "cpu"), 3),
        ("cpu:4", ("cpu",) * 4, 1),
        ("cpu:7", ("cpu",) * 7, 1),
        ("gpu:2", ("GPU-aaaa-0000", "GPU-bbbb-1111"), 3),
        ("2,0", ("GPU-cccc-2222", "GPU-aaaa-0000"), 3),
        ("GPU-cccc-2222,1,0", ("GPU-cccc-2222", "GPU-bbbb-1111", "GPU-aaaa-0000"), 2),
    ],
)
def test_each_rank_has_a_device_and_its_share_of_the_cores(
    spec: str, devices: tuple[str, ...], threads: int
) -> None:
    plan = plan_devices(spec, machine(GPUS, cores=7))
    assert (plan.devices, plan.threads, plan.ranks) == (devices, threads, len(devices))


@pytest.mark.parametrize(
    ("given", "asked", "threads"),
    [
        ("", None, 3), ("2", None, 2), ("1,4", None, 1), ("8", None, 3), ("0", None, 3), ("many", None, 3),
        ("2", 5, 5), ("", 1, 1),
    ],
)  # fmt: skip
def test_threads_are_those_asked_for_or_openmp_s_but_no_more_than_the_share(
    given: str, asked: int | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert plan_devices("cpu:2", machine(cores=7), asked).threads == threads


ALIKE = tuple(structs.replace(gpu, name="H100") for gpu in GPUS)


@pytest.mark.parametrize(
    ("visible", "spec", "devices"),
    [
        ("1", "auto", ("GPU-bbbb-1111",)),
        ("2,0", "auto", ("GPU-aaaa-0000",)),  # of these two it has more memory free
        ("2,0", "gpu:2", ("GPU-cccc-2222", "GPU-aaaa-0000")),
        ("2,0", "gpu:1", ("GPU-cccc-2222",)),
        ("2,0", "0", ("GPU-aaaa-0000",)),
        ("GPU-bb", "auto", ("GPU-bbbb-1111",)),
        ("0, 1 ,-1,2", "gpu:2", ("GPU-aaaa-0000", "GPU-bbbb-1111")),
        ("0,0", "gpu:1", ("GPU-aaaa-0000",)),
        ("", "auto", ("cpu",)),
        ("-1", "auto", ("cpu",)),
        ("7,0", "auto", ("cpu",)),
        ("GPU-", "auto", ("cpu",)),  # it may be any of them
        ("MIG-aaaa", "cpu:2", ("cpu", "cpu")),
    ],
)
def test_only_visible_gpus_are_taken(
    visible: str, spec: str, devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert plan_devices(spec, machine(ALIKE)).devices == devices


@pytest.mark.parametrize(
    ("visible", "spec", "message"),
    [
        ("1,2", "0", "CUDA_VISIBLE_DEVICES=1,2 hides GPU 0; visible: 1, 2"),
        ("1", "GPU-aaaa-0000", "CUDA_VISIBLE_DEVICES=1 hides GPU GPU-aaaa-0000; visible: 1"),
        ("", "0", "CUDA_VISIBLE_DEVICES= hides GPU 0; visible: none"),
        (
            "1",
            "gpu:2",
            "--devices gpu:2 asks for 2 ranks, but CUDA_VISIBLE_DEVICES=1 leaves 1 GPU; ask for fewer",
        ),
        (
            "-1",
            "gpu:1",
            "--devices gpu:1 asks for 1 rank, but CUDA_VISIBLE_DEVICES=-1 leaves no GPUs; use --devices cpu",
        ),
        (
            "MIG-aaaa",
            "auto",
            "CUDA_VISIBLE_DEVICES names MIG-aaaa, part of a GPU (MIG), and linftui uses whole GPUs only; "
            "name a whole GPU, or choose --devices cpu",
        ),
    ],
)
def test_what_is_hidden_is_refused_by_name(
    visible: str, spec: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert refusal(spec, machine(ALIKE)) == message


@pytest.mark.parametrize("spec", ["MIG-aaaa", "0,MIG-GPU-aaaa/1/0"])
def test_a_part_of_a_gpu_is_refused_by_name(spec: str) -> None:
    part = spec.removeprefix("0,")
    assert refusal(spec, machine(ALIKE)).startswith(f"--devices names {part}, part of a GPU (MIG)")


def test_a_number_that_may_mean_either_of_two_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA counts the fastest first, unless it is told not to; NVML counts along the bus."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert refusal("auto", machine(GPUS)) == (
        "CUDA_VISIBLE_DEVICES=1 is ambiguous, since the GPUs here differ; "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs"
    )
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert plan_devices("auto", machine(GPUS)).devices == ("GPU-bbbb-1111",)
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bbbb-1111")
    assert plan_devices("auto", machine(GPUS)).devices == ("GPU-bbbb-1111",)


@pytest.mark.parametrize("spec", ["cpu", "cpu:3", "0", "0,2", "gpu:3"])
def test_a_plan_can_be_said_as_it_is_asked_for(spec: str) -> None:
    plan = plan_devices(spec, machine(GPUS))
    assert plan_devices(plan.spec, machine(GPUS)) == plan


def test_a_gpu_that_does_not_answer_is_not_used() -> None:
    lost = Gpu(index=3, uuid="GPU-dddd-3333", name="", problem="GPU is lost")
    here = machine((*GPUS[:1], lost))
    assert plan_devices("auto", here).devices == ("GPU-aaaa-0000",)
    for spec in ("3", "GPU-dddd-3333", "0,3"):
        assert "does not answer: GPU is lost; choose another" in refusal(spec, here)
    assert "asks for 2 ranks, but this machine has 1 GPU;" in refusal("gpu:2", here)


@pytest.mark.parametrize(
    "spec", ["", "tpu", "cpu:", "cpu:x", "cpu:-1", "gpu", "0,", ",0", "0;1", "-1", "cpu\n"]
)
def test_what_is_not_understood_is_refused_with_what_would_be(spec: str) -> None:
    message = refusal(spec, machine(GPUS))
    assert message == f"--devices {spec!r} is not understood; use auto, cpu, cpu:N, gpu:N, 0,3 or UUIDs"


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
