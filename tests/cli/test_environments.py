"""Other people's environments: strange folders, hostile variables, a current folder that is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from linftui.cores import usable_cores


def from_a_folder_that_is_gone(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder that is removed just before."""
    gone = folder / "gone"
    gone.mkdir()
    return subprocess.run(
        ["sh", "-c", 'rmdir "$PWD"; exec "$0" -P -m linftui "$@"', sys.executable, *arguments],
        cwd=gone, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="two ranks need two cores")
def test_several_ranks_train_in_any_folders_whatever_the_environment_says(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "t m#é%41$$${local_rank}"
    odd.mkdir()
    others = {"PET_MODULE": "1", "LOGLEVEL": "debug", "TORCH_DISTRIBUTED_DEBUG": "DETAIL", "WORLD_SIZE": "x"}
    done = from_a_folder_that_is_gone(
        tmp_path, "run", str(tiny_recipe), "--runs-dir", f"{odd}/runs", "--devices", "cpu:2",
        TMPDIR=str(odd), **others,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].startswith("finished: ")
    assert not list(odd.glob("linftui-*"))  # where they met


def test_what_is_to_be_written_where_there_is_no_folder_any_more_is_told_so(tmp_path: Path) -> None:
    done = from_a_folder_that_is_gone(tmp_path, "run", "digits")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "linftui: runs: cannot be written: No such file or directory; "
        "the current folder was removed: change to another\n"
    )


@pytest.mark.slow
def test_the_doctor_looks_from_a_folder_that_is_gone(tmp_path: Path) -> None:
    done = from_a_folder_that_is_gone(tmp_path, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "backend" in done.stdout


@pytest.mark.skipif(usable_cores() < 2, reason="two ranks need two cores")
def test_several_ranks_are_refused_a_temporary_folder_whose_name_is_no_text(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"t\xff")
    odd.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "linftui", "run", tiny_recipe, "--devices", "cpu:2"],
        cwd=tmp_path, env={**os.environ, "TMPDIR": str(odd)},
        capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert done.returncode == 1 and list((tmp_path / "runs").iterdir()) == []
    assert "which is not UTF-8; set TMPDIR to another folder" in done.stderr


@pytest.mark.slow
def test_the_doctor_says_that_torch_cannot_be_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "linftui", "doctor"],
        cwd=tmp_path, env={**os.environ, "TORCH_LOGS": "nonsense"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "none: torch cannot be imported (ValueError: " in done.stdout


@pytest.mark.slow
def test_a_folder_whose_name_is_no_text_holds_runs_like_any_other(copied_run: Path) -> None:
    folder = copied_run.parent.rename(copied_run.parents[1] / os.fsdecode(b"r\xff\xfe"))
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}

    def run(*command: str) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-m", "linftui", *command, "--runs-dir", folder]
        return subprocess.run(words, capture_output=True, env=strict)

    for command in (["certify", "tiny-run", "--limit", "5"], ["show", "tiny-run"]):
        done = run(*command)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
    assert b"certificate         step-00000036-eps-0.1-first-5: certified " in done.stdout
    # What is passed over is named in the log, by its path.
    (folder / "tiny-run" / "checkpoints" / "step-00000036" / "trainer.json").write_text("damaged")
    done = run("certify", "tiny-run", "--limit", "5")
    assert done.returncode == 0 and b"step-00000036" in done.stderr, done.stderr


@pytest.mark.parametrize("command", ["run digits", "resume tiny-run --checkpoint 24", "certify tiny-run"])
def test_where_nothing_temporary_can_be_written_that_is_told_and_nothing_begun(
    command: str, copied_run: Path
) -> None:
    folder = copied_run.parents[1]
    kept = {name: text for name, text in os.environ.items() if name not in ("TMPDIR", "TEMP", "TMP")}
    only_here = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro / && cd "{folder}"'
    if subprocess.run(["unshare", "--mount", "sh", "-c", only_here], capture_output=True).returncode != 0:
        pytest.skip("no file system can be made read-only here")
    linftui = f'{only_here}/runs && "{sys.executable}" -m linftui {command} --runs-dir .'
    before = [path for path in sorted(folder.rglob("*")) if "certify" not in str(path)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", linftui],
        env=kept, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "linftui: training and certifying need a folder for temporary files, and none is writable; "
        "set TMPDIR to one that is\n"
    )
    assert [path for path in sorted(folder.rglob("*")) if "certify" not in str(path)] == before
