"""`linftui run` and `linftui resume` in real processes: detached, in a pipe, on a terminal, left alone."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli_processes import Terminal, is_alive, pid_of, start
from support.waiting import wait_for

from linftui.cli.follow import follow
from linftui.errors import RunDirectoryError
from linftui.recipe.load import load_recipe
from linftui.rundir.paths import RunPaths

Command = Callable[..., subprocess.CompletedProcess[str]]
Fails = Callable[..., str]

LAST = Path("checkpoints/step-00000036/model.safetensors")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(run: Path) -> list[tuple[float, ...]]:
    """All of the training records that does not depend on the clock."""
    fields = ("step", "epoch", "loss", "accuracy", "certified_at_p", "lam", "lr", "scalar")
    metrics = [record for record in records(run / "metrics.jsonl") if record["kind"] == "train"]
    return [tuple(record[field] for field in fields) for record in metrics]


def shown(linftui: Command, run: str) -> dict[str, Any]:
    """What `linftui show --json` tells."""
    facts: dict[str, Any] = json.loads(linftui("show", run, "--json").stdout or "{}")
    return facts


def killed(run: Path) -> str:
    """How a rank that was killed from outside is told of."""
    log = f"{run}/logs/attempt-001/rank-0.log"
    how = "was killed by SIGKILL, perhaps because it used too much memory"
    return f"the training process {how}; its log is {log}"


@pytest.mark.parametrize("pages", range(4))
def test_a_run_that_a_full_disk_stops_at_its_beginning_leaves_nothing_behind(
    fails: Fails, tiny_recipe: Path, small_disk: Path, pages: int
) -> None:
    """There is room for none of its first files, for one, for two, or for all but the supervisor's."""
    (small_disk / "runs").mkdir()
    status = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes((status.f_bavail - pages) * status.f_frsize))
    sentence = fails(1, "run", tiny_recipe, "--name", "mine", "--runs-dir", small_disk / "runs", "--detach")
    file = ["recipe.yaml", "resolved.yaml", "meta.json", "state.json"][pages]
    assert sentence.endswith(f"/{file}: cannot be written: No space left on device; free some space")
    assert os.listdir(small_disk / "runs") == []


