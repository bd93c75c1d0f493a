"""GPUs through the real pynvml, with a stand-in for the driver's library that is compiled here.

The stand-in reads a file at every call, so that what a driver says changes while somebody is looking.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from linftui.rundir.records import DeviceRecord, Gpu, GpuProcess, decoder, encode

GIB = 1 << 30
ALL_ONES = (1 << 64) - 1

STAND_IN = Path(__file__).parent / "support" / "nvml_stand_in.c"

# What the programs below say to the stand-in and to us.
PRELUDE = """
import ctypes, json, msgspec, os, sys
import linftui.nvml
from linftui.devices import DeviceMonitor, snapshot

def tell(*lines):
    with open(os.environ["NVML_SCENARIO"], "w") as file:
        file.write("\\n".join(lines))

def show(value):
    print(json.dumps(msgspec.to_builtins(value)))

def inits():
    return ctypes.CDLL("libnvidia-ml.so.1").stand_in_inits()

def users():
    return ctypes.CDLL("libnvidia-ml.so.1").stand_in_users()

"""

Machine = dict[str, Any]
Observe = Callable[..., list[Any]]


def compiled(folder: Path, *flags: str) -> Path:
    """A folder with a libnvidia-ml.so.1."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the stand-in for NVML with")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", *flags, "-o", folder / "libnvidia-ml.so.1", STAND_IN], check=True
    )
    return folder


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def old_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has yet to learn the newest calls."""
    return compiled(tmp_path_factory.mktemp("old-nvml"), "-DOLD")


@pytest.fixture
def observe(stand_in: Path, tmp_path: Path) -> Observe:
    """What a process with the stand-in shows, each `show` an item; the file begins with the given lines."""

    def observe(program: str, *lines: str, library: Path = stand_in) -> list[Any]:
        scenario = tmp_path / "scenario"
        scenario.write_text("\n".join(lines))
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program],
            env={**os.environ, "LD_LIBRARY_PATH": str(library), "NVML_SCENARIO": str(scenario)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return observe


@pytest.fixture
def seen(observe: Observe) -> Callable[..., Machine]:
    """The snapshot that a process with the stand-in takes."""

    def seen(*lines: str, **options: Path) -> Machine:
        [machine] = observe("show(snapshot())", *lines, **options)
        assert isinstance(machine, dict)
        return machine

    return seen


def gpu(index: int, **changes: Any) -> Machine:
    """What the stand-in tells of a GPU where nothing else is said."""
    told = Gpu(
        index=index, uuid=f"GPU-0000000{index}-aaaa", name=f"Stand-in {index}",
        memory_total=80 * GIB, memory_used=(index + 1) * GIB, utilisation=(index + 1) / 4,
        power=412.5, power_limit=700.0, temperature=68.0,
        processes=[GpuProcess(pid=100 + i, memory=(i + 1) * GIB) for i in range(index)],
    )  # fmt: skip
    plain: Machine = msgspec.to_builtins(msgspec.structs.replace(told, **changes))
    return plain


def silent(index: int, problem: str, uuid: str = "", name: str = "") -> Machine:
    """A GPU that tells nothing but why."""
    plain: Machine = msgspec.to_builtins(Gpu(index=index, uuid=uuid, name=name, problem=problem))
    return plain


class TestGpus:
    def test_they_are_listed_in_the_order_of_the_bus_with_everything_they_tell(
        self, seen: Callable[..., Machine]
    ) -> None:
        machine = seen("count 3")
        assert machine["gpu_problem"] == ""
        assert machine["gpus"] == [gpu(0), gpu(1), gpu(2)]

    def test_a_driver_with_older_calls_tells_the_same(
        self, seen: Callable[..., Machine], old_stand_in: Path
    ) -> None:
        assert seen("count 3", library=old_stand_in)["gpus"] == [gpu(0), gpu(1), gpu(2)]

    @pytest.mark.parametrize(
        ("lines", "problem"),
        [
            (["init 9"], "NVML: Driver Not Loaded"),
            (["init 4"], "NVML: Insufficient Permissions"),
            (["init 18"], "NVML: RM has detected an NVML/RM version mismatch."),
            (["init 77"], "NVML: Of another kind"),
            (["init 998"], "NVML: an error without a name"),
            (["count.error 999"], "NVML: Unknown Error"),
            (["count 0"], "NVML: the driver reports no GPU"),
        ],
    )
    def test_a_driver_that_does_not_answer_is_no_error(
        self, seen: Callable[..., Machine], lines: list[str], problem: str
    ) -> None:
        machine = seen(*lines)
        assert machine["gpus"] == []
        assert machine["gpu_problem"] == problem
        assert machine["cores"] >= 1

    @pytest.mark.parametrize(
        ("trouble", "told"),
        [
            ("1.error 15", silent(1, "GPU is lost")),
            ("1.handle.error 4", silent(1, "Insufficient Permissions")),
            ("1.handle.error 3", silent(1, "Not Supported")),
            ("1.uuid.error 999", gpu(1, uuid="", problem="Unknown Error (UUID)")),
            ("1.uuid 1", gpu(1, uuid="", problem="the answer is not text (UUID)")),
            ("1.name 1", gpu(1, name="", problem="the answer is not text (name)")),
            ("1.processes.error 4", gpu(1, processes=None, problem="Insufficient Permissions (processes)")),
            ("1.limit.error 998", gpu(1, power_limit=None, problem="an error without a name (power limit)")),
            (
                "1.power.error 999\n1.utilisation.error 999\n1.temperature.error 10",
                gpu(
                    1, power=None, utilisation=None, temperature=None,
                    problem="Unknown Error (utilisation, power); Timeout (temperature)",
                ),
            ),
            (
                "1.power.error 15",  # all that comes after is not asked any more
                gpu(1, power=None, power_limit=None, temperature=None, processes=None, problem="GPU is lost"),
            ),
        ],
    )  # fmt: skip
    def test_the_trouble_of_one_is_told_with_it_and_hides_no_other(
        self, seen: Callable[..., Machine], trouble: str, told: Machine
    ) -> None:
        machine = seen("count 3", trouble)
        assert machine["gpus"] == [gpu(0), told, gpu(2)]
        assert machine["gpu_problem"] == ""

    @pytest.mark.parametrize("code", [3, 13, 21, 25])
    def test_a_figure_that_a_card_or_driver_has_not_is_none_and_no_trouble(
        self, observe: Observe, code: int
    ) -> None:
        missing: dict[str, dict[str, None]] = {
            "memory": {"memory_total": None, "memory_used": None},
            "utilisation": {"utilisation": None},
            "power": {"power": None},
            "limit": {"power_limit": None},
            "temperature": {"temperature": None},
            "processes": {"processes": None},
        }
        found = observe(f"""
