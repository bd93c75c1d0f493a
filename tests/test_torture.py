"""The campaign of `scripts/torture.py`, in little: whatever can die is killed, and nothing is lost by it.

All of it, 500 disturbances, takes an hour: `python scripts/torture.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "torture.py"
ALL = [
    "rank of 1", "supervisor of 1", "certification", "moved folder", "viewer", "full disk",
    "rank of 2", "torchrun of 2", "supervisor of 2",
]  # fmt: skip


def torture(case: str, disturbances: int) -> None:
    command = [sys.executable, str(SCRIPT), "--json", "--disturbances", str(disturbances), "--only", case]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    [result] = json.loads(done.stdout)
    left_out = [note for note in result["notes"] if note.startswith("left out")]
    assert left_out or (result["disturbances"] > 0 and result["compared"] > 0), result
    assert not result["failed"], result


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_disturbed_ends_as_if_nobody_had_touched_it() -> None:
    torture("supervisor of 1", 1)


@pytest.mark.thorough
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("case", ALL)
def test_whatever_is_disturbed_more_often_ends_as_if_nobody_had_touched_it(case: str) -> None:
    torture(case, 10)
