"""Taking a run's folder away: what nobody else has taken."""

import os
import shutil
from pathlib import Path

from linftui.launch.lock import sole_supervisor
from linftui.launch.removal import withdraw_run
from linftui.rundir.paths import RunPaths


def test_a_run_that_could_not_be_begun_is_withdrawn_unless_somebody_has_taken_it(
    finished_run: Path, tmp_path: Path
) -> None:
    copy = RunPaths(Path(shutil.copytree(finished_run, tmp_path / "runs" / "copy")))
    before = sorted(copy.root.rglob("*"))
    with sole_supervisor(copy):
        withdraw_run(copy)
    assert sorted(copy.root.rglob("*")) == before
    withdraw_run(copy)
    assert os.listdir(copy.root.parent) == []
    withdraw_run(copy)  # gone already
