"""Bad input of every kind: one sentence on stderr, an exit code, no traceback on the screen, nothing lost."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from linftui.cores import usable_cores

Command = Callable[..., subprocess.CompletedProcess[str]]
Fails = Callable[..., str]


class TestUsage:
    """What was asked for cannot be: exit code 2."""

    @pytest.mark.parametrize(
        ("overrides", "sentence"),
        [
            (["optimizer.lrr=1"], "unknown key optimizer.lrr; did you mean optimizer.lr?"),
            (["epochs=many"], "epochs must be a whole number, got 'many'"),
            (["eps.train=0"], "eps.train must be > 0 and <= 1 (pixels lie in [0, 1]), got 0"),
            (["data.dataset=mnits"], "got 'mnits'; did you mean mnist?"),
            (["p.end_epoch=0.1"], "p.end_epoch must be > p.begin_epoch (0.5), got 0.1"),
            (["p.final=2"], "p.final must be >= p.start (8), got 2"),
        ],
    )
    def test_a_recipe_that_cannot_be(
        self, fails: Fails, tiny_recipe: Path, tmp_path: Path, overrides: list[str], sentence: str
    ) -> None:
        told = fails(2, "run", tiny_recipe, *(word for value in overrides for word in ("--set", value)))
        assert told.startswith(f"--set {overrides[0]}: ") and told.endswith(sentence)
        assert not (tmp_path / "runs").exists()

    def test_a_recipe_that_is_missing_or_malformed(self, fails: Fails, tmp_path: Path) -> None:
        assert fails(2, "run", "nosuch").startswith("nosuch: no such recipe; recipes known by name: cifar, ")
        (tmp_path / "bad.yaml").write_text("name: tiny\nepochs: [1\n")
        assert fails(2, "run", "bad.yaml").startswith("bad.yaml:3:1: not valid YAML: ")
        (tmp_path / "bad.yaml").write_text("name: \x1b[31m\n")
        assert fails(2, "run", "bad.yaml").startswith(
            "bad.yaml: not valid YAML: unacceptable character #x001b"
        )
        assert fails(2, "run", "~nobody-of-that-name/x.yaml") == (
            "~nobody-of-that-name/x.yaml: there is no home folder ~nobody-of-that-name; give the full path"
        )

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--devices", "cpu:9999"], "--devices cpu:9999 asks for 9999 ranks, but linftui may use "),
            (["--devices", "toaster"], "--devices 'toaster' is not understood; use auto, cpu, "),
            (["--name", "../x"], "--name '../x' is not a plain name; use letters, digits, "),
            (["--name", "a\x1b[31m"], "--name 'a\\x1b[31m' is not a plain name"),
            (["--name", "tiny-run"], "runs/tiny-run exists already; choose another --name"),
            (["--seed", "x"], "Invalid value for '--seed'"),
            (["--seed", "-1"], "--set seed=-1: seed must be >= 0, got -1"),
            (["--sed", "1"], "No such option: --sed"),
        ],
    )
    def test_a_run_that_cannot_be(
        self, fails: Fails, tiny_recipe: Path, copied_run: Path, arguments: list[str], sentence: str
    ) -> None:
        before = sorted(copied_run.parents[1].rglob("*"))
        assert fails(2, "run", tiny_recipe, *arguments).startswith(sentence)
        assert sorted(copied_run.parents[1].rglob("*")) == before

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["tiny-run", "--eps", "x"], "--eps must be a fraction such as 8/255 or a decimal such as 0.1"),
            (["tiny-run", "--eps", "0.1,2"], "--eps must lie in [0, 1], in pixel units, got 2"),
            (["tiny-run", "--eps=-1/255"], "--eps must lie in [0, 1], in pixel units, got -1/255"),
            (["tiny-run", "--means", "new"], "--means 'new' is neither running nor re-estimated"),
            (["tiny-run", "--checkpoint", "first"], "--checkpoint 'first' is not latest, best or a step"),
            (["tiny-run", "--limit", "0"], "Invalid value for '--limit'"),
            (["tiny-run", "--devices", "cpu:1,cpu:1"], "--devices 'cpu:1,cpu:1' is not understood"),
            (["nosuch"], "no run 'nosuch' in runs; linftui ls lists the runs"),
            ([], "Missing argument 'RUN...'; see python -m linftui certify --help"),
        ],
    )  # fmt: skip
    def test_a_certification_that_cannot_be(
        self, fails: Fails, copied_run: Path, arguments: list[str], sentence: str
    ) -> None:
        assert fails(2, "certify", *arguments).startswith(sentence)
        assert list((copied_run / "certificates").iterdir()) == []

    @pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
    def test_a_certificate_of_several_devices(self, fails: Fails, copied_run: Path) -> None:
        sentence = fails(2, "certify", "tiny-run", "--devices", "cpu:2")
        assert sentence == "--devices cpu:2 names 2 devices; a certificate is made on one"
        assert not list((copied_run / "logs").glob("certify-*"))

    def test_a_command_that_does_not_exist(self, fails: Fails) -> None:
        assert fails(2, "trian") == "No such command 'trian'; see python -m linftui --help"
        assert fails(2, "recipe") == "Missing command; see python -m linftui recipe --help"

    @pytest.mark.parametrize("command", ["resume", "stop", "logs", "rm"])
    def test_a_run_that_does_not_exist(self, fails: Fails, command: str) -> None:
        assert fails(2, command, "nosuch") == "no run 'nosuch' in runs; linftui ls lists the runs"
        assert fails(2, command).startswith("Missing argument 'RUN")


class TestFailure:
    """What was asked for could be, and did not work out: exit code 1."""

    def test_data_that_is_not_there_or_not_the_official_one(
        self, fails: Fails, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        mnist = ["run", tiny_recipe, "--set", "data.dataset=mnist", "--set", "data.root=data"]
        first = "data/train-images-idx3-ubyte.gz"
        mend = "put the official file there, or leave data.root out to have it downloaded"
        assert fails(1, *mnist) == f"{first} is missing; {mend}"
        (tmp_path / "data").mkdir()
        (tmp_path / first).write_bytes(b"garbage")
        damaged = fails(1, *mnist)
        assert damaged.startswith(f"{first} is not the official file: ") and damaged.endswith(mend)
        assert not (tmp_path / "runs").exists()

    def test_a_folder_of_runs_that_cannot_be_written(self, fails: Fails, tiny_recipe: Path) -> None:
        for folder in (tiny_recipe, tiny_recipe / "below"):
            sentence = fails(2, "run", tiny_recipe, "--detach", "--runs-dir", folder)
            assert sentence == f"{tiny_recipe} is a file, not a folder of runs"

    def test_a_run_whose_recipe_was_lost(self, fails: Fails, copied_run: Path) -> None:
        (copied_run / "resolved.yaml").write_text("name: [")
        sentence = "tiny-run cannot be used: runs/tiny-run/resolved.yaml:1:8: not valid YAML"
        assert fails(1, "certify", "tiny-run").startswith(sentence)
        assert fails(1, "resume", "tiny-run").startswith(sentence)

    def test_a_training_that_fails_tells_why_in_a_sentence_and_the_rest_in_its_log(
        self, linftui: Command, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        done = linftui("run", tiny_recipe, "--name", "doomed", "--set", "data.holdout=1437")
        assert done.returncode == 1
        assert done.stdout.splitlines() == [
            "run runs/doomed attempt 1",
            "failed: runs/doomed  no checkpoint was saved",
        ]
        why = "cannot hold out 1437 of digits's 1437 training images; choose 0 to 1436"
        assert done.stderr == f"linftui: {why}\n"
        run = tmp_path / "runs" / "doomed"
        assert json.loads((run / "exit.json").read_text())["outcome"] == "failed"
        assert "Traceback" in (run / "logs" / "attempt-001" / "rank-0.log").read_text()
        shown = linftui("show", "doomed").stdout
        assert f"{why}\n" in shown and "failed" in shown

    def test_output_that_cannot_be_written(self, copied_run: Path) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "linftui", "ls"],
                cwd=copied_run.parents[1], stdout=full, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == "linftui: the output cannot be written: No space left on device\n"

    def test_closed_streams_are_no_error(self, copied_run: Path) -> None:
        shell = f'exec "{sys.executable}" -m linftui show tiny-run <&- >&-'
        done = subprocess.run(["sh", "-c", shell], cwd=copied_run.parents[1], stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.parametrize("writable", [True, False], ids=["with-log", "without-log"])
    def test_an_error_of_ours_is_a_sentence_too_and_its_traceback_is_in_a_log(
        self, tmp_path: Path, writable: bool
    ) -> None:
        state = tmp_path / "state"
        if not writable:
            state.write_text("a file where the folder of logs should be")
        program = (
            "from linftui.cli.app import main\n"
            "from linftui.rundir.store import RunStore\n"
            "RunStore.runs = lambda self: 1 / 0\n"
            "main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "ls"],
            env={**os.environ, "XDG_STATE_HOME": str(state)}, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        [line] = done.stderr.splitlines()
        assert line.startswith("linftui: unexpected ZeroDivisionError: division by zero; ")
        if writable:
            log = Path(line.rpartition(" ")[2])
            assert log.is_relative_to(state) and "Traceback" in log.read_text()
        else:
            assert "the traceback could not be written" in line
