"""Run directories that somebody prepared: nothing hangs, nothing outside is touched, a sentence says why."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Fails = Callable[..., str]


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("name", ["state.json", "meta.json", "metrics.jsonl", "resolved.yaml"])
def test_a_pipe_in_place_of_a_file_blocks_nobody(
    copied_run: Path, linftui: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    (copied_run / name).unlink()
    os.mkfifo(copied_run / name)
    for command in (["ls"], ["show", "tiny-run"], ["resume", "tiny-run", "--checkpoint", "24"]):
        done = linftui(*command)
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1
    assert not (copied_run / "logs" / "attempt-002").exists()


@pytest.mark.parametrize("folder", ["checkpoints", "certificates", "control", "logs"])
def test_a_folder_that_leads_out_of_the_run_is_refused(
    copied_run: Path, fails: Fails, tmp_path: Path, folder: str
) -> None:
    outside = shutil.move(copied_run / folder, tmp_path / "outside")
    (copied_run / folder).symlink_to(outside)
    before = sorted(Path(outside).rglob("*"))
    for command in (["certify", "tiny-run"], ["resume", "tiny-run", "--checkpoint", "24"]):
        assert f"{folder} is a link" in fails(1, *command)
    assert sorted(Path(outside).rglob("*")) == before


def test_a_lock_that_leads_out_of_the_run_is_refused(copied_run: Path, fails: Fails, tmp_path: Path) -> None:
    lock = copied_run / "control" / "supervisor.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "victim")
    assert "cannot be written" in fails(1, "resume", "tiny-run", "--checkpoint", "24")
    assert not (tmp_path / "victim").exists()


def test_weights_behind_a_pipe_or_a_link_are_damage(copied_run: Path, fails: Fails, tmp_path: Path) -> None:
    model = copied_run / "checkpoints" / "step-00000036" / "model.safetensors"
    shutil.move(model, tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    assert "step-00000036 is damaged" in fails(1, "certify", "tiny-run", "--checkpoint", "36")
    model.unlink()
    os.mkfifo(model)
    assert "step-00000036 is damaged" in fails(1, "certify", "tiny-run", "--checkpoint", "36")


def test_a_checkpoint_that_says_another_step_than_its_folder_is_damaged(
    copied_run: Path, fails: Fails
) -> None:
    change(copied_run / "checkpoints" / "step-00000036" / "trainer.json", step=1000)
    sentence = fails(1, "certify", "tiny-run", "--checkpoint", "36")
    assert sentence.startswith("checkpoint step-00000036 is damaged: its record is of step 1000")


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


@pytest.mark.slow
def test_under_nohup_a_hang_up_stops_nothing(tiny_recipe: Path, tmp_path: Path) -> None:
    command = ["nohup", sys.executable, "-m", "linftui", "run", str(tiny_recipe), "--name", "kept"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"run runs/kept attempt 1\n"
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=120)
    assert process.returncode == 0
