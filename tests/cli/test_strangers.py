"""Run directories that somebody prepared: nothing hangs, nothing outside is touched, a sentence says why."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from msgspec import structs

from linftui.certify.subject import load_subject
from linftui.cli.follow import follow
from linftui.errors import CheckpointError
from linftui.rundir.liveness import describe_process, this_host
from linftui.rundir.paths import RunPaths

Fails = Callable[..., str]


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refusal(run: Path) -> str:
    """Why the last checkpoint of a run is not certified."""
    with pytest.raises(CheckpointError) as refused:
        load_subject(RunPaths(run), "36", "running", None, torch.device("cpu"))
    return refused.value.message


RESUME = ["resume", "--checkpoint", "24"]


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("state.json", [["ls"], ["show"], ["logs"], ["stop"], RESUME, ["rm", "-y"]]),
        ("meta.json", [["ls"], ["show"]]),
        ("metrics.jsonl", [["ls"], ["show"], RESUME]),
        ("resolved.yaml", [RESUME]),
    ],
)
def test_a_pipe_in_place_of_a_file_blocks_nobody(
    copied_run: Path,
    linftui: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
    commands: list[list[str]],
) -> None:
    (copied_run / name).unlink()
    os.mkfifo(copied_run / name)
    for command in commands:
        done = linftui(*command, *([] if command == ["ls"] else ["tiny-run"]))
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1
        assert "unexpected" not in done.stderr
    assert not (copied_run / "logs" / "attempt-002").exists() and copied_run.is_dir()


@pytest.mark.parametrize(
    ("folder", "commands"),
    [
        ("checkpoints", [RESUME, ["certify"]]),
        ("certificates", [["certify"], ["rm", "-y"]]),
        ("control", [["stop"], RESUME]),
        ("logs", [["logs"], ["rm", "-y"]]),
    ],
)
def test_a_folder_that_leads_out_of_the_run_is_refused(
    copied_run: Path, fails: Fails, tmp_path: Path, folder: str, commands: list[list[str]]
) -> None:
    outside = shutil.move(copied_run / folder, tmp_path / "outside")
    (copied_run / folder).symlink_to(outside)
    before = sorted(Path(outside).rglob("*"))
    for command in commands:
        assert f"{folder} is a link" in fails(1, *command, "tiny-run")
    assert sorted(Path(outside).rglob("*")) == before


def test_a_lock_that_leads_out_of_the_run_is_refused(copied_run: Path, fails: Fails, tmp_path: Path) -> None:
    lock = copied_run / "control" / "supervisor.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "victim")
    for command in (["resume", "--checkpoint", "24"], ["rm", "-y"]):
        assert "cannot be written" in fails(1, *command, "tiny-run")
    assert not (tmp_path / "victim").exists() and copied_run.is_dir()


def test_weights_behind_a_pipe_or_a_link_are_damage(copied_run: Path, tmp_path: Path) -> None:
    model = copied_run / "checkpoints" / "step-00000036" / "model.safetensors"
    shutil.move(model, tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    assert "step-00000036 is damaged" in refusal(copied_run)
    model.unlink()
    os.mkfifo(model)
    assert "step-00000036 is damaged" in refusal(copied_run)


def test_terabytes_of_nothing_in_place_of_weights_are_damage(copied_run: Path, fails: Fails) -> None:
    for file in ("optimizer.safetensors", "model.safetensors"):
        for folder in (copied_run / "checkpoints").iterdir():
            os.truncate(folder / file, 4 << 40)
        assert fails(1, "certify", "tiny-run") == (
            "tiny-run has no checkpoint to load: checkpoint step-00000036 is damaged: "
            f"{file} has 4,398,046,511,104 bytes, too many for the recipe's network"
        )


def test_terabytes_of_nothing_behind_the_metrics_end_no_command(
    copied_run: Path, linftui: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for name in ("metrics", "events"):
        os.truncate(copied_run / f"{name}.jsonl", 1 << 40)
    shown = linftui("show", "tiny-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "metrics.jsonl: cannot be read any further: one of its lines is longer than 64 MiB" in shown.stdout
    resumed = linftui("resume", "tiny-run", "--checkpoint", "24")
    [line] = resumed.stderr.splitlines()
    assert resumed.returncode == 1 and "longer than 64 MiB; move the file away" in line


def test_a_recipe_without_end_is_refused(fails: Fails, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    sentence = "cannot be read: it is not a regular file"
    assert fails(2, "recipe", "check", "pipe.yaml") == f"pipe.yaml: {sentence}"
    assert fails(2, "run", "/dev/zero") == f"/dev/zero: {sentence}"


def test_data_without_end_is_refused(fails: Fails, tiny_recipe: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train-images-idx3-ubyte.gz")
    for command in (
        ["data", "fetch", "mnist", "--root", "."],
        ["run", tiny_recipe, "--set", "data.dataset=mnist", "--set", "data.root=."],
    ):
        assert "train-images-idx3-ubyte.gz cannot be read (it is not a regular file)" in fails(1, *command)


def test_a_resume_deletes_nothing_behind_a_link_in_place_of_a_checkpoint(
    copied_run: Path, linftui: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    last = copied_run / "checkpoints" / "step-00000036"
    outside = Path(shutil.move(last, tmp_path / "outside"))
    last.symlink_to(outside)
    before = sorted(path.name for path in outside.iterdir())
    assert linftui("resume", "tiny-run", "--checkpoint", "24").returncode == 0
    assert sorted(path.name for path in outside.iterdir()) == before and "COMPLETE" in before
    assert last.is_dir() and not last.is_symlink()


@pytest.mark.parametrize(
    ("umask", "folders", "files"),
    [(0, 0o755, 0o644), pytest.param(0o027, 0o750, 0o640, marks=pytest.mark.thorough)],
)
def test_nobody_else_may_write_to_a_run_and_all_its_files_are_for_the_same_eyes(
    tiny_recipe: Path, tmp_path: Path, umask: int, folders: int, files: int
) -> None:
    for command in (
        ["run", tiny_recipe, "--name", "x", "--set", "epochs=1"],
        ["certify", "x", "--limit", "5", "--means", "re-estimated"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "linftui", *command], cwd=tmp_path, umask=umask, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    found = dict[str, int]()
    for path in [tmp_path / "runs", *(tmp_path / "runs").rglob("*")]:
        found[str(path.relative_to(tmp_path))] = stat.S_IMODE(path.stat().st_mode) ^ (
            folders if path.is_dir() else files
        )
    assert {name: mode for name, mode in found.items() if mode} == dict.fromkeys(
        ("runs/x/control/supervisor.lock", "runs/x/checkpoints/step-00000012/use.lock"), 0o600 ^ files
    )
    assert any(name.endswith("re-estimated-first-5/model.safetensors") for name in found)


def test_a_checkpoint_that_says_another_step_than_its_folder_is_damaged(copied_run: Path) -> None:
    change(copied_run / "checkpoints" / "step-00000036" / "trainer.json", step=1000)
    assert refusal(copied_run).startswith("checkpoint step-00000036 is damaged: its record is of step 1000")


def test_a_checkpoint_of_another_recipe_is_refused_before_an_attempt_is_begun(
    copied_run: Path, fails: Fails
) -> None:
    resolved = copied_run / "resolved.yaml"
    resolved.write_text(resolved.read_text().replace("width: 16", "width: 17"))
    sentence = fails(1, "resume", "tiny-run", "--checkpoint", "24")
    assert sentence == "checkpoint step-00000024 belongs to another recipe"
    assert json.loads((copied_run / "state.json").read_text())["attempt"] == 1


def test_code_that_lies_in_the_folder_is_not_run(copied_run: Path) -> None:
    (copied_run / "torch.py").write_text("open('owned', 'w')")
    command = [sys.executable, "-P", "-m", "linftui", "certify", ".", "--limit", "5", "--json"]
    done = subprocess.run(command, cwd=copied_run, capture_output=True, text=True, timeout=120)
    assert (done.returncode, json.loads(done.stdout)["n"]) == (0, 5)
    assert not (copied_run / "owned").exists()


def test_programs_that_a_folder_brings_along_are_not_run(
    tiny_recipe: Path, linftui: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Neither those that its .git/config names for git, nor those that lie in it, whatever PATH says."""
    trap, caught = tmp_path / "trap", tmp_path / "caught"
    trap.write_text(f'#!/bin/sh\necho "$0" >> {caught}\n')
    trap.chmod(0o755)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]
    (tmp_path / ".gitattributes").write_text("* filter=trap\n")
    for command in (["init", "--quiet"], ["add", ".gitattributes"], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True).strip()
    (tmp_path / ".gitattributes").write_text("* filter=trap\n\n")
    config = {
        "core.repositoryFormatVersion": "1", "core.fsmonitor": trap, "core.pager": trap,
        "filter.trap.clean": trap, "pager.rev-parse": trap, "alias.rev-parse": f"!{trap}",
        "core.hooksPath": tmp_path / "hooks", "core.sshCommand": trap, "extensions.partialClone": "far",
        "remote.far.promisor": "true", "remote.far.url": f"ext::{trap}", "protocol.ext.allow": "always",
    }  # fmt: skip
    (tmp_path / "hooks").mkdir()
    shutil.copy(trap, tmp_path / "hooks" / "post-index-change")
    for key, value in config.items():
        subprocess.run(["git", "config", key, str(value)], cwd=tmp_path, check=True)
    # Whoever looks into the commit, or for changes, is caught.
    (tmp_path / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    for command in (["git", "rev-parse", "HEAD^{commit}"], ["git", "diff"]):
        subprocess.run(command, cwd=tmp_path, capture_output=True)
        assert caught.read_text()
        caught.unlink()

    for name in ("git", "loginctl"):
        shutil.copy(trap, tmp_path / name)
    path = f":.:{os.environ['PATH']}"
    done = linftui("run", tiny_recipe, "--name", "mine", "--detach", PATH=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "mine\n", "")
    assert not caught.exists(), caught.read_text()
    assert json.loads((tmp_path / "runs" / "mine" / "meta.json").read_text())["git"] == commit


def test_a_command_that_is_shown_can_be_copied_into_a_shell(
    copied_run: Path, fails: Fails, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied_run.rename(copied_run.with_name("x $(touch owned)"))
    assert follow(RunPaths(run), 1) == 0
    shown = [capsys.readouterr().out.partition("next: ")[2], fails(2, "resume", run).partition(" with: ")[2]]
    for command in shown:
        script = f'linftui() {{ printf %s "$2"; }}; {command}'
        assert subprocess.check_output(["sh", "-c", script], cwd=tmp_path, text=True) == str(run)
    assert not (tmp_path / "owned").exists()


def test_no_process_is_ended_because_a_run_names_it(
    copied_run: Path, linftui: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """What goes on by its own word is asked to stop, and ended; but only processes of linftui's are."""
    state = copied_run / "state.json"
    with subprocess.Popen(["sleep", "60"]) as victim:
        named = describe_process(victim.pid, "rank-0")
        change(
            state,
            members=[structs.asdict(named)] if named else [],
            host=structs.asdict(this_host()),
            folder="",
        )
        (copied_run / "exit.json").unlink()
        try:
            for said in ("stop requested", "asked to end at once"):
                done = linftui("stop", "tiny-run", "--no-wait")
                assert (done.returncode, done.stdout) == (0, f"tiny-run: {said}\n")
            assert victim.poll() is None
        finally:
            victim.kill()
