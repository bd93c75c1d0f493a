"""The campaign of `scripts/torture.py`, in little: whatever can die is killed, and nothing is lost by it.

All of it, 500 disturbances, takes an hour: `python scripts/torture.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "torture.py"
ALONE = ["supervisor of 1", "certification", "moved folder"]
TOGETHER = ["rank of 2"]
ALL = ["rank of 1", *ALONE, "viewer", "full disk", *TOGETHER, "torchrun of 2", "supervisor of 2"]


def torture(cases: list[str], disturbances: int) -> None:
    only = [word for case in cases for word in ("--only", case)]
    command = [sys.executable, str(SCRIPT), "--json", "--disturbances", str(disturbances), *only]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    results = json.loads(done.stdout)
    assert [result["case"] for result in results] == cases
    for result in results:
        left_out = [note for note in result["notes"] if note.startswith("left out")]
        assert left_out or (result["disturbances"] > 0 and result["compared"] > 0), result
        assert not result["failed"], result


class TestOneRank:  # a class each, so that two processes share them
    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_what_is_disturbed_ends_as_if_nobody_had_touched_it(self) -> None:
        torture(ALONE, len(ALONE))


class TestTwoRanks:
    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_what_is_disturbed_ends_as_if_nobody_had_touched_it(self) -> None:
        torture(TOGETHER, len(TOGETHER))


@pytest.mark.thorough
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("case", ALL)
def test_whatever_is_disturbed_more_often_ends_as_if_nobody_had_touched_it(case: str) -> None:
    torture([case], 10)
