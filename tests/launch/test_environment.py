"""What processes of ours take over from whoever starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linftui.launch.environment import inherited


def test_what_would_reconfigure_torchrun_is_left_out() -> None:
    others = {
        "PET_MODULE": "1", "PET_NNODES": "2", "LOGLEVEL": "debug", "TORCH_DISTRIBUTED_DEBUG": "DETAIL",
        "TORCH_LOGS": "nonsense", "TORCH_LOGS_OUT": "/no/where", "TORCH_ELASTIC_WORKER_IDENTICAL": "1",
        "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "RANK": "3", "LOCAL_RANK": "3", "MASTER_PORT": "1",
    }  # fmt: skip
    kept = {"PETS": "1", "LOG_LEVEL": "debug", "NCCL_DEBUG": "INFO", "RANKS": "2", "MASTER": "me"}
    assert kept.items() <= inherited({**others, **kept}).items()
    assert not others.keys() & inherited({**others, **kept}).keys()


def test_paths_are_made_absolute_and_none_means_the_folder_a_process_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    given = {
        "TMPDIR": "t m", "LINFTUI_CACHE": "~/cache", "XDG_CACHE_HOME": "", "PYTHONPATH": ":src::/opt:",
        "LD_LIBRARY_PATH": ".:/usr/lib:$ORIGIN/../lib",
    }  # fmt: skip
    found = inherited(given)
    assert {name: found[name] for name in given} == {
        "TMPDIR": f"{tmp_path}/t m", "LINFTUI_CACHE": "/home/me/cache", "XDG_CACHE_HOME": "",
        "PYTHONPATH": f"{tmp_path}/src:/opt", "LD_LIBRARY_PATH": f"{tmp_path}:/usr/lib:$ORIGIN/../lib",
    }  # fmt: skip


def test_paths_that_begin_in_a_current_folder_that_is_gone_lead_nowhere(tmp_path: Path) -> None:
    program = "import os; os.rmdir(os.getcwd())\nfrom linftui.launch.environment import inherited\n"
    program += "print(inherited({'TMPDIR': 'x', 'PYTHONPATH': 'y:/a'}))"
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=folder, env=os.environ, capture_output=True, text=True
    )
    assert "'TMPDIR': '', 'PYTHONPATH': '/a'" in done.stdout, done.stderr