for figure in {list(missing)}: tell(f"1.{{figure}}.error {code}"); show(snapshot().gpus)
""")
        assert found == [[gpu(0), gpu(1, **none)] for none in missing.values()]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (f"1.used {ALL_ONES}", {"memory_used": None}),
            (f"1.used {80 * GIB + 1}", {"memory_used": None}),
            (f"1.total {ALL_ONES}", {"memory_total": None}),
            (f"1.utilisation {0xFFFFFFFF}", {"utilisation": None}),
            ("1.utilisation 101", {"utilisation": None}),
            ("1.utilisation 100", {"utilisation": 1.0}),
            (f"1.power {0xFFFFFFFF}", {"power": None}),
            (f"1.limit {0xFFFFFFFF}", {"power_limit": None}),
            (f"1.held {ALL_ONES}", {"processes": [GpuProcess(pid=100, memory=None)]}),
            ("1.processes 0", {"processes": []}),
            ("1.processes.grow 1", {"processes": None}),
        ],
    )
    def test_what_a_driver_marks_as_not_available_is_none(
        self, seen: Callable[..., Machine], line: str, told: dict[str, Any]
    ) -> None:
        assert seen(line)["gpus"] == [gpu(0), gpu(1, **told)]

    def test_the_doctor_shows_what_is_known_and_what_is_wrong(self, observe: Observe) -> None:
        [facts] = observe(
            "from linftui.cli.doctor import _devices; show(_devices())",
            "count 3", "1.handle.error 15", "2.power.error 3", "2.temperature.error 4", f"2.used {ALL_ONES}",
        )  # fmt: skip
        lines = {name: line for name, line in facts.items() if name.startswith("gpu")}
        assert lines == {
            "gpu 0": "Stand-in 0, 1.0 used of 80.0 GiB, 25% busy, 412 of 700 W, 68 °C, GPU-00000000-aaaa",
            "gpu 1": "name unknown; GPU is lost",
            "gpu 2": "Stand-in 2, 80.0 GiB, 75% busy, GPU-00000002-aaaa; "
            "Insufficient Permissions (temperature)",
        }

    def test_a_command_that_asks_for_a_gpu_that_is_not_there_names_those_that_are(
        self, linftui: Callable[..., subprocess.CompletedProcess[str]], stand_in: Path, tiny_recipe: Path
    ) -> None:
        done = linftui("run", tiny_recipe, "--devices", "5", LD_LIBRARY_PATH=str(stand_in))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "linftui: there is no GPU 5 here; known: 0, 1\n"

    @pytest.mark.parametrize(
        ("visible", "offered"), [("1", "1 auto cpu"), ("", "auto cpu"), ("MIG-aaaa", "auto cpu")]
    )
    def test_only_gpus_that_may_be_taken_are_completed(
        self, stand_in: Path, visible: str, offered: str
    ) -> None:
        asked = {
            "_LINFTUI_COMPLETE": "complete_bash", "COMP_CWORD": "3",
            "COMP_WORDS": "linftui\nrun\n--devices\n", "LD_LIBRARY_PATH": str(stand_in),
            "CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }  # fmt: skip
        program = Path(sys.executable).with_name("linftui")
        done = subprocess.run([program], env={**os.environ, **asked}, capture_output=True, text=True)
        assert (done.stdout.split(), done.stderr) == (offered.split(), "")


class TestMonitor:
    def test_nvml_is_initialised_once_and_given_back(self, observe: Observe) -> None:
        counts = observe("""
