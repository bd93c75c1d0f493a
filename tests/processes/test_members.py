"""Processes of a run say who they are, and are believed on this host alone."""

import os
import subprocess
import sys

import pytest
from msgspec import structs
from support.stand_ins import ELSEWHERE, GONE, announce, described

from linftui.errors import RunDirectoryError
from linftui.processes.members import announced_ranks
from linftui.rundir.liveness import folder_identity, this_host
from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_record
from linftui.rundir.records import MemberRecord


def test_the_ranks_that_are_known_are_those_of_this_attempt_and_this_host(paths: RunPaths) -> None:
    assert announced_ranks(paths, 1) == []
    first, second, third = (structs.replace(GONE, role=f"rank-{n}", start_time=n) for n in range(3))
    announce(paths, second)
    announce(paths, first)
    announce(paths, third, host=ELSEWHERE)
    announce(paths, third, attempt=2)
    assert announced_ranks(paths, 1) == [first, second]
    assert announced_ranks(paths, 2) == [third]


def test_a_damaged_announcement_is_an_error(paths: RunPaths) -> None:
    announce(paths, structs.replace(GONE, role="rank-0"))
    paths.member(1, 0).write_text("{")
    with pytest.raises(RunDirectoryError, match="member-0.json: cannot be read"):
        announced_ranks(paths, 1)


def test_a_process_says_who_it_is_where_it_runs_and_in_which_folder(paths: RunPaths) -> None:
    paths.logs(1).mkdir(parents=True)
    program = "import sys; from pathlib import Path; from linftui.processes.members import announce\n"
    program += "announce(Path(sys.argv[1]), 'rank-0', Path(sys.argv[2])); input()"
    command = [sys.executable, "-c", program, paths.member(1, 0), paths.root]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        while not paths.member(1, 0).exists():
            assert process.poll() is None
        me, folder = described(process), folder_identity(paths.root)
        said = MemberRecord(host=this_host(), process=me, folder=folder)
        assert read_record(paths.member(1, 0), MemberRecord) == said
        assert announced_ranks(paths, 1) == [me] and me.uid == os.getuid()
