"""The devices' curve beside a run: it grows while the run does, and never costs the run anything."""

import os
import resource
import time
from collections.abc import Iterator

import pytest

from linftui.errors import RunDirectoryError
from linftui.launch import telemetry as telemetry_module
from linftui.launch.telemetry import Telemetry
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import RunReader


@pytest.fixture
def telemetry(paths: RunPaths) -> Iterator[Telemetry]:
    telemetry = Telemetry(paths, 3, ["cpu", "cpu"])
    yield telemetry
    telemetry.close()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample is always due."""
    monkeypatch.setattr(telemetry_module, "EVERY_S", 0.0)


@pytest.mark.usefixtures("always")
def test_each_sample_tells_of_the_machine_and_of_the_runs_own_processes(
    paths: RunPaths, telemetry: Telemetry
) -> None:
    telemetry.sample([os.getpid()])
    began = time.process_time()
    while time.process_time() < began + 0.2:
        pass
    telemetry.sample([os.getpid(), 2**22 + 1])
    first, second = RunReader(paths).devices()
    assert (first.attempt, first.gpus, second.attempt) == (3, [], 3)
    assert 0 < second.memory_used < second.memory_total and 0 <= second.cpu <= 1
    assert first.run_cpu == 0.0 and second.run_cpu > 0.0
    assert second.run_memory > 1 << 20


def test_samples_are_taken_every_now_and_then(paths: RunPaths, telemetry: Telemetry) -> None:
    for _ in range(50):
        telemetry.sample([])
    assert len(RunReader(paths).devices()) == 1


def test_an_attempt_adds_to_what_an_earlier_one_wrote(paths: RunPaths) -> None:
    paths.devices.write_bytes(b'{"v":1,"attempt":1,"torn')
    for attempt in (2, 3):
        telemetry = Telemetry(paths, attempt, ["cpu"])
        telemetry.sample([])
        telemetry.close()
    reader = RunReader(paths)
    assert [record.attempt for record in reader.devices()] == [2, 3]
    assert reader.bad_lines == 1


@pytest.mark.usefixtures("always")
def test_a_full_disk_ends_nothing_and_the_curve_goes_on_once_there_is_room(
    paths: RunPaths, telemetry: Telemetry
) -> None:
    telemetry.sample([])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (paths.devices.stat().st_size + 20, hard))
        telemetry.sample([])
        telemetry.sample([])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    telemetry.sample([])
    reader = RunReader(paths)
    assert len(reader.devices()) == 2 and reader.bad_lines == 1


def test_a_run_that_leads_elsewhere_is_refused(paths: RunPaths) -> None:
    paths.devices.symlink_to("/dev/null")
    with pytest.raises(RunDirectoryError, match="devices.jsonl: cannot be written"):
        Telemetry(paths, 1, ["cpu"])