m = DeviceMonitor()
for _ in range(3): m.sample()
m.record(1, ["GPU-00000000-aaaa"], [])
show([inits(), users()]); m.close(); show([inits(), users()]); m.close()
snapshot(); show([inits(), users()]); m.sample(); show([inits(), users()])
""")
        assert counts == [[1, 1], [1, 0], [2, 0], [3, 1]]

    def test_figures_are_those_of_the_moment(self, observe: Observe) -> None:
        assert observe("""
m = DeviceMonitor(); show(m.sample().gpus)
tell("1.used 5", "0.error 15"); show(m.sample().gpus)
tell(); show(m.sample().gpus)
""") == [[gpu(0), gpu(1)], [silent(0, "GPU is lost"), gpu(1, memory_used=5)], [gpu(0), gpu(1)]]

    def test_a_driver_that_forgot_us_is_begun_anew_at_the_next_look(self, observe: Observe) -> None:
        *machines, counts = observe("""
m = DeviceMonitor(); m.sample()
tell("generation 1"); show(m.sample())
linftui.nvml.RETRY = 0.0; show(m.sample())
m.close(); show([inits(), users()])
""")
        assert [(machine["gpus"], machine["gpu_problem"]) for machine in machines] == [
            ([], "NVML: Uninitialized"),
            ([gpu(0), gpu(1)], ""),
        ]
        assert counts == [2, 0]

    @pytest.mark.parametrize(
        "trouble", ["1.error 15", "1.memory.error 1", "1.memory.error 18", "init 9", "count 0"]
    )
    def test_it_is_not_begun_anew_again_and_again(self, observe: Observe, trouble: str) -> None:
        assert observe("""
m = DeviceMonitor()
for _ in range(5): m.sample()
show(inits())
linftui.nvml.RETRY = 0.0; m.sample(); show(inits())
linftui.nvml.RETRY = 3600.0; m.sample(); show(inits())
""", trouble) == [1, 2, 2]  # fmt: skip

    def test_a_trouble_that_no_new_beginning_mends_brings_none(self, observe: Observe) -> None:
        assert observe("""
