"""`linftui ls` and `linftui show`: where runs stand, also runs that are damaged or come from strangers."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.forgeries import FORGERIES, NAME, Forge, edit, summary

from linftui.cli.follow import AttemptProgress, follow
from linftui.cli.runs import show
from linftui.rundir.paths import RunPaths

Command = Callable[..., subprocess.CompletedProcess[str]]

# The keys that others rely on, and what each holds for a finished run.
SHOWN: dict[str, type] = {
    "id": str,
    "state": str,
    "recipe": str,
    "epoch": int,
    "epochs": int,
    "step": int,
    "p": str,
    "lam": float,
    "loss": float,
    "clean_accuracy": float,
    "certified_accuracy": float,
    "eps": float,
    "attempt": int,
    "path": str,
}
ESCAPE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\n[bold]tiny"


def listed(linftui: Command) -> dict[str, dict[str, Any]]:
    done = linftui("ls", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {run["id"]: run for run in map(json.loads, done.stdout.splitlines())}


def metrics_of(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


class TestShow:
    def test_json_is_one_object_with_the_promised_keys(self, linftui: Command, copied_run: Path) -> None:
        done = linftui("show", "tiny-run", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        [line] = done.stdout.splitlines()
        run = json.loads(line)
        assert {key: type(value) for key, value in run.items()} == SHOWN
        assert (run["id"], run["state"], run["recipe"]) == ("tiny-run", "finished", "tiny")
        assert (run["epoch"], run["epochs"], run["step"], run["attempt"]) == (3, 3, 36, 1)
        assert (run["p"], run["lam"], run["eps"]) == ("inf", 0.001, 0.1)
        assert 0 <= run["certified_accuracy"] <= run["clean_accuracy"] <= 1
        assert run["path"] == "runs/tiny-run"

    def test_its_figures_are_the_last_of_the_metrics(self, linftui: Command, copied_run: Path) -> None:
        metrics = [json.loads(line) for line in (copied_run / "metrics.jsonl").read_text().splitlines()]
        train = [record for record in metrics if record["kind"] == "train"][-1]
        evaluation = [record for record in metrics if record["kind"] == "eval"][-1]
        run = json.loads(linftui("show", "tiny-run", "--json").stdout)
        assert (run["loss"], run["step"]) == (train["loss"], train["step"])
        for figure in ("clean_accuracy", "certified_accuracy"):
            assert run[figure] == evaluation[figure]

    def test_text_tells_state_figures_checkpoints_and_path(self, linftui: Command, copied_run: Path) -> None:
        lines = linftui("show", "tiny-run").stdout.splitlines()
        facts = [(line[:20].strip(), line[20:].strip()) for line in lines]
        assert ("state", "finished") in facts and ("epoch", "3 of 3") in facts and ("p", "∞") in facts
        assert [value for name, value in facts if name == "checkpoint"] == ["step-00000024", "step-00000036"]
        assert any(name == "certified accuracy" and "(p = inf, eps 0.1)" in value for name, value in facts)

    def test_a_run_that_finished_at_chance_level_is_no_plain_finished_one(
        self, copied_run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with (copied_run / "metrics.jsonl").open("a") as metrics:
            last = [line for line in metrics_of(copied_run) if '"eval"' in line][-1]
            metrics.write(
                json.dumps({**json.loads(last), "clean_accuracy": 0.1, "certified_accuracy": 0}) + "\n"
            )
        show("tiny-run", copied_run.parent)
        assert (
            "caution             at chance level: clean accuracy 0.1000 at p = inf" in capsys.readouterr().out
        )
        assert follow(RunPaths(copied_run), 1) == 0
        *_, warning, last = capsys.readouterr().out.splitlines()
        assert warning.startswith("warning: at chance level: ") and last.startswith("finished: ")

    @pytest.mark.parametrize(
        ("event", "why"),
        [
            ("stopped", "its supervisor was killed; step 36 was saved"),
            ("warning", "its processes are gone and left no message"),
        ],
    )
    def test_of_a_crashed_run_it_says_why(
        self, copied_run: Path, capsys: pytest.CaptureFixture[str], event: str, why: str
    ) -> None:
        (copied_run / "exit.json").unlink()
        with (copied_run / "events.jsonl").open("a") as events:
            events.write(json.dumps({"attempt": 1, "step": 36, "time": 0.0, "event": event}) + "\n")
        show("tiny-run", copied_run.parent)
        lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
        assert ["state", "crashed"] in lines and ["ended", why] in lines

    @pytest.mark.parametrize("name", ["tiny", "runs/tiny-run", "runs/tiny-run/"])
    def test_a_run_is_found_by_the_beginning_of_its_id_or_its_path(
        self, linftui: Command, copied_run: Path, name: str
    ) -> None:
        assert json.loads(linftui("show", name, "--json").stdout)["id"] == "tiny-run"

    def test_an_unknown_run_is_told_with_the_nearest_name(
        self, fails: Callable[..., str], copied_run: Path
    ) -> None:
        assert fails(2, "show", "tinny-run") == "no run 'tinny-run' in runs; did you mean tiny-run?"
        assert fails(2, "show", "zzz") == "no run 'zzz' in runs; linftui ls lists the runs"
        assert fails(2, "show", "a" * 300).startswith("no run 'aaa")

    def test_a_beginning_that_several_ids_share_is_refused(
        self, fails: Callable[..., str], copied_run: Path
    ) -> None:
        shutil.copytree(copied_run, copied_run.with_name("tiny-two"))
        assert fails(2, "show", "tiny") == "tiny could be tiny-run, tiny-two; give more of the name"

    def test_the_folder_of_runs_can_be_named(self, linftui: Command, finished_run: Path) -> None:
        folder = str(finished_run.parent)
        assert linftui("show", "tiny-run", "--runs-dir", folder).returncode == 0
        assert linftui("--runs-dir", folder, "show", "tiny-run", LINFTUI_RUNS_DIR="other").returncode == 0
        assert linftui("show", "tiny-run", LINFTUI_RUNS_DIR=folder).returncode == 0
        assert linftui("--runs-dir", folder, "show", "tiny-run", "--runs-dir", "other").returncode == 2


class TestLs:
    def test_text_is_a_table_with_the_newest_run_first(self, linftui: Command, copied_run: Path) -> None:
        older = Path(shutil.copytree(copied_run, copied_run.with_name("older")))
        edit(older / "meta.json", created=1.0)
        head, first, second = linftui("ls").stdout.splitlines()
        columns = ["STATE", "RUN", "EPOCH", "P", "LOSS", "CERTIFIED", "CLEAN", "EPS", "AGE"]
        assert head.split() == columns
        assert first.split()[:4] == ["finished", "tiny-run", "3/3", "∞"]
        assert second.split()[:2] == ["finished", "older"] and second.endswith("d")

    def test_json_is_an_object_a_line_with_the_keys_of_show(self, linftui: Command, copied_run: Path) -> None:
        shutil.copytree(copied_run, copied_run.with_name("two"))
        runs = listed(linftui)
        assert set(runs) == {"tiny-run", "two"}
        assert all(list(run) == list(SHOWN) for run in runs.values())

    def test_no_runs_at_all_is_no_error(self, linftui: Command) -> None:
        done = linftui("ls")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "no runs in runs; start one with: linftui run digits\n"
        assert linftui("ls", "--json").stdout == ""

    def test_a_folder_that_was_named_has_to_be_there(
        self, linftui: Command, fails: Callable[..., str], tmp_path: Path
    ) -> None:
        said = "there is no folder nosuch; --runs-dir and LINFTUI_RUNS_DIR name the folder of runs"
        assert fails(2, "--runs-dir", "nosuch", "ls") == said
        assert fails(2, "ls", "--json", "--runs-dir", "nosuch") == said
        assert fails(2, "ls", LINFTUI_RUNS_DIR="nosuch") == said
        assert fails(2, "show", "tiny", "--runs-dir", "nosuch") == said
        assert linftui("--runs-dir", "runs", "ls").returncode == 0  # the one that a first run makes
        (tmp_path / "nosuch").write_text("")
        for command in (["ls"], ["show", "tiny"]):
            assert fails(2, *command, "--runs-dir", "nosuch") == "nosuch is a file, not a folder of runs"
        (tmp_path / "nosuch").unlink()
        (tmp_path / "nosuch").mkdir()
        assert linftui("ls", "--runs-dir", "nosuch").stdout.startswith("no runs in nosuch")

    def test_what_is_no_run_is_passed_over(self, linftui: Command, copied_run: Path) -> None:
        runs = copied_run.parent
        (runs / "notes.txt").write_text("mine")
        (runs / "empty").mkdir()
        (runs / "link").symlink_to(copied_run)
        assert set(listed(linftui)) == {"tiny-run"}


DAMAGE: dict[str, Callable[[Path], object]] = {
    "meta.json is empty": lambda run: (run / "meta.json").write_bytes(b""),
    "meta.json is not json": lambda run: (run / "meta.json").write_bytes(b"\xff\xfe{"),
    "meta.json is nested deeply": lambda run: (run / "meta.json").write_text('{"x":' + "[" * 100_000),
    "meta.json is newer": lambda run: edit(run / "meta.json", v=99),
    "the radius is none": lambda run: edit(run / "meta.json", eps_test="1/0"),
    "the radius is too large": lambda run: edit(run / "meta.json", eps_test="9" * 400),
    "state.json is cut short": lambda run: (run / "state.json").write_text('{"v":1,"attempt":'),
    "exit.json is a folder": lambda run: [(run / "exit.json").unlink(), (run / "exit.json").mkdir()],
}


class TestDamagedRuns:
    @pytest.fixture
    def damaged(self, copied_run: Path) -> list[str]:
        """Runs damaged in all ways, beside the one that is whole."""
        for number, spoil in enumerate(DAMAGE.values()):
            spoil(Path(shutil.copytree(copied_run, copied_run.with_name(f"damaged-{number}"))))
        return [f"damaged-{number}" for number in range(len(DAMAGE))]

    def test_they_are_listed_as_damaged_beside_the_others(self, linftui: Command, damaged: list[str]) -> None:
        done = linftui("ls")
        assert (done.returncode, done.stderr) == (0, "")
        states = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()[1:]}
        assert states == {"tiny-run": "finished", **dict.fromkeys(damaged, "damaged")}
        runs = listed(linftui)
        assert {run for run, facts in runs.items() if facts["state"] is None} == set(damaged)

    def test_showing_one_says_what_is_wrong(self, linftui: Command, damaged: list[str]) -> None:
        for run, file in zip(damaged, ["meta.json"] * 6 + ["state.json", "exit.json"], strict=True):
            done = linftui("show", run)
            assert (done.returncode, done.stderr) == (0, "")
            state = done.stdout.splitlines()[1]
            assert state.split()[:2] == ["state", "damaged:"] and f"runs/{run}/{file}" in state

    def test_figures_at_one_radius_are_not_shown_at_another(
        self, copied_run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edit(copied_run / "meta.json", eps_test="8/255")
        show("tiny-run", copied_run.parent)
        lines = capsys.readouterr().out.splitlines()
        facts = [(line[:20].strip(), line[20:].strip()) for line in lines]
        assert ("certified accuracy", "- (p = inf, eps 8/255)") in facts and ("clean accuracy", "-") in facts
        [problem] = [value for name, value in facts if name == "problem"]
        assert problem.endswith("meta.json: eps_test 0.0313725 is not the evaluations' eps, 0.1")

    def test_lines_that_cannot_be_read_are_left_out(self, linftui: Command, copied_run: Path) -> None:
        before = json.loads(linftui("show", "tiny-run", "--json").stdout)
        with (copied_run / "metrics.jsonl").open("ab") as metrics:
            metrics.write(b"\xff\xfe\n" + b"[" * 60_000 + b"\n" + b'{"kind":"train"}\n' + b'{"kind":"tr')
        done = linftui("show", "tiny-run", "--json")
        assert json.loads(done.stdout) == before

    def test_a_number_that_is_none_is_no_error(self, linftui: Command, copied_run: Path) -> None:
        last = [
            line for line in (copied_run / "metrics.jsonl").read_text().splitlines() if '"train"' in line
        ][-1]
        record = {**json.loads(last), "epoch": "inf", "loss": "nan"}
        with (copied_run / "metrics.jsonl").open("a") as metrics:
            metrics.write(json.dumps(record) + "\n")
        edit(copied_run / "meta.json", created="-inf")
        assert linftui("ls").returncode == 0
        run = json.loads(linftui("show", "tiny-run", "--json").stdout)
        assert (run["epoch"], run["loss"], run["step"]) == (None, "nan", 36)


class TestCertificates:
    @pytest.fixture
    def run(self, certified_run: Path, tmp_path: Path) -> RunPaths:
        """A run with three certificates, where commands look for it."""
        return RunPaths(Path(shutil.copytree(certified_run, tmp_path / "runs" / "tiny-run")))

    @staticmethod
    def shown(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> list[str]:
        show(run.id, run.root.parent)
        lines = capsys.readouterr().out.splitlines()
        return [line.split(None, 1)[1] for line in lines if line.startswith("certificate ")]

    def test_the_one_that_counts_comes_first_and_the_others_say_why_they_do_not(
        self, run: RunPaths, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, elsewhere, partial = self.shown(run, capsys)
        assert re.fullmatch(rf"{NAME}: certified 0\.\d{{4}}", first)
        assert elsewhere.startswith(f"{NAME[:-3]}8_255: certified 0.")
        assert elsewhere.endswith(", at eps 8/255, not the recipe's 0.1")
        assert partial.endswith(", first 50 of 360 images, re-estimated means")

    @pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES)
    def test_a_forged_one_is_unverified_and_comes_last(
        self, run: RunPaths, capsys: pytest.CaptureFixture[str], forge: Forge, reason: str
    ) -> None:
        before = self.shown(run, capsys)
        assert len(before) == 3 and not any("unverified" in line for line in before)
        forge(run)
        *others, forged = sorted(self.shown(run, capsys), key=lambda line: ": unverified: " + reason in line)
        assert f": unverified: {reason}" in forged and len(others) == 2
        assert not forged.split(": ")[1].startswith("certified")

    def test_the_command_says_so_too(self, linftui: Command, run: RunPaths) -> None:
        summary(certified_accuracy=7.5)(run)
        done = linftui("show", "tiny-run")
        assert (done.returncode, done.stderr) == (0, "")
        last = done.stdout.splitlines()[-1]
        assert f"{NAME}: unverified: summary.json: cannot be read: Expected `float` <= 1.0" in last
        assert "7.5" not in done.stdout and done.stdout.count(": certified 0.") == 2

    def test_one_of_a_run_that_was_renamed_says_of_which(
        self, run: RunPaths, capsys: pytest.CaptureFixture[str]
    ) -> None:
        renamed = RunPaths(run.root.rename(run.root.with_name("renamed")))
        lines = self.shown(renamed, capsys)
        assert len(lines) == 3 and all(line.endswith(" (of run tiny-run)") for line in lines)

    def test_an_evaluation_that_says_more_than_all_is_a_line_that_cannot_be_read(
        self, linftui: Command, run: RunPaths
    ) -> None:
        before = linftui("show", "tiny-run", "--json").stdout
        evaluation = json.loads(run.metrics.read_text().splitlines()[-1])
        assert evaluation["kind"] == "eval"
        with run.metrics.open("a") as metrics:
            for share in (7.5, "nan", -1):
                metrics.write(json.dumps({**evaluation, "certified_accuracy": share}) + "\n")
        assert linftui("show", "tiny-run", "--json").stdout == before == linftui("ls", "--json").stdout
        assert "unreadable lines    3\n" in linftui("show", "tiny-run").stdout


class TestStrangersRuns:
    def test_terminal_escapes_are_neutralised(self, linftui: Command, copied_run: Path) -> None:
        strange = copied_run.with_name("strange\x1b[31m")
        copied_run.rename(strange)
        edit(strange / "meta.json", recipe=ESCAPE, id=ESCAPE)
        edit(strange / "exit.json", outcome="failed", message=ESCAPE, hint=ESCAPE)
        shutil.copytree(strange, strange.with_name("damaged"))
        edit(strange.with_name("damaged") / "meta.json", eps_test=ESCAPE)
        for arguments in (["ls"], ["show", "strange"], ["show", "damaged"]):
            done = linftui(*arguments)
            assert done.returncode == 0
            assert all(line.isprintable() for line in done.stdout.splitlines())
        assert "�[31mred�[0m�[bold]tiny" in done.stdout

    def test_json_escapes_them(self, linftui: Command, copied_run: Path) -> None:
        edit(copied_run / "meta.json", recipe=ESCAPE)
        [line] = linftui("show", "tiny-run", "--json").stdout.splitlines()
        assert "\x1b" not in line and json.loads(line)["recipe"] == ESCAPE

    @pytest.mark.parametrize("absurd", [1e308, -1e308, 1e300])
    def test_an_absurd_number_takes_no_more_room_than_a_real_one(
        self, linftui: Command, copied_run: Path, absurd: float
    ) -> None:
        shutil.copytree(copied_run, copied_run.with_name("other"))
        lines = (copied_run / "metrics.jsonl").read_text().splitlines()
        last = json.loads(next(line for line in reversed(lines) if '"train"' in line))
        invented = dict.fromkeys(
            ("epoch", "loss", "p", "lam", "lr", "scalar", "images_per_s", "time"), absurd
        )
        with (copied_run / "metrics.jsonl").open("a") as metrics:
            metrics.write(json.dumps({**last, **invented}) + "\n")
        edit(copied_run / "meta.json", created=absurd, eps_test=f"{'1' * 60}/{'9' * 60}")
        for arguments in (["ls"], ["show", "tiny-run"]):
            done = linftui(*arguments)
            assert done.returncode == 0 and "1e+30" in done.stdout
            assert max(map(len, done.stdout.splitlines())) <= 100
        assert json.loads(linftui("show", "tiny-run", "--json").stdout)["epoch"] is None
        progress = AttemptProgress(RunPaths(copied_run), 1)
        progress.update()
        assert "1e+30" in progress.line() and len(progress.line()) <= 150

    def test_what_metrics_say_is_shown_as_it_is(self, linftui: Command, copied_run: Path) -> None:
        """An invented curve is a possible one: docs/security.md says so."""
        metrics = copied_run / "metrics.jsonl"
        metrics.write_text(metrics.read_text().replace('"certified_accuracy":0.', '"certified_accuracy":0.9'))
        [line] = linftui("show", "tiny-run", "--json").stdout.splitlines()
        assert json.loads(line)["certified_accuracy"] >= 0.9


class TestOutput:
    def test_a_reader_that_leaves_early_is_no_error(self, linftui: Command, copied_run: Path) -> None:
        for arguments in (["ls"], ["show", "tiny-run", "--json"], ["--help"]):
            reading, writing = os.pipe()
            os.close(reading)
            done = subprocess.run(
                [sys.executable, "-m", "linftui", *arguments],
                cwd=copied_run.parents[1],
                stdout=writing,
                stderr=subprocess.PIPE,
            )
            os.close(writing)
            assert (done.returncode, done.stderr) == (0, b"")

    def test_a_terminal_that_lacks_a_sign_shows_a_question_mark(
        self, linftui: Command, copied_run: Path
    ) -> None:
        done = linftui("ls", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[1].split()[:4] == ["finished", "tiny-run", "3/3", "?"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["ls"],
        ["show", "tiny-run"],
        ["logs", "tiny-run"],
        ["recipe", "check", "digits"],
        ["run", "digits", "--dry-run"],
    ],
    ids=" ".join,
)
def test_quick_commands_import_nothing_heavy(copied_run: Path, arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from linftui.cli.app import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'textual', 'pooch', 'matplotlib', 'sklearn', 'numpy', 'rich', 'requests'}\n"
        "    print(*(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=copied_run.parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout
    assert done.stderr == "\n"


PEAK = "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"


@pytest.mark.parametrize(
    "program",
    [
        "from linftui.cli.runs import show; show(sys.argv[1])",
        "from linftui.cli.follow import follow; follow(RunPaths(Path(sys.argv[1])), 1)",
        "from linftui.actions.stop import wait_until_stopped; "
        "wait_until_stopped(RunPaths(Path(sys.argv[1])), 'me', 120.0, print)",
    ],
    ids=["show", "follow", "stop"],
)
def test_a_long_run_is_read_without_being_held(copied_run: Path, program: str) -> None:
    for name in ("metrics", "events"):
        with (copied_run / f"{name}.jsonl").open("r+b") as file:
            lines = file.readlines()
            for _ in range(40):
                file.write(lines[0] * 5000)
            file.write(lines[-1])
    program = (
        f"import sys; from pathlib import Path; from linftui.rundir.paths import RunPaths; {program}; {PEAK}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(copied_run)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.splitlines()[-1]) < 45_000  # KiB; held, the records take 35,000 to 150,000 more
