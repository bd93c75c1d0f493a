"""What `--devices` means: which devices, how many ranks and threads, and what is refused."""

import sys

import pytest
from msgspec import structs

from linftui.devices import DeviceSnapshot, Gpu
from linftui.errors import DeviceError
from linftui.launch import placement
from linftui.launch.placement import plan_devices
from linftui.launch.plan import LaunchPlan

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
    monkeypatch.setattr(placement, "version", lambda package: "2.13.0")


def test_a_torch_for_cpus_has_no_use_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "version", lambda package: "2.13.0+cpu")
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