class TestDryRun:
    """`--dry-run` tells what would be started, and leaves nothing behind."""

    def test_text_is_a_line_a_fact(self, linftui: Command, tiny_recipe: Path, tmp_path: Path) -> None:
        done = linftui("run", tiny_recipe, "--seed", "7", "--devices", "cpu", "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
        assert (facts["recipe"], facts["source"]) == ("tiny", str(tiny_recipe))
        assert (facts["overrides"], facts["seed"], facts["epochs"]) == ("seed=7", "7", "3")
        assert (facts["devices"], facts["ranks"]) == ("cpu", "1")
        assert facts["threads"] == str(len(os.sched_getaffinity(0)))
        assert " linftui.worker train RUN --device cpu " in facts["command"]
        assert list(tmp_path.iterdir()) == []

    def test_json_is_one_object_and_no_data_is_fetched(self, linftui: Command, tmp_path: Path) -> None:
        done = linftui("run", "mnist-small", "--dry-run", "--json", LINFTUI_CACHE=str(tmp_path / "cache"))
        assert (done.returncode, done.stderr) == (0, "")
        [line] = done.stdout.splitlines()
        facts = json.loads(line)
        assert (facts["recipe"], facts["runs_dir"], facts["overrides"]) == ("mnist-small", "runs", [])
        assert len(facts["devices"]) == facts["ranks"] and facts["command"][-1] == str(facts["threads"])
        assert list(tmp_path.iterdir()) == []

    def test_what_could_not_be_started_is_refused(self, fails: Fails, tiny_recipe: Path) -> None:
        sentence = fails(2, "run", tiny_recipe, "--dry-run", "--devices", "cpu:9999")
        assert sentence.startswith("--devices cpu:9999 asks for 9999 ranks, but linftui may use ")

    @pytest.mark.parametrize("dry", [["--dry-run"], []])
    def test_a_name_and_a_folder_that_cannot_be_are_refused(
        self, fails: Fails, tiny_recipe: Path, tmp_path: Path, dry: list[str]
    ) -> None:
        (tmp_path / "runs" / "taken").mkdir(parents=True)
        taken = fails(2, "run", tiny_recipe, *dry, "--name", "taken")
        assert taken == "runs/taken exists already; choose another --name"
        assert fails(2, "run", tiny_recipe, *dry, "--name", "../x").startswith("--name '../x' is not a plain")
        (tmp_path / "file").touch()
        folder = fails(2, "run", tiny_recipe, *dry, "--runs-dir", "file")
        assert folder == "file is a file, not a folder of runs"


class TestDetached:
    """`--detach` returns while the run goes on."""

    def test_it_says_who_it_began_and_the_run_is_going(
        self, linftui: Command, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        done = linftui("run", tiny_recipe, "--detach", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        begun = json.loads(done.stdout)
        assert re.fullmatch(r"tiny-\d{8}-\d{6}-[0-9a-f]{4}", begun["id"])
        assert begun == {"id": begun["id"], "attempt": 1, "path": f"runs/{begun['id']}"}
        run = tmp_path / begun["path"]
        assert is_alive(pid_of(run, "supervisor")) and is_alive(pid_of(run, "rank-0"))
        # Nothing that a terminal sends reaches it.
        assert os.getsid(pid_of(run, "supervisor")) != os.getsid(0)
        for descriptor in range(3):
            target = os.readlink(f"/proc/{pid_of(run, 'supervisor')}/fd/{descriptor}")
            assert target == ("/dev/null" if descriptor == 0 else f"{run}/logs/attempt-001/supervisor.log")

    def test_a_resumed_run_goes_on_from_the_step_asked_for_and_is_not_resumed_twice(
        self, linftui: Command, fails: Fails, copied_run: Path
    ) -> None:
        done = linftui("resume", "tiny-run", "--checkpoint", "24", "--detach")
        assert (done.returncode, done.stdout, done.stderr) == (0, "tiny-run\n", "")
        supervisor, rank = pid_of(copied_run, "supervisor"), pid_of(copied_run, "rank-0")
        os.kill(rank, signal.SIGSTOP)
        assert b"--checkpoint\x0024\x00" in Path(f"/proc/{rank}/cmdline").read_bytes()
        assert [shown(linftui, "tiny-run")[key] for key in ("state", "attempt")] == ["starting", 2]
        sentence = fails(2, "resume", "tiny-run", "--detach")
        assert sentence == "tiny-run is still running, or just being started; stop it first"
        assert pid_of(copied_run, "supervisor") == supervisor and is_alive(rank)


class TestFollowing:
    """In a pipe, or with `--no-tui`, plain lines; the run does not mind whether anybody reads them."""

    @pytest.mark.slow
    def test_it_prints_plain_lines_and_the_run_leaves_the_promised_files(
        self, linftui: Command, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        overrides = ["--set", "data.holdout=100", "--set", "checkpoint.keep=1", "--seed", "7"]
        done = linftui("run", tiny_recipe, "--name", "mine", *overrides)
        assert (done.returncode, done.stderr) == (0, "")
        lines = [line for line in done.stdout.splitlines() if not line.startswith("warning: at chance level")]
        assert lines[0] == "run runs/mine attempt 1"
        assert re.fullmatch(
            r"epoch 3\.0/3 step 33 p ∞ loss \d\.\d{4} accuracy \d\.\d{4} \| "
            r"test: clean \d\.\d{4} certified \d\.\d{4} \(p = inf, eps 0\.1\)",
            lines[-2],
        )
        assert lines[-1] == "finished: runs/mine  next: linftui certify runs/mine"
        assert all(line.isprintable() for line in lines)

        run = tmp_path / "runs" / "mine"
        files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
        checkpoints = {path.parent.name for path in run.glob("checkpoints/*/COMPLETE")}  # newest and best
        assert "step-00000033" in checkpoints and len(checkpoints) <= 2
        parts = ("model.safetensors", "optimizer.safetensors", "trainer.json", "COMPLETE")
        assert files == {
            *("recipe.yaml", "resolved.yaml", "meta.json", "state.json", "exit.json"),
            *("metrics.jsonl", "events.jsonl", "devices.jsonl", "control/supervisor.lock"),
            *("logs/attempt-001/rank-0.log", "logs/attempt-001/supervisor.log"),
            *(f"checkpoints/{name}/{part}" for name in checkpoints for part in parts),
        }
        assert (run / "control").is_dir() and (run / "certificates").is_dir()

        meta = json.loads((run / "meta.json").read_text())
        assert (meta["id"], meta["recipe"], meta["seed"]) == ("mine", "tiny", 7)
        assert meta["overrides"] == ["data.holdout=100", "checkpoint.keep=1", "seed=7"]
        assert meta["kernel_backend"] and set(meta["versions"]) >= {"linftui", "python", "torch"}
        assert (run / "recipe.yaml").read_text() == tiny_recipe.read_text()
        resolved = load_recipe(run / "resolved.yaml").recipe
        assert resolved == load_recipe(tiny_recipe, meta["overrides"]).recipe
        events = [record["event"] for record in records(run / "events.jsonl")]
        assert events[0] == "started" and events[-1] == "finished"
        splits = {record["split"] for record in records(run / "metrics.jsonl") if record["kind"] == "eval"}
        assert splits == {"test", "holdout"}

    @pytest.mark.parametrize(
        ("number", "code", "said"),
        [
            (signal.SIGINT, 130, "the run continues; stop it with: linftui stop runs/left\n"),
            (signal.SIGHUP, -signal.SIGHUP, ""),
            (signal.SIGKILL, -signal.SIGKILL, ""),
        ],
        ids=lambda value: value.name if isinstance(value, signal.Signals) else "",
    )
    def test_the_end_of_whoever_follows_is_not_the_end_of_the_run(
        self, linftui: Command, tiny_recipe: Path, tmp_path: Path, number: int, code: int, said: str
    ) -> None:
        run = tmp_path / "runs" / "left"
        with start(tmp_path, "run", tiny_recipe, "--name", "left") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "run runs/left attempt 1\n"
            os.kill(pid_of(run, "rank-0"), signal.SIGSTOP)  # else it might be done before we look
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout, stderr) == (code, "", said)
        assert shown(linftui, "left")["state"] == "starting"
        assert is_alive(pid_of(run, "supervisor")) and is_alive(pid_of(run, "rank-0"))
        assert sorted(path.name for path in (run / "control").iterdir()) == ["supervisor.lock"]

    def test_a_reader_that_leaves_does_not_end_the_following(
        self, linftui: Command, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "runs" / "left"
        reading, writing = os.pipe()
        os.close(reading)
        with start(tmp_path, "run", tiny_recipe, "--name", "left", stdout=writing) as process:
            os.close(writing)
            wait_for(lambda: process.poll() or shown(linftui, "left").get("state") == "starting")
            os.kill(pid_of(run, "rank-0"), signal.SIGKILL)
            _, stderr = process.communicate(timeout=30)
        assert (process.returncode, stderr) == (1, f"linftui: {killed(run)}\n")

    def test_under_nohup_a_hang_up_does_not_end_the_following(
        self, tiny_recipe: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "runs" / "kept"
        with start(tmp_path, "run", tiny_recipe, "--name", "kept", prefix=["nohup"]) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "run runs/kept attempt 1\n"
            process.send_signal(signal.SIGHUP)
            os.kill(pid_of(run, "rank-0"), signal.SIGKILL)
            stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stdout) == (1, "crashed: runs/kept  no checkpoint was saved\n")
        assert stderr.endswith(f"linftui: {killed(run)}\n")

    @pytest.mark.parametrize(
        ("name", "value", "why"),
        [("TERM", "dumb", "TERM=dumb cannot show it"), ("CI", "true", "CI=true says nobody is watching")],
    )
    def test_where_nobody_watches_a_terminal_gets_plain_lines(
        self, tiny_recipe: Path, tmp_path: Path, name: str, value: str, why: str
    ) -> None:
        with Terminal(tmp_path) as terminal:
            terminal.start("run", tiny_recipe, "--name", "seen", "--set", "epochs=3", **{name: value})
            assert terminal.read_to_the_end() == 0
        assert terminal.text().startswith("run runs/seen attempt 1\r\n")
        assert "finished: runs/seen" in terminal.text()
        with Terminal(tmp_path) as terminal:
            terminal.start(**{name: value})
            assert terminal.read_to_the_end() == 0
        assert terminal.text().endswith(f"linftui: warning: the dashboard is not shown: {why}\r\n")

    @pytest.mark.slow
    def test_a_terminal_that_is_closed_does_not_end_the_run(
        self, linftui: Command, tiny_recipe: Path, finished_run: Path, tmp_path: Path
    ) -> None:
        with Terminal(tmp_path) as terminal:
            terminal.start("run", tiny_recipe, "--name", "left", "--no-tui")
            terminal.read_until(lambda text: "run runs/left attempt 1" in text)
        done = linftui("logs", "left", "--follow")
        assert (done.returncode, done.stdout) == (0, "finished at step 36\n")
        assert done.stderr == "" or done.stderr.endswith("\nlinftui: attempt 1 finished\n")
        assert shown(linftui, "left")["state"] == "finished"
        assert (tmp_path / "runs" / "left" / LAST).read_bytes() == (finished_run / LAST).read_bytes()

    def test_an_attempt_that_was_replaced_counts_as_stopped(
        self, copied_run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        state = copied_run / "state.json"
        state.write_text(json.dumps({**json.loads(state.read_text()), "attempt": 2}))
        assert follow(RunPaths(copied_run), 1) == 143
        assert capsys.readouterr().out.endswith(f"resume it with: linftui resume {copied_run}\n")

    def test_a_run_that_is_removed_meanwhile_is_told(self, copied_run: Path) -> None:
        (copied_run / "state.json").unlink()
        with pytest.raises(RunDirectoryError, match="is gone: it was removed"):
            follow(RunPaths(copied_run), 1)


@pytest.mark.slow
def test_ctrl_c_then_a_stop_then_a_resume_end_with_the_network_of_an_uninterrupted_run(
    linftui: Command, fails: Fails, tiny_recipe: Path, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "cut"
    metrics = run / "metrics.jsonl"
    with Terminal(tmp_path) as terminal:
        # More work in evaluation changes no weight: it only leaves time to press Ctrl-C.
        slowly = ["--set", "evaluation.batch_size=2"]
        terminal.start("run", tiny_recipe, "--name", "cut", "--no-tui", *slowly)
        terminal.read_until(lambda text: "run runs/cut attempt 1" in text)
        wait_for(lambda: metrics.exists() and '"train"' in metrics.read_text())
        os.kill(pid_of(run, "rank-0"), signal.SIGSTOP)
        terminal.press(b"\x03")
        assert terminal.read_to_the_end() == 130
    text = terminal.text()
    assert "run runs/cut attempt 1" in text and "Traceback" not in text
    assert text.endswith("the run continues; stop it with: linftui stop runs/cut\r\n")
    assert not (run / "control" / "stop-001.json").exists()

    with start(tmp_path, "stop", "cut") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "cut: stop requested\n"
        assert shown(linftui, "cut")["state"] == "stopping"
        os.kill(pid_of(run, "rank-0"), signal.SIGCONT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert re.fullmatch(r"cut: seen by the ranks\ncut: saved step \d+\ncut: stopped\n", stdout)
    state = shown(linftui, "cut")
    assert (state["state"], state["attempt"]) == ("stopped", 1)
    assert list(run.glob("checkpoints/*/COMPLETE")) and not (run / LAST).exists()

    done = linftui("resume", "cut", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    state = json.loads(line)
    assert (state["state"], state["attempt"], state["step"], state["p"]) == ("finished", 2, 36, "inf")
    assert line == linftui("show", "cut", "--json").stdout.strip()
    assert (run / LAST).read_bytes() == (finished_run / LAST).read_bytes()
    assert curve(run) == curve(finished_run)
    assert fails(2, "resume", "cut") == (
        "cut is finished: there is nothing left to train; certify it with: linftui certify runs/cut"
    )


@pytest.mark.slow
def test_resume_passes_over_half_written_checkpoints_with_a_warning(
    linftui: Command, copied_run: Path, finished_run: Path
) -> None:
    (copied_run / "exit.json").unlink()  # as if the machine had gone down
    assert shown(linftui, "tiny-run")["state"] == "crashed"
    (copied_run / "checkpoints/step-00000036/COMPLETE").unlink()
    done = linftui("resume", "tiny-run")
    assert (done.returncode, done.stderr) == (0, "")
    warning = "warning: checkpoint step-00000036 is incomplete: it was not fully written; "
    assert f"{warning}the one before it is used\n" in done.stdout
    assert (copied_run / LAST).read_bytes() == (finished_run / LAST).read_bytes()
    resumed = [record for record in records(copied_run / "events.jsonl") if record["event"] == "resumed"]
    assert [record["step"] for record in resumed] == [24]
