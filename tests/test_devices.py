"""What the machine is seen to have: with no NVML, and with a stand-in for NVML that answers for two GPUs.

The stand-in is a shared library of the driver's name, compiled here and loaded by the real pynvml.
"""

import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from linftui.devices import snapshot, usable_cores

GIB = 1 << 30

# Which call fails, and how many GPUs there are, is told in the environment.
NVML = r"""
#include <stdio.h>
#include <stdlib.h>

typedef struct { unsigned long long total, free, used; } memory_t;
static long gpus[2] = {0, 1};

static int told(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}
int nvmlInitWithFlags(unsigned flags) { return told("NVML_INIT", 0); }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = told("NVML_GPUS", 2); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &gpus[index]; return 0; }
int nvmlDeviceGetUUID(long *gpu, char *text, unsigned size) {
  snprintf(text, size, "GPU-0000000%ld-aaaa", *gpu);
  return 0;
}
int nvmlDeviceGetName(long *gpu, char *text, unsigned size) {
  snprintf(text, size, "Stand-in %ld", *gpu);
  return 0;
}
int nvmlDeviceGetMemoryInfo(long *gpu, memory_t *memory) {
  memory->total = 80ULL << 30;
  memory->used = (unsigned long long)(*gpu + 1) << 30;
  memory->free = memory->total - memory->used;
  return told("NVML_MEMORY", 0);
}
"""

Machine = dict[str, Any]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the stand-in for NVML with")
    folder = tmp_path_factory.mktemp("nvml")
    source = folder / "nvml.c"
    source.write_text(NVML)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


@pytest.fixture
def seen(stand_in: Path) -> Callable[..., Machine]:
    """What a process with the stand-in sees."""

    def seen(**environment: str) -> Machine:
        program = "import json, dataclasses; from linftui.devices import snapshot;"
        program += "print(json.dumps(dataclasses.asdict(snapshot())))"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "LD_LIBRARY_PATH": str(stand_in), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        machine: Machine = json.loads(done.stdout)
        return machine

    return seen


def test_cores_and_memory_are_those_of_this_machine() -> None:
    machine = snapshot()
    assert machine.cores == usable_cores() == len(os.sched_getaffinity(0))
    assert machine.memory_total == psutil.virtual_memory().total
    assert 0 < machine.memory_available <= machine.memory_total


def test_cores_are_those_that_this_process_may_use() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    program += "from linftui.devices import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.skipif(ctypes.util.find_library("nvidia-ml") is not None, reason="this machine has NVML")
def test_without_nvml_there_are_no_gpus_and_the_reason_is_told() -> None:
    machine = snapshot()
    assert machine.gpus == ()
    assert machine.gpu_problem == "NVML: NVML Shared Library Not Found"


def test_gpus_are_listed_in_the_order_of_the_bus(seen: Callable[..., Machine]) -> None:
    machine = seen()
    assert machine["gpu_problem"] == ""
    assert machine["gpus"] == [
        {
            "index": index,
            "uuid": f"GPU-0000000{index}-aaaa",
            "name": f"Stand-in {index}",
            "memory_total": 80 * GIB,
            "memory_used": (index + 1) * GIB,
        }
        for index in (0, 1)
    ]


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"NVML_INIT": "9"}, "NVML: Driver Not Loaded"),
        ({"NVML_INIT": "4"}, "NVML: Insufficient Permissions"),
        ({"NVML_MEMORY": "15"}, "NVML: GPU is lost"),
        ({"NVML_GPUS": "0"}, "NVML: the driver reports no GPU"),
    ],
)
def test_a_driver_that_does_not_answer_is_no_error(
    seen: Callable[..., Machine], environment: dict[str, str], problem: str
) -> None:
    machine = seen(**environment)
    assert machine["gpus"] == []
    assert machine["gpu_problem"] == problem
    assert machine["cores"] >= 1


def test_a_command_that_asks_for_a_gpu_that_is_not_there_names_those_that_are(
    linftui: Callable[..., subprocess.CompletedProcess[str]], stand_in: Path, tiny_recipe: Path
) -> None:
    done = linftui("run", tiny_recipe, "--devices", "5", LD_LIBRARY_PATH=str(stand_in))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "linftui: there is no GPU 5 here; known: 0, 1\n"
