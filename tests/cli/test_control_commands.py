"""`linftui stop`, `linftui logs` and `linftui rm` on real runs: going on, frozen, of two ranks, prepared."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cli_processes import Terminal, is_alive, pid_of, start
from support.waiting import wait_for

from linftui.cores import usable_cores

Command = Callable[..., subprocess.CompletedProcess[str]]
Fails = Callable[..., str]


class TestStop:
    """`linftui stop` asks; asked again, it ends. What a stop saves is tested with `linftui resume`."""

    def test_the_second_stop_ends_a_rank_that_does_not_answer(
        self, linftui: Command, fails: Fails, frozen_run: Path
    ) -> None:
        rank = pid_of(frozen_run, "rank-0")
        done = linftui("stop", "frozen", "--no-wait")
        assert (done.returncode, done.stdout, done.stderr) == (0, "frozen: stop requested\n", "")
        request = json.loads((frozen_run / "control" / "stop-001.json").read_text())
        assert (request["by"], request["deadline_s"]) == ("linftui stop", 120)
        assert json.loads(linftui("show", "frozen", "--json").stdout)["state"] == "stopping"
        assert is_alive(rank)

        done = linftui("stop", "frozen")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "frozen: asked to end at once\nfrozen: stopped, ended without saving\n"
        assert not is_alive(rank)
        ended = json.loads((frozen_run / "exit.json").read_text())
        assert (ended["outcome"], ended["message"]) == ("stopped", "ended without saving")
        assert list((frozen_run / "checkpoints").iterdir()) == []
        assert fails(2, "stop", "frozen") == "frozen is stopped: there is nothing to stop"

    def test_past_the_deadline_it_is_ended(self, linftui: Command, frozen_run: Path) -> None:
        rank, supervisor = pid_of(frozen_run, "rank-0"), pid_of(frozen_run, "supervisor")
        done = linftui("stop", "frozen", "--deadline", "0.1")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "frozen: stop requested\nfrozen: stopped, ended without saving\n"
        assert not is_alive(rank)
        wait_for(lambda: not is_alive(supervisor))
        assert list((frozen_run / "checkpoints").iterdir()) == []

    def test_of_several_each_is_asked_once_and_what_is_not_going_on_is_told(
        self, linftui: Command, frozen_run: Path, copied_run: Path
    ) -> None:
        done = linftui("stop", "tiny-run", "frozen", "runs/frozen", "--no-wait")
        assert (done.returncode, done.stdout) == (2, "frozen: stop requested\n")
        assert done.stderr == "linftui: tiny-run is finished: there is nothing to stop\n"
        assert is_alive(pid_of(frozen_run, "rank-0"))

    def test_one_that_does_not_exist_keeps_the_others_from_being_asked(
        self, fails: Fails, frozen_run: Path
    ) -> None:
        assert fails(2, "stop", "frozen", "nosuch") == "no run 'nosuch' in runs; linftui ls lists the runs"
        assert not (frozen_run / "control" / "stop-001.json").exists()

    def test_a_deadline_before_now_is_refused(self, fails: Fails, copied_run: Path) -> None:
        assert fails(2, "stop", "tiny-run", "--deadline", "-1").startswith("Invalid value for '--deadline'")


@dataclass(frozen=True)
class TwoRanks:
    """A finished run of two ranks on the CPU, and what following one of them printed meanwhile."""

    folder: Path
    followed: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def two_ranks(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> TwoRanks:
    """Trained once, to its end."""
    if usable_cores() < 2:
        pytest.skip("needs two cores")
    folder = tmp_path_factory.mktemp("two")

    def linftui(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "linftui", *map(str, arguments)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)

    begun = linftui("run", tiny_recipe, "--name", "two", "--devices", "cpu:2", "--detach")
    assert begun.returncode == 0, begun.stderr
    return TwoRanks(folder, linftui("logs", "two", "--rank", "1", "--follow"))


class TestLogs:
    @pytest.mark.slow
    def test_following_a_rank_goes_on_until_the_attempt_ends(self, two_ranks: TwoRanks) -> None:
        done = two_ranks.followed
        assert done.returncode == 0 and done.stdout.splitlines()[-1] == "finished at step 36"
        log = "runs/two/logs/attempt-001/rank-1.log"
        said = done.stderr.splitlines()
        assert said[0] == (
            f"linftui: following {log} until attempt 1 ends; the run's events are printed here meanwhile"
        )
        assert said[-2:] == ["linftui: finished: 36 steps", "linftui: attempt 1 finished"]
        assert "linftui: checkpoint: step 36" in said and "checkpoint" not in done.stdout
        assert json.loads((two_ranks.folder / "runs/two/exit.json").read_text())["outcome"] == "finished"

    @pytest.mark.slow
    def test_each_rank_the_supervisor_and_torchrun_have_a_log(
        self, linftui: Command, two_ranks: TwoRanks
    ) -> None:
        logs = two_ranks.folder / "runs" / "two" / "logs" / "attempt-001"
        for which, file in (
            ("0", "rank-0.log"),
            ("1", "rank-1.log"),
            ("supervisor", "supervisor.log"),
            ("torchrun", "torchrun.log"),
        ):
            done = linftui("logs", "two", "--rank", which, "--attempt", "1", cwd=two_ranks.folder)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == (logs / file).read_text()
        said = linftui("logs", "two", "--rank", "supervisor", cwd=two_ranks.folder).stdout
        assert said.startswith("attempt 1, 2 rank(s) on cpu:2, ")

    def test_following_prints_what_is_added_a_letter_in_two_halves_among_it(
        self, linftui: Command, frozen_run: Path
    ) -> None:
        log = frozen_run / "logs" / "attempt-001" / "rank-0.log"
        log.unlink()  # it need not be there yet
        with start(frozen_run.parents[1], "logs", "frozen", "-f") as process:
            assert process.stdout is not None
            with log.open("wb", buffering=0) as file:
                file.write("first\n\N{INFINITY}".encode()[:-1])
                assert process.stdout.readline() == "first\n"
                file.write("\N{INFINITY}\n".encode()[-2:])
                assert process.stdout.readline() == "\N{INFINITY}\n"
                file.write(b"last, without an end")
                linftui("stop", "frozen", "--deadline", "0")
                rest, stderr = process.communicate(timeout=30)
        assert (process.returncode, rest) == (0, "last, without an end")
        first, last = stderr.splitlines()  # what a script reads, stdout, is the log and nothing else
        assert first.startswith("linftui: following runs/frozen/logs/attempt-001/rank-0.log until")
        assert last == "linftui: attempt 1 stopped: ended without saving"

    def test_what_is_not_there_is_told_with_what_is(
        self, linftui: Command, fails: Fails, copied_run: Path
    ) -> None:
        there = "it has: rank-0.log, supervisor.log"
        assert fails(2, "logs", "tiny-run", "--rank", "1") == (
            f"tiny-run has no rank-1.log of attempt 1; {there}"
        )
        assert fails(2, "logs", "tiny-run", "--rank", "torchrun", "-f") == (
            f"tiny-run has no torchrun.log of attempt 1; {there}"
        )
        assert fails(2, "logs", "tiny-run", "--attempt", "2") == (
            "tiny-run has no rank-0.log of attempt 2; it has: none"
        )
        for rank in ("-1", "../rank-0", "\N{FULLWIDTH DIGIT ONE}", ""):
            assert fails(2, "logs", "tiny-run", f"--rank={rank}").endswith(
                "is not a rank; give a number, supervisor or torchrun"
            )

    def test_nothing_in_a_log_reaches_the_terminal_but_text_and_ends_of_lines(
        self, linftui: Command, copied_run: Path
    ) -> None:
        log = copied_run / "logs" / "attempt-001" / "rank-0.log"
        log.write_bytes(
            b"\x1b]0;owned\x07\x1b[31mred\x0c\x00\n10%\r20%\r\n\ta\tb\n\xe2\x80\xa8\xff[bold]x[/bold]"
        )
        done = linftui("logs", "tiny-run")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "\ufffd]0;owned\ufffd\ufffd[31mred\ufffd\ufffd\n10%\n20%\n    a    b\n\ufffd\ufffd[bold]x[/bold]"
        )

    def test_a_log_that_is_none_is_not_read(self, fails: Fails, copied_run: Path, tmp_path: Path) -> None:
        logs = copied_run / "logs" / "attempt-001"
        (tmp_path / "secret").write_text("secret")
        (logs / "rank-1.log").symlink_to(tmp_path / "secret")
        os.mkfifo(logs / "rank-2.log")
        (logs / "rank-3.log").mkdir()
        for rank in ("1", "2", "3"):
            for following in ([], ["-f"]):
                sentence = fails(1, "logs", "tiny-run", "--rank", rank, *following)
                assert sentence.startswith(f"runs/tiny-run/logs/attempt-001/rank-{rank}.log: cannot be read")

    def test_a_reader_that_leaves_early_is_no_error(self, copied_run: Path) -> None:
        (copied_run / "logs" / "attempt-001" / "rank-0.log").write_text("line\n" * 100_000)
        folder = copied_run.parents[1]
        with start(folder, "logs", "tiny-run") as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "line\n"
            process.stdout.close()
            assert (process.wait(30), process.stderr.read()) == (0, "")


class TestRm:
    def test_a_run_that_goes_on_is_refused_and_the_others_are_removed(
        self, linftui: Command, frozen_run: Path, copied_run: Path
    ) -> None:
        before = sorted(frozen_run.rglob("*"))
        done = linftui("rm", "frozen", "tiny-run", "--yes")
        assert (done.returncode, done.stdout) == (2, "removed runs/tiny-run\n")
        [sentence] = done.stderr.splitlines()
        assert sentence.startswith("linftui: frozen is still running") and sentence.endswith("stop it first")
        assert sorted(frozen_run.rglob("*")) == before and is_alive(pid_of(frozen_run, "rank-0"))
        assert not copied_run.exists()

    def test_it_does_not_follow_what_leads_out_of_the_run(
        self, linftui: Command, copied_run: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        (outside / "folder").mkdir(parents=True)
        (outside / "file").write_text("kept")
        (copied_run / "link").symlink_to(outside)
        (copied_run / "metrics.jsonl").unlink()
        (copied_run / "metrics.jsonl").symlink_to(outside / "file")
        (copied_run / "certificates" / "link").symlink_to(outside)
        done = linftui("rm", "tiny-run", "-y")
        assert (done.returncode, done.stdout, done.stderr) == (0, "removed runs/tiny-run\n", "")
        assert not copied_run.exists()
        assert sorted(outside.rglob("*")) == [outside / "file", outside / "folder"]
        assert (outside / "file").read_text() == "kept"

    def test_it_asks_on_a_terminal(self, copied_run: Path) -> None:
        for answer, code, said in ((b"n\r", 1, "nothing was removed"), (b"y\r", 0, "removed runs/tiny-run")):
            with Terminal(copied_run.parents[1]) as terminal:
                terminal.start("rm", "tiny-run")
                terminal.read_until(lambda text: "remove it for good? [y/N]: " in text)
                assert copied_run.is_dir()
                terminal.press(answer)
                assert terminal.read_to_the_end() == code
            lines = terminal.text().splitlines()
            assert lines[0].startswith("runs/tiny-run  0.") and lines[0].endswith(" MiB")
            assert lines[-1] == said
            assert copied_run.exists() == bool(code)

    def test_without_a_terminal_it_has_to_be_told(self, fails: Fails, copied_run: Path) -> None:
        before = sorted(copied_run.rglob("*"))
        sentence = fails(2, "rm", "tiny-run")
        assert sentence == "rm asks before it removes anything, and this is not a terminal; add --yes"
        assert fails(2, "rm", "nosuch", "tiny-run", "-y").startswith("no run 'nosuch' in runs")
        assert sorted(copied_run.rglob("*")) == before

    @pytest.mark.parametrize("name", ["tiny", "latest"])
    def test_it_wants_the_whole_name(self, fails: Fails, copied_run: Path, name: str) -> None:
        before = sorted(copied_run.rglob("*"))
        sentence = f"no run in runs is called exactly '{name}'; do you mean tiny-run?"
        assert fails(2, "rm", name, "-y") == sentence
        assert fails(2, "rm", "tiny-run", name, "-y") == sentence
        assert sorted(copied_run.rglob("*")) == before

    def test_a_folder_that_may_be_no_run_is_kept(
        self, linftui: Command, fails: Fails, copied_run: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "meta.json").write_text("not json")
        (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
        sentence = fails(1, "rm", "thesis", "-y")
        assert sentence.startswith(
            "thesis was not removed, because it may not be a run: thesis/meta.json: cannot be read: "
        )
        assert sentence.endswith(f"; to remove it anyway: rm -r {tmp_path}/thesis")
        assert {path.name for path in (tmp_path / "thesis").iterdir()} == {"meta.json", "chapter.tex"}
        (copied_run / "meta.json").write_bytes((copied_run / "meta.json").read_bytes()[:-20])
        assert fails(1, "rm", "tiny-run", "-y").endswith(f" rm -r {copied_run}")
        assert (copied_run / "checkpoints").is_dir()

    def test_a_damaged_run_is_removed_unless_it_may_be_going_on(
        self, linftui: Command, fails: Fails, copied_run: Path
    ) -> None:
        (copied_run / "resolved.yaml").write_text("[")
        shutil.rmtree(copied_run / "checkpoints")
        state = (copied_run / "state.json").read_bytes()
        (copied_run / "state.json").write_bytes(state[:-10])
        before = sorted(copied_run.rglob("*"))
        assert fails(1, "rm", "tiny-run", "-y").startswith("runs/tiny-run/state.json: cannot be read: ")
        assert sorted(copied_run.rglob("*")) == before
        (copied_run / "state.json").write_bytes(state)
        assert linftui("rm", "tiny-run", "-y").returncode == 0
        assert not copied_run.exists()