linftui.nvml.RETRY = 0.0; m = DeviceMonitor()
for _ in range(3): m.sample()
show(inits())
""", "0.processes.error 4", "1.power.error 999", "1.memory.error 3") == [1]  # fmt: skip

    def test_a_driver_that_comes_later_is_found(self, observe: Observe) -> None:
        machines = observe("""
linftui.nvml.RETRY = 0.0; m = DeviceMonitor(); show(m.sample())
tell("count 0"); show(m.sample())
tell(); show(m.sample())
""", "init 9")  # fmt: skip
        assert [machine["gpu_problem"] for machine in machines] == [
            "NVML: Driver Not Loaded",
            "NVML: the driver reports no GPU",
            "",
        ]
        assert machines[-1]["gpus"] == [gpu(0), gpu(1)]


class TestRecord:
    def test_it_tells_of_the_runs_own_gpus_in_the_order_asked(self, observe: Observe) -> None:
        [record] = observe(
            "show(DeviceMonitor().record(3, ['GPU-00000002-aaaa', 'GPU-00000000-aaaa'], [os.getpid()]))",
            "count 3",
        )
        assert (record["attempt"], record["gpu_problem"]) == (3, "")
        assert record["gpus"] == [gpu(2), gpu(0)]
        assert 0.0 <= record["cpu"] <= 1.0
        assert 0 < record["run_memory"] < record["memory_used"] < record["memory_total"]
        assert abs(record["time"] - time.time()) < 3600

    def test_a_gpu_that_vanishes_is_still_told_of_by_its_uuid(self, observe: Observe) -> None:
        # The third GPU then takes the index of the second.
        records = observe("""
m = DeviceMonitor(); own = ["GPU-00000001-aaaa", "GPU-00000002-aaaa", "GPU-ffffffff-aaaa"]
show(m.record(1, own, []))
tell("count 2", "at.1 2"); show(m.record(1, own, []))
tell("count 3"); show(m.record(1, own, []))
""", "count 3")  # fmt: skip
        stranger = silent(-1, "it is gone", "GPU-ffffffff-aaaa")
        assert [record["gpus"] for record in records] == [
            [gpu(1), gpu(2), stranger],
            [silent(1, "it is gone", "GPU-00000001-aaaa", "Stand-in 1"), {**gpu(2), "index": 1}, stranger],
            [gpu(1), gpu(2), stranger],
        ]
        assert {record["gpu_problem"] for record in records} == {""}

    @pytest.mark.parametrize(
        ("line", "problem", "gpu_problem"),
        [
            ("1.handle.error 15", "GPU is lost", ""),
            ("count 0", "it is gone", "NVML: the driver reports no GPU"),
            ("count.error 999", "NVML: Unknown Error", "NVML: Unknown Error"),
        ],
    )
    def test_a_gpu_that_cannot_be_reached_says_why(
        self, observe: Observe, line: str, problem: str, gpu_problem: str
    ) -> None:
        [record] = observe(f"""
m = DeviceMonitor(); m.record(1, ["GPU-00000001-aaaa"], [])
tell("{line}"); show(m.record(1, ["GPU-00000001-aaaa"], []))
""")
        assert record["gpus"] == [silent(1, problem, "GPU-00000001-aaaa", "Stand-in 1")]
        assert record["gpu_problem"] == gpu_problem

    def test_it_comes_back_from_a_file_as_it_was(self, observe: Observe) -> None:
        [line] = observe(
            "from linftui.rundir.records import encode;"
            "show(encode(DeviceMonitor().record(1, ['GPU-00000001-aaaa', 'GPU-0'], [1])).decode())"
        )
        record: DeviceRecord = decoder(DeviceRecord)(line.encode())
        assert encode(record).decode() == line
        assert msgspec.to_builtins(record.gpus) == [gpu(1), silent(-1, "it is gone", "GPU-0")]
