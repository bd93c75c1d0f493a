"""How many cores are ours, by what Linux, a control group and a container say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linftui.cores import cpu_quota, usable_cores


def cores_seen_by_a_process(first: str = "") -> str:
    program = f"{first}\nfrom linftui.cores import usable_cores; print(usable_cores())"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
    only_one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert cores_seen_by_a_process(only_one) == "1\n"


@pytest.fixture
def group() -> Path:
    """A control group of our own that may use one core's time."""
    path = Path("/sys/fs/cgroup/cpu") / f"linftui-{os.getpid()}"
    try:
        path.mkdir()
        (path / "cpu.cfs_quota_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield path
    path.rmdir()


@pytest.mark.skipif(usable_cores() < 2, reason="one core is all there is")
def test_a_quota_counts(group: Path) -> None:
    join = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))"
    assert cores_seen_by_a_process(join) == "1\n"


V1 = "cpu,cpuacct"


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/user/job", {}, None),
        ("0::/user/job", {"user/job/cpu.max": "max 100000"}, None),
        ("0::/user/job", {"user/job/cpu.max": "250000 100000"}, 2.5),
        ("0::/user/job", {"user/job/cpu.max": "max 100000", "user/cpu.max": "300000 100000"}, 3.0),
        ("0::/user/job", {"user/job/cpu.max": "400000 100000", "user/cpu.max": "50000 100000"}, 0.5),
        ("0::/seen/from/outside", {"cpu.max": "200000 100000"}, 2.0),  # a container's own group
        ("0::/a:b", {"a:b/cpu.max": "200000 100000"}, 2.0),
        ("0::/no\udcfftext", {"no\udcfftext/cpu.max": "200000 100000"}, 2.0),
        ("0::/user/job", {"user/job/cpu.max": "nonsense"}, None),
        ("4:memory:/job", {"cpu.max": "200000 100000", "cpu/cpu.cfs_quota_us": "100000"}, None),
        (
            f"3:{V1}:/job",
            {f"{V1}/job/cpu.cfs_quota_us": "150000", f"{V1}/job/cpu.cfs_period_us": "50000"},
            3.0,
        ),
        ("3:cpu:/job", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "50000"}, None),
        ("3:cpuset:/job", {"cpuset/job/cpu.cfs_quota_us": "1", "cpuset/job/cpu.cfs_period_us": "1"}, None),
    ],
)
def test_a_quota_is_the_least_of_the_groups_around_a_process(
    group: str, files: dict[str, str], cores: float | None, tmp_path: Path
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(f"{group}\n", errors="surrogateescape")
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert cpu_quota(tmp_path, tmp_path / "groups") == cores


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path) is None
